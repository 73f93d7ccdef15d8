"""Blur: convolution with a kernel, and what happens at the border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.image.operators.base import require_images
from headwater.image.operators.kernels import as_kernel
from headwater.problem.operator import LinearOperator, require_problems

BOUNDARIES = ("reflect", "circular", "valid")


@dataclass(frozen=True, eq=False)
class Blur(LinearOperator):
    """A convolution, y = k * P x with P the padding: [batch, c, h, w] -> the same, smaller if "valid".

    Parameters
    ----------
    kernel
        [kh, kw], or [batch, kh, kw] with one per problem; odd sizes, divided by its sum. See `kernels`.
    boundary
        "reflect": mirrored about the border pixel; "circular": the image continues at the opposite side; "valid":
        only where the kernel fits, [h - kh + 1, w - kw + 1].

    Raises
    ------
    Misuse
        On a kernel that `as_kernel` refuses or that is larger than the image, and on another boundary.

    Notes
    -----
    Computed by FFT on the padded image, so that the cost hardly depends on the kernel; the adjoint is the
    correlation, then the padding folded back.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> A = hw.image.Blur(torch.tensor([[1.0, 2.0, 1.0]]))
    >>> A(torch.tensor([0.0, 0.0, 4.0, 0.0, 0.0]).reshape(1, 1, 1, 5)).round(decimals=4).flatten().tolist()
    [0.0, 1.0, 2.0, 1.0, 0.0]
    """

    kernel: Tensor
    boundary: str = "reflect"
    kind: ClassVar[str] = "deblur"
    per_problem: ClassVar[tuple[str, ...]] = ("kernel",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", as_kernel(self.kernel))
        if self.boundary not in BOUNDARIES:
            raise Misuse(
                f"There is no boundary called {self.boundary!r}.", suggest(self.boundary, BOUNDARIES)
            )

    @property
    def local(self) -> int | None:
        """The radius of the kernel; twice that if "valid", whose y begins inside; None if circular."""
        radius = (max(self.kernel.shape[-2:]) - 1) // 2
        return {"reflect": radius, "circular": None, "valid": 2 * radius}[self.boundary]

    def __call__(self, x: Tensor) -> Tensor:
        """The blurred images k * P x of x `[batch, c, h, w]`: the same shape, smaller if "valid"."""
        require_images(x, self)
        require_problems(self.kernel.shape[0], x, "kernel")
        rows, columns = self._padding(x.shape)
        padded = x[..., rows.to(x.device), :][..., columns.to(x.device)]
        transfer = self._transfer(padded.shape, padded)
        blurred: Tensor = torch.fft.irfft2(transfer * torch.fft.rfft2(padded), s=padded.shape[-2:])
        kh, kw = self.kernel.shape[-2:]
        return blurred[..., kh - 1 :, kw - 1 :]  # where nothing has wrapped around

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = P' (k correlated with y), `[batch, c, h, w]` of x."""
        kh, kw = self.kernel.shape[-2:]
        full = torch.nn.functional.pad(y, (kw - 1, 0, kh - 1, 0))
        # correlation is the conjugate in the Fourier domain: the adjoint of the convolution on the padded image
        spectrum = self._transfer(full.shape, full).conj() * torch.fft.rfft2(full)
        spread: Tensor = torch.fft.irfft2(spectrum, s=full.shape[-2:])
        h, w = y.shape[-2:]
        if self.boundary == "valid":
            h, w = full.shape[-2:]
        rows, columns = (index.to(y.device) for index in self._padding((h, w)))
        # P': what several places of the padding repeat is added up where it came from
        folded = spread.new_zeros(*spread.shape[:-2], h, spread.shape[-1]).index_add(-2, rows, spread)
        return folded.new_zeros(*folded.shape[:-2], h, w).index_add(-1, columns, folded)

    def pinv(self, y: Tensor, *, ridge: float = 1e-3) -> Tensor:
        """conj(K) Y / (|K|^2 + ridge) in the Fourier domain if circular; else by conjugate gradients.

        y `[batch, c, h, w]`; the result has the shape of x.
        """
        if self.boundary != "circular":
            return self.pseudo_inverse(y, ridge=ridge)
        transfer = self._centred(y.shape, y)
        power = transfer.abs().square() + ridge
        floor = torch.finfo(y.dtype).eps ** 2  # what the blur has wiped out stays zero
        spectrum = transfer.conj() * torch.fft.rfft2(y) / power.clamp_min(floor)
        x: Tensor = torch.fft.irfft2(spectrum, s=y.shape[-2:])
        return x

    def norm(self, shape: Sequence[int]) -> Tensor:
        """The maximum of |K| if circular; else by power iteration. `[batch]`."""
        if self.boundary != "circular":
            return super().norm(shape)
        transfer = self._centred(shape, self.kernel)
        return transfer.abs().flatten(1).amax(1).cpu().expand(shape[0])

    def _padding(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Which row and column of x each row and column of P x repeats."""
        kh, kw = self.kernel.shape[-2:]
        h, w = shape[-2:]
        if kh > h or kw > w:
            raise Misuse(
                f"The kernel is {kh} x {kw} pixels but the image only {h} x {w}.",
                "Give a kernel that is not larger than the image.",
            )
        return _border(h, kh // 2, self.boundary), _border(w, kw // 2, self.boundary)

    def _transfer(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """The spectrum of the kernel in the top left corner of an image of `shape`."""
        spectrum: Tensor = torch.fft.rfft2(self.kernel.to(like)[:, None], s=(shape[-2], shape[-1]))
        return spectrum

    def _centred(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """The same with the middle of the kernel at the origin: the eigenvalues of the circular blur."""
        self._padding(shape)
        kh, kw = self.kernel.shape[-2:]
        h, w = shape[-2:]
        padded = torch.nn.functional.pad(self.kernel.to(like)[:, None], (0, w - kw, 0, h - kh))
        spectrum: Tensor = torch.fft.rfft2(padded.roll((-(kh // 2), -(kw // 2)), (-2, -1)))
        return spectrum


def _border(size: int, radius: int, boundary: str) -> Tensor:
    if boundary == "valid":
        return torch.arange(size)
    index = torch.arange(-radius, size + radius)
    if boundary == "circular":
        return index % size
    return (size - 1) - (size - 1 - index.abs()).abs()
