"""How many bytes a picture takes as a JPEG file: a measure of detail to which no gradient leads."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.extras import import_optional


@dataclass(frozen=True)
class JpegSize:
    """Bytes of pictures as JPEG files, per pixel, `[batch]`; for methods that need no gradient.

    Parameters
    ----------
    quality
        Of the compression, 1 to 95.

    Raises
    ------
    Misuse
        If the quality is outside of it.

    Examples
    --------
    A plain grey picture takes fewer bytes than noise.

    >>> size = JpegSize()
    >>> grey, noise = torch.zeros(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    >>> bool(size(grey) < 0.5 * size(noise))
    True
    """

    quality: int = 75

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 95:
            raise Misuse(f"JPEG has no quality {self.quality}.", "Give a number from 1 to 95.")

    def __call__(self, x: Tensor) -> Tensor:
        """Bytes per pixel of x `[batch, c, h, w]` in [-1, 1] with 1 or 3 channels, float64 `[batch]`."""
        image = import_optional("PIL.Image")
        levels = ((x.detach().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
        sizes = []
        for picture in levels.permute(0, 2, 3, 1):
            array = picture.numpy()
            file = io.BytesIO()
            image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(
                file, "JPEG", quality=self.quality
            )
            sizes.append(file.tell() / array.shape[0] / array.shape[1])
        return torch.tensor(sizes, dtype=torch.float64)
