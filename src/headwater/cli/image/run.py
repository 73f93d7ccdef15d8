"""One restoration from a checked task to written files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.cli.image import report
from headwater.cli.image.frames import Frames
from headwater.cli.image.options import Restore
from headwater.cli.image.outputs import plan
from headwater.cli.image.prior import load_flow
from headwater.cli.image.tasks import Task, as_panel
from headwater.cli.shared.machine import Meter, device_named, use_idle_cores
from headwater.cli.shared.outputs import Outputs, write_json
from headwater.cli.shared.progress import Watch
from headwater.errors import Misuse
from headwater.extras import need
from headwater.flows.flow import Flow
from headwater.flows.windowed import Windowed
from headwater.image import restore as restoring
from headwater.image.io.files import read_image, write_image
from headwater.image.restore import Restoration
from headwater.image.sheet import sheet
from headwater.optimizers.status import Status
from headwater.recipes.warm_start import Limits
from headwater.solvers.differentiation import Auto
from headwater.solvers.memory import activation_bytes

MISUSE, INTERRUPTED = 2, 130


def run(task: Task, options: Restore) -> int:
    """Restore, write the images, the report and the sheet, and say how it ended; the exit code.

    All inputs and outputs are checked before the work begins. 0 also for a sample that ended early, whose
    status is a warning; 1 if one diverged; 130 if the user interrupted.
    """
    check_options(options)
    outputs = plan(
        options.output,
        task.inputs[0],
        task.command,
        options.samples,
        picture=task.picture,
        inputs=(*task.inputs, *([options.reference] if options.reference else [])),
        overwrite=options.overwrite,
    )
    need("matplotlib.figure")
    reference = read_reference(options, task.size)
    device = device_named(options.device)
    use_idle_cores()
    flow = load_flow(options, device)
    check_memory(flow, task, options)
    meter, record = Meter(device), Frames(size=task.size)
    restoration = _restore(task, options, flow, device, record)
    costs = {"device": str(device), **meter.read()}
    files = _write_images(task, restoration, outputs, options.overwrite)
    content = report.build(task, options, restoration, files, reference, costs)
    _write_sheet(task, restoration, record, outputs.sheet, content, reference, options.overwrite)
    write_json(outputs.report, content, overwrite=options.overwrite)
    _tell(content, outputs, options.quiet)
    return exit_code(restoration.result.status)


def check_options(options: Restore) -> None:
    """Refuse counts and limits that are not positive."""
    for name in ("samples", "steps", "gradients", "seconds"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise Misuse(f"--{name} is {value}.", "Give a positive number.")
    if options.seed < 0 or options.seed + options.samples > 2**63:
        raise Misuse(f"--seed is {options.seed}.", "Give 0 or a positive whole number.")


def read_reference(options: Restore, size: tuple[int, int]) -> Tensor | None:
    """The true image `[1, 3, *size]`, if one is given."""
    if options.reference is None:
        return None
    x, _ = read_image(options.reference, span=options.range)
    if tuple(x.shape[-2:]) != tuple(size):
        raise Misuse(
            f"The reference {options.reference} is {x.shape[-2]} x {x.shape[-1]} but the result will be "
            f"{size[0]} x {size[1]}.",
            "Give the true image of that size.",
        )
    return x


def check_memory(flow: Flow, task: Task, options: Restore) -> None:
    """Refuse a budget below what one network evaluation of all samples keeps."""
    if options.memory is None:
        return
    canvas = restoring.embed(flow, *task.size, task.operator.damaged((1, 3, *task.size)))
    bytes_needed = options.samples * activation_bytes(canvas, canvas.noise([0], device=device_of(flow)))
    if bytes_needed > options.memory:
        cure = "Give a larger --memory" + (
            " or fewer --samples." if options.samples > 1 else ", or a smaller image."
        )
        raise Misuse(
            f"One evaluation of the network needs {bytes_needed / 1e6:.0f} MB but --memory is "
            f"{options.memory / 1e6:.0f} MB.",
            cure,
        )


def device_of(flow: Flow) -> torch.device:
    """Where the network of a flow is; the CPU if it has none."""
    parameters = (p for module in flow.modules for p in module.parameters())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device


def exit_code(statuses: tuple[Status, ...]) -> int:
    """130 after Ctrl-C, 1 if a sample diverged, else 0."""
    if Status.CANCELLED in statuses:
        return INTERRUPTED
    return int(Status.DIVERGED in statuses)


def _restore(task: Task, options: Restore, flow: Flow, device: torch.device, record: Frames) -> Restoration:
    watch = Watch(
        task.command,
        record,
        limit=options.gradients,
        seconds=options.seconds,
        quiet=options.quiet,
        goal=f"a noise of {max(task.noise, restoring.RESOLUTION):.3g}",
    )
    limits = Limits(
        steps=options.steps,
        gradients=options.gradients,
        gradient=None if options.memory is None else Auto(memory=options.memory),
        callback=watch,
    )
    with watch.running():
        done = restoring.restore(
            flow,
            task.operator.to(device),
            task.y.to(device).expand(options.samples, *task.y.shape[1:]),
            task.noise,
            size=task.size,
            guess=None if task.guess is None else task.guess.to(device),
            seeds=range(options.seed, options.seed + options.samples),
            preset=options.preset,
            limits=limits,
            range_known=True,  # read_image has checked it
        )
    return replace(done, images=done.images.detach())


def _write_images(
    task: Task, restoration: Restoration, outputs: Outputs, overwrite: bool
) -> tuple[Path | None, ...]:
    """Write every sample that is an image; None for one that is not (NaN after divergence)."""
    return tuple(
        write_image(image[None], path, task.picture, overwrite=overwrite)
        if bool(torch.isfinite(image).all())
        else None
        for image, path in zip(restoration.images, outputs.main, strict=True)
    )


def _write_sheet(
    task: Task,
    restoration: Restoration,
    record: Frames,
    path: Path,
    content: dict[str, Any],
    reference: Tensor | None,
    overwrite: bool,
) -> None:
    sample = content["samples"][0]
    lines = [f"{name} {sample[name]:.2f}" for name in ("misfit", "psnr") if sample.get(name) is not None]
    sheet(
        path,
        as_panel(task.y, task.size),
        report.as_written(task, restoration.images[:1]),
        steps=_frames(task, restoration, record),
        reference=reference,
        curve=record.curve,
        title=f"{task.inputs[0].name}: {task.operator.name}",
        captions=("", ", ".join(lines), ""),
        overwrite=overwrite,
    )


def _frames(task: Task, restoration: Restoration, record: Frames) -> list[tuple[float, Tensor]]:
    """x1 along the way, as in the result where no window of the model is solved."""
    velocity = restoration.flow.velocity
    if not isinstance(velocity, Windowed):
        return list(record.frames)
    h, w = task.size
    covered = velocity.covered(restoration.flow.shape[1:])[:h, :w]
    return [(at, torch.where(covered, x1, restoration.images[0].cpu())) for at, x1 in record.frames]


def _tell(content: dict[str, Any], outputs: Outputs, quiet: bool) -> None:
    """Print the files and how each sample ended; what did not end by itself as a warning."""
    for sample in content["samples"]:
        if not Status[sample["status"]].ok:
            print(f"Warning, seed {sample['seed']}: {sample['sentence']}", file=sys.stderr)
        if quiet or sample["file"] is None:
            continue
        unit = f"{{:.2f}} (1.00 = a noise of {content['misfit_unit']:.3g})"
        shown = [("misfit", unit), ("psnr", "{:.2f} dB"), ("ssim", "{:.3f}")]
        words = [f"{n} {f.format(sample[n])}" for n, f in shown if sample.get(n) is not None]
        print(f"{sample['file']}: {', '.join([*words, str(sample['gradients']) + ' gradients'])}")
    if not quiet:
        print(f"{outputs.sheet}, {outputs.report}: how it went, in {content['seconds']:.1f} s")
