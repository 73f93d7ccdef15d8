"""Hard clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.audio.damage.base import Measurement
from headwater.audio.io.channels import Signal
from headwater.audio.io.resample import interpolate_spectrum, resample, upsample
from headwater.audio.latent import LatentPrior
from headwater.audio.operators import Clip
from headwater.audio.prior import Prior
from headwater.audio.signal.sparse import declip_by_sparsity
from headwater.errors import Misuse
from headwater.problem.compose import compose


@dataclass(frozen=True, eq=False)
class HigherRate:
    """x -> x at a higher rate, plus a known high band: the recording of which a flow makes the low band.

    Parameters
    ----------
    low, rate
        The rates of x and of the result, Hz.
    high
        The band above, `[1, samples]`; the result is as long.
    """

    low: int
    rate: int
    high: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Signals `[batch, samples at the higher rate]`."""
        return interpolate_spectrum(x, self.low, self.rate, self.high.shape[1]) + self.high.to(x)


Rails = tuple[tuple[float, float], ...]
"""How far below and above zero the rails of each channel lie."""


@dataclass(frozen=True)
class Clipping:
    """Hard clipping of a recording `[frames, channels]`: a sample near a rail was at least there.

    The flow of today does not improve what sparsity finds (the benchmark audio_declip).

    Parameters
    ----------
    rails
        How far below and above zero the rails lie, full scale being 1: one pair for all channels, or one for each.
        Infinite where nothing is clipped.
    slack
        How near to a rail a sample is clipped, relative to the rail.
    regions
        Where the recording is clipped, each with rails of its own: the first frame, the one after the last, and the
        rails as above. Without any, all of it is, at `rails`.

    Raises
    ------
    Misuse
        There are no rails, one is not above 0, or the slack is not from 0 to below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> hw.audio.Clipping.at_level(0.5).clipped(np.array([0.1, 0.5, -0.5])).tolist()
    [False, True, True]
    >>> uneven = hw.audio.Clipping(rails=((0.4, 0.5),))  # 0.4 below zero, 0.5 above
    >>> uneven.clipped(np.array([0.4, -0.4])).tolist()
    [False, True]
    """

    rails: Rails
    slack: float = 1e-4
    regions: tuple[tuple[int, int, Rails], ...] | None = None
    reach: ClassVar[float] = 0.0
    mixes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.rails:
            raise Misuse("There are no rails.", "Give (below, above) for all channels, or a pair for each.")
        for low, high in self.rails:
            if not (low > 0 and high > 0):
                raise Misuse(
                    f"The rails {low:g} below and {high:g} above zero are not both positive.",
                    "Give how far they lie from zero, full scale being 1, as in 0.9.",
                )
        if not 0 <= self.slack < 1:
            raise Misuse(
                f"A slack of {self.slack} is not from 0 to below 1.", "Give a share of the rail, as in 1e-4."
            )

    @classmethod
    def at_level(cls, level: float, slack: float = 1e-4) -> Clipping:
        """Clipping at `level`, full scale being 1, on both sides of zero and in every channel.

        Raises
        ------
        Misuse
            The level is not above 0.
        """
        if not level > 0:
            raise Misuse(f"The level {level} is not above 0.", "Give it with full scale being 1, as in 0.9.")
        return cls(((level, level),), slack)

    @classmethod
    def in_regions(cls, regions: Sequence[tuple[int, int, Rails]], slack: float = 1e-4) -> Clipping:
        """Clipping in some regions only, at least one; arguments as of the class.

        Raises
        ------
        Misuse
            There is no region, or their rails are of different numbers of channels.
        """
        if not regions:
            raise Misuse("There is no region.", "Give at least one, or use Clipping.at_level.")
        if len({len(rails) for _, _, rails in regions}) > 1:
            raise Misuse(
                "The rails of the regions are of different numbers of channels.",
                "Give one pair for all channels, or one for each, in every region.",
            )
        lowest = np.min([rails for _, _, rails in regions], axis=0)
        return cls(tuple((float(low), float(high)) for low, high in lowest), slack, tuple(regions))

    def for_segment(self, first: int, last: int) -> Clipping:
        """The regions from the frame `first` to before the frame `last`, counted from `first`."""
        if self.regions is None:
            return self
        here = tuple((a - first, b - first, rails) for a, b, rails in self.regions if a < last and b > first)
        return replace(self, regions=here)

    def for_signal(self, number: int, begins: bool) -> Clipping:
        """The clipping of the channel `number`.

        Raises
        ------
        Misuse
            There are no rails for this channel.
        """
        if len(self.rails) == 1:
            return self
        if number >= len(self.rails):
            raise Misuse(
                f"There are rails of {len(self.rails)} channels, and the recording has more.",
                "Give one pair for all channels, or one for each.",
            )
        regions = self.regions and tuple((a, b, rails[number : number + 1]) for a, b, rails in self.regions)
        return replace(self, rails=self.rails[number : number + 1], regions=regions)

    def clipped(self, x: Signal) -> NDArray[np.bool_]:
        """Which samples of a channel x `[frames]` are clipped, bool `[frames]`."""
        if self.regions is None:
            return self._beyond(x, self.rails[0])
        found = np.zeros(len(x), dtype=bool)
        for a, b, rails in self.regions:
            part = slice(max(a, 0), max(b, 0))
            found[part] |= self._beyond(x[part], rails[0])
        return found

    def _beyond(self, x: Signal, rails: tuple[float, float]) -> NDArray[np.bool_]:
        low, high = rails
        return np.asarray((x >= high * (1 - self.slack)) | (x <= -low * (1 - self.slack)))

    def measure(self, x: Signal, rate: int, prior: Prior | LatentPrior, scale: float) -> Measurement | None:
        """The clipping of a signal `[frames]` at its own rate; arguments as of `Damage.measure`.

        The operator clips the sum of the low band and the high band of the rough estimate.
        """
        if not self.clipped(x).any():
            return None
        rough = declip_by_sparsity(x, self.clipped(x), rate)
        guess = resample(rough, rate, prior.rate)
        below, above = (rail / scale for rail in self.rails[0])
        operator = Clip(above, self.slack * min(below, above), below)
        if rate != prior.rate:
            low_band = interpolate_spectrum(torch.from_numpy(guess)[None], prior.rate, rate, len(x))
            high = torch.from_numpy(rough)[None] - low_band
            operator = compose(operator, HigherRate(prior.rate, rate, high / scale))
        return Measurement(operator=operator, y=x, sigma=0.0, guess=guess, rough=rough, improvable=False)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The signal `[frames]` with other clipped samples, none nearer to zero than it was.

        They are the guess, and what the estimate changed of it.
        """
        assert measurement.rough is not None
        found = measurement.rough + upsample(estimate - measurement.guess, low, rate, len(x))
        sign = np.sign(x)
        return np.where(self.clipped(x), sign * np.maximum(sign * found, np.abs(x)), x)
