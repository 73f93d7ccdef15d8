"""Families of diffusion: their networks predict the noise, a v-prediction or the data, as the scheduler says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request, entry
from headwater.adapters.diffusers.latents import KL, PIXELS
from headwater.adapters.diffusers.prompts import encode_labels
from headwater.adapters.diffusers.velocity import first


def event_unet(request: Request) -> tuple[int, ...]:
    """[C, H / f, W / f] with f the factor of the VAE."""
    pipeline = request.pipeline
    factor = pipeline.vae_scale_factor
    return (pipeline.unet.config.in_channels, request.height // factor, request.width // factor)


def one_latent(pipeline: Any) -> int:
    """The pixels along a side of one latent."""
    return int(pipeline.vae_scale_factor)


def all_halvings(pipeline: Any) -> int:
    """The pixels that become one at the bottom of the U-Net."""
    return int(2 ** (len(pipeline.unet.config.block_out_channels) - 1))


def embed_guidance(request: Request) -> dict[str, Tensor]:
    """The embedding of w - 1 `[1, channels]`, for networks that were distilled with it (LCM)."""
    size = request.pipeline.unet.config.time_cond_proj_dim
    if size is None:
        return {}
    weight = torch.tensor([request.guidance - 1.0])
    return {"timestep_cond": request.pipeline.get_guidance_scale_embedding(weight, embedding_dim=size)}


def call_unet(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """The timestep is an index of the table of betas."""
    return first(network(x, t, return_dict=False, **condition))


STABLE_DIFFUSION = Convention(
    name="Stable Diffusion 1 and 2",
    pipelines=("StableDiffusionPipeline",),
    network="unet",
    call=call_unet,
    event=event_unet,
    codec=KL,
    encoded=("prompt_embeds", "negative_prompt_embeds"),
    arguments={"prompt_embeds": "encoder_hidden_states"},
    channels={"prompt_embeds": entry("unet", "cross_attention_dim")},
    extra=embed_guidance,
    multiple=one_latent,
)

LATENT_CONSISTENCY = Convention(
    name="Latent Consistency",
    pipelines=("LatentConsistencyModelPipeline",),
    network="unet",
    call=call_unet,
    event=event_unet,
    codec=KL,
    encoded=("prompt_embeds", ""),
    arguments={"prompt_embeds": "encoder_hidden_states"},
    channels={"prompt_embeds": entry("unet", "cross_attention_dim")},
    extra=embed_guidance,
    multiple=one_latent,
    guidance="input",
)


def call_sdxl(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """As Stable Diffusion, with a pooled prompt and the sizes of the picture."""
    added = {name: condition.pop(name) for name in ("text_embeds", "time_ids")}
    return first(network(x, t, added_cond_kwargs=added, return_dict=False, **condition))


def sizes_sdxl(request: Request) -> dict[str, Tensor]:
    """Original size, corner of the crop and target size, `[1, 6]`."""
    size = [float(request.height), float(request.width)]
    return {"time_ids": torch.tensor([[*size, 0.0, 0.0, *size]]), **embed_guidance(request)}


def pooled_sdxl(pipeline: Any) -> int:
    """The entries of a pooled prompt: what the network adds, less the embeddings of six sizes."""
    config = pipeline.unet.config
    return int(config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim)


SDXL = Convention(
    name="Stable Diffusion XL",
    pipelines=("StableDiffusionXLPipeline",),
    network="unet",
    call=call_sdxl,
    event=event_unet,
    codec=KL,
    encoded=(
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
    arguments={"prompt_embeds": "encoder_hidden_states", "pooled_prompt_embeds": "text_embeds"},
    channels={"prompt_embeds": entry("unet", "cross_attention_dim"), "pooled_prompt_embeds": pooled_sdxl},
    extra=sizes_sdxl,
    multiple=one_latent,
)


def call_dit(network: Any, x: Tensor, t: Tensor, class_labels: Tensor) -> Tensor:
    """An index of the table, and a label; of the output the first half of the channels is the noise."""
    return first(network(x, timestep=t, class_labels=class_labels, return_dict=False))


def event_dit(request: Request) -> tuple[int, ...]:
    """[C, n, n] with n the only size of the transformer."""
    config = request.pipeline.transformer.config
    return (config.in_channels, config.sample_size, config.sample_size)


DIT = Convention(
    name="DiT",
    pipelines=("DiTPipeline",),
    call=call_dit,
    event=event_dit,
    codec=KL,
    arguments={"labels": "class_labels"},
    encode=encode_labels,
)


def event_pixels(request: Request) -> tuple[int, ...]:
    """[C, H, W]: the picture itself."""
    return (request.pipeline.unet.config.in_channels, request.height, request.width)


PIXEL_DIFFUSION = Convention(
    name="DDPM and DDIM",
    pipelines=("DDPMPipeline", "DDIMPipeline"),
    network="unet",
    call=call_unet,
    event=event_pixels,
    codec=PIXELS,
    multiple=all_halvings,
    guidance="none",
)

CONSISTENCY = Convention(
    name="Consistency models",
    pipelines=("ConsistencyModelPipeline",),
    network="unet",
    call=call_unet,
    event=event_pixels,
    codec=PIXELS,
    multiple=all_halvings,
    arguments={"labels": "class_labels"},
    encode=encode_labels,
    optional=True,
    guidance="none",
)

DIFFUSION = (STABLE_DIFFUSION, SDXL, DIT, PIXEL_DIFFUSION)
FEW_STEPS = (LATENT_CONSISTENCY, CONSISTENCY)
