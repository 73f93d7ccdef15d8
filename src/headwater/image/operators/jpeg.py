"""JPEG compression and decompression as one differentiable map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.image.operators.base import require_images
from headwater.problem.operator import Operator

# ITU-T T.81, Annex K, tables K.1 (luminance) and K.2 (chrominance).
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# ITU-T T.871 (JFIF): YCbCr from RGB in [0, 255], without the offset of 128 on Cb and Cr.
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


def straight_round(u: Tensor) -> Tensor:
    """Rounding whose value is exact and whose gradient is 1 (straight-through)."""
    return u + (u.round() - u).detach()


def smooth_round(u: Tensor) -> Tensor:
    """Rounding made smooth, u - sin(2 pi u) / (2 pi): increasing, exact at the integers and halves.

    >>> smooth_round(torch.tensor([2.0, 2.5])).round(decimals=4).tolist()
    [2.0, 2.5]
    """
    return u - torch.sin(2 * math.pi * u) / (2 * math.pi)


ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {"straight": straight_round, "smooth": smooth_round}
SUBSAMPLINGS = ("4:2:0", "4:4:4")


@dataclass(frozen=True, eq=False)
class JPEG(Operator):
    """What is left of an image after it was saved as JPEG, y = decode(encode(x)), in [-1, 1] like x.

    YCbCr; chroma halved if "4:2:0" (2 x 2 means, and back by the triangle filter of libjpeg); 8 x 8 DCT;
    division by the tables of Annex K scaled to the quality, rounding, and all the way back. Grey images use
    the luminance table only. Sizes that are not multiples of the block are padded by the last row and column.

    Parameters
    ----------
    quality
        1 to 100, as in libjpeg and Pillow.
    subsampling
        "4:2:0" (the default of Pillow) or "4:4:4".
    rounding
        "straight": the true value, all samples in 8 bits, with the gradient of the same map without any
        rounding; "smooth": the rounding of coefficients replaced by u - sin(2 pi u) / (2 pi) and no other,
        so that value and gradient belong together.

    Raises
    ------
    Misuse
        On another quality, subsampling or rounding, or on an image that has neither 1 nor 3 channels.

    Notes
    -----
    "straight" agrees with saving and loading by Pillow to better than 42 dB (see the tests). As a
    function of x it is a staircase: a line search that insists on a decrease may prefer "smooth".

    References
    ----------
    ITU-T T.81 (tables, DCT), ITU-T T.871 (colours); quality: `jpeg_quality_scaling` of the IJG's libjpeg.

    Examples
    --------
    >>> flat = torch.full((1, 3, 8, 8), 0.5)
    >>> bool((JPEG(50)(flat) - flat).abs().max() < 0.02)
    True
    """

    quality: int
    subsampling: str = "4:2:0"
    rounding: str = "straight"
    kind: ClassVar[str] = "dejpeg"

    def __post_init__(self) -> None:
        if not isinstance(self.quality, int) or not 1 <= self.quality <= 100:
            raise Misuse(f"There is no JPEG quality {self.quality!r}.", "Give a whole number from 1 to 100.")
        if self.subsampling not in SUBSAMPLINGS:
            raise Misuse(
                f"There is no chroma subsampling called {self.subsampling!r}.",
                suggest(self.subsampling, SUBSAMPLINGS),
            )
        if self.rounding not in ROUNDINGS:
            raise Misuse(f"There is no rounding called {self.rounding!r}.", suggest(self.rounding, ROUNDINGS))

    @property
    def name(self) -> str:
        """For example "dejpeg (quality 30)"."""
        return f"{self.kind} (quality {self.quality})"

    @property
    def local(self) -> int:
        """16: the block of a chroma sample and of its neighbour; 7, a single block, for 4:4:4."""
        return 16 if self.subsampling == "4:2:0" else 7

    def __call__(self, x: Tensor) -> Tensor:
        """The image as the decoder sees it."""
        require_images(x, self)
        if x.shape[1] not in (1, 3):
            raise Misuse(
                f"JPEG keeps 1 or 3 channels but the image has {x.shape[1]}.",
                "Give a grey or colour image without transparency.",
            )
        image = self._round_samples(x * 127.5 + 127.5)
        # T.81, A.3.1: samples are shifted by half the range before the DCT
        decoded = self._quantise(image - 128, LUMINANCE) + 128 if x.shape[1] == 1 else self._colour(image)
        return self._round_samples(decoded.clamp(0, 255)) / 127.5 - 1

    def _round_samples(self, samples: Tensor) -> Tensor:
        """Samples in the 8 bits of the codec; left as they are by the smooth variant."""
        return straight_round(samples) if self.rounding == "straight" else samples

    def _colour(self, image: Tensor) -> Tensor:
        """Code RGB in [0, 255] by its components and bring them together again."""
        matrix = torch.tensor(TO_YCC, dtype=torch.float64)
        ycc = self._round_samples(torch.einsum("ij,bjhw->bihw", matrix.to(image), image))
        luma = self._quantise(ycc[:, :1] - 128, LUMINANCE) + 128
        chroma = self._chroma(ycc[:, 1:])
        return torch.einsum("ij,bjhw->bihw", matrix.inverse().to(image), torch.cat([luma, chroma], 1))

    def _chroma(self, chroma: Tensor) -> Tensor:
        """Code Cb and Cr, at half the resolution if they are subsampled."""
        if self.subsampling == "4:4:4":
            return self._quantise(chroma, CHROMINANCE)
        h, w = chroma.shape[-2:]
        halved = self._quantise(self._halve(chroma), CHROMINANCE)
        doubled = F.interpolate(halved, scale_factor=2, mode="bilinear", align_corners=False)
        return self._round_samples(doubled)[..., :h, :w]

    def _halve(self, chroma: Tensor) -> Tensor:
        """2 x 2 means; libjpeg rounds halves down in even columns and up in odd ones."""
        means = F.avg_pool2d(_pad(chroma, 2), 2)
        odd = torch.arange(means.shape[-1], device=means.device) % 2
        return self._round_samples(means + (odd - 0.5) / 4) if self.rounding == "straight" else means

    def _quantise(self, planes: Tensor, table: tuple[tuple[int, ...], ...]) -> Tensor:
        """DCT, round, inverse DCT of every 8 x 8 block; limited to 8 bits as the decoder does."""
        h, w = planes.shape[-2:]
        steps = scaled_table(table, self.quality).to(planes)
        dct = dct_matrix().to(planes)
        padded = _pad(planes, 8)
        rows, columns = padded.shape[-2] // 8, padded.shape[-1] // 8
        blocks = padded.reshape(*planes.shape[:2], rows, 8, columns, 8).transpose(-3, -2)
        coefficients = dct @ blocks @ dct.mT
        # T.81, A.3.4: round(F / Q), and back F = round(F / Q) Q
        rounded = ROUNDINGS[self.rounding](coefficients / steps) * steps
        blocks = (dct.mT @ rounded @ dct).transpose(-3, -2)
        decoded = blocks.flatten(-4, -3).flatten(-2, -1)[..., :h, :w]
        return self._round_samples(decoded).clamp(-128, 127)


def scaled_table(table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """The quantisation steps at a quality: clamp(floor((s table + 50) / 100), 1, 255), float64 [8, 8].

    s = 5000 // q below 50 and 200 - 2 q from there on, as in libjpeg.

    >>> scaled_table(LUMINANCE, 50)[0, 0].item(), scaled_table(LUMINANCE, 100).max().item()
    (16.0, 1.0)
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = (scale * torch.tensor(table) + 50) // 100
    return steps.clamp(1, 255).double()


def dct_matrix() -> Tensor:
    """The orthonormal 8-point DCT-II, float64 [8, 8]; D B D^T is the transform of T.81, A.3.3.

    >>> bool((dct_matrix() @ dct_matrix().mT - torch.eye(8)).abs().max() < 1e-12)
    True
    """
    u = torch.arange(8, dtype=torch.float64)[:, None]
    j = torch.arange(8, dtype=torch.float64)
    rows = 0.5 * torch.cos((2 * j + 1) * u * math.pi / 16)
    return torch.where(u == 0, rows / math.sqrt(2), rows)


def _pad(planes: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column up to a multiple."""
    h, w = planes.shape[-2:]
    return F.pad(planes, (0, -w % multiple, 0, -h % multiple), mode="replicate")
