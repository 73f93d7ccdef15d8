"""The model of the options: on its window, on a canvas, or on latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from headwater import zoo
from headwater.cli.image.options import Common
from headwater.cli.shared.machine import check_room
from headwater.cli.shared.pipelines import is_path, open_folder
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.flows.networks import device_of
from headwater.flows.precision import in_bfloat16
from headwater.flows.windowed import extend_to_canvas
from headwater.image.model import models
from headwater.image.pictograms import models as pictograms
from headwater.nn.training import has_fast_bfloat16

STATES = 16
"""States that a solve on a canvas holds at once: two of the solver, two sums of windows, and the windows, which
cover every pixel four times, before the network, after it and joined."""


Model = Flow | LatentModel


def load_model(
    common: Common,
    device: torch.device,
    seeds: Sequence[int] | None = None,
    *,
    steps: int | None = None,
    size: tuple[int, int] | None = None,
) -> Model:
    """The model of the options: a flow on pixels, or one on latents, which may be told a text.

    The seeds, one per problem, are for samplers of few steps, which draw noise on the way; without them such a
    sampler is refused. Steps and size are those of a pipeline.

    Raises
    ------
    Misuse
        There is no such model, or it does not take one of the options.
    """
    model = load_in_full(common, device, seeds, steps, size)
    if not common.bfloat16:
        return model
    if not (common.quiet or has_fast_bfloat16(device)):
        say("This processor multiplies in bfloat16 by software, which takes longer than float32.")
    return in_bfloat16(model)


def load_in_full(
    common: Common,
    device: torch.device,
    seeds: Sequence[int] | None,
    steps: int | None,
    size: tuple[int, int] | None,
) -> Model:
    """The model of the options in the precision of its weights."""
    name = model_of(common)
    if is_folder(name):
        return load_pipeline(common, device, seeds, steps, size)
    refuse(common, name, "negative", "checkpointing", "slicing", "tiling")
    if zoo.read_card(name)["kind"] == pictograms.KIND:
        refuse(common, name, "label")
        if common.prompt is None and common.guidance not in (None, 1.0):
            raise Misuse("Guidance needs a prompt, and none was given.", "Give --prompt.")
        return pictograms.latent_model(
            common.prompt, name=name, style=common.style, guidance=common.guidance, device=str(device)
        )
    refuse(common, name, "prompt", "style")
    guidance = 1.0 if common.guidance is None else common.guidance
    if guidance != 1.0 and common.label is None:
        raise Misuse("Guidance needs a label, and none was given.", "Give --label.")
    return models.flow(name, label=common.label, guidance=guidance, device=str(device))


def load_pipeline(
    common: Common,
    device: torch.device,
    seeds: Sequence[int] | None,
    steps: int | None,
    size: tuple[int, int] | None,
) -> LatentModel:
    """The diffusers pipeline of a folder, told the prompt."""
    folder = model_of(common)
    refuse(common, folder, "style")
    height, width = (None, None) if size is None else size
    model = open_folder(
        folder,
        common.prompt,
        negative_prompt=common.negative,
        guidance=common.guidance,
        labels=None if common.label is None else [parse_label(common.label)],
        steps=steps,
        height=height,
        width=width,
        seeds=[0] if seeds is None else seeds,
        checkpointing=common.checkpointing,
        slicing=common.slicing,
        tiling=common.tiling,
        device=str(device),
    )
    if model.rate is not None:
        raise Misuse(f"{folder} makes sound, and no picture.", "Use 'headwater audio generate'.")
    if model.fixed and seeds is None:
        raise Misuse(
            f"{folder} is a sampler of few steps, and no flow that a restoration could use.",
            "Use it with 'headwater image generate', or give the folder of another pipeline.",
        )
    for note in () if common.quiet else model.notes:
        say(note)
    return model


def parse_label(text: str) -> int:
    """The class label of a pipeline, which knows its classes by number."""
    if not text.strip().isdecimal():
        raise Misuse(
            f"A pipeline knows its classes by number, not as {text!r}.", "Give one as in --label 207."
        )
    return int(text)


def refuse(common: Common, name: str, *options: str) -> None:
    """Refuse options that a model does not take."""
    for option in options:
        if getattr(common, option) not in (None, False):
            raise Misuse(f"The model {name!r} takes no --{option}.", "Leave it out, or give another --model.")


def load_flow(common: Common, device: torch.device) -> Flow:
    """The model of the options, which has to be one on pixels."""
    model = load_model(common, device)
    if isinstance(model, LatentModel):
        raise Misuse(
            f"{model_of(common)} is a model on latents, for which this command does nothing.",
            f"Give --model {models.DEFAULT}.",
        )
    return model


def flow_of(model: Model) -> Flow:
    """The flow of a model, of latents where it has them."""
    return model.flow if isinstance(model, LatentModel) else model


def select_problems(model: Model, problems: Sequence[int]) -> Model:
    """The model of some problems, which may have noises of their own."""
    flow = flow_of(model).select(torch.tensor(problems))
    return replace(model, flow=flow) if isinstance(model, LatentModel) else flow


def to_pictures(model: Model, x1: Tensor) -> Tensor:
    """The samples x1 of the flow as pictures in [-1, 1], not clamped; differentiable."""
    if not isinstance(model, LatentModel):
        return x1
    low, high = model.range
    return (model.decode(x1) - low) / (high - low) * 2 - 1


def of_size(model: Model, size: tuple[int, int] | None, samples: int, name: str) -> Model:
    """The model on a canvas of `size`, by default its own; a shipped model on latents has one size."""
    if not isinstance(model, LatentModel):
        return on_canvas(model, size, samples=samples)
    if size is not None and not is_folder(name):
        raise Misuse(f"The model {name!r} takes no --size.", "Leave it out.")
    return model


def told(common: Common) -> dict[str, str | bool]:
    """What a model was told of the picture, by option, for reports; and its precision, if not its own."""
    options = ("prompt", "negative", "style", "bfloat16")
    return {name: value for name in options if (value := getattr(common, name)) not in (None, False)}


def guard_model(watch: Watch, model: Model) -> Model:
    """The model, which a watch ends between any two evaluations of its network."""
    if isinstance(model, LatentModel):
        return replace(model, flow=watch.guard(model.flow))
    return watch.guard(model)


def guidance_of(model: Model, common: Common) -> float | None:
    """The weight of the guidance: the one asked for, or the model's own; None where it is not known."""
    return getattr(flow_of(model).velocity, "guidance", common.guidance)


def model_of(common: Common) -> str:
    """The name or folder of the model that was asked for, or the default."""
    told = common.prompt is not None or common.style is not None
    return common.model or ("pictograms" if told else models.DEFAULT)


def is_folder(name: str) -> bool:
    """Whether a model's name is a path, and not that of a shipped model.

    Examples
    --------
    >>> is_folder("photo64"), is_folder("models/my-pipeline")
    (False, True)
    """
    return name not in zoo.list_models() and is_path(name)


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
        STATES * 4 * samples * flow.shape[0] * size[0] * size[1],
        device_of(flow.modules),
        "Give a smaller size.",
    )
    return extend_to_canvas(flow, size)
