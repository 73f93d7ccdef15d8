"""The shipped model of the options, as a flow on its window or on a canvas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headwater import zoo
from headwater.cli.image.options import Common
from headwater.cli.shared.machine import check_room
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.windowed import extend_to_canvas
from headwater.image.model import models
from headwater.image.pictograms import models as latent

STATES = 16
"""States that a solve on a canvas holds at once: two of the solver, two sums of windows, and the windows, which
cover every pixel four times, before the network, after it and joined."""


def load_flow(common: Common, device: torch.device, guidance: float = 1.0) -> Flow:
    """The shipped model of the options, as a flow."""
    if guidance != 1.0 and common.label is None:
        raise Misuse("Guidance needs a label, and none was given.", "Give --label.")
    return models.flow(model_of(common), label=common.label, guidance=guidance, device=str(device))


@dataclass(frozen=True)
class Generator:
    """What `generate` draws from: a flow, and what makes pictures `[batch, 3, *size]` of its samples."""

    flow: Flow
    decode: Callable[[Tensor], Tensor]
    size: tuple[int, ...]
    guidance: float


def load_generator(
    common: Common,
    device: torch.device,
    guidance: float | None,
    prompt: str | None,
    style: str | None,
    size: tuple[int, int] | None,
    samples: int,
    guard: Callable[[Flow], Flow],
) -> Generator:
    """The model of the options: told a label, or on latents and told a prompt and a style."""
    name = common.model or (models.DEFAULT if prompt is None and style is None else "pictograms")
    if zoo.read_card(name)["kind"] == latent.KIND:
        for option, value in (("--label", common.label), ("--size", size)):
            if value is not None:
                raise Misuse(
                    f"The model {name!r} takes no {option}.", "Leave it out, or give another --model."
                )
        model = latent.latent_model(prompt, name=name, style=style, guidance=guidance, device=str(device))
        return Generator(guard(model.flow), model.decode, model.encode.shape[1:], model.guidance)
    for option, value in (("--prompt", prompt), ("--style", style)):
        if value is not None:
            raise Misuse(f"The model {name!r} takes no {option}.", "Give --label, or --model pictograms.")
    weight = 1.0 if guidance is None else guidance
    flow = on_canvas(guard(load_flow(common, device, weight)), size, samples=samples)
    return Generator(flow, keep, flow.shape[1:], weight)


def keep(x: Tensor) -> Tensor:
    """Samples `[batch, 3, h, w]` that are pictures already."""
    return x


def model_of(common: Common) -> str:
    """The name of the model that was asked for, or the default."""
    return common.model or models.DEFAULT


def on_canvas(
    flow: Flow, size: tuple[int, int] | None, name: Path | None = None, *, samples: int = 1
) -> Flow:
    """The flow on a canvas of `size`, by default its own window, if `samples` of it fit in memory.

    Raises
    ------
    Misuse
        The canvas is smaller than the window, or too large for the machine.
    """
    height, width = flow.shape[1:]
    if size is None:
        return flow
    if size[0] < height or size[1] < width:
        raise Misuse(
            f"{name or 'The size'} is {size[0]} x {size[1]} but the model's window is {height} x {width}.",
            "Give at least that size.",
        )
    check_room(
        STATES * 4 * samples * flow.shape[0] * size[0] * size[1], device_of(flow), "Give a smaller size."
    )
    return extend_to_canvas(flow, size)


def device_of(flow: Flow) -> torch.device:
    """Where the network of a flow is; the CPU if it has none."""
    parameters = (p for module in flow.modules for p in module.parameters())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device
