"""Families of flow matching: their networks predict noise minus data, so that v is minus their output."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request, entry
from headwater.adapters.diffusers.latents import DEEP_COMPRESSION, KL
from headwater.adapters.diffusers.velocity import first

MASKED = (
    "prompt_embeds",
    "prompt_attention_mask",
    "negative_prompt_embeds",
    "negative_prompt_attention_mask",
)


def latent_event(request: Request) -> tuple[int, ...]:
    """[C, H / f, W / f] with f the factor of the VAE."""
    pipeline = request.pipeline
    factor = pipeline.vae_scale_factor
    channels = pipeline.transformer.config.in_channels
    return (channels, request.height // factor, request.width // factor)


def one_patch(pipeline: Any) -> int:
    """The pixels along a side of one patch of the transformer."""
    return int(pipeline.vae_scale_factor * pipeline.transformer.config.patch_size)


def two_latents(pipeline: Any) -> int:
    """The pixels along a side of 2 x 2 latents."""
    return int(2 * pipeline.vae_scale_factor)


def shift_of(request: Request, tokens: int, most: float) -> float:
    """mu of the dynamic shift, linear in the number of tokens, by the entries of the scheduler's configuration."""
    config = request.pipeline.scheduler.config
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", most)
    slope = (high - low) / (many - few)
    return float(tokens * slope + (low - slope * few))


def even_sigmas(request: Request) -> dict[str, Any]:
    """Sigmas from 1 to 1 / n, unless the scheduler makes its own."""
    if request.pipeline.scheduler.config.get("use_flow_sigmas", False):
        return {}
    return {"sigmas": np.linspace(1.0, 1 / request.steps, request.steps)}


# Stable Diffusion 3


def call_sd3(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """Timesteps up to 1000; prompts as tokens and as a pooled vector."""
    return first(network(hidden_states=x, timestep=t, return_dict=False, **condition))


def grid_sd3(request: Request, event: tuple[int, ...]) -> dict[str, Any]:
    """mu, where the shift is dynamic."""
    if not request.pipeline.scheduler.config.get("use_dynamic_shifting", False):
        return {}
    patch = request.pipeline.transformer.config.patch_size
    return {"mu": shift_of(request, (event[1] // patch) * (event[2] // patch), 1.16)}


SD3 = Convention(
    name="Stable Diffusion 3",
    pipelines=("StableDiffusion3Pipeline",),
    call=call_sd3,
    event=latent_event,
    codec=KL,
    encoded=(
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
    arguments={"prompt_embeds": "encoder_hidden_states", "pooled_prompt_embeds": "pooled_projections"},
    channels={
        "prompt_embeds": entry("transformer", "joint_attention_dim"),
        "pooled_prompt_embeds": entry("transformer", "pooled_projection_dim"),
    },
    grid=grid_sd3,
    multiple=one_patch,
)


# Lumina 2, AuraFlow, Sana


def call_lumina2(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """Times from 0, the noise, to 1, and the output is data minus noise."""
    return -first(network(hidden_states=x, timestep=1 - t / 1000, return_dict=False, **condition))


def grid_lumina2(request: Request, event: tuple[int, ...]) -> dict[str, Any]:
    """Even sigmas; the pipeline takes the number of channels for that of tokens, and so does this."""
    return {**even_sigmas(request), "mu": shift_of(request, event[0], 1.15)}


LUMINA2 = Convention(
    name="Lumina 2",
    pipelines=("Lumina2Pipeline",),
    call=call_lumina2,
    event=latent_event,
    codec=KL,
    encoded=MASKED,
    arguments={"prompt_embeds": "encoder_hidden_states", "prompt_attention_mask": "encoder_attention_mask"},
    channels={"prompt_embeds": entry("transformer", "cap_feat_dim")},
    grid=grid_lumina2,
    together=False,
    normalised=True,
    multiple=two_latents,
)


def call_auraflow(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """Timesteps up to 1."""
    return first(network(x, timestep=t / 1000, return_dict=False, **condition))


AURAFLOW = Convention(
    name="AuraFlow",
    pipelines=("AuraFlowPipeline",),
    call=call_auraflow,
    event=latent_event,
    codec=KL,
    encoded=MASKED,
    arguments={"prompt_embeds": "encoder_hidden_states"},
    channels={"prompt_embeds": entry("transformer", "joint_attention_dim")},
    multiple=one_patch,
)


def call_sana(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """Timesteps up to 1000, times a factor of the network."""
    scale = network.config.timestep_scale
    return first(network(x, timestep=t * scale, return_dict=False, **condition))


SANA = Convention(
    name="Sana",
    pipelines=("SanaPipeline",),
    call=call_sana,
    event=latent_event,
    codec=DEEP_COMPRESSION,
    encoded=MASKED,
    arguments={"prompt_embeds": "encoder_hidden_states", "prompt_attention_mask": "encoder_attention_mask"},
    channels={"prompt_embeds": entry("transformer", "caption_channels")},
    multiple=one_patch,
)

FLOW_MATCHING = (SD3, LUMINA2, AURAFLOW, SANA)
