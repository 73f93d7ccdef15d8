"""A restoration: from a checked request to the images, the report and the sheet of how it went."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.cli.image.frames import Frames
from headwater.cli.image.options import Restore
from headwater.cli.image.outputs import plan_outputs
from headwater.cli.image.preview import draw_previews
from headwater.cli.image.prior import Model, flow_of, guard_model, load_model, model_of, told
from headwater.cli.image.requests import Request
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.machine import check_room, device_named
from headwater.cli.shared.outputs import Outputs
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.terminal import say
from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.flows.networks import device_of
from headwater.image import restoration as restoring
from headwater.image.denoise import DenoisePicture
from headwater.image.io.files import read_image, write_image
from headwater.image.latent import canvas_of, latents_on_canvas
from headwater.image.metrics.compare import compare, finite
from headwater.image.restoration import Restoration
from headwater.image.sheet import write_sheet
from headwater.image.task import ImageTask
from headwater.problem.compose import compose
from headwater.problem.operator import Operator
from headwater.recipes.methods import find_method, require_fit
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import RecipeOptions
from headwater.solvers.differentiation import Auto
from headwater.solvers.memory import PeakMemory, activation_bytes
from headwater.text import counted

DEFINITIONS = {
    "noise": "standard deviation of the noise of the measurement, in the range [-1, 1]",
    "misfit_unit": "the same, but not below what a solve of a few steps can resolve; of an inpainting without "
    "--noise not below the noise that the known pixels around the hole show; with a model on latents it holds the "
    "error of its autoencoder, too",
    "misfit": "rms(A(x1) - y) / misfit_unit of the image as written: 1 at the noise level; a denoised image is a "
    "mean, whose misfit lies below 1 by nature",
    "solved_together": "pictures that were solved as one batch; `seconds` is the time of all, "
    "`seconds_of_its_share` that of solving by their number",
    "gradients": "gradient evaluations of this sample: each a forward solve and a vector-Jacobian product",
    "evaluations": "forward calls of the network for this sample",
    "psnr": "dB, range 2, over all channels and pixels",
    "ssim": "Gaussian window 11 x 11, std 1.5",
    "perceptual": "EfficientNet-Lite0 feature distance, 0 for equal images (not LPIPS)",
}


@dataclass(kw_only=True)
class RestoreJob(Job):
    """The restoration of one photo, in one sample or several.

    `solver` solves its problem; a batch solves those of several pictures at once.
    """

    request: Request
    options: Restore
    outputs: Outputs
    model: Model
    reference: Tensor | None
    watch: Watch
    frames: Frames
    solver: Callable[..., Result] = Problem.solve
    done: Restoration | None = None
    files: list[Path | None] = field(default_factory=list)

    smaller = "Give --memory, fewer --samples or a smaller image; 'headwater forecast' says what it takes."

    def work(self) -> None:
        """Solve all samples together, unless that is done already; then write those that are images."""
        o = self.options
        if self.done is None:
            self.watch.draw = draw_previews(self.request.task.to(self.device), self.model)
            self.done = solve(self.request.task, self, range(o.seed, o.seed + o.samples))
        for image, path in zip(self.done.images, self.outputs.main, strict=True):
            self.files.append(self._write(image, path))

    def _write(self, image: Tensor, path: Path) -> Path | None:
        """Write a sample; None for one with NaN, after divergence."""
        if not all(end.isfinite() for end in image.aminmax()):  # of all pixels `isfinite` takes seconds
            return None
        return write_image(image[None], path, self.request.picture, overwrite=self.overwrite)

    def entries(self) -> Sequence[Entry]:
        """One row for each sample."""
        if self.done is None:
            return []
        images, result = self._as_written(self.done.images), self.done.result
        misfit = self.done.rms(images)
        entries = []
        # Only what was written so far has a file; the length of `files` decides.
        for i, (status, file) in enumerate(zip(result.status, self.files, strict=False)):
            seed = self.options.seed + i
            row: dict[str, Any] = {
                "seed": seed,
                "file": None if file is None else str(file),
                "status": status.name,
                "sentence": status.value,
                "gradients": int(result.gradients[i]),
                "evaluations": int(result.evaluations[i]),
                "misfit": finite(misfit[i]),
            }
            if self.reference is not None and file is not None:
                row |= compare(images[i : i + 1].cpu(), self.reference)
            # Clamping and rounding may take an image from where the solve had it.
            entries.append(Entry(f"seed {seed}", row, (status,), missed=float(misfit[i]) > 1.25))
        return entries

    def _as_written(self, images: Tensor) -> Tensor:
        """The images with the channels that the file keeps: their mean if it is grey."""
        grey = self.request.picture is not None and self.request.picture.grey
        return images.mean(1, keepdim=True).expand_as(images) if grey else images

    def facts(self) -> Mapping[str, Any]:
        """The operator, the noise, the size, the model."""
        task = self.request.task
        return {
            "operator": task.operator.name,
            "noise": task.noise,
            "misfit_unit": unit_of(task) if self.done is None else unit_of_problem(self.done.problem),
            "size": list(task.size),
            "model": self.options.model,
            "reference": None if self.options.reference is None else str(self.options.reference),
            "definitions": DEFINITIONS,
        }

    def show(self, report: Mapping[str, Any]) -> None:
        """The sheet: the measurement, the first sample, the way to it."""
        assert self.done is not None
        task, done, first = self.request.task, self.done, report["samples"][0]
        words = [f"{name} {first[name]:.2f}" for name in ("misfit", "psnr") if first.get(name) is not None]
        rows, columns = done.region
        shown = task.y.ndim == 4 and task.y.shape[1] in (1, 3)
        y = task.y if shown else torch.zeros(1, 1, *task.size)
        write_sheet(
            self.outputs.sheet,
            y[..., rows, columns] if y.shape[-2:] == done.images.shape[-2:] else y,
            self._as_written(done.images[:1, :, rows, columns]),
            steps=[(at, done.crop(x1[None])[0]) for at, x1 in self.frames.frames],
            reference=None if self.reference is None else self.reference[..., rows, columns],
            curve=self.frames.curve,
            title=f"{self.inputs[0].name}: {task.operator.name}",
            captions=("" if shown else f"{task.y[0].numel()} numbers", ", ".join(words), ""),
            overwrite=self.overwrite,
        )

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Whether the autoencoder of a model on latents knows such pictures."""
        if self.done is not None and unit_of_problem(self.done.problem) > STRANGE * unit_of(
            self.request.task
        ):
            yield (
                f"The model's autoencoder alone changes this picture by {report['misfit_unit']:.2g}, so a misfit "
                "of 1 says little. Look at the result, or take a model that was trained on such pictures."
            )

    def tell(self, report: Mapping[str, Any]) -> None:
        """The files, and how near each sample is."""
        what = "noise and autoencoder, together" if isinstance(self.model, LatentModel) else "a noise of"
        unit = f"{{:.2f}} (1.00 = {what} {report['misfit_unit']:.3g})"
        shown = [("misfit", unit), ("psnr", "{:.2f} dB"), ("ssim", "{:.3f}")]
        for sample in report["samples"]:
            if sample["file"] is not None:
                words = [f"{n} {f.format(sample[n])}" for n, f in shown if sample.get(n) is not None]
                spent = "gradient" if sample["gradients"] else "evaluation"
                say(f"{sample['file']}: {', '.join([*words, counted(sample[f'{spent}s'], spent)])}")
        say(f"{self.outputs.sheet}, {self.report}: how it went, in {report['seconds']:.1f} s")


def solve(task: ImageTask, job: RestoreJob, seeds: Sequence[int]) -> Restoration:
    """Restore the picture of a task, once for each seed, by the model and the options of a job."""
    o = job.options
    done = restoring.restore(
        task.to(job.device),
        guard_model(job.watch, job.model),
        seeds,
        recipe=None if o.method == "default" else recipe_of(task, o.method, job.model),
        options=RecipeOptions(
            steps=o.steps,
            gradients=o.gradients,
            gradient=None if o.memory is None else Auto(memory=o.memory),
            callback=job.watch,
        ),
        solver=job.solver,
    )
    return replace(done, images=done.images.detach())


def restore_job(request: Request, o: Restore) -> RestoreJob:
    """The job of a request, after all of its options, inputs and outputs were checked and the model is loaded.

    Raises
    ------
    Misuse
        An option, a file or the model cannot be used.
    """
    o = replace(o, model=model_of(o))
    outputs = plan_restoration(request, o, o.samples, overwrite=o.overwrite)
    fields = shared_fields(request, o, outputs)
    model, frames = fields["model"], Frames()
    if o.method not in ANSWERS:
        operator, denoising = seen_by_methods(request.task, model)
        require_fit(o.method, operator, denoising=denoising)
    check_memory(model, request, o)
    fields["settings"] |= {"method": o.method}
    fields["warnings"] = (*request.warnings, *warn_of_no_effect(request, o, model))
    level = unit_of(request.task)
    watch = Watch(
        request.command,
        frames,
        limit=o.gradients,
        seconds=o.seconds,
        quiet=o.quiet,
        goal=f"a noise of {level:.3g}",
    )
    return RestoreJob(**fields, watch=watch, overwrite=o.overwrite, frames=frames)


def plan_restoration(
    request: Request, o: Restore, count: int, *, beside: Sequence[str] = (), overwrite: bool
) -> Outputs:
    """The files of a restoration, checked, as `plan_outputs`; none of them is one that was read."""
    inputs = (*request.inputs, *([o.reference] if o.reference else []))
    return plan_outputs(
        o.output,
        request.inputs[0],
        request.command,
        count,
        beside=beside,
        picture=request.picture,
        inputs=inputs,
        overwrite=overwrite,
    )


def shared_fields(request: Request, o: Restore, outputs: Outputs) -> dict[str, Any]:
    """What every restoration has: its settings, the loaded model, the reference.

    Raises
    ------
    Misuse
        matplotlib is not installed, or the reference, the device or the model cannot be used.
    """
    import_optional("matplotlib.figure")
    reference = read_reference(o, request.task.size)
    device = device_named(o.device)
    common = ("steps", "gradients", "seconds", "memory", "seed")
    return {
        "command": f"image {request.command}",
        "inputs": request.inputs,
        "settings": {
            **request.settings,
            **{name: getattr(o, name) for name in common},
            **{name: value for name in ("label", "guidance") if (value := getattr(o, name)) is not None},
            **told(o),
        },
        "report": outputs.report,
        "device": device,
        "quiet": o.quiet,
        "request": request,
        "options": o,
        "outputs": outputs,
        "model": load_model(o, device),
        "reference": reference,
    }


def recipe_of(task: ImageTask, method: str, model: Model) -> Any:
    """The recipe of a method's name; of "faithful" and "plausible" the one that suits the task and the model."""
    if method in ANSWERS:
        answer: Any = None if method == "default" else method
        return task.recipe(answer, latent=isinstance(model, LatentModel))
    return find_method(method)


def seen_by_methods(task: ImageTask, model: Model) -> tuple[Operator, bool]:
    """The operator, and whether the task is to denoise, as a method sees them: a decoder is nonlinear."""
    if isinstance(model, LatentModel):
        return compose(task.operator, model.decode), False
    return task.operator, task.is_denoising


def unit_of(task: ImageTask) -> float:
    """The misfit that counts as 1, in data units."""
    return float(torch.as_tensor(task.misfit_unit).max())


def unit_of_problem(problem: Problem) -> float:
    """The misfit that counts as 1 in a problem, in data units; of latents it holds the error of the autoencoder."""
    return float(torch.as_tensor(problem.misfit.sigma_y).max())


def warn_of_no_effect(request: Request, o: Restore, model: Model) -> Iterator[str]:
    """Of options that have no effect: with a method without a search or without gradients."""
    recipe = recipe_of(request.task, o.method, model)
    if isinstance(recipe, DenoisePicture):
        if o.samples > 1 or o.steps or o.gradients:
            yield (
                "A denoised picture is the mean of what is likely, without a search: all samples are equal, and"
                " --steps and --gradients have no effect. For samples give --method plausible."
            )
    elif o.method in ANSWERS and (o.steps or o.gradients):
        yield (
            "The answer is an estimate, for which --steps and --gradients have no effect: they count where control"
            " mends one that misses the noise level. For control throughout give --method warm-start."
        )
    elif o.gradients and not recipe.about.network_gradient:
        yield (
            "This method takes no gradients, so --gradients has no effect. 'headwater methods' says which do, "
            "such as --method map."
        )


def read_reference(o: Restore, size: tuple[int, int]) -> Tensor | None:
    """The true image `[1, 3, *size]`, if one is given."""
    if o.reference is None:
        return None
    x, _ = read_image(o.reference, span=o.range)
    if tuple(x.shape[-2:]) != tuple(size):
        raise Misuse(
            f"The reference {o.reference} is {x.shape[-2]} x {x.shape[-1]} but the result will be "
            f"{size[0]} x {size[1]}.",
            "Give the true image of that size.",
        )
    return x


STRANGE = 5.0
"""Times the noise, or what counts as it, that an autoencoder may change a picture by before that is told."""

ANSWERS = ("default", "faithful", "plausible")
"""What --method may be beside the names of methods."""

RESULTS = 4
"""Images that a restoration holds for each sample at least: the guess, x1, the result, and as it is written."""


def check_memory(model: Model, request: Request, o: Restore) -> None:
    """Refuse what does not fit: images that cannot be held, or one evaluation of the network for all samples."""
    flow = flow_of(model)
    device = device_of(flow.modules)
    images = RESULTS * 4 * o.samples * model.shape[0] * request.task.size[0] * request.task.size[1]
    check_room(images, device, "Give a smaller image, or fewer --samples.")
    if o.memory is None:
        if isinstance(model, LatentModel):  # measured on the window; a canvas takes more by its area
            share = math.prod(canvas_of(request.task.size, model)) / math.prod(model.shape[1:])
            one = share * (evaluation_bytes(flow) + decoder_bytes(model, flow))
            check_room(round(o.samples * one), device, "Give a smaller image, or fewer --samples.")
        elif o.samples > 1 and tuple(request.task.size) == tuple(model.shape[1:]):
            check_room(o.samples * evaluation_bytes(flow), device, "Give fewer --samples.")
        return
    if isinstance(model, LatentModel):
        canvas = latents_on_canvas(model, canvas_of(request.task.size, model))
        needed = o.samples * (evaluation_bytes(canvas) + decoder_bytes(model, canvas))
    else:
        needed = o.samples * evaluation_bytes(request.task.embed(model))
    if needed > o.memory:
        cure = "fewer --samples." if o.samples > 1 else "a smaller image."
        raise Misuse(
            f"One evaluation of the network needs {needed / 1e6:.0f} MB but --memory is "
            f"{o.memory / 1e6:.0f} MB.",
            f"Give a larger --memory or {cure}",
        )


def evaluation_bytes(flow: Flow) -> int:
    """Bytes that autograd keeps of one evaluation of the network for one problem."""
    one = flow.select(torch.tensor([0]))
    return activation_bytes(one, one.noise([0], device=device_of(flow.modules)))


def decoder_bytes(model: LatentModel, canvas: Flow) -> int:
    """Bytes at the peak of decoding the latents of a canvas with a gradient, of one problem."""
    with PeakMemory() as memory:
        z = canvas.noise([0], device=device_of(canvas.modules)).requires_grad_()
        torch.autograd.grad(model.decode(z).sum(), z)
    peak: int = memory.peak
    return peak
