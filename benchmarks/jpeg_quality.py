"""Is the JPEG quality of a decoded picture found, and is a picture that was no JPEG file known as such?

    python benchmarks/jpeg_quality.py --data val.zip --threads 1

Pictures of 64 x 64 that are JPEG files themselves, shrunk to 32 x 32 so that their own blocks are gone and then
compressed with Pillow. `unknown` were taken for none; `as the file` is found exactly. `nothing` are pictures that
were not compressed after they were changed: all that is found there is wrong.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from common import options, write
from headwater.image import Blur, find_jpeg, gaussian_kernel
from images import held_out

QUALITIES = (5, 10, 20, 30, 50, 75, 85, 90, 95)


def compress(x: Tensor, quality: int, subsampling: int) -> Tensor:
    """Pictures `[batch, 3, h, w]` in [-1, 1] as Pillow's codec leaves them; subsampling as Pillow counts."""
    decoded = []
    for one in (x * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8):
        file = io.BytesIO()
        image = Image.fromarray(one.permute(1, 2, 0).numpy())
        image.save(file, "JPEG", quality=quality, subsampling=subsampling)
        decoded.append(torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1))
    return torch.stack(decoded).float() / 127.5 - 1


def in_bytes(x: Tensor) -> Tensor:
    """Rounded to 8 bits."""
    return (x * 127.5 + 127.5).round().clamp(0, 255) / 127.5 - 1


def changes(x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Pictures without compression, or whose compression was undone by a change."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return {
        "shrunk": lambda: in_bytes(avg_pool2d(x, 2)),
        "enlarged": lambda: in_bytes(interpolate(x, scale_factor=1.5, mode="bicubic")),
        "blurred": lambda: in_bytes(Blur(gaussian_kernel(1.0))(x)),
        "noisy, 2 grey levels": lambda: in_bytes(x + noise * 2 / 127.5),
        "cut out of its blocks": lambda: x[..., 3:, 5:],
    }


def main() -> None:
    """Look for the compression of every picture and write the table."""
    o = options(__doc__.splitlines()[0], "data", count=50)
    x, rows = held_out(o.data, o.count), list[dict[str, object]]()
    small = avg_pool2d(x, 2)
    for quality in QUALITIES:
        for code, subsampling in ((0, "4:4:4"), (2, "4:2:0")):
            found = find_jpeg(compress(small, quality, code))
            off = [abs(f.quality - quality) for f in found if f is not None]
            rows.append(
                {
                    "pictures": f"quality {quality}, {subsampling}",
                    "as the file": sum(d == 0 for d in off),
                    "within 2": sum(d <= 2 for d in off),
                    "unknown": len(found) - len(off),
                    "subsampling as the file": sum(
                        f is not None and f.subsampling == subsampling for f in found
                    ),
                }
            )
    for name, change in changes(x).items():
        found = find_jpeg(change())
        seen = sorted(f.quality for f in found if f is not None)
        rows.append(
            {
                "pictures": f"nothing: {name}",
                "unknown": len(found) - len(seen),
                "found though": ", ".join(map(str, seen)),
            }
        )
    write(
        o.results / "jpeg_quality",
        rows,
        "python benchmarks/jpeg_quality.py --data val.zip --threads 1",
        f"{o.count} pictures a line, of 32 x 32 but for those after `nothing`.",
    )


if __name__ == "__main__":
    main()
