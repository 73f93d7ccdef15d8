"""What one evaluation of a shipped network removes of known noise: the simplest rival of every recipe.

    python benchmarks/one_evaluation.py --data val.zip --photographs photos.zip

xhat(x_t, t) at t = 1 / (1 + sigma_y), where x_t = t y has the noise of y. Mean PSNR in dB of `--count` held-out
pictures of 64 x 64, and of the centre crops of the last 40 photographs at their own resolution, in colour and in grey
(its noise is completed to white noise in three channels, see `headwater.image.model.train.denoised_psnr`), beside
BM3D (`pip install bm3d`), which is told the noise, too. `denoise` is what the command does, one evaluation for each
of four mirror images. Noise is in the range [-1, 1].
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from classical import bm3d, each
from common import options, write
from headwater import Identity, zoo
from headwater.image.metrics.fidelity import psnr
from headwater.image.model import models
from headwater.image.model.train import denoised_psnr
from headwater.image.model.training_data import load_photographs, to_grey
from headwater.image.task import ImageTask
from images import held_out

LEVELS = (0.05, 0.1, 0.2, 0.4)


def bm3d_psnr(images: Tensor, sigma: float, *, grey: bool) -> float:
    """The mean PSNR of BM3D on the same pictures and noise, uint8 `[n, 3, h, w]`."""
    x1 = (to_grey(images)[:, :1] if grey else images).float() / 127.5 - 1
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))[:, : x1.shape[1]]
    x = torch.cat([each(bm3d, y, [sigma / 2]) for y in (x1 + sigma * noise).split(1)])
    return psnr(x.clamp(-1, 1), x1).mean().item()


def command_psnr(images: Tensor, sigma: float, *, grey: bool) -> float:
    """The mean PSNR of the command on the same pictures and noise, uint8 `[n, 3, h, w]`."""
    x1 = (to_grey(images) if grey else images).float() / 127.5 - 1
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    y = x1 + sigma * (noise[:, :1].expand_as(noise) if grey else noise)
    task = ImageTask(Identity(), y, sigma, (x1.shape[-2], x1.shape[-1]), check_span=False)
    problem = task.pose(models.flow())
    return psnr(task.finish(problem.solve(range(len(y))).x1, problem), x1).mean().item()


OTHERS = {"denoise": command_psnr, "BM3D": bm3d_psnr}


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=100, photographs="photos.zip")
    pictures = ((held_out(o.data, o.count) + 1) * 127.5).round().to(torch.uint8)
    _, crops = load_photographs([Path(o.photographs)], 64)
    rows: list[dict[str, object]] = []
    for what, images in (("pictures", pictures), ("crops", crops)):
        for grey in (False, True):
            for name in [*zoo.list_models("image"), *(["denoise", "BM3D"] if what == "crops" else [])]:
                row: dict[str, object] = {"network": name, "images": what, "grey": grey}
                for sigma in LEVELS:
                    if name in OTHERS:
                        value = OTHERS[name](images, sigma, grey=grey)
                    else:
                        value = denoised_psnr(models.network(name), images, sigma, grey=grey)
                    row[f"PSNR, noise {sigma}"] = round(value, 2)
                rows.append(row)
                print(rows[-1], flush=True)
    command = "python benchmarks/one_evaluation.py --data val.zip --photographs photos.zip"
    note = (
        f"{len(pictures)} pictures, {len(crops)} crops; one evaluation of the network. On the crops alone the "
        "command `denoise` with four, and BM3D."
    )
    write(o.results / "one_evaluation", rows, command, note)


if __name__ == "__main__":
    main()
