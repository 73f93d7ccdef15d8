"""How strong the noise of a picture is, by its finest details: in all, in luma and in chroma.

The diagonal details of the orthonormal Haar transform hold little of a picture and all of the noise, with its
standard deviation; the median of their moduli over 0.6745 estimates that, untouched by few large details (Donoho &
Johnstone, Biometrika 81, 1994, section 4.2).

Noise in three channels is not always white. A JPEG keeps the luma of every pixel and the chroma of every second row
or column, and a grey picture saved as RGB has the same noise three times. Then the luma (the mean of the channels)
has more noise than a channel, and the chroma less and in coarser details.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.colorize import GREY_WEIGHTS


@dataclass(frozen=True)
class NoiseLevels:
    """The noise of pictures in the axes of `to_luma_chroma`, standard deviations `[batch]` in data units.

    Attributes
    ----------
    luma, chroma
        Equal if the noise is white over pixels and channels.
    grey
        Whether the three channels are equal, so that a picture is one measurement per pixel, bool `[batch]`.
    """

    luma: Tensor
    chroma: Tensor
    grey: Tensor


def to_luma_chroma(x: Tensor) -> Tensor:
    """x `[batch, 3, h, w]` in orthonormal axes: the grey one, (1, 1, 1) / sqrt(3), and two of colour.

    Examples
    --------
    >>> to_luma_chroma(torch.ones(1, 3, 1, 1)).abs().flatten().tolist()
    [1.7320507764816284, 0.0, 0.0]
    """
    return torch.einsum("ij,bjhw->bihw", luma_chroma_axes(x), x)


def from_luma_chroma(x: Tensor) -> Tensor:
    """The inverse of `to_luma_chroma`."""
    return torch.einsum("ji,bjhw->bihw", luma_chroma_axes(x), x)


def luma_chroma_axes(like: Tensor) -> Tensor:
    """The axes as rows, orthonormal `[3, 3]`."""
    axes = like.new_tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]])
    lengths: Tensor = axes.norm(dim=1, keepdim=True)
    return axes / lengths


def halve_by_haar(x: Tensor) -> tuple[Tensor, Tensor]:
    """The smooth part and the diagonal details of x `[..., h, w]`, orthonormal Haar, `[..., h/2, w/2]` each.

    An odd last row or column is left out.
    """
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    a, b, c, d = (x[..., i::2, j::2] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    return (a + b + c + d) / 2, (a - b - c + d) / 2


def robust_std(details: Tensor) -> Tensor:
    """The standard deviation of `[batch, ...]` by the median of the moduli, `[batch]`; 0 if there are none."""
    moduli = details.flatten(1).abs()
    return moduli.median(1).values / 0.6745 if moduli.shape[1] else details.new_zeros(len(details))


def robust_std_within(details: Tensor, blocks: Tensor, least: int = 64) -> Tensor:
    """`robust_std` of details `[batch, c, h, w]` in some blocks, bool `[batch, 1, h, w]`; in all if those are few."""
    pairs = zip(details, blocks, strict=True)
    some = (d[:, b[0]] if int(b.sum()) >= least else d for d, b in pairs)
    return torch.cat([robust_std(d[None]) for d in some])


def find_noisy_blocks(y: Tensor) -> tuple[Tensor, Tensor]:
    """Which blocks of 2 x 2 and of 4 x 4 pixels of y `[batch, c, h, w]` show its noise, bool `[batch, 1, h/2, w/2]`.

    None of their pixels is at an extreme of its channel, where noise is cut off: the black around a microscope's
    field, white paper.
    """
    inside = (y > y.amin((-2, -1), keepdim=True)) & (y < y.amax((-2, -1), keepdim=True))
    fine = halve_by_haar(inside.all(1, keepdim=True).to(y))[0] == 2  # four ones over 2
    return fine, halve_by_haar(fine.to(y))[0] == 2


def estimate_noise(y: Tensor, known: Tensor | None = None) -> Tensor:
    """The standard deviation of white noise in pictures y `[batch, c, h, w]`, `[batch]`, in data units.

    Fine texture counts as noise, so that it is rather too large.

    Parameters
    ----------
    y
        The pictures.
    known
        Bool `[1 or batch, 1, h, w]`: only blocks of 2 x 2 known pixels count. None means all.

    Raises
    ------
    Misuse
        The pictures are not floating `[batch, c, h, w]`, or `known` has another size.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> y = 0.1 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> abs(hw.image.estimate_noise(y).item() - 0.1) < 0.005
    True
    """
    if y.ndim != 4 or not y.is_floating_point():
        raise Misuse(
            f"The pictures are {str(y.dtype).removeprefix('torch.')} {list(y.shape)}.",
            "Give floating pictures [batch, c, h, w].",
        )
    details = halve_by_haar(y)[1]
    if known is None:
        return robust_std(details)
    if (
        known.ndim != 4
        or known.shape[1] != 1
        or known.shape[-2:] != y.shape[-2:]
        or len(known) not in (1, len(y))
    ):
        raise Misuse(
            f"The known pixels are {list(known.shape)} and the pictures {list(y.shape)}.",
            "Give bool [1 or batch, 1, h, w] of the size of the pictures.",
        )
    whole = halve_by_haar(known.to(y))[0].expand(len(y), y.shape[1], -1, -1) == 2  # four ones over 2
    return torch.cat([robust_std(d[w][None]) for d, w in zip(details, whole.to(details.device), strict=True)])


def estimate_levels(y: Tensor, sigma_y: Tensor) -> NoiseLevels:
    """The noise of pictures y `[batch, 3, h, w]` whose channels have the noise sigma_y `[batch]`.

    White noise shows in the finest details of the chroma. Where they have less than three quarters of it, the noise
    is correlated: its chroma is what the two finest scales show, and at most what subsampling leaves of it; its luma
    is at least that of white noise behind the weights w of JPEG's luma, sqrt(3) |w| sigma_y = 1.16 sigma_y, and what
    the total, luma^2 + 2 chroma^2 = 3 sigma_y^2, leaves for it.
    """
    axes, (fine_blocks, coarse_blocks) = to_luma_chroma(y), find_noisy_blocks(y)
    smooth, fine = halve_by_haar(axes[:, 1:])
    fine_chroma = robust_std_within(fine, fine_blocks)
    coarse_chroma = robust_std_within(halve_by_haar(smooth)[1], coarse_blocks)
    fine_luma = robust_std_within(halve_by_haar(axes[:, :1])[1], fine_blocks)
    sigma = sigma_y.to(fine_luma)
    # Of chroma halved both ways the finest details keep 0.1 of the noise, halved one way 0.25; what serves best as
    # its level is then 0.55 and 0.75 (docs/notes/denoising.md).
    most = ((0.45 + 1.2 * fine_chroma / sigma) * sigma).minimum(sigma)
    chroma = torch.maximum(fine_chroma, coarse_chroma).minimum(most)
    before = (chroma / (0.82 * most) * sigma).minimum(sigma)  # the chroma's noise before the subsampling
    least = 3**0.5 * torch.tensor(GREY_WEIGHTS["luma"]).norm().item() * sigma
    left = (3 * sigma**2 - 2 * before**2).sqrt()
    luma = torch.maximum(least, left.minimum(fine_luma))
    white, grey = fine_chroma >= 0.75 * sigma, have_equal_channels(y)
    luma = torch.where(grey, 3**0.5 * sigma, torch.where(white, sigma, luma))
    chroma = torch.where(grey, torch.zeros_like(sigma), torch.where(white, sigma, chroma))
    return NoiseLevels(luma, chroma, grey)


def have_equal_channels(y: Tensor, tolerance: float = 2.5 / 127.5) -> Tensor:
    """Whether y `[batch, 3, h, w]` is grey but for the rounding of a codec, bool `[batch]`."""
    spread = y.amax(1) - y.amin(1)
    return spread.flatten(1).amax(1) <= tolerance
