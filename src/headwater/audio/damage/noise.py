"""Noise, white or of a known spectrum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from headwater.audio.damage.base import Measurement, Uniform, check_std, std_in_band
from headwater.audio.io.channels import Signal
from headwater.audio.io.resample import resample, upsample
from headwater.audio.latent import LatentPrior
from headwater.audio.operators import Whiten
from headwater.audio.prior import Prior, warm_start
from headwater.audio.signal.suppression import subtract_noise, wiener_filter
from headwater.errors import Misuse
from headwater.problem.operator import Identity, Operator
from headwater.recipes.warm_start import WarmStart


@dataclass(frozen=True)
class Noise(Uniform):
    """Noise that does not change with time, the same in all channels of a recording `[frames, channels]`.

    Parameters
    ----------
    std
        Its standard deviation, full scale being 1: 0.01 is -40 dB.
    gain
        By how much it is louder, in power, at frequencies evenly spaced from 0 to half the recording's rate, with a
        mean of 1, `[frequencies]`. None is white noise.
    recipe
        With new noise only, the estimate is near the mean of what is likely: under noise a draw only adds to the
        error. A misfit of 2 suffices, as the filter finishes the estimate: what gradients then still change is lost
        there. Both were chosen on validation clips (docs/notes/audio.md).

    Raises
    ------
    Misuse
        The standard deviation is negative, NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> hw.audio.Noise(0.01).gain is None  # white
    True
    >>> hum = hw.audio.Noise.from_profile(np.array([0.0, 8.0, 0.0, 0.0]))  # all in one of four bands
    >>> round(hum.std, 3), hum.gain.tolist()
    (1.414, [0.0, 4.0, 0.0, 0.0])
    """

    std: float
    gain: Signal | None = field(default=None, compare=False)
    recipe: WarmStart = field(default_factory=lambda: warm_start(fresh=1.0, tau=2.0))

    def __post_init__(self) -> None:
        check_std(self.std)

    @classmethod
    def from_profile(cls, power: Signal) -> Noise:
        """Noise of a known power at each frequency, as `signal.noise_level.estimate_profile` measures it.

        Parameters
        ----------
        power
            At frequencies evenly spaced from 0 to half the recording's rate, `[frequencies]`. Its mean is the
            variance of the noise, full scale being 1.

        Raises
        ------
        Misuse
            The powers are no row of finite numbers from 0 on.
        """
        power = np.asarray(power, dtype=np.float64)
        if power.ndim != 1 or not power.size or not (np.isfinite(power) & (power >= 0)).all():
            raise Misuse(
                f"A profile of shape {list(power.shape)} is no row of powers from 0 on.",
                "Give the power of the noise at each frequency, [frequencies].",
            )
        mean = float(power.mean())
        return cls(mean**0.5, power / mean if mean else None)

    def measure(self, x: Signal, rate: int, prior: Prior | LatentPrior, scale: float) -> Measurement:
        """The signal `[frames]` at the prior's rate, whitened if the noise is not; arguments as of `Damage.measure`.

        Noise too fine for the flow is left to the filter.
        """
        rough = subtract_noise(x, self.std, rate, self.gain)
        y, guess = (resample(z - x.mean(), rate, prior.rate) for z in (x, rough))
        operator, std = self.whiten(rate, prior.rate)
        sigma = std / scale
        return Measurement(
            operator=operator,
            y=operator(torch.from_numpy(y)[None])[0].numpy(),
            sigma=sigma,
            guess=guess,
            rough=rough,
            improvable=self.gain is None and sigma >= prior.resolution,
            recipe=self.recipe,
        )

    def whiten(self, rate: int, low: int) -> tuple[Operator, float]:
        """The operator at the rate `low` (Hz) under which the noise is white, and the std that it then has there.

        `rate` is the recording's, Hz; full scale is 1. Above its band there is no noise, and the profile goes on as
        it ends.
        """
        std = std_in_band(self.std, rate, low)
        if self.gain is None:
            return Identity(), std
        count = round((len(self.gain) - 1) * low / rate) + 1
        gain = np.pad(self.gain, (0, max(count - len(self.gain), 0)), mode="edge")[:count]
        power = torch.from_numpy(np.maximum(gain, 0.0))
        mean = float(power.mean())
        return (Whiten.from_profile(power / mean), std * mean**0.5) if mean else (Identity(), std)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The signal `[frames]` after Wiener's filter.

        Its pilot is the mean of spectral subtraction, and of it after the estimate.
        """
        assert measurement.rough is not None
        e = upsample(estimate, low, rate, len(x))
        pilot = (measurement.rough + e + subtract_noise(x - e, self.std, rate, self.gain)) / 2
        return wiener_filter(x, pilot, self.std, rate, self.gain)
