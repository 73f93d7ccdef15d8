"""Damage that a function of the user's describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from headwater.audio.damage.base import Measurement, Uniform, check_std
from headwater.audio.io.channels import Signal
from headwater.audio.io.resample import resample, upsample
from headwater.audio.latent import LatentPrior
from headwater.audio.operators import UserOperator
from headwater.audio.prior import Prior


@dataclass(frozen=True)
class UserDamage(Uniform):
    """A user's own operator at the prior's rate; what lies above the prior's band stays as it is.

    Parameters
    ----------
    function
        Of signals `[batch, samples]` at the prior's rate (16000 Hz for `music16`), full scale being 1: what a
        recording without damage becomes, `[batch, ...]`. It is made of differentiable torch operations.
    noise
        The std of white noise in the recording, full scale being 1.

    Raises
    ------
    Misuse
        The noise is negative, NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> tube = hw.audio.UserDamage(lambda x: torch.tanh(3 * x) / 3, noise=0.001)
    >>> tube.function(torch.tensor([[0.0, 0.1, 1.0]], dtype=torch.float64)).round(decimals=2).tolist()
    [[0.0, 0.1, 0.33]]
    """

    function: Callable[[Tensor], Tensor]
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_std(self.noise)

    def measure(self, x: Signal, rate: int, prior: Prior | LatentPrior, scale: float) -> Measurement:
        """The function of a signal `[frames]` in its own units; arguments as of `Damage.measure`."""
        y = resample(x, rate, prior.rate)
        operator = UserOperator(lambda z: self.function(z * scale) / scale)
        return Measurement(operator=operator, y=y, sigma=self.noise / scale, guess=y)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The estimate at the recording's rate `[frames]`, and the high band of x as it came."""
        high = x - upsample(resample(x, rate, low), low, rate, len(x)) if rate > low else 0.0
        return upsample(estimate, low, rate, len(x)) + high
