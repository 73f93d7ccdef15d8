"""What a scratch of 75 pixels costs by the size of the photo around it, beyond reading and writing the photo.

    python benchmarks/damage_cost.py --threads 1

A small photo is tiled to every size, and the scratch lies in the same surroundings each time. Of two processes for
each size one reads the photo and writes a changed copy, the other inpaints it. Their difference in CPU seconds and in
peak memory is what the damage costs, with its sheet and its report.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from common import options, write
from headwater.image.io import photos

SIZES = ((256, 256), (1500, 2000), (3000, 4000))
SCRATCH = (81, 90, 3, 75)  # top, left, height, width


def usage() -> tuple[float, float]:
    """CPU seconds and peak bytes of this process."""
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime, 1024 * found.ru_maxrss


def work(kind: str, photo: Path, output: Path, threads: int) -> None:
    """The body of a process; prints what it used."""
    import torch

    from headwater.cli import main as command
    from headwater.image.io.files import read_image, write_image

    torch.set_num_threads(threads)
    if kind == "copy":
        x, picture = read_image(photo)
        changed = x.clone()
        changed[..., 0] = 0
        write_image(changed, output, picture)
    else:
        box = ",".join(map(str, SCRATCH))
        if command(["image", "inpaint", str(photo), "--box", box, "-o", str(output), "--quiet"]):
            raise SystemExit("The command failed.")
    print(json.dumps(usage()))


def measure(kind: str, photo: Path, folder: Path, threads: int) -> tuple[float, float]:
    """The least CPU seconds of five processes, and the least peak bytes."""
    found = []
    for number in range(5):
        output = folder / f"{kind}-{photo.stem}-{number}.png"
        words = [sys.executable, __file__, "--work", kind, str(photo), str(output), str(threads)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return min(s for s, _ in found), min(b for _, b in found)


def main() -> None:
    o = options(__doc__.splitlines()[0])
    source = np.asarray(Image.open(photos.path("astronaut")).convert("RGB"))
    rows: list[dict[str, object]] = []
    least: tuple[float, float] | None = None  # of the smallest photo
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for height, width in SIZES:
            tiles = (-(-height // source.shape[0]), -(-width // source.shape[1]), 1)
            photo = folder / f"{height}.png"
            Image.fromarray(np.tile(source, tiles)[:height, :width]).save(photo)
            copy, whole = (measure(kind, photo, folder, o.threads) for kind in ("copy", "inpaint"))
            seconds, size = (b - a for a, b in zip(copy, whole, strict=True))
            least = least or (seconds, size)
            rows.append(
                {
                    "photo": f"{height} x {width}",
                    "read and write, CPU seconds": round(copy[0], 1),
                    "read and write, peak MB": round(copy[1] / 1e6),
                    "CPU seconds": round(seconds, 2),
                    "peak MB": round(size / 1e6),
                    "times the CPU seconds": round(seconds / least[0], 2),
                    "times the peak": round(size / least[1], 2),
                }
            )
            print(rows[-1], flush=True)
    note = "Of the columns after the first three: beyond reading and writing."
    write(o.results / "damage_cost", rows, f"python benchmarks/damage_cost.py --threads {o.threads}", note)


if __name__ == "__main__":
    if "--work" in sys.argv:
        work(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
