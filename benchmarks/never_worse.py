"""Is a denoised photograph ever worse than the noisy one, or than one evaluation of the same network?

    python benchmarks/never_worse.py --photographs photos.zip

Five random crops of 64 x 64, at native resolution, of each of the last 40 photographs, which training did not see:
200 crops. Each of 18 kinds of damage takes one crop of every photograph in turn: colour or grey, noise of 6.4, 12.8
and 25.5 grey levels, in a PNG or behind a JPEG of quality 95 with its chroma at half the resolution (4:2:0) or at
half the width (4:2:2). Grey photographs are one channel in the PNG, and three equal ones with equal noise in the
JPEG. Files are written and read; the told noise is that before the JPEG.

`photo64` is the default model of `headwater image denoise`.

`one evaluation` is that of the same network at the time whose noise is told, with completed noise for the grey ones.
BM3D (PyPI `bm3d`) is told the same noise and sees every eighth crop of a cell; `ours there` is our mean on these.
"""

from __future__ import annotations

import tempfile
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common import kept, options, write
from headwater import Flow
from headwater.image.io.files import read_image, write_image
from headwater.image.metrics.fidelity import psnr
from headwater.image.model import models
from headwater.image.model.training_data import images_in
from headwater.image.operators import Identity
from headwater.image.restoration import restore
from headwater.image.task import ImageTask
from headwater.recipes.one_evaluation import denoise_measurement

CELLS = list(product(("colour", "grey"), (6.4, 12.8, 25.5), ("PNG", "4:2:0", "4:2:2")))


def random_crops(archive: Path, each: int = 5, photographs: int = 40, size: int = 64) -> np.ndarray:
    """`each` crops of the last photographs, uint8 `[photographs, each, size, size, 3]`."""
    found = []
    for i, (_, image) in enumerate([*images_in([archive])][-photographs:]):
        place = np.random.default_rng(i)
        corners = [[int(place.integers(side - size + 1)) for side in image.size] for _ in range(each)]
        found.append([np.asarray(image.crop((a, b, a + size, b + size))) for a, b in corners])
    return np.array(found)


def save_noisy(crop: np.ndarray, colour: str, noise: float, file: str, seed: int, path: Path) -> Path:
    """The noisy crop as a file, whose name ends as its format wants."""
    grey = np.asarray(Image.fromarray(crop).convert("L"))
    clean = grey if colour == "grey" else crop
    y = clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)
    image = Image.fromarray(np.rint(y.clip(0, 255)).astype(np.uint8))
    if file == "PNG":
        image.save(path.with_suffix(".png"))
        return path.with_suffix(".png")
    image.convert("RGB").save(path.with_suffix(".jpg"), quality=95, subsampling=file)
    return path.with_suffix(".jpg")


def one_evaluation(flow: Flow, y: Tensor, sigma: float, grey: bool) -> Tensor:
    """The simplest rival, `[n, 3, h, w]`."""
    level = torch.full((len(y),), 3**0.5 * sigma if grey else sigma)
    if not grey:
        return denoise_measurement(flow, y, level)
    fresh = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    y = y + 3**0.5 * sigma * (fresh - fresh.mean(1, keepdim=True))
    return denoise_measurement(flow, y, level).mean(1, keepdim=True).expand_as(y)


def bm3d_psnr(y: Tensor, reference: Tensor, sigma: float, grey: bool) -> float:
    """Mean PSNR of BM3D; of its colour version, with noise white over the channels, or on one channel."""
    from bm3d import bm3d, bm3d_rgb

    found = []
    for a in (y + 1) / 2:
        z = bm3d(a[0].numpy(), sigma / 2) if grey else bm3d_rgb(a.permute(1, 2, 0).numpy(), sigma / 2)
        z = torch.from_numpy(np.atleast_3d(z)).permute(2, 0, 1).float()
        found.append(z.expand(3, -1, -1) * 2 - 1)
    return psnr(round_levels(torch.stack(found)), reference).mean().item()


def round_levels(x: Tensor) -> Tensor:
    """As an 8-bit file keeps it."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def judge(
    flow: Flow, crops: np.ndarray, cell: tuple[str, float, str], number: int, rivals: int
) -> dict[str, object]:
    """Measure one cell on one crop of every photograph."""
    colour, noise, file = cell
    sigma, grey, ys, written, truths = noise / 127.5, colour == "grey", [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for i, own in enumerate(crops):
            crop = own[(i + number) % len(own)]
            path = save_noisy(crop, colour, noise, file, 1000 * number + i, Path(folder) / str(i))
            y, picture = read_image(path)
            done = restore(ImageTask(Identity(), y, sigma, (64, 64), check_span=False), flow, [i])
            out = write_image(done.images, Path(folder) / f"{i}-out.png", picture)
            truth = np.asarray(Image.fromarray(crop).convert("L" if grey else "RGB").convert("RGB"))
            ys.append(y)
            written.append(read_image(out)[0])
            truths.append(torch.from_numpy(truth.copy()).permute(2, 0, 1)[None] / 127.5 - 1)
    y, x, reference = torch.cat(ys), torch.cat(written), torch.cat(truths)
    before, after = psnr(y, reference), psnr(x, reference)
    one = psnr(round_levels(one_evaluation(flow, y, sigma, grey)), reference)
    some = slice(0, None, rivals or 1)
    return {
        "colour": colour,
        "noise": noise,
        "file": file,
        "input": round(before.mean().item(), 2),
        "one evaluation": round(one.mean().item(), 2),
        "ours": round(after.mean().item(), 2),
        "least gain": round((after - before).min().item(), 2),
        "median gain": round((after - before).median().item(), 2),
        "above input": f"{int((after > before).sum())}/{len(y)}",
        "above one - 0.1": f"{int((after > one - 0.1).sum())}/{len(y)}",
        "BM3D": round(bm3d_psnr(y[some], reference[some], sigma, grey), 2) if rivals else "",
        "ours there": round(after[some].mean().item(), 2) if rivals else "",
    }


def total(rows: list[dict[str, object]], network: str) -> dict[str, object]:
    """The shares over all cells."""
    line: dict[str, object] = {"network": network, "colour": "all"}
    for name in ("above input", "above one - 0.1"):
        hits, count = (sum(int(str(r[name]).split("/")[k]) for r in rows) for k in (0, 1))
        line[name] = f"{hits}/{count} = {100 * hits / count:.2f} %"
    return line


def main() -> None:
    o = options(__doc__.splitlines()[0], photographs="photos.zip", networks="photo64", rivals=8, keep="")
    crops, rows = random_crops(Path(o.photographs)), []
    for network in o.networks.split(","):
        flow, rivals = models.flow(network), 0 if rows else o.rivals  # BM3D knows nothing of networks
        found = [
            {"network": network}
            | kept(o.keep, f"{network} {cell}", partial(judge, flow, crops, cell, number, rivals))
            for number, cell in enumerate(CELLS)
        ]
        rows += [*found, total(found, network)]
    note = f"{crops.shape[0] * crops.shape[1]} crops of {len(crops)} photographs; PSNR in dB of the files."
    write(o.results / "never_worse", rows, "python benchmarks/never_worse.py --photographs photos.zip", note)


if __name__ == "__main__":
    main()
