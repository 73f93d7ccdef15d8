"""`headwater image generate | invert | likelihood`: the model without a measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from headwater.atomic import write_atomically
from headwater.cli.image.options import Common
from headwater.cli.image.outputs import plan_outputs
from headwater.cli.image.preview import write_preview
from headwater.cli.image.prior import (
    Model,
    flow_of,
    guard_model,
    guidance_of,
    load_flow,
    load_model,
    model_of,
    of_size,
    on_canvas,
    select_problems,
    to_pictures,
    told,
)
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.machine import device_named
from headwater.cli.shared.outputs import Outputs, check_outputs, name_outputs
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.terminal import say
from headwater.dflow.start import inversion
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.image.io.files import read_image, write_image
from headwater.solvers import EULER, MIDPOINT, bits_per_dimension, log_likelihood, solve

STEPS = 24
"""Steps of the midpoint method for a sample."""


@dataclass(kw_only=True)
class PriorJob(Job):
    """What the three commands share: the model of the options."""

    common: Common

    smaller = "Give a smaller --size, or smaller images."

    def facts(self) -> Mapping[str, Any]:
        """The model and the label."""
        return {"model": model_of(self.common), "label": self.common.label}


@dataclass(kw_only=True)
class GenerateJob(PriorJob):
    """Samples of the flow, `batch` of them solved at once; sample i has the i-th seed."""

    model: Model
    outputs: Outputs
    seeds: range
    steps: int | None
    most_shown: int
    batch: int = 16
    written: int = 0
    images: list[Tensor] = field(default_factory=list)

    def work(self) -> None:
        """Draw batch after batch; every batch is written when it is done, the first ones are kept for the sheet."""
        for first in range(0, len(self.seeds), self.batch):
            seeds = self.seeds[first : first + self.batch]
            with torch.no_grad():
                part = select_problems(self.model, range(first, first + len(seeds)))
                pictures = draw_pictures(part, seeds, self.steps, self.device)
            for image in pictures.cpu():
                write_image(image[None], self.outputs.main[self.written], overwrite=self.overwrite)
                self.images += [image] if self.written < self.most_shown else []
                self.written += 1
            self.watch.feed.show(partial(write_preview, pictures[-1]))
            self.watch.tell(f"generate  {self.written} of {len(self.seeds)} samples")
            if not self.quiet and len(self.seeds) > self.batch:
                say(f"{self.written} of {len(self.seeds)} samples")

    def entries(self) -> Sequence[Entry]:
        """One row for each sample that is written."""
        rows = zip(self.seeds[: self.written], self.outputs.main, strict=False)
        return [Entry(f"seed {seed}", {"seed": seed, "file": str(file)}) for seed, file in rows]

    def show(self, report: Mapping[str, Any]) -> None:
        """The contact sheet."""
        write_image(contact_sheet(self.images), self.outputs.sheet, overwrite=self.overwrite)

    def tell(self, report: Mapping[str, Any]) -> None:
        """The first files, and the sheet."""
        files, shown = self.outputs.main, len(self.images)
        which = "all" if shown == self.written else f"the first {shown}"
        say(
            f"{', '.join(map(str, files[:4]))}{', ...' if len(files) > 4 else ''}; {which} on {self.outputs.sheet}"
        )


def draw_pictures(model: Model, seeds: Sequence[int], steps: int | None, device: torch.device) -> Tensor:
    """Pictures of the seeds in [-1, 1], `[len(seeds), 3, h, w]`; steps None means those of the model, or 24."""
    flow = flow_of(model)
    x0 = flow.noise(seeds, device=device)
    if isinstance(model, LatentModel) and model.steps is not None:  # as many as asked for, see `load_model`
        x1 = solve(flow, x0, method=EULER, steps=model.steps)
    else:
        x1 = solve(flow, x0, steps=steps or STEPS)
    return to_pictures(model, x1).clamp(-1, 1)


def generate_job(
    count: int, seed: int, steps: int | None, size: tuple[int, int] | None, common: Common
) -> GenerateJob:
    """The job of `generate`, checked."""
    output = common.output or Path("samples.png")
    outputs = plan_outputs(output, output, "generate", count, overwrite=common.overwrite)
    device = device_named(common.device)
    watch = Watch("generate", quiet=True)
    seeds = range(seed, seed + count)
    model = load_model(common, device, seeds, steps=steps, size=size)
    guidance = guidance_of(model, common)
    model = of_size(guard_model(watch, model), size, min(count, GenerateJob.batch), model_of(common))
    shape = list(model.shape[1:])
    return GenerateJob(
        command="image generate",
        settings={
            "count": count,
            "seed": seed,
            "steps": steps,
            "size": shape,
            "guidance": guidance,
            **told(common),
        },
        report=outputs.report,
        watch=watch,
        device=device,
        overwrite=common.overwrite,
        quiet=common.quiet,
        common=common,
        model=model,
        outputs=outputs,
        seeds=seeds,
        steps=steps,
        most_shown=max(1, min(256, 64_000_000 // (shape[0] * shape[1]))),  # the sheet is an image too
    )


def contact_sheet(images: Sequence[Tensor], border: int = 2, columns: int | None = None) -> Tensor:
    """Images `[3, h, w]` side by side on white, `[1, 3, H, W]`, `border` pixels between them.

    About square, if there is no number of `columns`.

    >>> contact_sheet([torch.zeros(3, 8, 8)] * 4).shape
    torch.Size([1, 3, 22, 22])
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    c, h, w = images[0].shape
    page = torch.ones(c, rows * (h + border) + border, columns * (w + border) + border)
    for k, image in enumerate(images):
        top, left = border + (k // columns) * (h + border), border + (k % columns) * (w + border)
        page[:, top : top + h, left : left + w] = image
    return page[None]


@dataclass(kw_only=True)
class InvertJob(PriorJob):
    """The source point of an image, `[3, h, w]` float32 in a .npy file, and how well it maps back."""

    flow: Flow
    x1: Tensor
    steps: int
    output: Path
    values: dict[str, float] = field(default_factory=dict)

    def work(self) -> None:
        """Invert and write x0."""
        with torch.no_grad():
            found = inversion(self.flow, self.x1.to(self.device), steps=self.steps)
        with write_atomically(self.output, overwrite=self.overwrite) as temporary:
            np.save(temporary, found.y0[0].float().cpu().numpy())
        self.values = {
            "round_trip_rms": round(float(found.round_trip), 8),
            "radius": round(float(found.radius), 6),
        }

    def entries(self) -> Sequence[Entry]:
        """The one image."""
        return [Entry(str(self.output), {"file": str(self.output), **self.values})] if self.values else []

    def facts(self) -> Mapping[str, Any]:
        """The file and the diagnostics."""
        return {**super().facts(), "file": str(self.output), **self.values}

    def tell(self, report: Mapping[str, Any]) -> None:
        """The file and the diagnostics."""
        say(
            f"{self.output}: round trip off by {report['round_trip_rms']:.2g} rms in [-1, 1], "
            f"radius {report['radius']:.3f} (1 = a draw of the source)"
        )


def invert_job(photo: Path, steps: int, common: Common) -> InvertJob:
    """The job of `invert`, checked."""
    output = common.output or photo.with_name(f"{photo.stem}-x0.npy")
    if output.suffix != ".npy":
        raise Misuse(
            f"A source point is not a picture: it cannot be written to {output}.",
            "Name an output that ends in .npy.",
        )
    report = name_outputs(output).report
    check_outputs((output, report), (photo,), overwrite=common.overwrite)
    x, _ = read_image(photo, span=common.range)
    device, watch = device_named(common.device), Watch("invert", quiet=True)
    return InvertJob(
        command="image invert",
        inputs=(photo,),
        settings={"steps": steps, **told(common)},
        report=report,
        watch=watch,
        device=device,
        overwrite=common.overwrite,
        quiet=common.quiet,
        common=common,
        flow=on_canvas(watch.guard(load_flow(common, device)), size_of(x), photo),
        x1=x,
        steps=steps,
        output=output,
    )


@dataclass(kw_only=True)
class LikelihoodJob(PriorJob):
    """Bits per dimension of images, each on a canvas of its own."""

    rows: ClassVar[str] = "images"
    row: ClassVar[str] = "image"

    images: tuple[Tensor, ...]
    canvases: tuple[Flow, ...]
    probes: int
    seed: int
    steps: int
    found: list[dict[str, Any]] = field(default_factory=list)

    def work(self) -> None:
        """Print the number of each image as soon as it is known: it is what was asked for."""
        for photo, x, flow in zip(self.inputs, self.images, self.canvases, strict=True):
            logp, x0 = log_likelihood(
                flow, x.to(self.device), probes=self.probes, seed=self.seed, method=MIDPOINT, steps=self.steps
            )
            bits, radius = float(bits_per_dimension(logp, flow.event_size)), float(x0.square().mean().sqrt())
            row = {"file": str(photo), "bits_per_dimension": round(bits, 6), "radius": round(radius, 6)}
            self.found.append(row)
            say(f"{photo}: {bits:.4f} bits per dimension")

    def entries(self) -> Sequence[Entry]:
        """One row for each image."""
        return [Entry(row["file"], row) for row in self.found]

    def tell(self, report: Mapping[str, Any]) -> None:
        """Nothing more."""


def likelihood_job(
    photos: Sequence[Path], probes: int, seed: int, steps: int, common: Common
) -> LikelihoodJob:
    """The job of `likelihood`, checked."""
    if not photos:
        raise Misuse("No image was given.", "Name one or more image files.")
    if common.output is not None:
        if common.output.suffix != ".json":
            raise Misuse(
                f"The report {common.output} is written as JSON.", "Name an output that ends in .json."
            )
        check_outputs((common.output,), photos, overwrite=common.overwrite)
    images = tuple(read_image(photo, span=common.range)[0] for photo in photos)
    device, watch = device_named(common.device), Watch("likelihood", quiet=True)
    window = watch.guard(load_flow(common, device))
    return LikelihoodJob(
        command="image likelihood",
        inputs=tuple(photos),
        settings={"probes": probes, "seed": seed, "steps": steps, "bin_width": 2 / 255, **told(common)},
        report=common.output,
        watch=watch,
        device=device,
        overwrite=common.overwrite,
        quiet=common.quiet,
        common=common,
        images=images,
        canvases=tuple(on_canvas(window, size_of(x), p) for x, p in zip(images, photos, strict=True)),
        probes=probes,
        seed=seed,
        steps=steps,
    )


def size_of(x: Tensor) -> tuple[int, int]:
    """Height and width of an image `[..., h, w]`."""
    return (x.shape[-2], x.shape[-1])
