"""A blur whose kernel is not known: not negative, adding up to 1, of a given size, and smooth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from headwater.errors import Misuse
from headwater.image.operators.blur import Blur
from headwater.image.operators.kernels import gaussian_kernel
from headwater.recipes.blind.unknown import Unknown

POINT = 0.35
"""The share of a kernel in its largest pixel above which it is no blur; of a Gaussian of 1 pixel it is 0.16."""


@dataclass(frozen=True)
class UnknownBlur(Unknown):
    """y = k * x with an unknown kernel k of size x size pixels: k = softmax(phi), phi `[batch, size^2]`.

    The softmax keeps k on the simplex. The prior is that of a smooth kernel: the differences of neighbouring entries,
    and of those at the border to zero, are N(0, spread^2). `fit` minimises

        sum |D (k * x - y)|^2 / (2 s^2) + |D k|^2 / (2 spread^2),   s^2 = 2 sigma_y^2 / channels,

    over the simplex, with D the differences of the grey pictures across and down, where the kernel fits into the
    picture, so that no border is guessed. Differences whiten what x1 gets wrong, whose spectrum is that of pictures
    (Cho & Lee 2009). A picture may be moved against its kernel: after each fit the kernel is moved by whole pixels
    until its centre of mass is in the middle.

    Parameters
    ----------
    size
        Odd edge length of the kernel in pixels, from 3 to 63. Give one that is surely large enough.
    spread
        Of the prior, in units of the kernel's entries.
    start_std
        Standard deviation in pixels of the Gaussian to begin with.
    boundary
        As of `Blur`.

    Raises
    ------
    Misuse
        The size is not odd or out of range, or the spread or the start is not positive.

    References
    ----------
    Cho & Lee, "Fast motion deblurring", ACM TOG 28 (2009), section 4, for the kernel from differences; Levin et al.,
    CVPR 2009, for the degenerate answer; Duchi et al., ICML 2008, for the projection onto the simplex.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> truth, unknown = hw.image.gaussian_kernel(1.0, 7), hw.image.UnknownBlur(7)
    >>> y = hw.image.Blur(truth)(x)
    >>> phi = unknown.fit(unknown.start(y), [x], y, torch.tensor(0.001))
    >>> bool((unknown.parameters(phi)[0] - truth).abs().max() < 0.003)
    True
    """

    size: int = 15
    spread: float = 0.02
    start_std: float = 1.2
    boundary: str = "reflect"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size % 2 == 0 or not 3 <= self.size <= 63:
            raise Misuse(
                f"A kernel of {self.size} pixels cannot be sought.", "Give an odd whole number from 3 to 63."
            )
        if not (0 < self.spread < math.inf and 0 < self.start_std < math.inf):
            raise Misuse(
                f"A spread of {self.spread} and a start of {self.start_std} pixels are no prior.",
                "Give positive numbers.",
            )

    def start(self, y: Tensor) -> Tensor:
        """The logarithm of a Gaussian, `[batch, size^2]`."""
        kernel = gaussian_kernel(self.start_std, self.size).to(y)
        return _log(kernel.flatten()).expand(len(y), -1).clone()

    def kernel(self, phi: Tensor) -> Tensor:
        """softmax(phi) of phi `[batch, size^2]`, `[batch, size, size]`."""
        return phi.softmax(-1).reshape(-1, self.size, self.size)

    def phi_of(self, kernel: Tensor) -> Tensor:
        """The phi `[batch, size^2]` of kernels `[batch, size, size]` on the simplex."""
        return _log(kernel.flatten(1))

    def operator(self, phi: Tensor) -> Blur:
        """The blur with the kernel of phi `[batch, size^2]`."""
        return Blur(self.kernel(phi), self.boundary)

    def penalty(self, phi: Tensor) -> Tensor:
        """|D k|^2 / (2 spread^2) of phi `[batch, size^2]`, `[batch]`."""
        k = self.kernel(phi).flatten(1)
        return 0.5 * (k * (k @ _roughness(self.size).to(k))).sum(1) / self.spread**2

    def parameters(self, phi: Tensor) -> Tensor:
        """The kernel `[batch, size, size]`."""
        return self.kernel(phi)

    def warnings(self, phi: Tensor) -> list[tuple[str, ...]]:
        """Whether the kernel of phi `[batch, size^2]` is nearly a point, or too large for its size."""
        return [doubt_kernel(kernel) for kernel in self.kernel(phi)]

    def fit(self, phi: Tensor, draws: Sequence[Tensor], y: Tensor, sigma_y: Tensor) -> Tensor:
        """The phi `[batch, size^2]` of the best kernel on the simplex, centred; see the class."""
        old, channels = self.kernel(phi).flatten(1), y.shape[1]
        level = (2 * torch.as_tensor(sigma_y).to(y).square() / channels).expand(len(y))
        kernels = []
        for i in range(len(y)):  # one by one: the matrix of a large kernel is large
            parts = [self._normal_equations(x[i : i + 1], y[i : i + 1]) for x in draws]
            gram, right = (sum(part[j] for part in parts) / len(parts) for j in (0, 1))
            matrix = gram + level[i] / self.spread**2 * _roughness(self.size).to(y)
            kernels.append(minimise_on_simplex(matrix, right, old[i]))  # type: ignore[arg-type]
        found = torch.stack(kernels).reshape(-1, self.size, self.size)
        return self.phi_of(centre_kernel(found))

    def _normal_equations(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """X'X `[p, p]` and X'y `[p]` of the differences of x and y `[1, c, h, w]`, where the kernel fits."""
        r, p = self.size // 2, self.size**2
        grey, seen = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
        seen = seen if self.boundary == "valid" else seen[..., r:-r, r:-r]
        gram, right = y.new_zeros(p, p), y.new_zeros(p)
        for axis in (-1, -2):
            columns = unfold(grey.diff(dim=axis), self.size)[0].flip(0)  # a convolution turns the kernel
            gram += columns @ columns.mT
            right += columns @ seen.diff(dim=axis).flatten()
        return gram, right


def minimise_on_simplex(matrix: Tensor, right: Tensor, start: Tensor, iterations: int = 300) -> Tensor:
    """argmin_k k'Mk / 2 - r'k over k >= 0 with sum 1, by accelerated projected gradients, `[p]`.

    M `[p, p]` is positive semidefinite, r and the start `[p]`.

    References
    ----------
    Beck & Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sciences 2 (2009).

    Examples
    --------
    >>> k = minimise_on_simplex(torch.eye(3), torch.tensor([1.0, 0.5, -5.0]), torch.ones(3) / 3)
    >>> k.round(decimals=3).tolist()
    [0.75, 0.25, 0.0]
    """
    longest = torch.linalg.eigvalsh(matrix)[-1].clamp(min=torch.finfo(matrix.dtype).tiny)
    k, z, t = start, start, 1.0
    for _ in range(iterations):
        new = project_on_simplex(z - (matrix @ z - right) / longest)
        later = (1 + math.sqrt(1 + 4 * t * t)) / 2
        k, z, t = new, new + (t - 1) / later * (new - k), later
    return k


def project_on_simplex(v: Tensor) -> Tensor:
    """The nearest point of the simplex k >= 0, sum k = 1, of v `[p]` (Duchi et al., ICML 2008, figure 1).

    >>> project_on_simplex(torch.tensor([1.5, 0.0])).tolist()
    [1.0, 0.0]
    """
    ordered = v.sort(descending=True).values
    excess = ordered.cumsum(0) - 1
    last = (ordered * torch.arange(1, len(v) + 1, device=v.device) > excess).sum() - 1
    return (v - excess[last] / (last + 1)).clamp(min=0)


def centre_kernel(kernel: Tensor) -> Tensor:
    """Kernels `[batch, n, n]` moved by whole pixels until their centre of mass is in the middle; sum 1.

    >>> corner = torch.zeros(1, 3, 3)
    >>> corner[0, 0, 0] = 1
    >>> centre_kernel(corner)[0].nonzero().tolist()
    [[1, 1]]
    """
    n = kernel.shape[-1]
    offset = torch.arange(n, device=kernel.device).to(kernel) - n // 2
    down, right = ((kernel.sum(axis) * offset).sum(-1).round().long().tolist() for axis in (-1, -2))
    wide, moved = pad(kernel, [n // 2] * 4), []
    for one, i, j in zip(wide, down, right, strict=True):
        top, left = n // 2 + i, n // 2 + j
        moved.append(one[top : top + n, left : left + n])
    found = torch.stack(moved)
    return found / found.sum((-2, -1), keepdim=True)


def doubt_kernel(kernel: Tensor) -> tuple[str, ...]:
    """What is doubtful about a kernel `[n, n]`, in sentences.

    >>> point = torch.zeros(5, 5)
    >>> point[2, 2] = 1
    >>> doubt_kernel(point)[0][:42]
    'The kernel that was found is almost a poin'
    """
    n, doubts = kernel.shape[-1], []
    share = float(kernel.max())
    if share > POINT:
        doubts.append(
            f"The kernel that was found is almost a point ({100 * share:.0f} % in one pixel): the picture is sharp "
            "already, or the search took the degenerate answer. Keep the picture as it was, or give a known kernel."
        )
    inner = float(kernel[1:-1, 1:-1].sum())
    if inner < 0.9:
        doubts.append(
            f"The kernel that was found reaches the border of its {n} x {n} pixels ({100 * (1 - inner):.0f} % on "
            "it), so it may be cut off or wrong. Give a larger size, and look at the kernel."
        )
    return tuple(doubts)


def _log(kernel: Tensor) -> Tensor:
    """log k, of zeros that of a number without influence."""
    return kernel.clamp(min=1e-9).log()


@cache
def _roughness(size: int) -> Tensor:
    """D'D `[size^2, size^2]` of the differences across and down of a kernel, zero beyond its border."""
    line = pad(torch.eye(size), (1, 1)).diff(dim=1)  # row i: the differences that entry i enters
    second, one = line @ line.mT, torch.eye(size)
    return torch.kron(second, one) + torch.kron(one, second)
