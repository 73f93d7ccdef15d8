"""Damage that a function of the user's describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from headwater.audio.damage.base import Measurement, Uniform
from headwater.audio.io.channels import Signal
from headwater.audio.io.resample import resample, upsample
from headwater.audio.operators import UserOperator
from headwater.audio.prior import Prior


@dataclass(frozen=True)
class UserDamage(Uniform):
    """A user's own operator at the prior's rate; what lies above the prior's band stays as it is.

    Parameters
    ----------
    function
        Of signals `[batch, samples]`, full scale being 1; differentiable.
    noise
        The std of white noise in the recording, full scale being 1.
    """

    function: Callable[[Tensor], Tensor]
    noise: float = 0.0

    def measure(self, x: Signal, rate: int, prior: Prior, scale: float) -> Measurement:
        """The function of the recording in its own units."""
        y = resample(x, rate, prior.rate)
        operator = UserOperator(lambda z: self.function(z * scale) / scale)
        return Measurement(operator=operator, y=y, sigma=self.noise / scale, guess=y)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The estimate, and the high band as it came."""
        high = x - upsample(resample(x, rate, low), low, rate, len(x)) if rate > low else 0.0
        return upsample(estimate, low, rate, len(x)) + high
