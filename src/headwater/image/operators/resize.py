"""Super-resolution: y is x made smaller by a whole factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.image.operators.base import require_images
from headwater.problem.operator import LinearOperator

METHODS = ("area", "decimate", "bicubic")


@dataclass(frozen=True, eq=False)
class SuperResolution(LinearOperator):
    """An image made smaller, y = W_h x W_w^T: [batch, c, h, w] -> [batch, c, h/factor, w/factor].

    Parameters
    ----------
    factor
        Pixels of x per pixel of y along each axis, a whole number of at least 1.
    method
        "area": the mean of each factor x factor box; "decimate": its top-left pixel; "bicubic": Keys' kernel
        with a = -0.5, widened by the factor against aliasing, cut off and renormalised at the border, as
        Pillow does.

    Raises
    ------
    Misuse
        On a factor below 1 or not whole, another method, or an image whose size the factor does not divide.

    Notes
    -----
    The map is separable, so `pinv` and `norm` come from the singular values of the two small matrices. The
    pseudo-inverse is replication for "area" and scattering for "decimate".

    References
    ----------
    Keys 1981, Cubic convolution interpolation for digital image processing, eq. 4 and 15.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> hw.image.SuperResolution(2)(x).item(), hw.image.SuperResolution(2, "decimate")(x).item()
    (1.5, 0.0)
    """

    factor: int
    method: str = "area"
    kind: ClassVar[str] = "upscale"

    def __post_init__(self) -> None:
        if not isinstance(self.factor, int) or self.factor < 1:
            raise Misuse(
                f"An image cannot be upscaled by a factor of {self.factor!r}.",
                "Give a whole number of at least 1, such as 2 or 4.",
            )
        if self.method not in METHODS:
            raise Misuse(f"There is no downsampling called {self.method!r}.", suggest(self.method, METHODS))

    @property
    def name(self) -> str:
        """For example "upscale x2 (area)"."""
        return f"{self.kind} x{self.factor} ({self.method})"

    @property
    def local(self) -> int:
        """The factor, or three times the factor for the wider bicubic kernel."""
        return 3 * self.factor if self.method == "bicubic" else self.factor

    @property
    def stride(self) -> int:
        """The factor."""
        return self.factor

    def __call__(self, x: Tensor) -> Tensor:
        """The small images W_h x W_w^T, `[batch, c, h/factor, w/factor]` of x `[batch, c, h, w]`."""
        require_images(x, self)
        self._require_divisible(x.shape)
        rows, columns = self._matrices(x.shape[-2], x.shape[-1], x)
        return rows @ x @ columns.mT

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = W_h^T y W_w: `[batch, c, h/factor, w/factor]` -> `[batch, c, h, w]`."""
        rows, columns = self._matrices(y.shape[-2] * self.factor, y.shape[-1] * self.factor, y)
        return rows.mT @ y @ columns

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """V_h (s U_h^T y U_w / (s^2 + ridge)) V_w^T, s the products of the singular values of W_h and W_w.

        `[batch, c, h/factor, w/factor]` -> `[batch, c, h, w]`.
        """
        (u, a, v), (p, b, q) = (
            tuple(part.to(y) for part in _cached_svd(self.method, size * self.factor, self.factor))
            for size in y.shape[-2:]
        )
        s = a[:, None] * b
        return v.mT @ (s * (u.mT @ y @ p) / (s.square() + ridge)) @ q

    def norm(self, shape: Sequence[int]) -> Tensor:
        """The product of the largest singular values of W_h and W_w, `[batch]`."""
        self._require_divisible(shape)
        (_, a, _), (_, b, _) = (_cached_svd(self.method, size, self.factor) for size in shape[-2:])
        return (a[0] * b[0]).expand(shape[0])

    def _matrices(self, h: int, w: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """W_h and W_w for x of h x w pixels."""
        kind = (like.dtype, like.device)
        return _cached_matrix(self.method, h, self.factor, *kind), _cached_matrix(
            self.method, w, self.factor, *kind
        )

    def _require_divisible(self, shape: Sequence[int]) -> None:
        h, w = shape[-2:]
        if h % self.factor or w % self.factor:
            raise Misuse(
                f"An image of {h} x {w} pixels cannot be shrunk by a factor of {self.factor} exactly.",
                f"Crop it to {h - h % self.factor} x {w - w % self.factor}, or choose another factor.",
            )


def keys_kernel(s: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5, zero beyond 2.

    >>> keys_kernel(torch.tensor([0.0, 1.0, 1.5, 2.5])).tolist()
    [1.0, 0.0, -0.0625, 0.0]
    """
    a, s = -0.5, s.abs()  # of all a, -1/2 alone has an interpolation error of third order (Keys 1981)
    near = (a + 2) * s**3 - (a + 3) * s**2 + 1
    far = a * (s**3 - 5 * s**2 + 8 * s - 4)
    return torch.where(s <= 1, near, torch.where(s < 2, far, torch.zeros_like(s)))


def shrinking_matrix(method: str, size: int, factor: int) -> Tensor:
    """The matrix W, float64 [size / factor, size], that shrinks one axis; every row adds up to 1.

    >>> shrinking_matrix("area", 4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    i = torch.arange(size // factor, dtype=torch.float64)[:, None]
    j = torch.arange(size, dtype=torch.float64)
    if method == "decimate":
        return (j == factor * i).double()
    if method == "area":
        return (j.div(factor, rounding_mode="floor") == i).double() / factor
    centre = (i + 0.5) * factor - 0.5  # of output pixel i, in pixels of the input
    weights = keys_kernel((j - centre) / factor)
    return weights / weights.sum(1, keepdim=True)


@lru_cache(maxsize=16)
def _cached_matrix(method: str, size: int, factor: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same, kept where it is used."""
    with torch.inference_mode(False):  # what is kept must serve gradients later
        return shrinking_matrix(method, size, factor).to(device, dtype)


@lru_cache(maxsize=16)
def _cached_svd(method: str, size: int, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """U, s, V^T of the shrinking matrix."""
    with torch.inference_mode(False):
        u, s, v = torch.linalg.svd(shrinking_matrix(method, size, factor), full_matrices=False)
        return u, s, v
