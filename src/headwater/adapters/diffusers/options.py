"""Defaults of a pipeline, and what is done to it before it is used."""

from __future__ import annotations

import math
from typing import Any

import torch

from headwater.adapters.diffusers.convention import Convention
from headwater.adapters.diffusers.latents import PIXELS
from headwater.adapters.diffusers.prompts import call_defaults
from headwater.errors import Misuse


def choose_guidance(convention: Convention, pipeline: Any, guidance: float | None) -> float:
    """The weight of the condition, by default that of the pipeline's call.

    Raises
    ------
    Misuse
        If it is not finite, or the family has none and some is wanted.
    """
    if guidance is None:
        return float(call_defaults(pipeline).get("guidance_scale", 1.0))
    if not math.isfinite(guidance):
        raise Misuse(f"A guidance of {guidance} is not finite.", "Give a number, such as 1.0 for none.")
    if convention.guidance == "none" and guidance > 1:
        raise Misuse(f"A pipeline of {convention.name} has no guidance.", "Leave guidance out.")
    return float(guidance)


def choose_steps(pipeline: Any, steps: int | None) -> int:
    """The number of steps, by default that of the pipeline's call, but at most the levels that there are."""
    if steps is None:
        return int(call_defaults(pipeline).get("num_inference_steps", 50))
    if steps < 1:
        raise Misuse(f"A sampler of {steps} steps does nothing.", "Give at least 1 step.")
    return int(steps)


def choose_size(
    convention: Convention, pipeline: Any, height: int | None, width: int | None
) -> tuple[int, int]:
    """Height and width in pixels, by default those of the pipeline.

    Raises
    ------
    Misuse
        If they are no multiples of what the decoder makes of one latent, or of one patch of the network; if the
        pipeline has one size only.
    """
    rows, columns = default_size(convention, pipeline)
    multiple = convention.multiple(pipeline)
    if not multiple:
        if height is not None or width is not None:
            raise Misuse(f"A pipeline of {convention.name} has one size only.", "Leave height and width out.")
        return rows, columns
    height, width = (rows if height is None else height), (columns if width is None else width)
    if height < 1 or width < 1 or height % multiple or width % multiple:
        near = [max(round(side / multiple), 1) * multiple for side in (height, width)]
        raise Misuse(
            f"A pipeline of {convention.name} makes no picture of {height} x {width} pixels.",
            f"Give multiples of {multiple}, such as {near[0]} x {near[1]}.",
        )
    return height, width


def default_size(convention: Convention, pipeline: Any) -> tuple[int, int]:
    """Height and width that the pipeline takes by itself, in pixels."""
    config = getattr(pipeline, convention.network).config
    factor = 1 if convention.codec is PIXELS else getattr(pipeline, "vae_scale_factor", 1)
    sample = getattr(pipeline, "default_sample_size", None) or config.get("sample_size") or 128
    rows, columns = (sample, sample) if isinstance(sample, int) else tuple(sample)
    return rows * factor, columns * factor


def prepare(convention: Convention, pipeline: Any) -> tuple[str, ...]:
    """Put the networks into evaluation mode, and half precision on a CPU into float32; what is to be told."""
    network = getattr(pipeline, convention.network)
    parts: list[Any] = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    for part in parts:
        part.eval()
    vae = getattr(pipeline, "vae", None)
    if network.device.type == "cpu" and any(part.dtype is torch.float16 for part in parts):
        for part in parts:
            part.float()
        return ("The weights are float16, in which a CPU computes badly: they were cast to float32.",)
    if vae is not None and vae.dtype is torch.float16 and vae.config.get("force_upcast"):
        vae.float()
        return ("The decoder overflows in float16: it was cast to float32.",)
    return ()


def save_memory(
    convention: Convention, pipeline: Any, checkpointing: bool, slicing: bool, tiling: bool
) -> None:
    """Switch on what saves memory, on the pipeline itself; checkpointing freezes the weights.

    Raises
    ------
    Misuse
        If a component does not have it.
    """
    network, vae = getattr(pipeline, convention.network), getattr(pipeline, "vae", None)
    if checkpointing:
        if not convention.checkpointing:
            raise missing(network, "gradient checkpointing")
        decoders = [vae] if getattr(vae, "_supports_gradient_checkpointing", False) else []
        for part in (network, *decoders):
            switch_on(part, "gradient checkpointing")
            # A weight that is frozen in the forward pass alone makes another graph when it is computed again.
            part.requires_grad_(False)
    for wanted, what in ((slicing, "slicing"), (tiling, "tiling")):
        if wanted:
            switch_on(vae, what)


def switch_on(part: Any, what: str) -> None:
    """Call `enable_...` of a component; a `Misuse` if it does not have it."""
    try:
        getattr(part, f"enable_{what.replace(' ', '_')}")()
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise missing(part, what) from error


def missing(part: Any, what: str) -> Misuse:
    """What is to be said of a component without a way to save memory."""
    name = "pipeline without a decoder" if part is None else type(part).__name__
    return Misuse(f"The {name} has no {what}.", "Leave it out; hw.Checkpoint() saves memory for any flow.")
