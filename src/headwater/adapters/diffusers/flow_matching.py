"""Families of flow matching: their networks predict noise minus data, so that v is minus their output."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request
from headwater.adapters.diffusers.latents import DEEP_COMPRESSION, FLUX2, KL
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
    grid=grid_sd3,
    multiple=one_patch,
)


# Flux


def pack(x: Tensor) -> Tensor:
    """Tokens `[batch, h w / 4, 4 C]`, one per 2 x 2 patch of `[batch, C, h, w]`."""
    batch, c, h, w = x.shape
    return x.reshape(batch, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, 4 * c)


def unpack(tokens: Tensor, h: int, w: int) -> Tensor:
    """`[batch, C, h, w]` of tokens `[batch, h w / 4, 4 C]`."""
    batch, _, c = tokens.shape
    return (
        tokens.reshape(batch, h // 2, w // 2, c // 4, 2, 2)
        .permute(0, 3, 1, 4, 2, 5)
        .reshape(batch, c // 4, h, w)
    )


def places(h: int, w: int, like: Tensor) -> Tensor:
    """The row and column of every token, `[h w, 3]` with zeros in front."""
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3).to(like)


def call_flux(
    network: Any, x: Tensor, t: Tensor, encoder_hidden_states: Tensor, **condition: Tensor
) -> Tensor:
    """Timesteps up to 1; the state as tokens of 2 x 2 patches, with their places."""
    h, w = x.shape[2:]
    tokens = network(
        hidden_states=pack(x),
        timestep=t / 1000,
        encoder_hidden_states=encoder_hidden_states,
        txt_ids=torch.zeros(encoder_hidden_states.shape[1], 3, device=x.device, dtype=x.dtype),
        img_ids=places(h // 2, w // 2, x),
        return_dict=False,
        **condition,
    )[0]
    return unpack(tokens, h, w)


def event_flux(request: Request) -> tuple[int, ...]:
    """[C, h, w], unpacked: a quarter of the channels of the tokens."""
    channels, h, w = latent_event(request)
    return (channels // 4, h, w)


def guidance_weight(request: Request) -> dict[str, Tensor]:
    """The weight of the guidance, for networks that take it as an input."""
    takes = request.pipeline.transformer.config.get("guidance_embeds", True)
    return {"guidance": torch.tensor([request.guidance])} if takes else {}


def grid_flux(request: Request, event: tuple[int, ...]) -> dict[str, Any]:
    """Even sigmas, shifted by the number of tokens."""
    return {**even_sigmas(request), "mu": shift_of(request, event[1] * event[2] // 4, 1.15)}


FLUX = Convention(
    name="Flux",
    pipelines=("FluxPipeline",),
    call=call_flux,
    event=event_flux,
    codec=KL,
    encoded=("prompt_embeds", "pooled_prompt_embeds", ""),
    arguments={"prompt_embeds": "encoder_hidden_states", "pooled_prompt_embeds": "pooled_projections"},
    extra=guidance_weight,
    grid=grid_flux,
    guidance="input",
    multiple=two_latents,
)


# Flux 2


def call_flux2(
    network: Any, x: Tensor, t: Tensor, encoder_hidden_states: Tensor, **condition: Tensor
) -> Tensor:
    """Timesteps up to 1; one token per pixel of the latents, and places with four numbers."""
    batch, _, h, w = x.shape
    here = torch.nn.functional.pad(places(h, w, x), (0, 1)).expand(batch, -1, -1)
    words = torch.arange(encoder_hidden_states.shape[1], device=x.device)
    tokens = network(
        hidden_states=x.flatten(2).transpose(1, 2),
        timestep=t / 1000,
        encoder_hidden_states=encoder_hidden_states,
        txt_ids=torch.nn.functional.pad(words[:, None], (3, 0)).expand(batch, -1, -1),
        img_ids=here.long(),
        return_dict=False,
        **condition,
    )[0]
    out: Tensor = tokens.transpose(1, 2).reshape(x.shape)
    return out


def event_flux2(request: Request) -> tuple[int, ...]:
    """[4 C, h / 2, w / 2]: patches of the latents."""
    channels, h, w = latent_event(request)
    return (channels, h // 2, w // 2)


def grid_flux2(request: Request, event: tuple[int, ...]) -> dict[str, Any]:
    """Even sigmas, shifted by a fit to the number of tokens and of steps."""
    tokens, steps = event[1] * event[2], request.steps
    many = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return {**even_sigmas(request), "mu": float(many)}
    slope = (many - (8.73809524e-05 * tokens + 1.89833333)) / 190
    return {**even_sigmas(request), "mu": float(slope * steps + many - 200 * slope)}


FLUX2_FAMILY = Convention(
    name="Flux 2",
    pipelines=("Flux2Pipeline",),
    call=call_flux2,
    event=event_flux2,
    codec=FLUX2,
    encoded=("prompt_embeds", ""),
    arguments={"prompt_embeds": "encoder_hidden_states"},
    extra=guidance_weight,
    grid=grid_flux2,
    guidance="input",
    multiple=two_latents,
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
    multiple=one_patch,
)

FLOW_MATCHING = (SD3, FLUX, FLUX2_FAMILY, LUMINA2, AURAFLOW, SANA)
