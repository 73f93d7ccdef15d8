"""Measurement operators y = A(x) on recordings `[batch, samples]`, one channel each.

>>> import torch
>>> x = torch.randn(2, 400)
>>> Decimate.by(4)(x).shape, Lowpass.at(0.25)(x).shape
(torch.Size([2, 100]), torch.Size([2, 400]))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.operator import (
    LinearOperator,
    Operator,
    check_measurement,
    difference,
    require_problems,
)


def require_signals(x: Tensor, operator: Operator) -> None:
    """Refuse what is not a floating batch of signals."""
    if x.ndim != 2 or not x.is_floating_point():
        raise Misuse(
            f"The operator '{operator.name}' got {str(x.dtype).removeprefix('torch.')} {list(x.shape)}.",
            "Give floating signals [batch, samples], one channel each.",
        )


# ---- one sample at a time


@dataclass(frozen=True, eq=False)
class Identity(LinearOperator):
    """y = x: all the damage is the noise."""

    kind: ClassVar[str] = "denoise"

    @property
    def local(self) -> int:
        """0: a sample sees itself."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """The recording itself."""
        require_signals(x, self)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = y."""
        return y

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """y / (1 + ridge)."""
        return y / (1 + ridge)

    def norm(self, shape: Sequence[int]) -> Tensor:
        """Always 1."""
        return torch.ones(shape[0], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Gaps(LinearOperator):
    """Lost samples, y = known * x; `known` is bool `[1 or batch, samples]`.

    >>> A = Gaps(torch.tensor([[True, False, True]]))
    >>> A(torch.tensor([[0.5, 0.6, 0.7]])).tolist()
    [[0.5, 0.0, 0.699999988079071]]
    """

    known: Tensor
    kind: ClassVar[str] = "inpaint"
    per_problem: ClassVar[tuple[str, ...]] = ("known",)

    def __post_init__(self) -> None:
        if self.known.ndim != 2 or self.known.dtype != torch.bool:
            raise Misuse(
                f"The mask is {str(self.known.dtype).removeprefix('torch.')} {list(self.known.shape)}.",
                "Give a bool mask [1 or batch, samples], True where a sample is known.",
            )

    @property
    def local(self) -> int:
        """0: a sample sees itself."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """The known samples, zero elsewhere."""
        require_signals(x, self)
        require_problems(len(self.known), x, "mask")
        if self.known.shape[1] != x.shape[1]:
            raise Misuse(
                f"The mask has {self.known.shape[1]} samples and the recording {x.shape[1]}.",
                "Give a mask of the recording.",
            )
        return torch.where(self.known, x, 0.0)

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = known * y."""
        return self(y)

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """The known samples, / (1 + ridge)."""
        return self(y) / (1 + ridge)

    def norm(self, shape: Sequence[int]) -> Tensor:
        """1, or 0 where nothing is known."""
        return self.known.any(1).double().expand(shape[0])

    def damaged(self, shape: Sequence[int]) -> Tensor:
        """The lost samples."""
        return ~self.known

    def count(self, y: Tensor) -> Tensor:
        """The number of known samples."""
        return self.known.sum(1).expand(len(y))


@dataclass(frozen=True, eq=False)
class Clip(Operator):
    """Hard clipping, y = clamp(x, -low, level); `low` is the level if None, and either may be infinite.

    A clipped sample says only that x is at or beyond the level, so `residual` is
        min(x - max(level, y), 0)    where y >= level - slack,
        max(x + max(low, -y), 0)     where y <= slack - low,
        x - y                        elsewhere:
    zero exactly where A(x) = y (slack = 0), with a gradient wherever it is not. `slack` > 0 counts samples that noise
    or dither brought a little below the level.

    >>> A = Clip(0.5)
    >>> x = torch.tensor([[0.25, 0.75]])
    >>> A(x).tolist(), A.residual(torch.tensor([[0.25, 0.9]]), A(x)).tolist()
    ([[0.25, 0.5]], [[0.0, 0.0]])
    """

    level: float = 1.0
    slack: float = 0.0
    low: float | None = None
    kind: ClassVar[str] = "declip"

    def __post_init__(self) -> None:
        if not (0 < min(self.rails) < math.inf and 0 <= self.slack < min(self.rails)):
            raise Misuse(
                f"Clipping at {self.level} with slack {self.slack} is no measurement.",
                "Give a positive level and a slack below it.",
            )

    @property
    def rails(self) -> tuple[float, float]:
        """How far a sample may lie below and above zero."""
        return self.level if self.low is None else self.low, self.level

    @property
    def local(self) -> int:
        """0: a sample sees itself."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """The clipped recording."""
        require_signals(x, self)
        low, high = self.rails
        return x.clamp(-low, high)

    def clipped(self, y: Tensor) -> Tensor:
        """Which samples of a measurement are clipped, bool in its shape."""
        low, high = self.rails
        return (y >= high - self.slack) | (y <= self.slack - low)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """One-sided at clipped samples: only an x on the wrong side of the level is penalised."""
        require_signals(x, self)
        low, high = self.rails
        above, below = (x - y.clamp(min=high)).clamp(max=0), (x - y.clamp(max=-low)).clamp(min=0)
        beyond = torch.where(y > 0, above, below)
        return torch.where(self.clipped(y), beyond, difference(x, y))


# ---- filters


@dataclass(frozen=True, eq=False)
class Convolution(LinearOperator):
    """y[i] = sum_k h[k] x[every i + delay - k], nothing beyond the ends; h is `kernel` `[1 or batch, taps]`.

    As long as x, or with `every` > 1 one sample of so many.
    """

    kernel: Tensor
    delay: int = 0
    every: int = 1
    kind: ClassVar[str] = "filter"
    per_problem: ClassVar[tuple[str, ...]] = ("kernel",)

    def __post_init__(self) -> None:
        h = self.kernel
        if h.ndim != 2 or not h.is_floating_point() or h.numel() == 0:
            raise Misuse(
                f"The filter is {str(h.dtype).removeprefix('torch.')} {list(h.shape)}.",
                "Give floating taps [1 or batch, taps].",
            )
        if not bool(torch.isfinite(h).all()) or not bool((h != 0).any(1).all()):
            raise Misuse("The filter is not finite, or all zero.", "Give another impulse response.")

    @property
    def local(self) -> int:
        """The taps on the longer side."""
        return max(self.delay, self.kernel.shape[1] - 1 - self.delay)

    @property
    def stride(self) -> int:
        """Samples of x per sample of y."""
        return self.every

    def _product(self, x: Tensor, conjugate: bool, shift: int) -> Tensor:
        """x filtered by h or by its reversal, moved by `shift`, as long as x."""
        n = x.shape[1] + self.kernel.shape[1] + abs(shift)
        n = 1 << (n - 1).bit_length()
        h = torch.fft.rfft(self.kernel.to(x), n)
        full: Tensor = torch.fft.irfft(torch.fft.rfft(x, n) * (h.conj() if conjugate else h), n)
        return full.roll(-shift, 1)[:, : x.shape[1]]

    def __call__(self, x: Tensor) -> Tensor:
        """The filtered recording."""
        require_signals(x, self)
        require_problems(len(self.kernel), x, "filter")
        if x.shape[1] % self.every:
            raise Misuse(
                f"{x.shape[1]} samples are no multiple of {self.every}.", "Pad the recording to a multiple."
            )
        return self._product(x, False, self.delay)[:, :: self.every]

    def adjoint(self, y: Tensor) -> Tensor:
        """The reversed filter after zeros between the samples."""
        apart = y.new_zeros(len(y), y.shape[1], self.every)
        apart[..., 0] = y
        return self._product(apart.flatten(1), True, -self.delay)


class Lowpass(Convolution):
    """Band-limiting alone: the rate stays, what lies above the cutoff is lost."""

    kind: ClassVar[str] = "band-limit"

    @classmethod
    def at(cls, cutoff: float, taps: int = 255) -> Self:
        """The linear-phase low-pass with half its gain at `cutoff`, as a share of the Nyquist frequency."""
        if not 0 < cutoff < 1:
            raise Misuse(f"The cutoff {cutoff} is no share of the Nyquist frequency.", "Give 0 to 1.")
        return cls(lowpass_taps(cutoff, taps)[None], taps // 2)


class Decimate(Convolution):
    """Band-limiting, then every n-th sample: what a lower sampling rate leaves."""

    kind: ClassVar[str] = "upsample"

    @classmethod
    def by(cls, factor: int) -> Self:
        """Decimation with the low-pass of `lowpass_taps` at 1 / factor, 20 taps per kept sample."""
        if factor < 2:
            raise Misuse(f"Decimation by {factor} does nothing.", "Give at least 2.")
        taps = 20 * factor + 1
        return cls(lowpass_taps(1 / factor, taps)[None], taps // 2, factor)


class Reverb(Convolution):
    """A room or a device with a known impulse response, `[taps]`; the tap number `delay` is that of no delay."""

    kind: ClassVar[str] = "dereverb"

    @classmethod
    def of(cls, impulse: Tensor, delay: int = 0) -> Self:
        """The reverberation with this impulse response, as it is (its level is kept)."""
        return cls(impulse.reshape(1, -1), delay)


def lowpass_taps(cutoff: float, taps: int) -> Tensor:
    """A windowed sinc `[taps]`, float64, gain 1 at zero: sinc(cutoff n) Kaiser(5.0), `cutoff` in Nyquist frequencies.

    Source: Oppenheim and Schafer, Discrete-Time Signal Processing, sec. 7.5.

    >>> lowpass_taps(0.5, 11).sum().item()
    1.0
    """
    n = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    h = torch.sinc(cutoff * n) * torch.kaiser_window(taps, periodic=False, beta=5.0, dtype=torch.float64)
    return h / h.sum()


# ---- the user's own


@dataclass(frozen=True, eq=False)
class UserOperator(Operator):
    """y = function(x), `[batch, samples]` -> floating `[batch, ...]`, checked at every call.

    >>> A = UserOperator(torch.tanh, "tube")
    >>> A.name, A(torch.zeros(1, 2)).tolist()
    ('tube', [[0.0, 0.0]])
    """

    function: Callable[[Tensor], Any]
    title: str = "user"
    kind: ClassVar[str] = "restore"

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    def __call__(self, x: Tensor) -> Tensor:
        """What the function makes of x, checked."""
        require_signals(x, self)
        return check_measurement(self.function(x), x, self.name)


# name -> how to make an instance for signals of n samples (a multiple of 8, at least 32)
CATALOGUE: Mapping[str, Callable[[int], Operator]] = {
    "denoise": lambda n: Identity(),
    "inpaint": lambda n: Gaps((torch.arange(n) < n // 2)[None] | (torch.arange(n) > 3 * n // 4)),
    "declip": lambda n: Clip(0.4),
    "band-limit": lambda n: Lowpass.at(0.5, 31),
    "upsample x2": lambda n: Decimate.by(2),
    "upsample x4": lambda n: Decimate.by(4),
    "upsample x8": lambda n: Decimate.by(8),
    "dereverb": lambda n: Reverb.of(torch.exp(-torch.arange(24.0) / 6) * torch.cos(1.7 * torch.arange(24.0))),
    "restore": lambda n: UserOperator(torch.tanh, "tube"),
}
"""The one list of operators: the property tests walk it."""
