"""Flux and Flux 2: flow matching on tokens of patches, with the weight of the guidance as an input of the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request, entry
from headwater.adapters.diffusers.flow_matching import even_sigmas, latent_event, shift_of, two_latents
from headwater.adapters.diffusers.latents import FLUX2, KL


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
    channels={
        "prompt_embeds": entry("transformer", "joint_attention_dim"),
        "pooled_prompt_embeds": entry("transformer", "pooled_projection_dim"),
    },
    extra=guidance_weight,
    grid=grid_flux,
    guidance="input",
    multiple=two_latents,
)


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
    channels={"prompt_embeds": entry("transformer", "joint_attention_dim")},
    extra=guidance_weight,
    grid=grid_flux2,
    guidance="input",
    multiple=two_latents,
)

FLUX_FAMILIES = (FLUX, FLUX2_FAMILY)
