"""White noise."""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.audio.damage.base import Measurement, Uniform, std_in_band
from headwater.audio.io.channels import Signal
from headwater.audio.io.resample import resample, upsample
from headwater.audio.prior import Prior, warm_start
from headwater.audio.signal.suppression import subtract_noise, wiener_filter
from headwater.problem.operator import Identity
from headwater.recipes.warm_start import WarmStart


@dataclass(frozen=True)
class Noise(Uniform):
    """White noise.

    Parameters
    ----------
    std
        Its standard deviation, full scale being 1.
    recipe
        With new noise only, the estimate is near the mean of what is likely: under noise a draw only adds to the
        error. A misfit of 2 suffices, as the filter finishes the estimate: what gradients then still change is lost
        there. Both were chosen on validation clips (docs/notes/audio.md).
    """

    std: float
    recipe: WarmStart = field(default_factory=lambda: warm_start(fresh=1.0, tau=2.0))

    def measure(self, x: Signal, rate: int, prior: Prior, scale: float) -> Measurement:
        """The identity; noise that is finer than what the flow resolves is left to the filter."""
        rough, sigma = subtract_noise(x, self.std, rate), std_in_band(self.std, rate, prior.rate) / scale
        y, guess = (resample(z - x.mean(), rate, prior.rate) for z in (x, rough))
        improvable = sigma >= prior.resolution
        return Measurement(
            operator=Identity(),
            y=y,
            sigma=sigma,
            guess=guess,
            rough=rough,
            improvable=improvable,
            recipe=self.recipe,
        )

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """Wiener's filter; the pilot is the mean of spectral subtraction, and of it after the estimate."""
        assert measurement.rough is not None
        e = upsample(estimate, low, rate, len(x))
        pilot = (measurement.rough + e + subtract_noise(x - e, self.std, rate)) / 2
        return wiener_filter(x, pilot, self.std, rate)
