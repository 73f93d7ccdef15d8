"""`headwater image deblur --blind`: the kernel first, on a part of the photo, then the photo with that kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from headwater.cli.image.options import Restore
from headwater.cli.image.preview import draw_previews
from headwater.cli.image.prior import guard_model
from headwater.cli.image.requests import Request, image_task
from headwater.cli.image.restoration import RestoreJob, restore_job
from headwater.cli.shared.job import Job
from headwater.cli.shared.outputs import check_free
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.image import restoration as restoring
from headwater.image.blind import ANSWER, KernelSearch, UnknownBlur
from headwater.image.io.files import read_image, write_image
from headwater.image.operators import Blur, gaussian_kernel
from headwater.recipes.blind import BlindResult
from headwater.recipes.recipe import RecipeOptions

LEAST_NOISE = 0.04
"""The least noise of a photo whose kernel was estimated, in the range [-1, 1] (`benchmarks/blind_deblur.py`)."""

DEFINITIONS = {
    "noise": "standard deviation of what the measurement may be off by, in the range [-1, 1]: the noise, but not "
    "below 0.04, as the kernel has errors",
    "kernel": "what was found: entries add up to 1, row and column 0 are top and left; `kernel_picture` is "
    "the same, white at its largest entry",
    "kernel_evaluations": "forward calls of the network for the kernel, on a part of the photo",
}


@dataclass(kw_only=True)
class BlindJob(RestoreJob):
    """A deblurring that finds the kernel before it restores the photo; one kernel for the whole photo.

    A batch does not solve it beside others (`shares`): the problem is known only after the search.
    """

    unknown: UnknownBlur
    kernel_file: Path
    found: BlindResult | None = None
    shares: ClassVar[bool] = False

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
            seeds = range(self.options.seed, self.options.seed + self.options.samples)
            self.watch.draw = draw_previews(known.to(self.device), self.model)
            options = RecipeOptions(steps=self.options.steps, callback=self.watch)
            done = restoring.restore(known.to(self.device), flow, seeds, recipe=ANSWER, options=options)
            self.done = replace(done, images=done.images.detach())
        super().work()

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
            }
        return {**facts, "definitions": definitions}

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """What is doubtful about the kernel, after what any restoration remarks."""
        yield from super().remarks(report)
        if self.found is not None:
            yield from self.found.warnings[0]

    def tell(self, report: Mapping[str, Any]) -> None:
        """The kernel, then the files."""
        if self.found is not None:
            share = float(self.found.parameters[0].max())
            say(f"{self.kernel_file}: the kernel that was found, {100 * share:.0f} % of it in one pixel")
        super().tell(report)


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
    return BlindJob(**values, unknown=UnknownBlur(size, boundary=boundary), kernel_file=kernel_file)


def draw_kernel(kernel: Tensor) -> Tensor:
    """A kernel `[n, n]` as a picture `[1, 3, n, n]` in [-1, 1], white at its largest entry."""
    return (2 * kernel / kernel.max() - 1).float().cpu()[None, None].expand(1, 3, -1, -1)
