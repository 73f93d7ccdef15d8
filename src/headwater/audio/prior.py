"""The prior of music: a flow, the space it lives in, and problems posed on it at its own rate.

Waveforms here are `[batch, samples]`, one channel each, with an rms near 1. Files, rates, channels and seams are the
business of the tasks (`gaps`, `damage`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headwater.audio.model.space import Space
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.networks import device_of
from headwater.flows.windowed import extend_to_canvas
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit
from headwater.problem.operator import Operator
from headwater.recipes.estimate import Estimate
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe
from headwater.recipes.warm_start import WarmStart


def warm_start(fresh: float = 0.3, tau: float = WarmStart.tau) -> WarmStart:
    """The recipe for recordings: an estimate that has reached the level `tau` is the answer, else control goes on.

    What 12 steps there and 8 back lose of the estimate is added again, so control begins at the estimate itself: for
    one that is good enough its first gradient would only say so (the benchmark audio_methods).

    Parameters
    ----------
    fresh
        The share of new noise in the estimate: with 1 a lost band is far too quiet, with 0 too loud
        (docs/notes/audio.md).
    tau
        The misfit that suffices, in units of the noise.
    """
    return WarmStart(estimate=Estimate(fresh=fresh), correct_round_trip=True, tau=tau, keep_estimate=0.0)


@dataclass(frozen=True)
class Canvas:
    """The map from states `[batch, frames, bins]` to waveforms `[batch, samples]` in their middle.

    Parameters
    ----------
    space, rate
        Of the prior.
    frames
        Rows of a state; a frame has `space.bins` samples.
    samples
        Of a waveform.
    """

    space: Space
    rate: int
    frames: int
    samples: int

    @property
    def offset(self) -> int:
        """Samples of the canvas before those of the waveform."""
        return (self.frames * self.space.bins - self.samples) // 2

    def __call__(self, z: Tensor) -> Tensor:
        """The waveforms of states."""
        return self.space.decode(z)[:, self.offset : self.offset + self.samples]

    def encode(self, x: Tensor) -> Tensor:
        """The states of waveforms, which are zero beyond their ends."""
        return self.space.encode(self._pad(x))

    def _pad(self, x: Tensor) -> Tensor:
        beyond = self.frames * self.space.bins - self.offset - self.samples
        return torch.nn.functional.pad(x, (self.offset, beyond))


@dataclass(frozen=True)
class LinearCanvas(Canvas):
    """The same in a linear space."""

    def adjoint(self, x: Tensor) -> Tensor:
        """The transpose of the map: states `[batch, frames, bins]` of waveforms `[batch, samples]`."""
        return self.space.adjoint(self._pad(x))


@dataclass(frozen=True)
class Prior:
    """A flow of music, and the map from its states to waveforms `[batch, samples]`; `load_prior` makes it.

    Parameters
    ----------
    flow
        On states `[frames, bins]` of a window.
    space
        What a state means.
    rate
        Of the waveforms, Hz.
    resolution
        The finest misfit, at unit loudness, that a solve of a few steps is asked to resolve: 26 dB below the music
        (the benchmark audio_recipe).
    gap_recipe
        How gaps are filled. With no new noise in the estimate it is as loud as what is around; the join sees to the
        rest (audio_recipe).

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> prior = hw.audio.load_prior()
    >>> prior.rate, prior.flow.shape, prior.window
    (16000, (64, 512), 32768)
    >>> canvas, x = prior.canvas(10_000), torch.randn(1, 10_000)
    >>> z = canvas.encode(x)  # a state of the flow
    >>> z.shape, bool((canvas(z) - x).abs().max() < 1e-4)
    (torch.Size([1, 64, 512]), True)
    """

    flow: Flow
    space: Space
    rate: int
    resolution: float = 0.05
    gap_recipe: WarmStart = field(default_factory=lambda: warm_start(fresh=0.0))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return device_of(self.flow.modules)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return math.prod(self.flow.shape)

    def canvas(self, samples: int) -> Canvas:
        """The map from states `[batch, frames, bins]` to waveforms `[batch, samples]`.

        It has the smallest number of frames that holds the waveform and a frame at both ends.
        """
        frames = max(-(-samples // self.space.bins) + 2, self.flow.shape[0])
        kind = LinearCanvas if self.space.linear else Canvas
        return kind(self.space, self.rate, frames, samples)

    def pose(
        self, operator: Operator, y: Tensor, sigma_y: float, *, guess: Tensor, recipe: Recipe | None = None
    ) -> Problem:
        """The problem of finding waveforms x with A(x) = y up to noise, one per row of y.

        The samples of its flow are states; `canvas(samples)` maps them to waveforms.

        Parameters
        ----------
        operator
            A on waveforms `[batch, samples]`.
        y
            Measurements `[batch, ...]` at unit loudness.
        sigma_y
            The std of their noise in the same units. Below `resolution` it counts as that; 0 is a measurement without
            noise.
        guess
            Rough waveforms `[batch, samples]`.
        recipe
            By default `warm_start()`.

        Raises
        ------
        Misuse
            The noise is negative or infinite.
        """
        if not 0 <= sigma_y < math.inf:
            raise Misuse(
                f"The noise level {sigma_y} is not 0 or more.", "Give the noise std in the units of y."
            )
        canvas = self.canvas(guess.shape[1])
        flow = extend_to_canvas(self.flow, (canvas.frames,), axes=(-2,))
        misfit = Misfit(compose(operator, canvas), y, max(sigma_y, self.resolution))
        return Problem(flow, misfit, canvas.encode(guess), recipe or warm_start())
