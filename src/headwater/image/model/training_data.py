"""What an image prior learns from: pictures of one size, and crops of photographs at random scales.

A picture that was shrunk to 64 x 64 is sharper than what a window of 64 pixels sees of a photograph at its own
resolution. A prior for windows needs both kinds.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from headwater.image.operators.colorize import GREY_WEIGHTS


def images_in(archives: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    """Name and decoded RGB image of every file in zip archives, sorted by name within each archive."""
    from PIL import Image

    for archive in archives:
        with zipfile.ZipFile(archive) as z:
            for name in sorted(n for n in z.namelist() if not n.endswith("/")):
                yield name, Image.open(io.BytesIO(z.read(name))).convert("RGB")


def load_images(archives: Sequence[Path], cache: Path | None) -> tuple[Tensor, Tensor, list[str]]:
    """Decode zip files of `CLASS/FILE` images once: uint8 `[n, 3, h, w]`, labels, class names."""
    key = hashlib.sha256("|".join(f"{a.name}:{a.stat().st_size}" for a in archives).encode())
    stored = cache / f"images-{key.hexdigest()[:12]}.npz" if cache else None
    if stored and stored.exists():
        with np.load(stored) as z:
            return torch.from_numpy(z["x"]), torch.from_numpy(z["y"]), [str(c) for c in z["c"]]
    pixels, names = [], []
    for name, image in images_in(archives):
        pixels.append(np.asarray(image).transpose(2, 0, 1))
        names.append(name.split("/")[0])
    classes = sorted(set(names))
    x, y = np.stack(pixels), np.array([classes.index(n) for n in names])
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        temporary = stored.with_suffix(".tmp.npz")  # a cache cut off by a kill would break the next run
        np.savez(temporary, x=x, y=y, c=np.array(classes))
        os.replace(temporary, stored)
    return torch.from_numpy(x), torch.from_numpy(y), classes


class Source(Protocol):
    """Where training images come from: `draw(n)` gives uint8 `[n, 3, h, w]` and labels `[n]`."""

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Images uint8 `[n, 3, h, w]` and labels `[n]`."""
        ...


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size, uint8 `[n, 3, h, w]`, with labels `[n]`."""

    images: Tensor
    labels: Tensor

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Random pictures, with replacement."""
        pick = torch.randint(len(self.images), (n,))
        return self.images[pick], self.labels[pick]


@dataclass(frozen=True)
class Photographs:
    """Random square crops of photographs, resized to `size`; all carry the label `null`.

    The side of a crop is drawn log-uniformly between `size` (native resolution) and the whole shorter side.
    Photographs with a side below `size` are left out.
    """

    photographs: Sequence[Any]
    size: int
    null: int

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Random crops of random photographs."""
        pick = torch.randint(len(self.photographs), (n,)).tolist()
        crops = np.stack([self.crop(self.photographs[i]) for i in pick])
        return torch.from_numpy(crops).movedim(-1, 1), torch.full((n,), self.null)

    def crop(self, photograph: Any) -> np.ndarray[Any, Any]:
        """One random crop, uint8 `[size, size, 3]`."""
        from PIL import Image

        scale, right, down = torch.rand(3).tolist()
        side = round(self.size * math.exp(scale * math.log(min(photograph.size) / self.size)))
        left, top = (
            int(u * (full - side + 1)) for u, full in zip((right, down), photograph.size, strict=True)
        )
        part = photograph.crop((left, top, left + side, top + side))
        return np.asarray(part.resize((self.size, self.size), Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class Mixture:
    """Images of the first source, a `share` of them of the second, and a share `grey` of all without colour."""

    first: Source
    second: Source
    share: float = 1 / 3
    grey: float = 0.1

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Each image chooses its source and whether it loses its colour by itself."""
        few = int((torch.rand(n) < self.share).sum())
        parts = [source.draw(k) for source, k in ((self.first, n - few), (self.second, few)) if k]
        images, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        without = torch.rand(n) < self.grey
        images[without] = to_grey(images[without])
        return images, labels


def to_grey(images: Tensor) -> Tensor:
    """Images uint8 `[n, 3, h, w]` with three channels equal to their luma (ITU-R BT.601)."""
    weights = torch.tensor(GREY_WEIGHTS["luma"]).reshape(3, 1, 1)
    luma = (images * weights).sum(1, keepdim=True).round()
    return luma.to(torch.uint8).expand_as(images)


def load_photographs(archives: Sequence[Path], size: int, held_out: int = 40) -> tuple[list[Any], Tensor]:
    """Photographs at least `size` wide and high for training, and centre crops of the last `held_out` of all.

    The crops are uint8 `[held_out, 3, size, size]` at native resolution.
    """
    all_of_them = [image for _, image in images_in(archives)]
    large = [image for image in all_of_them[: len(all_of_them) - held_out] if min(image.size) >= size]
    crops = [centre_crop(image, size) for image in all_of_them[len(all_of_them) - held_out :]]
    return large, torch.from_numpy(np.stack(crops)).movedim(-1, 1)


def centre_crop(image: Any, size: int) -> np.ndarray[Any, Any]:
    """The central square of `size` pixels, uint8 `[size, size, 3]`."""
    left, top = ((side - size) // 2 for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))
