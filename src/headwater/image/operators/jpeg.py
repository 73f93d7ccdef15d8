"""JPEG compression and decompression as one differentiable map."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
# Factors (horizontal, vertical) of luminance and of each chrominance, T.81, A.1.1.
SUBSAMPLINGS: dict[str, tuple[tuple[int, int], ...]] = {
    "4:2:0": ((2, 2), (1, 1), (1, 1)),
    "4:2:2": ((2, 1), (1, 1), (1, 1)),
    "4:4:0": ((1, 2), (1, 1), (1, 1)),
    "4:1:1": ((4, 1), (1, 1), (1, 1)),
    "4:4:4": ((1, 1), (1, 1), (1, 1)),
}
TRIANGLE = ((1, 2), (2, 1), (2, 2))
"""Ratios (vertical, horizontal) that libjpeg-turbo enlarges by a triangle filter; it repeats others."""


@dataclass(frozen=True, eq=False)
class JPEG(Operator):
    """What is left of an image after it was saved as JPEG, y = decode(encode(x)), in [-1, 1] like x.

    YCbCr; a subsampled component shrunk by the means of boxes (and enlarged by the filter of libjpeg); 8 x 8 DCT;
    division by the quantisation tables, rounding, and all the way back. Grey images use the first table only. Sizes
    that are not multiples of the block are padded by the last row and column.

    Parameters
    ----------
    quality
        1 to 100, as in libjpeg and Pillow: the tables of Annex K, scaled. Or None, with `tables`.
    subsampling
        A name, as in "4:2:0" (the default of Pillow), or the factors (horizontal, vertical) of the three components
        as the header of a file states them.
    rounding
        "straight": the true value, all samples in 8 bits, with the gradient of the same map without any
        rounding; "smooth": the rounding of coefficients replaced by u - sin(2 pi u) / (2 pi) and no other,
        so that value and gradient belong together.
    tables
        Quantisation steps of the components, `[1 or 3, 8, 8]`, in place of a quality.
    colour
        "YCbCr", or "RGB" for a file that stores these components as they are.

    Raises
    ------
    Misuse
        On another quality, table, subsampling, rounding or colour, or on an image that has neither 1 nor 3 channels.

    Notes
    -----
    "straight" agrees with saving and loading by Pillow to better than 42 dB (see the tests). As a
    function of x it is a staircase: a line search that insists on a decrease may prefer "smooth".

    References
    ----------
    ITU-T T.81 (tables, DCT, sampling factors), ITU-T T.871 (colours); quality: `jpeg_quality_scaling`, filters:
    `jcsample.c` and `jdsample.c` of libjpeg-turbo.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> flat = torch.full((1, 3, 8, 8), 0.5)
    >>> bool((hw.image.JPEG(50)(flat) - flat).abs().max() < 0.02)
    True
    >>> hw.image.JPEG(subsampling=((2, 1), (1, 1), (1, 1)), tables=torch.full((3, 8, 8), 16)).ratios
    ((1, 1), (1, 2), (1, 2))
    """

    quality: int | None = None
    subsampling: str | tuple[tuple[int, int], ...] = "4:2:0"
    rounding: str = "straight"
    tables: Tensor | None = None
    colour: str = "YCbCr"
    steps: Tensor = field(init=False, repr=False)
    ratios: tuple[tuple[int, int], ...] = field(init=False, repr=False)
    kind: ClassVar[str] = "dejpeg"

    def __post_init__(self) -> None:
        if self.tables is None:
            if not isinstance(self.quality, int) or not 1 <= self.quality <= 100:
                raise Misuse(
                    f"There is no JPEG quality {self.quality!r}.", "Give a whole number from 1 to 100."
                )
            chroma = scaled_table(CHROMINANCE, self.quality)
            tables = torch.stack([scaled_table(LUMINANCE, self.quality), chroma, chroma])
        else:
            tables = self.tables.double()
        if tables.shape not in [(1, 8, 8), (3, 8, 8)] or not bool((tables >= 1).all()):
            raise Misuse(
                "The quantisation tables are not 1 or 3 tables of 8 x 8.", "Give steps of 1 or more."
            )
        object.__setattr__(self, "steps", tables)
        object.__setattr__(self, "ratios", sampling_ratios(self.subsampling))
        for what, given, known in [
            ("rounding", self.rounding, ROUNDINGS),
            ("colour", self.colour, ("YCbCr", "RGB")),
        ]:
            if given not in known:
                raise Misuse(f"There is no {what} called {given!r}.", suggest(given, known))

    @property
    def name(self) -> str:
        """For example "dejpeg (quality 30)"."""
        return (
            f"{self.kind} (quality {self.quality})" if self.quality else f"{self.kind} (tables of the file)"
        )

    @property
    def local(self) -> int:
        """How far a block reaches, which is 7 pixels; 16 for 4:2:0, where a chroma sample sees its neighbour too."""
        widest = max(max(ratio) for ratio in self.ratios)
        return 8 * widest - 1 + any(ratio in TRIANGLE for ratio in self.ratios)

    def __call__(self, x: Tensor) -> Tensor:
        """The images x `[batch, 1 or 3, h, w]` as a decoder shows them, in the same shape."""
        require_images(x, self)
        if x.shape[1] not in (1, 3):
            raise Misuse(
                f"JPEG keeps 1 or 3 channels but the image has {x.shape[1]}.",
                "Give a grey or colour image without transparency.",
            )
        image = self._round_samples(x * 127.5 + 127.5)
        # T.81, A.3.1: samples are shifted by half the range before the DCT
        decoded = self._quantise(image - 128, 0) + 128 if x.shape[1] == 1 else self._colour(image)
        return self._round_samples(decoded.clamp(0, 255)) / 127.5 - 1

    def _round_samples(self, samples: Tensor) -> Tensor:
        """Samples in the 8 bits of the codec; left as they are by the smooth variant."""
        return straight_round(samples) if self.rounding == "straight" else samples

    def _colour(self, image: Tensor) -> Tensor:
        """Code RGB in [0, 255] by its components and bring them together again."""
        if len(self.steps) == 1:
            raise Misuse("A colour image needs three quantisation tables.", "Give tables [3, 8, 8].")
        plain = self.colour == "RGB"
        matrix = (torch.eye(3) if plain else torch.tensor(TO_YCC, dtype=torch.float64)).to(image)
        shift = torch.tensor([128.0, *((128.0, 128.0) if plain else (0.0, 0.0))]).to(image).reshape(3, 1, 1)
        planes = self._round_samples(torch.einsum("ij,bjhw->bihw", matrix, image)) - shift
        coded = torch.cat([self._component(planes[:, k : k + 1], k) for k in range(3)], 1)
        inverse = matrix.double().inverse().to(image)
        return torch.einsum("ij,bjhw->bihw", inverse, coded + shift)

    def _component(self, plane: Tensor, k: int) -> Tensor:
        """Code the k-th component `[b, 1, h, w]` at its own resolution."""
        return self._enlarge(self._quantise(self._shrink(plane, k), k), k, plane.shape[-2:])

    def _shrink(self, plane: Tensor, k: int) -> Tensor:
        """Means of boxes; libjpeg rounds halves up, or down in even columns where the width is halved."""
        ratio = self.ratios[k]
        if ratio == (1, 1):
            return plane
        means = F.avg_pool2d(_pad(plane, *ratio), ratio)
        if self.rounding == "smooth":
            return means
        odd = torch.arange(means.shape[-1], device=means.device) % 2
        bias = (odd - 0.5) / 4 if ratio in ((1, 2), (2, 2)) else 0.01
        return self._round_samples(means + bias)

    def _enlarge(self, plane: Tensor, k: int, size: Sequence[int]) -> Tensor:
        """Back to height and width `size`: by a triangle filter, or by repetition where libjpeg has none."""
        vertical, horizontal = ratio = self.ratios[k]
        if ratio == (1, 1):
            return plane
        if ratio in TRIANGLE and (horizontal == 1 or plane.shape[-1] > 2):
            wide = F.interpolate(
                plane, scale_factor=(float(vertical), float(horizontal)), mode="bilinear", align_corners=False
            )
        else:
            wide = plane.repeat_interleave(vertical, -2).repeat_interleave(horizontal, -1)
        return self._round_samples(wide)[..., : size[0], : size[1]]

    def _quantise(self, planes: Tensor, k: int) -> Tensor:
        """DCT, round by the k-th table, inverse DCT of every 8 x 8 block; limited to 8 bits as the decoder does."""
        h, w = planes.shape[-2:]
        steps = self.steps[k].to(planes)
        dct = dct_matrix().to(planes)
        padded = _pad(planes, 8, 8)
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


def sampling_ratios(subsampling: str | tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Pixels per sample (vertical, horizontal) of each of three components.

    Raises
    ------
    Misuse
        The name is unknown, or a component has no whole number of pixels per sample: libjpeg reads no such file.

    Examples
    --------
    >>> sampling_ratios("4:1:1")
    ((1, 1), (1, 4), (1, 4))
    """
    if isinstance(subsampling, str) and subsampling not in SUBSAMPLINGS:
        raise Misuse(
            f"There is no chroma subsampling called {subsampling!r}.", suggest(subsampling, SUBSAMPLINGS)
        )
    factors = SUBSAMPLINGS[subsampling] if isinstance(subsampling, str) else subsampling
    valid = len(factors) == 3 and all(len(pair) == 2 and min(pair) >= 1 for pair in factors)
    most = [max(pair[axis] for pair in factors) for axis in (0, 1)] if valid else [1, 1]
    if not valid or any(most[axis] % pair[axis] for pair in factors for axis in (0, 1)):
        raise Misuse(
            f"The sampling factors {factors} are not those of three components.",
            "Give (horizontal, vertical) of each, such that each divides the largest.",
        )
    return tuple((most[1] // v, most[0] // h) for h, v in factors)


def _pad(planes: Tensor, down: int, right: int) -> Tensor:
    """Repeat the last row and column up to multiples."""
    h, w = planes.shape[-2:]
    return F.pad(planes, (0, -w % right, 0, -h % down), mode="replicate")
