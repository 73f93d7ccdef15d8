"""The sets of pictures and the tasks that methods are compared on: truths that a table uses, others to choose on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from digits import digit_features, digits_flow, held_out_digits, tuning_digits
from drawings import drawings_flow, load_drawings
from headwater import Flow, solve
from headwater.cli.image.jpeg_request import codec_noise
from headwater.image.canvas import extend
from headwater.image.metrics.perceptual import pooled_features
from headwater.image.model import models
from headwater.image.model.training_data import centre_crop, images_in, load_images
from headwater.image.operators import (
    JPEG,
    Blur,
    Clip,
    Colorize,
    Identity,
    Inpaint,
    Operator,
    PhaseRetrieval,
    SuperResolution,
    box_mask,
    chain,
    gaussian_kernel,
    random_mask,
)
from headwater.image.task import ImageTask
from headwater.recipes.problem import Problem
from headwater.solvers.fixed import logit_grid

SETS = ("drawn", "pictures", "crops", "grey", "digits", "drawings")
LINEAR = ("denoise", "deblur", "upscale", "box", "random")
TASKS = (*LINEAR, "jpeg", "hdr", "phase", "features")
HELD_OUT = 40  # photographs that no training saw


class Features(Operator):
    """A random network of two layers, with 24 times fewer numbers than the picture: y = W2 tanh(W1 x).

    It stands for the features that a network keeps of a picture. It has no pseudo-inverse and no adjoint.
    """

    kind = "features"

    def __init__(self, channels: int) -> None:
        generator = torch.Generator().manual_seed(0)
        first = torch.randn(32, channels, 8, 8, generator=generator)
        self.first = 4 * first / first[0].numel() ** 0.5
        second = torch.randn(8 * channels // 3, 32, 4, 4, generator=generator)
        self.second = second / second[0].numel() ** 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """The features `[batch, 8 c / 3, h / 8, w / 8]` of x `[batch, c, h, w]`."""
        hidden = torch.tanh(functional.conv2d(x, self.first.to(x), stride=4, padding=2))
        return functional.conv2d(hidden, self.second.to(x), stride=2, padding=1)


@dataclass(frozen=True)
class PictureSet:
    """A flow, truths `[n, c, h, w]` in [-1, 1], and the features that compare sets of its pictures.

    Attributes
    ----------
    name
        One of `SETS`.
    flow
        The prior.
    images
        The truths.
    """

    name: str
    flow: Flow
    images: Tensor

    @property
    def grey(self) -> bool:
        """Whether the pictures are grey ones of a prior in colour."""
        return self.name == "grey"

    def features(self, x: Tensor) -> Tensor:
        """Features `[n, d]` of pictures, for the kernel distance."""
        return digit_features(x) if self.name == "digits" else pooled_features(x.clamp(-1, 1))

    @cached_property
    def clean(self) -> Tensor:
        """The features of the truths."""
        return self.features(self.images)

    def take(self, count: int) -> PictureSet:
        """The first `count` of it."""
        return PictureSet(self.name, self.flow, self.images[:count])


def load_set(
    name: str,
    count: int,
    *,
    tuning: bool,
    data: Path,
    photographs: Path,
    model: str,
    drawings: Path = Path("pictograms.npz"),
) -> PictureSet:
    """`count` truths of a set; with `tuning` others than those, to choose settings on.

    `drawn` are solves of the model's own flow from noise; `pictures` are those of the archive `data`; `crops` are
    windows of 64 pixels of the last 40 `photographs` at their own resolution, `grey` the same without colour.
    `digits` and `drawings`, those of the file of that name, have flows of their own.
    """
    if name == "drawings":
        return PictureSet(name, drawings_flow(), load_drawings(drawings, count, tuning=tuning))
    if name == "digits":
        return PictureSet(name, digits_flow(), (tuning_digits if tuning else held_out_digits)(count))
    flow = models.flow(model)
    if name == "drawn":
        first = 10_000_000 if tuning else 20_000_000
        with torch.no_grad():
            x = solve(flow, flow.noise(range(first, first + count)), steps=logit_grid(32))
        return PictureSet(name, flow, x.clamp(-1, 1))
    if name == "pictures":
        x, _, _ = load_images([data], None)
        # 200 of the 2,020 pictures, evenly spread, are those of the tables; those half-way between are for tuning
        x = x[5::10] if tuning else x[::10]
        return PictureSet(name, flow, x[:: max(1, len(x) // count)][:count].float() / 127.5 - 1)
    x = windows_of_photographs(photographs, count, tuning=tuning)
    if name == "grey":
        x = x.mean(1, keepdim=True).expand_as(x).contiguous()
    return PictureSet(name, flow, x)


def align(x: Tensor, reference: Tensor) -> Tensor:
    """Of x `[n, c, h, w]`, -x and both turned by 180 degrees the one nearest to the reference, for every picture."""
    choices = torch.stack([sign * y for y in (x, x.flip((-2, -1))) for sign in (1, -1)])
    best = (choices - reference).flatten(2).square().sum(2).argmin(0)
    return choices[best, torch.arange(len(x))]


def windows_of_photographs(archive: Path, count: int, *, tuning: bool) -> Tensor:
    """Windows of 64 x 64 at native resolution, `[count, 3, 64, 64]`.

    The tables have five of each of the 40 held-out photographs, its centre first. Tuning has the centres of
    photographs that were trained on, which suits the choice of a weight.
    """
    photographs = [image for _, image in images_in([archive])]
    chosen = photographs[-2 * HELD_OUT : -HELD_OUT] if tuning else photographs[-HELD_OUT:]
    crops = []
    for shift in ((0, 0), (-1, -1), (1, 1), (-1, 1), (1, -1)):
        for image in chosen:
            w, h = image.size
            dx, dy = (shift[0] * max(0, (w - 64) // 2 - 4), shift[1] * max(0, (h - 64) // 2 - 4))
            box = ((w - 64) // 2 + dx, (h - 64) // 2 + dy)
            crops.append(
                torch.from_numpy(centre_crop(image.crop((*box, box[0] + 64, box[1] + 64)), 64).copy())
            )
    step = max(1, HELD_OUT // count)  # a few are spread over all of the photographs
    return torch.stack(crops[::step][:count]).movedim(-1, 1).float() / 127.5 - 1


def operator_of(task: str, size: int, channels: int = 3) -> tuple[Operator, float]:
    """The operator of a task on pictures of `size` pixels and some channels, and its noise in the range [-1, 1]."""
    side = round(20 * size / 64)
    tasks: dict[str, Callable[[], tuple[Operator, float]]] = {
        "denoise": lambda: (Identity(), 0.2),
        "deblur": lambda: (Blur(gaussian_kernel(std=1.0)), 0.05),
        "upscale": lambda: (SuperResolution(2), 0.05),
        "box": lambda: (Inpaint(box_mask(size, size, side, side)), 0.05),
        "random": lambda: (Inpaint(random_mask(size, size, missing=0.7, seed=1)), 0.05),
        "jpeg": lambda: (JPEG(10, rounding="smooth"), 0.0),
        "hdr": lambda: (Clip(gain=2.0, slack=0.15), 0.05),
        "phase": lambda: (PhaseRetrieval(), 0.05),
        "features": lambda: (Features(channels), 0.05),
    }
    return tasks[task]()


def pose(pictures: PictureSet, task: str) -> tuple[ImageTask, Problem]:
    """The measurement of each picture, with noise that depends on its place alone, and its problem for any method.

    A grey picture is measured in one channel. Its denoising task has that channel three times, as a file has; the
    problem has it once, which is what a method can use.
    """
    x, size = pictures.images, pictures.images.shape[-1]
    operator, noise = operator_of(task, size, x.shape[1])
    if isinstance(operator, JPEG):
        y = JPEG(10)(x).mul(127.5).round() / 127.5  # what is in the file; rounding is its only noise
        noise = codec_noise(operator, y)
    else:
        y = operator(x)
        draws = [torch.randn(y.shape[1:], generator=torch.Generator().manual_seed(i)) for i in range(len(y))]
        if pictures.grey:
            draws = [n.mean(0, keepdim=True) * 3**0.5 for n in draws]
        y = y + noise * torch.stack(draws)
    if isinstance(operator, Clip):
        y = y.clamp(-1, 1)
    posed = ImageTask(operator, y, noise, (size, size), check_span=False)
    if isinstance(operator, Inpaint):
        posed = ImageTask(operator, operator(operator.adjoint(y)), noise, (size, size), check_span=False)
    if not pictures.grey:
        return posed, posed.pose(pictures.flow)
    grey = Colorize("mean")
    once = ImageTask(
        chain(grey, operator), posed.y.mean(1, keepdim=True), noise, (size, size), check_span=False
    )
    guess = once.operator.pinv(once.y) if hasattr(once.operator, "pinv") else posed.pose(pictures.flow).guess
    problem = once.pose(pictures.flow)
    return posed, Problem(problem.flow, problem.misfit, extend(guess, (size, size)), problem.recipe)
