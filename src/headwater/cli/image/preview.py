"""The first sample of a restoration while it runs, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from headwater.cli.image.prior import Model, select_problems
from headwater.dflow.result import Event
from headwater.extras import import_optional
from headwater.image.task import ImageTask
from headwater.recipes.problem import Problem

LARGEST = 1024
"""Pixels of the longer side of a preview."""


def draw_previews(task: ImageTask, model: Model) -> Callable[[Event, Path], None]:
    """What writes the first sample of an event, if it is among those that run, as a PNG."""
    first = replace(task, y=task.y[:1])

    @cache
    def pose() -> Problem:
        return first.pose(select_problems(model, [0]))

    def draw(event: Event, path: Path) -> None:
        place = (event.active == 0).nonzero().flatten().tolist()
        if place:
            with torch.no_grad():
                write_preview(first.finish(event.x1[place[:1]].detach(), pose())[0], path)

    return draw


def write_preview(image: Tensor, path: Path) -> None:
    """Write an image `[3, h, w]` in [-1, 1] as a PNG, shrunk to at most `LARGEST` pixels a side."""
    longest = max(image.shape[-2:])
    if longest > LARGEST:
        image = interpolate(image[None], scale_factor=LARGEST / longest, mode="area")[0]
    grey = ((image.float().nan_to_num() + 1) * 127.5).round().clamp(0, 255).byte()
    pillow = import_optional("PIL.Image")
    pillow.fromarray(grey.permute(1, 2, 0).cpu().numpy()).save(path, format="PNG", compress_level=1)
