"""What every kind of damage is: a measurement at the prior's rate, and a way back to the recording's own.

The prior hears up to its own band. Each kind of damage says how its measurement looks there (`measure`), and how the
restored low band goes back into the recording at its own rate (`finish`), where the high band has no prior: it is
kept, filtered, or explained without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from headwater.audio.io.channels import SILENCE, Signal
from headwater.audio.prior import Canvas, Prior, warm_start
from headwater.problem.operator import Operator
from headwater.recipes.problem import Problem
from headwater.recipes.warm_start import WarmStart


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """What a signal with damage says at the prior's rate.

    Parameters
    ----------
    operator
        What made y of the sound at unit loudness.
    y
        What was measured, in units of the recording, `[...]`.
    sigma
        The std of its noise at unit loudness.
    guess
        A rough guess of what was there, in units of the recording, `[samples]`.
    rough
        The guess at the recording's own rate, if `finish` needs it, `[frames]`.
    improvable
        Whether the flow improves the guess. If not, it is asked only when a recipe was named.
    recipe
        The method that suits the damage.
    """

    operator: Operator
    y: Signal
    sigma: float
    guess: Signal
    rough: Signal | None = None
    improvable: bool = True
    recipe: WarmStart = field(default_factory=warm_start)


class Damage(Protocol):
    """What happened to a whole recording."""

    @property
    def reach(self) -> float:
        """Seconds of the past that a sample of the recording depends on."""

    @property
    def mixes(self) -> bool:
        """Whether two channels may be restored as mid and side."""

    def for_segment(self, first: int, last: int) -> Damage:
        """What happened from a frame of the recording to before another."""

    def for_signal(self, number: int, begins: bool) -> Damage:
        """What happened to one signal; `begins`: there is silence before its segment."""

    def measure(self, x: Signal, rate: int, prior: Prior, scale: float) -> Measurement | None:
        """The measurement of a signal `[frames]`, of unit loudness if divided by `scale`; None if it is whole."""

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The restored signal `[frames]`, from x, its measurement and an estimate `[samples]` at the rate `low`."""


class Uniform:
    """Damage that is the same in every channel and at every time, of the channels as they are."""

    reach: ClassVar[float] = 0.0
    mixes: ClassVar[bool] = False

    def for_segment(self, first: int, last: int) -> Self:
        """Itself."""
        return self

    def for_signal(self, number: int, begins: bool) -> Self:
        """Itself."""
        return self


@dataclass(frozen=True)
class ByChannel:
    """Damage that is another in every channel: one of a kind for each, `channels`."""

    channels: tuple[Damage, ...]
    mixes: ClassVar[bool] = False

    @property
    def reach(self) -> float:
        """The longest."""
        return max(each.reach for each in self.channels)

    def for_segment(self, first: int, last: int) -> ByChannel:
        """That of every channel."""
        return ByChannel(tuple(each.for_segment(first, last) for each in self.channels))

    def for_signal(self, number: int, begins: bool) -> Damage:
        """That of one channel."""
        return self.channels[number].for_signal(number, begins)

    def measure(self, x: Signal, rate: int, prior: Prior, scale: float) -> Measurement | None:
        """That of the first channel; `for_signal` says which one is meant."""
        return self.channels[0].measure(x, rate, prior, scale)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """That of the first channel."""
        return self.channels[0].finish(measurement, x, estimate, rate, low)


@dataclass(frozen=True, eq=False)
class DamageTask:
    """The damage of one signal of a segment as a problem of the flow.

    Parameters
    ----------
    damage, measurement
        What happened, and what that leaves to go by.
    signal, rate
        The signal as it came, `[frames]`, and its rate in Hz.
    scale
        Its loudness (rms about the mean).
    canvas
        That of the prior for the segment.
    """

    damage: Damage
    measurement: Measurement
    signal: Signal
    rate: int
    scale: float
    canvas: Canvas

    @classmethod
    def read(cls, prior: Prior, damage: Damage, signal: Signal, rate: int) -> DamageTask | None:
        """The task of a signal; None if it is silent or not damaged."""
        scale = float(signal.std())
        measurement = damage.measure(signal, rate, prior, scale) if scale > SILENCE else None
        if measurement is None:
            return None
        return cls(damage, measurement, signal, rate, scale, prior.canvas(len(measurement.guess)))

    def pose(self, prior: Prior) -> Problem:
        """The measurement at unit loudness."""
        m = self.measurement
        y, guess = (torch.from_numpy(z / self.scale).float()[None] for z in (m.y, m.guess))
        return prior.pose(m.operator, y, m.sigma, guess=guess, recipe=m.recipe)

    def finish(self, x1: Tensor | None) -> Signal:
        """The restored signal `[frames]`, from a state `[1, frames, bins]` of the flow or, without one, the guess."""
        estimate = self.measurement.guess
        if x1 is not None:
            estimate = self.canvas(x1)[0].double().numpy() * self.scale
        return self.damage.finish(self.measurement, self.signal, estimate, self.rate, self.canvas.rate)


def std_in_band(std: float, rate: int, low: int) -> float:
    """What a low-pass to the rate `low` leaves of the std of white noise.

    >>> std_in_band(1.0, 64_000, 16_000)
    0.5
    """
    return std * math.sqrt(min(1.0, low / rate))
