"""Restoring sound at the rate of the prior: from an operator, a measurement and its noise to waveforms.

What is restored is `[batch, samples]`, one channel each, with an rms near 1. Files, rates, channels and seams are the
business of `repair`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headwater.audio.model.space import Space
from headwater.dflow.result import Result
from headwater.errors import Misuse, suggest
from headwater.flows.flow import Flow
from headwater.flows.windowed import extend_to_canvas
from headwater.problem.cost import Misfit
from headwater.problem.operator import LinearOperator, Operator
from headwater.recipes.warm_start import PRESETS, Limits

FRESH = 0.3
"""The share of new noise in the estimate: with 1 a lost band is far too quiet, with 0 too loud."""
RESOLUTION = 0.05
"""The finest misfit, at unit loudness, that a solve of a few steps is asked to resolve (26 dB below the music)."""


@dataclass(frozen=True)
class Prior:
    """A flow of music: `flow` on states `[frames, bins]` of a window, the `space` they live in, the `rate` in Hz."""

    flow: Flow
    space: Space
    rate: int

    @property
    def window(self) -> int:
        """Samples of a window."""
        return math.prod(self.flow.shape)


class How(NamedTuple):
    """How a stretch of a recording is solved."""

    seed: int = 0
    preset: str = "default"
    limits: Limits | None = None

    def ending(self, tau: float | None) -> Limits | None:
        """The limits, with the discrepancy level `tau` for `default` where the user gives none."""
        o = self.limits or Limits()
        mine = tau is not None and o.tau is None and self.preset == "default"
        return replace(o, tau=tau) if mine else self.limits


@dataclass(frozen=True)
class Restoration:
    """What `restore` returns: `waveforms` `[batch, samples]`, and the `result` and `misfit` of the control run."""

    waveforms: Tensor
    result: Result
    misfit: Misfit


@dataclass(frozen=True, eq=False)
class Heard:
    """An operator on waveforms, seen from the states of a canvas of `frames`; `samples` of them, after `offset`."""

    operator: Operator
    space: Space
    frames: int
    offset: int
    samples: int

    def waveform(self, z: Tensor) -> Tensor:
        """The restored part of the waveform of a state."""
        return self.space.decode(z)[:, self.offset : self.offset + self.samples]

    def state(self, x: Tensor) -> Tensor:
        """The state of a waveform, zero beyond its ends."""
        return self.space.encode(self._embedded(x))

    def _embedded(self, x: Tensor) -> Tensor:
        beyond = self.frames * self.space.bins - self.offset - self.samples
        return torch.nn.functional.pad(x, (self.offset, beyond))

    def __call__(self, z: Tensor) -> Tensor:
        return self.operator(self.waveform(z))

    def residual(self, z: Tensor, y: Tensor) -> Tensor:
        """As the operator's."""
        return self.operator.residual(self.waveform(z), y)

    def count(self, y: Tensor) -> Tensor:
        """As the operator's."""
        return self.operator.count(y)

    def select(self, index: Tensor) -> Heard:
        """The operator of the problems in `index`."""
        return replace(self, operator=self.operator.select(index))


@dataclass(frozen=True, eq=False)
class LinearHeard(Heard):
    """The same for a linear operator and a linear space."""

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y, a state."""
        assert isinstance(self.operator, LinearOperator)
        return self.space.adjoint(self._embedded(self.operator.adjoint(y)))


def restore(
    prior: Prior,
    operator: Operator,
    y: Tensor,
    sigma_y: float,
    *,
    guess: Tensor,
    fresh: float = FRESH,
    seeds: Sequence[int] | None = None,
    preset: str = "default",
    limits: Limits | None = None,
) -> Restoration:
    """Find waveforms x with A(x) = y up to noise of standard deviation `sigma_y`, one per row of y.

    y `[batch, ...]`: measurements at unit loudness; `sigma_y` in the same units, 0 for a noiseless one, which is
    controlled down to `RESOLUTION`. guess `[batch, samples]`: rough waveforms, with which the estimate of the
    preset `default` begins; `fresh` is the share of new noise in it. seeds: one per row, 0, 1, ... if None.

    Raises
    ------
    Misuse
        On an unknown preset, negative or infinite noise, or seeds that are not one per row.
    """
    if preset not in PRESETS:
        raise Misuse(f"There is no preset named {preset!r}.", suggest(preset, PRESETS))
    if not 0 <= sigma_y < math.inf:
        raise Misuse(f"The noise level {sigma_y} is not 0 or more.", "Give the noise std in the units of y.")
    seeds = range(len(y)) if seeds is None else seeds
    if len(seeds) != len(y):
        raise Misuse(f"There are {len(seeds)} seeds for {len(y)} recordings.", "Give one for each.")
    heard = on_canvas(prior, operator, guess.shape[1])
    flow = extend_to_canvas(prior.flow, (heard.frames,), axes=(-2,))
    misfit = Misfit(heard, y, max(sigma_y, RESOLUTION))
    how = dict[str, Any](fresh=fresh, carry=True) if preset == "default" else {}
    result = PRESETS[preset](flow, misfit, seeds, guess=heard.state(guess), limits=limits, **how)
    return Restoration(heard.waveform(result.x1), result, misfit)


def on_canvas(prior: Prior, operator: Operator, samples: int) -> Heard:
    """The operator on the smallest canvas of whole frames that holds so many samples and a frame at both ends."""
    bins = prior.space.bins
    frames = max(-(-samples // bins) + 2, prior.flow.shape[0])
    offset = (frames * bins - samples) // 2
    linear = isinstance(operator, LinearOperator) and prior.space.linear
    return (LinearHeard if linear else Heard)(operator, prior.space, frames, offset, samples)
