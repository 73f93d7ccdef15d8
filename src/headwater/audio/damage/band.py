"""A lost upper band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from headwater.audio.damage.base import Measurement, Uniform
from headwater.audio.io.channels import Signal
from headwater.audio.io.resample import resample, upsample
from headwater.audio.latent import LatentPrior
from headwater.audio.operators import Lowpass
from headwater.audio.prior import Prior
from headwater.audio.signal.slope import limit_slope
from headwater.errors import Misuse

LOWEST_CUTOFF = 100.0
"""Hz; whoever gives less means kHz."""


@dataclass(frozen=True)
class BandLimit(Uniform):
    """A low-pass at `cutoff` Hz: the band below is as it was, the one above is lost.

    It is the same in all channels of a recording `[frames, channels]`.

    Parameters
    ----------
    cutoff
        Where the band ends, Hz. `undo_damage` refuses one below 100 Hz, or above half the rate of the prior (8000 Hz
        for `music16`).

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> times = torch.arange(1600, dtype=torch.float64) / 16_000  # seconds
    >>> tones = torch.stack([torch.sin(2 * torch.pi * f * times) for f in (1000, 6000)])  # [2, samples]
    >>> hw.audio.BandLimit(4000.0).lowpass(16_000)(tones).std(1).round(decimals=1).tolist()
    [0.7, 0.0]
    """

    cutoff: float
    mixes: ClassVar[bool] = True

    def measure(self, x: Signal, rate: int, prior: Prior | LatentPrior, scale: float) -> Measurement:
        """The low-pass of a signal `[frames]` at the prior's rate; arguments as of `Damage.measure`.

        Raises
        ------
        Misuse
            The cutoff leaves nothing to go by, or is beyond the band of the prior.
        """
        self.check(prior.rate)
        guess = resample(x - x.mean(), rate, prior.rate)
        lowpass = self.lowpass(prior.rate)
        y = lowpass(torch.from_numpy(guess)[None])[0].numpy()
        return Measurement(operator=lowpass, y=y, sigma=0.0, guess=guess)

    def check(self, low: int) -> None:
        """Refuse a cutoff that leaves nothing to go by, or is beyond the band of a prior at the rate `low`, Hz.

        Raises
        ------
        Misuse
            The cutoff is such.
        """
        if 0 < self.cutoff < LOWEST_CUTOFF:
            raise Misuse(
                f"A cutoff of {self.cutoff:g} Hz leaves nothing to go by.",
                f"Give one from {LOWEST_CUTOFF:g} Hz on, as in 4000 or 4kHz.",
            )
        if not 0 < self.cutoff < low / 2:
            raise Misuse(
                f"A cutoff of {self.cutoff:g} Hz leaves the model nothing to add.",
                f"Give one between {LOWEST_CUTOFF:g} and {low // 2} Hz, the end of the model's band.",
            )

    def lowpass(self, low: int) -> Lowpass:
        """The operator on signals `[batch, samples]` at the rate `low`, Hz; it falls within 200 Hz at any rate."""
        return Lowpass.with_cutoff(2 * self.cutoff / low, taps=2 * round(127 * low / 16_000) + 1)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The signal `[frames]` and, above the cutoff, what the estimate has there, as the spectrum falls below."""
        lowpass = self.lowpass(low)
        reach = min(lowpass.local, len(estimate) - 1)
        e = torch.from_numpy(np.pad(estimate, reach, mode="reflect"))[None]  # no click at the ends
        above = (e - lowpass(e))[0].numpy()[reach : reach + len(estimate)]
        return x + upsample(limit_slope(above, measurement.y, self.cutoff, low), low, rate, len(x))
