"""The shipped model of the options, as a flow on its window or on a canvas."""

from __future__ import annotations

from pathlib import Path

import torch

from headwater.cli.image.options import Common
from headwater.cli.shared.machine import check_room
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.windowed import extend_to_canvas
from headwater.image.model import models

STATES = 16
"""States that a solve on a canvas holds at once: two of the solver, two sums of windows, and the windows, which
cover every pixel four times, before the network, after it and joined."""


def load_flow(common: Common, device: torch.device, guidance: float = 1.0) -> Flow:
    """The shipped model of the options, as a flow."""
    if guidance != 1.0 and common.label is None:
        raise Misuse("Guidance needs a label, and none was given.", "Give --label.")
    return models.flow(model_of(common), label=common.label, guidance=guidance, device=str(device))


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
