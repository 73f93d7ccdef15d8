"""`headwater image generate | invert | likelihood`: the model without a measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.atomic import write_atomically
from headwater.cli.image.options import Common
from headwater.cli.image.outputs import plan
from headwater.cli.image.prior import load_flow
from headwater.cli.shared.machine import Meter, device_named, use_idle_cores, versions
from headwater.cli.shared.outputs import check_distinct, check_free, write_json
from headwater.dflow.start import inversion
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.windowed import windowed
from headwater.image.io.files import read_image, write_image
from headwater.solvers import MIDPOINT, bits_per_dimension, log_likelihood, solve

BATCH = 16
BORDER = 2


def generate(
    count: int, seed: int, steps: int, guidance: float, size: tuple[int, int] | None, common: Common
) -> int:
    """Samples, numbered if there are several, their report and a contact sheet."""
    _check_positive(count=count, steps=steps)
    output = common.output or Path("samples.png")
    outputs = plan(output, output, "generate", count, overwrite=common.overwrite)
    use_idle_cores()
    device = device_named(common.device)
    flow = on_canvas(load_flow(common, device, guidance), size)
    meter, images = Meter(device), []
    for start in range(0, count, BATCH):
        seeds = range(seed + start, seed + min(start + BATCH, count))
        with torch.no_grad():
            x1 = solve(flow, flow.noise(seeds, device=device), steps=steps)
        images += list(x1.clamp(-1, 1).cpu())
        if not common.quiet and count > BATCH:
            print(f"{len(images)} of {count} samples")
    for image, path in zip(images, outputs.main, strict=True):
        write_image(image[None], path, overwrite=common.overwrite)
    write_image(contact_sheet(images), outputs.sheet, overwrite=common.overwrite)
    settings = {
        "count": count,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "size": list(flow.shape[1:]),
    }
    entries = [{"seed": seed + i, "file": str(p)} for i, p in enumerate(outputs.main)]
    write_json(
        outputs.report,
        _report("generate", common, settings, samples=entries, **meter.read()),
        overwrite=common.overwrite,
    )
    if not common.quiet:
        print(
            f"{', '.join(map(str, outputs.main[:4]))}{', ...' if count > 4 else ''}; all on {outputs.sheet}"
        )
    return 0


def contact_sheet(images: Sequence[Tensor]) -> Tensor:
    """Images `[3, h, w]` side by side on white, `[1, 3, H, W]`, about square.

    >>> contact_sheet([torch.zeros(3, 8, 8)] * 4).shape
    torch.Size([1, 3, 22, 22])
    """
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    c, h, w = images[0].shape
    page = torch.ones(c, rows * (h + BORDER) + BORDER, columns * (w + BORDER) + BORDER)
    for k, image in enumerate(images):
        top, left = BORDER + (k // columns) * (h + BORDER), BORDER + (k % columns) * (w + BORDER)
        page[:, top : top + h, left : left + w] = image
    return page[None]


def invert(photo: Path, steps: int, common: Common) -> int:
    """x0 as .npy [3, h, w] float32, and how well it maps back."""
    _check_positive(steps=steps)
    output = common.output or photo.with_name(f"{photo.stem}-x0.npy")
    if output.suffix != ".npy":
        raise Misuse(
            f"A source point is no picture, as {output} would be.", "Name an output that ends in .npy."
        )
    report = output.with_suffix(".json")
    check_distinct((output, report), (photo,))
    check_free((output, report), overwrite=common.overwrite)
    x, _ = read_image(photo, span=common.range)
    use_idle_cores()
    device = device_named(common.device)
    flow = on_canvas(load_flow(common, device), _size(x), photo)
    meter = Meter(device)
    with torch.no_grad():
        found = inversion(flow, x.to(device), steps=steps)
    with write_atomically(output, overwrite=common.overwrite) as temporary:
        np.save(temporary, found.y0[0].float().cpu().numpy())
    values = {"round_trip_rms": round(float(found.round_trip), 8), "radius": round(float(found.radius), 6)}
    content = _report(
        "invert", common, {"steps": steps}, inputs=[str(photo)], file=str(output), **values, **meter.read()
    )
    write_json(report, content, overwrite=common.overwrite)
    if not common.quiet:
        print(
            f"{output}: round trip off by {values['round_trip_rms']:.2g} rms in [-1, 1], "
            f"radius {values['radius']:.3f} (1 = a draw of the source)"
        )
    return 0


def likelihood(photos: Sequence[Path], probes: int, seed: int, steps: int, common: Common) -> int:
    """Bits per dimension of each photo on stdout, and in a report if an output is named."""
    _check_positive(probes=probes, steps=steps)
    if not photos:
        raise Misuse("There is no image to look at.", "Name one or more image files.")
    if common.output is not None:
        if common.output.suffix != ".json":
            raise Misuse(
                f"The report {common.output} is written as JSON.", "Name an output that ends in .json."
            )
        check_distinct((common.output,), photos)
        check_free((common.output,), overwrite=common.overwrite)
    images = [read_image(photo, span=common.range)[0] for photo in photos]
    use_idle_cores()
    device = device_named(common.device)
    window = load_flow(common, device)
    canvases = [on_canvas(window, _size(x), p) for x, p in zip(images, photos, strict=True)]
    meter, entries = Meter(device), []
    for photo, x, flow in zip(photos, images, canvases, strict=True):
        logp, x0 = log_likelihood(flow, x.to(device), probes=probes, seed=seed, method=MIDPOINT, steps=steps)
        bits = float(bits_per_dimension(logp, flow.event_size))
        radius = float(x0.square().mean().sqrt())
        entries.append({"file": str(photo), "bits_per_dimension": round(bits, 6), "radius": round(radius, 6)})
        print(f"{photo}: {bits:.4f} bits per dimension")
    if common.output is not None:
        settings = {"probes": probes, "seed": seed, "steps": steps, "bin_width": 2 / 255}
        content = _report("likelihood", common, settings, images=entries, **meter.read())
        write_json(common.output, content, overwrite=common.overwrite)
    return 0


def on_canvas(flow: Flow, size: tuple[int, int] | None, name: Path | None = None) -> Flow:
    """The flow on a canvas of `size`, by default its own window."""
    height, width = flow.shape[1:]
    if size is None:
        return flow
    if size[0] < height or size[1] < width:
        raise Misuse(
            f"{name or 'The size'} is {size[0]} x {size[1]} but the model's window is {height} x {width}.",
            "Give at least that size.",
        )
    return windowed(flow, size)


def _size(x: Tensor) -> tuple[int, int]:
    return (x.shape[-2], x.shape[-1])


def _check_positive(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise Misuse(f"--{name} is {value}.", "Give a positive number.")


def _report(command: str, common: Common, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    shared = {k: v for k, v in asdict(common).items() if k in ("model", "label")}
    return {"command": f"image {command}", "settings": settings, **shared, "versions": versions(), **more}
