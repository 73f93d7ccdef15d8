"""A restoration with `--posterior`: what the draws say of each pixel, their report and their sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.cli.image.options import Restore
from headwater.cli.image.outputs import default_output, name_beside
from headwater.cli.image.preview import draw_previews
from headwater.cli.image.prior import Model, guard_model, model_of
from headwater.cli.image.requests import Request
from headwater.cli.image.restoration import (
    check_memory,
    plan_restoration,
    shared_fields,
    unit_of_problem,
)
from headwater.cli.shared.event import UserEvent, describe_event, load_event, tell_event
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.machine import check_room, device_named
from headwater.cli.shared.outputs import Outputs, name_outputs
from headwater.cli.shared.posterior import DEFINITIONS as SHARED
from headwater.cli.shared.posterior import (
    ChainFile,
    Plan,
    describe,
    digest,
    doubts,
    draw,
    is_complete,
    rms_of_draws,
    rounded,
)
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.flows.latent import LatentModel
from headwater.image.answers import estimate_for
from headwater.image.io.files import write_image
from headwater.image.metrics.compare import compare
from headwater.image.posterior import finish_posterior
from headwater.image.posterior_sheet import round_up, write_posterior_sheet
from headwater.image.restoration import region_of, rms_of
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.groups import STATES_PER_DRAW
from headwater.recipes.posterior.result import Posterior
from headwater.recipes.problem import Problem

LATENT_TIMES = 8
"""Times of an estimate through a decoder, each with sixteen evaluations of it."""
BESIDE = ("sample", "std", "q05", "q95")
"""What is written beside the mean, by the ends of the files' names."""
MEANINGS = {
    "mean": "the mean of the draws, near the truth where they agree and smooth where they do not",
    "sample": "the draw nearest to the mean: a picture that the model makes, whose detail is made up",
    "std": "the standard deviation of every pixel, rms over the channels: grey, 0 is black and `white` is white, in"
    " the units of the range [-1, 1]",
    "q05": "the quantile of 5 % of every value, the least draw up to which 5 % lie; of fewer than 20 the smallest",
    "q95": "the quantile of 95 %; of fewer than 20 draws the largest",
}
DEFINITIONS = {
    **SHARED,
    **MEANINGS,
    "noise": "standard deviation of the noise of the measurement, in the range [-1, 1]",
    "misfit_unit": "the noise that the posterior is that of: the same, but not below what a solve of a few steps can"
    " resolve; of an inpainting without --noise not below the noise that the known pixels around the hole show",
    "misfit": "rms(A(x1) - y) / misfit_unit of the picture as written: 1 at the noise level, below it for a mean",
    "inside": "the share of the reference's values from the 5 % to the 95 % quantile, where these differ",
    "psnr": "dB, range 2, over all channels and pixels",
    "ssim": "Gaussian window 11 x 11, std 1.5",
    "perceptual": "EfficientNet-Lite0 feature distance, 0 for equal images (not LPIPS)",
}


@dataclass(kw_only=True)
class PosteriorJob(Job):
    """Draws of one photo, what they say, and the state of their chains in a file until all is written."""

    request: Request
    options: Restore
    outputs: Outputs
    model: Model
    reference: Tensor | None
    plan: Plan
    file: ChainFile
    event: UserEvent | None
    problem: Problem | None = None
    pictures: Posterior | None = None
    about: dict[str, Any] = field(default_factory=dict)
    files: list[Path | None] = field(default_factory=list)

    rows = "samples"
    smaller = "Give --memory or a smaller image; 'headwater forecast' says what it takes."

    def work(self) -> None:
        """Draw all chains together, then write what the draws say."""
        task = self.request.task.to(self.device)
        self.watch.draw = draw_previews(task, self.model)
        problem = task.pose(guard_model(self.watch, self.model))
        self._try_event(problem)
        if not self.quiet:
            say(f"{self.plan.cost(problem)}{', on from an earlier run' if self.file.goes_on else ''}")
        found = draw(problem, [self.options.seed], self.plan, self.watch, self.file, self.device)
        if not found.x1.shape[2]:
            return  # interrupted; the chains are kept
        picture = self.request.picture
        grey = picture is not None and picture.grey
        (self.about,) = describe(found, self.plan, rms_of_draws(problem, found))
        self.problem, self.pictures = problem, finish_posterior(found, task, problem, grey=grey)
        for name, path in zip(("mean", *BESIDE), self.outputs.main, strict=True):
            self.files.append(self._write(name, path))
        if is_complete(found, self.plan):
            self.file.remove()

    def _try_event(self, problem: Problem) -> None:
        """Ask the event once before the work, of the guess."""
        if self.event is not None:
            guess = problem.guess if problem.latent is None else problem.guess[:1]
            self.event(self.request.task.to(self.device).finish(guess[:1], problem)[0])

    def _write(self, name: str, path: Path) -> Path | None:
        """Write one of the pictures; None if no chain could start."""
        image, picture = self.images[name], self.request.picture
        if not bool(image.isfinite().all()):
            return None
        if name == "std":
            image, picture = (2 * image / self.white - 1).expand(3, *image.shape)[None], None
        return write_image(image, path, picture, overwrite=self.overwrite)

    @property
    def images(self) -> dict[str, Tensor]:
        """The pictures `[1, 3, h, w]` by name, and the standard deviation `[h, w]`."""
        p = self.pictures
        assert p is not None
        return {
            "mean": p.mean,
            "sample": p.nearest(),
            "std": p.std.square().mean((0, 1)).sqrt(),
            "q05": p.quantile(0.05),
            "q95": p.quantile(0.95),
        }

    @property
    def white(self) -> float:
        """The standard deviation that is white in its map."""
        return round_up(float(self.images["std"].max()))

    def entries(self) -> Sequence[Entry]:
        """One row for each picture; the first one ends as the chains do."""
        if self.pictures is None or self.problem is None:
            return []
        images, rows = self.images, []
        status = self.pictures.status[0]
        for name, file in zip(("mean", *BESIDE), self.files, strict=False):
            row: dict[str, Any] = {"what": name, "file": None if file is None else str(file)}
            if name == "mean":
                worst = next((s for s in status if not s.ok), status[0])
                row |= {"status": worst.name, "sentence": worst.value}
                row |= {key: self.about[key] for key in ("evaluations", "gradients")}
            if name in ("mean", "sample") and file is not None:
                misfit = rms_of(images[name], self.request.task.to(self.device), self.problem)
                row["misfit"] = rounded(misfit[0])
                if self.reference is not None:
                    row |= compare(images[name].cpu(), self.reference)
            if name == "std":
                row |= {"white": self.white, "mean": rounded(images["std"].mean())}
            rows.append(Entry(name, row, tuple(dict.fromkeys(status)) if name == "mean" else ()))
        return rows

    def facts(self) -> Mapping[str, Any]:
        """The chains, the event, the operator, the noise, the size, the model."""
        task = self.request.task
        event = None
        if self.event is not None and self.pictures is not None:
            event = describe_event(self.event, self.pictures)
        return {
            "posterior": self.about,
            "event": event,
            "operator": task.operator.name,
            "noise": task.noise,
            "misfit_unit": None if self.problem is None else unit_of_problem(self.problem),
            "size": list(task.size),
            "model": self.options.model,
            "reference": None if self.options.reference is None else str(self.options.reference),
            "inside": self._share_inside(),
            "definitions": DEFINITIONS,
        }

    def _share_inside(self) -> float | None:
        """The share of the reference between the two quantiles, where these differ."""
        if self.reference is None or self.pictures is None:
            return None
        low, high, x = self.images["q05"].cpu(), self.images["q95"].cpu(), self.reference
        return rounded(((x >= low) & (x <= high))[high > low].float().mean())

    def show(self, report: Mapping[str, Any]) -> None:
        """The sheet: measurement, mean, sample, standard deviation and quantiles of what was solved."""
        if self.problem is None:
            return
        task, images = self.request.task, self.images
        rows, columns = region_of(task, self.problem)
        y = task.y if task.y.ndim == 4 and task.y.shape[1] in (1, 3) else torch.zeros(1, 1, *task.size)
        events = [tell_event(report["event"], self.about["draws"])] if report["event"] else []
        mean, sample, std, low, high = (image[..., rows, columns] for image in images.values())
        write_posterior_sheet(
            self.outputs.sheet,
            y[..., rows, columns] if y.shape[-2:] == images["mean"].shape[-2:] else y,
            mean,
            sample,
            std,
            low,
            high,
            reference=None if self.reference is None else self.reference[..., rows, columns],
            title=f"{self.inputs[0].name}: {task.operator.name}, {self.about['draws']} draws",
            lines=[*events, *textwrap.wrap(self.about["verdict"], 110)],
            captions=[
                f"{r['psnr']:.1f} dB" if r.get("psnr") is not None else "" for r in report["samples"][:2]
            ],
            overwrite=self.overwrite,
        )

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Whether the chains disagree or miss the measurement, and what is left for a second run."""
        yield from doubts([self.about] if self.about else [])
        if self.file.goes_on:
            done = self.about.get("draws", 0)
            yield f"{done} of {self.plan.count} draws are made: repeat the command to go on."

    def tell(self, report: Mapping[str, Any]) -> None:
        """The files, the event, and whether the chains agree."""
        for row in report["samples"]:
            if row["file"] is not None:
                more = f", misfit {row['misfit']:.2f}" if row.get("misfit") is not None else ""
                more += f", {row['psnr']:.2f} dB" if row.get("psnr") is not None else ""
                more += f", white is {row['white']:g}" if "white" in row else ""
                say(f"{row['file']}: {row['what']}{more}")
        if report["event"] is not None:
            say(tell_event(report["event"], self.about["draws"]))
        say(f"{self.outputs.sheet}, {self.report}: {self.about['verdict']} {report['seconds']:.1f} s")


def posterior_job(request: Request, o: Restore, plan: Plan) -> PosteriorJob:
    """The job of a request, after all of its options, inputs and outputs were checked and the model is loaded.

    Raises
    ------
    Misuse
        An option, a file or the model cannot be used, or the chains of another run are in the way.
    """
    if o.samples > 1:
        raise Misuse("--samples and --posterior both say how many.", "Give one of them.")
    o = replace(o, model=model_of(o))
    event = load_event(o.event, "a picture [3, height, width]")
    main = o.output or default_output(request.inputs[0], request.command)
    kept = name_beside(main, name_outputs(main).report.stem, "chains").with_suffix(".safetensors")
    # what an interrupted run wrote may be written again by the one that goes on
    outputs = plan_restoration(request, o, 1, beside=BESIDE, overwrite=o.overwrite or kept.is_file())
    fields = shared_fields(request, o, outputs)
    if isinstance(fields["model"], LatentModel):
        plan = plan.anneal(o.steps or LATENT_TIMES).begin_at(Estimate(times=LATENT_TIMES))
    else:
        plan = plan.begin_at(estimate_for(request.task.operator))
    fields["settings"] |= plan.settings
    own = {k: v for k, v in fields["settings"].items() if k not in ("seconds", "memory", "posterior")}
    file = ChainFile(kept, digest(request.inputs, {**own, "model": o.model, "noise": o.noise}), o.overwrite)
    check_memory(fields["model"], request, replace(o, samples=1))  # chains that do not fit take turns
    height, width = request.task.size
    pictures = STATES_PER_DRAW * 4 * plan.count * 3 * height * width
    check_room(pictures, device_named(o.device), "Give a smaller image, or fewer draws, as --posterior 8.")
    return PosteriorJob(
        **fields,
        warnings=request.warnings,
        watch=Watch(request.command, seconds=o.seconds, quiet=o.quiet),
        overwrite=o.overwrite or file.goes_on,
        plan=plan,
        file=file,
        event=event,
    )
