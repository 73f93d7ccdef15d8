"""What every kind of damage is: a measurement at the prior's rate, and a way back to the recording's own.

The prior hears up to its own band. Each kind of damage says how its measurement looks there (`measure`), and how the
restored low band goes back into the recording at its own rate (`finish`), where the high band has no prior: it is
kept, filtered, or explained without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from headwater.audio.io.channels import SILENCE, Signal
from headwater.audio.latent import LatentCanvas, LatentPrior
from headwater.audio.prior import Canvas, Prior, warm_start
from headwater.errors import Misuse
from headwater.problem.operator import Operator
from headwater.recipes.problem import Problem
from headwater.recipes.warm_start import WarmStart
from headwater.text import counted


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
    """What happened to a whole recording `[frames, channels]`; `undo_damage` takes any object with these members.

    `Noise`, `Room`, `Clipping`, `BandLimit`, `UserDamage` and `ByChannel` are such objects.

    Examples
    --------
    >>> import headwater as hw
    >>> import numpy as np
    >>> damage: hw.audio.Damage = hw.audio.Room(np.array([[1.0, 0.0, 0.5]]), rate=48_000)  # an echo after 2 frames
    >>> round(1000 * damage.reach, 4), damage.mixes  # ms, and whether it fits mid and side
    (0.0625, True)
    """

    @property
    def reach(self) -> float:
        """Seconds of the past that a sample of the recording depends on; 0 for most damage."""

    @property
    def mixes(self) -> bool:
        """Whether two channels may be restored as mid and side."""

    def for_segment(self, first: int, last: int) -> Damage:
        """What happened from the frame `first` of the recording to before the frame `last`."""

    def for_signal(self, number: int, begins: bool) -> Damage:
        """What happened to one signal.

        Parameters
        ----------
        number
            Of the signal: of the channel or, if the damage `mixes`, 0 for mid and 1 for side.
        begins
            Whether there is silence before its segment.
        """

    def measure(self, x: Signal, rate: int, prior: Prior | LatentPrior, scale: float) -> Measurement | None:
        """What a signal says of the sound at the prior's rate; None if it is whole.

        Parameters
        ----------
        x
            The signal with damage, `[frames]`, full scale being 1.
        rate
            Its rate, Hz.
        prior
            The prior, whose rate the measurement has.
        scale
            The rms of x about its mean: x divided by it has unit loudness.
        """

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The restored signal `[frames]`, full scale being 1.

        Parameters
        ----------
        measurement
            What `measure` gave.
        x
            The signal with damage, `[frames]`.
        estimate
            The sound as the prior found it, `[samples]` in the units of x.
        rate
            Of x, Hz.
        low
            The rate of the estimate, which is the prior's, Hz.
        """


class Uniform:
    """Damage that is the same in every channel and at every time, of the channels as they are."""

    reach: ClassVar[float] = 0.0
    mixes: ClassVar[bool] = False

    def for_segment(self, first: int, last: int) -> Self:
        """The damage itself, as it is the same at every time."""
        return self

    def for_signal(self, number: int, begins: bool) -> Self:
        """The damage itself, as it is the same in every channel."""
        return self


@dataclass(frozen=True)
class ByChannel:
    """Damage that is another in every channel of a recording `[frames, channels]`.

    Parameters
    ----------
    channels
        The damage of each channel, in their order: one for each, all of one kind.

    Raises
    ------
    Misuse
        There is no channel.

    Examples
    --------
    >>> import headwater as hw
    >>> damage = hw.audio.ByChannel((hw.audio.Noise(0.01), hw.audio.Noise(0.02)))
    >>> damage.for_signal(1, begins=True).std
    0.02
    """

    channels: tuple[Damage, ...]
    mixes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.channels:
            raise Misuse("There is no damage of any channel.", "Give one for each channel of the recording.")

    @property
    def reach(self) -> float:
        """The longest of the channels, seconds."""
        return max(each.reach for each in self.channels)

    def for_segment(self, first: int, last: int) -> ByChannel:
        """The damage of every channel from the frame `first` to before the frame `last`."""
        return ByChannel(tuple(each.for_segment(first, last) for each in self.channels))

    def for_signal(self, number: int, begins: bool) -> Damage:
        """The damage of the channel `number`.

        Raises
        ------
        Misuse
            It is not given.
        """
        if number >= len(self.channels):
            raise Misuse(
                f"There is damage of {counted(len(self.channels), 'channel')}, and the recording has more.",
                "Give one for each channel of the recording.",
            )
        return self.channels[number].for_signal(number, begins)

    def measure(self, x: Signal, rate: int, prior: Prior | LatentPrior, scale: float) -> Measurement | None:
        """The measurement of a signal `[frames]`, by the damage of the first channel; see `for_signal`."""
        return self.channels[0].measure(x, rate, prior, scale)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The restored signal `[frames]`, by the damage of the first channel."""
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
    canvas: Canvas | LatentCanvas

    @classmethod
    def read(cls, prior: Prior | LatentPrior, damage: Damage, signal: Signal, rate: int) -> DamageTask | None:
        """The task of a signal; None if it is silent or not damaged."""
        scale = float(signal.std())
        measurement = damage.measure(signal, rate, prior, scale) if scale > SILENCE else None
        if measurement is None:
            return None
        return cls(damage, measurement, signal, rate, scale, prior.canvas(len(measurement.guess)))

    def pose(self, prior: Prior | LatentPrior) -> Problem:
        """The measurement at unit loudness."""
        m = self.measurement
        y, guess = (torch.from_numpy(z / self.scale).float()[None].to(prior.device) for z in (m.y, m.guess))
        recipe = prior.shorten(m.recipe) if isinstance(prior, LatentPrior) else m.recipe
        return prior.pose(m.operator, y, m.sigma, guess=guess, recipe=recipe)

    def finish(self, x1: Tensor | None) -> Signal:
        """The restored signal `[frames]`, from a state `[1, ...]` of the flow or, without one, the guess.

        Where the sound of the state is not finite, as a network may overflow, the signal stays as it came.
        """
        estimate = self.measurement.guess
        if x1 is not None:
            estimate = self.canvas(x1)[0].double().cpu().numpy() * self.scale
        if not np.isfinite(estimate).all():
            return self.signal
        return self.damage.finish(self.measurement, self.signal, estimate, self.rate, self.canvas.rate)


def check_std(std: float) -> None:
    """Refuse what is no standard deviation of noise.

    Raises
    ------
    Misuse
        It is negative, NaN or infinite.
    """
    if not 0 <= std < math.inf:
        raise Misuse(
            f"The noise level {std} is not 0 or more.", "Give its std, full scale being 1, as in 0.01."
        )


def std_in_band(std: float, rate: int, low: int) -> float:
    """What a low-pass to the rate `low` leaves of the std of white noise.

    >>> std_in_band(1.0, 64_000, 16_000)
    0.5
    """
    return std * math.sqrt(min(1.0, low / rate))
