"""`headwater image deblur --blind`: the kernel first, on a part of the photo, then the photo with that kernel.

What is written is a mixture with the photo, or the photo as it was (`image.blind.caution`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from headwater.cli.image.options import Restore
from headwater.cli.image.preview import draw_previews
from headwater.cli.image.prior import guard_model
from headwater.cli.image.requests import Request, image_task
from headwater.cli.image.restoration import RestoreJob, restore_job
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.outputs import check_free
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.image import restoration as restoring
from headwater.image.blind import ANSWER, Caution, KernelSearch, UnknownBlur
from headwater.image.io.files import read_image, write_image
from headwater.image.operators import Blur, gaussian_kernel
from headwater.image.restoration import Restoration
from headwater.image.task import ImageTask
from headwater.optimizers.status import Status
from headwater.recipes.blind import BlindResult
from headwater.recipes.recipe import RecipeOptions, result_without_control

LEAST_NOISE = 0.04
"""The least noise of a photo whose kernel was estimated, in the range [-1, 1] (`benchmarks/blind_deblur.py`)."""

DEFINITIONS = {
    "noise": "standard deviation of what the measurement may be off by, in the range [-1, 1]: the noise, but not "
    "below 0.04, as the kernel has errors",
    "kernel": "what was found: entries add up to 1, row and column 0 are top and left; `kernel_picture` is "
    "the same, white at its largest entry",
    "kernel_evaluations": "forward calls of the network for the kernel, on a part of the photo",
    "weight": "the share of the sharpened picture in what is written, the rest being the photo",
    "left_as_it_was": "the photo was written as it was, because its kernel is a point or does not explain it",
    "misfit": "rms(A(x1) - y) / misfit_unit of the sharpened picture, before it is mixed with the photo",
    "unexplained": "rms(A(x1) - y) of the same in the range [-1, 1], at its edges, away from the border",
}


@dataclass(kw_only=True)
class BlindJob(RestoreJob):
    """A deblurring that finds the kernel before it restores the photo; one kernel for the whole photo.

    A batch does not solve it beside others (`shares`): the problem is known only after the search.
    A method that the user names is taken at the user's word: what it makes is written as it is.
    """

    unknown: UnknownBlur
    kernel_file: Path
    caution: Caution
    found: BlindResult | None = None
    shares: ClassVar[bool] = False
    left: list[bool] = field(default_factory=list)
    sharpened: dict[str, list[float]] = field(default_factory=dict)

    def work(self) -> None:
        """Find the kernel, write it, and restore with it."""
        task, flow = self.request.task.to(self.device), guard_model(self.watch, self.model)
        assert isinstance(flow, Flow)  # `blind_job` has refused a model on latents
        search = KernelSearch()
        self.found = search(flow, self.unknown, task.y, task.noise, [self.options.seed])
        kernel = self.found.parameters[0]
        write_image(draw_kernel(kernel), self.kernel_file, overwrite=self.overwrite)
        # A wrong kernel misses y by more than the noise, and an exact deblurring would sharpen that.
        noise = max(task.noise, LEAST_NOISE)
        known = replace(self.request.task, operator=Blur(kernel.cpu(), self.unknown.boundary), noise=noise)
        known = replace(known, guess=self.request.task.y)  # what is written if the time is over already
        self.request = replace(self.request, task=known)
        if self.options.method == "default":
            self.done = self.restore_with_caution(flow, task.noise)
        super().work()

    def restore_with_caution(self, flow: Flow, noise: float) -> Restoration:
        """The samples as they are written, by a kernel that was found; `noise` is that of the photo."""
        known = self.request.task.to(self.device)
        blur, samples = known.operator, self.options.samples
        assert isinstance(blur, Blur)
        if bool(self.caution.refuses(blur.kernel).any()):
            self.left = [True] * samples
            return leave_photo(known, flow, samples)
        seeds = range(self.options.seed, self.options.seed + samples)
        self.watch.draw = draw_previews(known, self.model)
        options = RecipeOptions(steps=self.options.steps, callback=self.watch)
        done = restoring.restore(known, flow, seeds, recipe=ANSWER, options=options)
        x1 = done.images.detach()
        images, left = self.caution(x1, known.y, blur, noise)
        self.left = left.tolist()
        self.sharpened = {
            "misfit": done.rms(x1).tolist(),
            "unexplained": self.caution.unexplained(x1, known.y, blur).tolist(),
        }
        return replace(done, images=images)

    def entries(self) -> Sequence[Entry]:
        """Those of any restoration; what a mixture misses is that of the sharpened picture in it."""
        entries = super().entries()
        return [self._with_caution(i, entry) for i, entry in enumerate(entries)] if self.left else entries

    def _with_caution(self, i: int, entry: Entry) -> Entry:
        own = {name: round(values[i], 6) for name, values in self.sharpened.items()}
        left = self.left[i]
        values = {**entry.values, **own, "left_as_it_was": left}
        missed = not left and own.get("misfit", 0.0) > 1.25
        return replace(entry, values=values, missed=missed)

    def facts(self) -> Mapping[str, Any]:
        """What a restoration says, and the kernel."""
        facts = dict(super().facts())
        definitions = {**facts.pop("definitions"), **DEFINITIONS}
        if self.found is not None:
            facts |= {
                "kernel": [[round(v, 6) for v in row] for row in self.found.parameters[0].tolist()],
                "kernel_picture": str(self.kernel_file),
                "kernel_warnings": list(self.found.warnings[0]),
                "kernel_evaluations": int(self.found.evaluations[0]),
                "weight": self.caution.weight if self.left else 1.0,
            }
        return {**facts, "definitions": definitions}

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """What is doubtful about the kernel, after what any restoration remarks."""
        yield from super().remarks(report)
        if self.found is not None:
            yield from self.found.warnings[0]
        if any(self.left):
            yield self._tell_left()

    def _tell_left(self) -> str:
        """Two sentences on a photo that was written as it was."""
        if not self.sharpened:
            return f"{self.inputs[0]} was written as it was. If it is blurred, give its kernel by --kernel."
        worst = max(self.sharpened["unexplained"])
        return (
            f"{self.inputs[0]} was written as it was, because no picture with this blur explains it: {worst:.3f} are "
            "left over at edges. It is sharp already, blurred differently from place to place, or noisier than "
            "--noise says."
        )

    def tell(self, report: Mapping[str, Any]) -> None:
        """The kernel, then the files."""
        if self.found is not None:
            share = float(self.found.parameters[0].max())
            say(f"{self.kernel_file}: the kernel that was found, {100 * share:.0f} % of it in one pixel")
        super().tell(report)


def leave_photo(task: ImageTask, flow: Flow, samples: int) -> Restoration:
    """The photo in place of a restoration, `samples` times, without an evaluation of the network."""
    problem, y = task.pose(flow), task.y.expand(samples, *task.y.shape[1:])
    x1 = problem.guess.expand(samples, *problem.guess.shape[1:])
    result = result_without_control(problem.misfit, x1, Status.COMPUTED, 0)
    return Restoration(y, result, task, problem)


def blind_request(photo: Path, size: int, boundary: str, o: Restore) -> Request:
    """The request of a photo with an unknown kernel of `size` pixels; its operator is where the search begins.

    Raises
    ------
    Misuse
        The size is even, or the boundary is 'valid'.
    """
    if boundary == "valid":
        raise Misuse("A blind deblurring cannot tell what lies beyond the border.", "Leave --boundary out.")
    unknown = UnknownBlur(size, boundary=boundary)
    x, picture = read_image(photo, span=o.range)
    if min(x.shape[-2:]) < 3 * size:
        raise Misuse(
            f"{photo} has {x.shape[-2]} x {x.shape[-1]} pixels, too few for a kernel of {size} x {size}.",
            "Give a --blind of at most a third of that.",
        )
    operator = Blur(gaussian_kernel(unknown.start_std, size), boundary)
    settings = {"blind": size, "boundary": boundary}
    return Request("deblur", (photo,), image_task(operator, x, picture, o), picture, settings)


def blind_job(request: Request, o: Restore) -> Job:
    """The job of a request of `blind_request`.

    Raises
    ------
    Misuse
        As `restore_job`; or the model is one of latents, or draws of a posterior are asked for.
    """
    if o.posterior is not None or o.sampler is not None or o.event is not None:
        raise Misuse(
            "The posterior of a photo needs a known kernel.",
            "Run --blind first, and give its kernel by --kernel with --posterior.",
        )
    job = restore_job(request, o)
    if isinstance(job.model, LatentModel):
        raise Misuse("A kernel is found by a model of pixels, not of latents.", "Leave --model out.")
    main = job.outputs.main[0]
    kernel_file = main.with_name(f"{job.outputs.report.stem}-kernel.png")
    if kernel_file in (*job.inputs, *job.outputs.all):
        raise Misuse(f"{kernel_file} is used already.", "Give another --output.")
    check_free((kernel_file,), overwrite=o.overwrite)
    size, boundary = request.settings["blind"], request.settings["boundary"]
    values = {name: getattr(job, name) for name in vars(job)}
    unknown = UnknownBlur(size, boundary=boundary)
    return BlindJob(**values, unknown=unknown, kernel_file=kernel_file, caution=Caution())


def draw_kernel(kernel: Tensor) -> Tensor:
    """A kernel `[n, n]` as a picture `[1, 3, n, n]` in [-1, 1], white at its largest entry."""
    return (2 * kernel / kernel.max() - 1).float().cpu()[None, None].expand(1, 3, -1, -1)
