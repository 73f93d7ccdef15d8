"""Families of sound: latents of a waveform or of a spectrogram."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request
from headwater.adapters.diffusers.latents import MEL, OOBLECK
from headwater.adapters.diffusers.prompts import Texts, encode_prompts
from headwater.extras import import_optional


def event_stable_audio(request: Request) -> tuple[int, ...]:
    """[C, length]: always the longest sound of the transformer, of which a part is asked for."""
    config = request.pipeline.transformer.config
    return (config.in_channels, int(config.sample_size))


def call_stable_audio(
    network: Any, x: Tensor, t: Tensor, encoder_hidden_states: Tensor, global_hidden_states: Tensor
) -> Tensor:
    """Prompt and duration as tokens, the duration as a global vector, and rotary places."""
    embed = import_optional("diffusers.models.embeddings", "diffusers").get_1d_rotary_pos_embed
    places = embed(
        network.config.attention_head_dim // 2,
        x.shape[2] + global_hidden_states.shape[1],
        use_real=True,
        repeat_interleave_real=False,
    )
    return network(  # type: ignore[no-any-return]
        x,
        t,
        encoder_hidden_states=encoder_hidden_states,
        global_hidden_states=global_hidden_states,
        rotary_embedding=tuple(p.to(x.device) for p in places),
        return_dict=False,
    )[0]


def encode_stable_audio(convention: Convention, request: Request, texts: Texts, twice: bool) -> dict[str, Tensor]:
    """Prompts, projected and followed by the duration; without a negative prompt its tokens are zeros."""
    pipeline, given = request.pipeline, dict(texts.given)
    if texts.prompt is None and "prompt_embeds" not in given:
        return {}
    negative = twice and (texts.negative is not None or "negative_prompt_embeds" in given)
    tokens = pipeline.encode_prompt(texts.prompt, request.device, negative, texts.negative, **given)
    null, tokens = tokens.chunk(2) if negative else (None, tokens)
    start, end = pipeline.encode_duration(0.0, request.seconds or longest_sound(pipeline), request.device, False, len(tokens))
    duration = torch.cat([start, end], 2)
    named = {"text_audio_duration": torch.cat([tokens, start, end], 1), "audio_duration": duration}
    zeros = torch.zeros_like(named["text_audio_duration"])
    named["negative_text_audio_duration"] = zeros if null is None else torch.cat([null, start, end], 1)
    return {**named, "negative_audio_duration": duration}


def longest_sound(pipeline: Any) -> float:
    """The seconds of the longest sound of the transformer."""
    return float(pipeline.transformer.config.sample_size * pipeline.vae.hop_length / pipeline.vae.config.sampling_rate)


STABLE_AUDIO = Convention(
    name="Stable Audio",
    pipelines=("StableAudioPipeline",),
    call=call_stable_audio,
    event=event_stable_audio,
    codec=OOBLECK,
    arguments={"text_audio_duration": "encoder_hidden_states", "audio_duration": "global_hidden_states"},
    encode=encode_stable_audio,
)


def event_audioldm2(request: Request) -> tuple[int, ...]:
    """[C, frames, bins] of the latent of a log-mel spectrogram."""
    pipeline = request.pipeline
    factor = pipeline.vae_scale_factor
    config = pipeline.vocoder.config
    bins = config.model_in_dim
    hop = torch.tensor(config.upsample_rates).prod().item() / config.sampling_rate  # seconds of a frame
    seconds = request.seconds or pipeline.unet.config.sample_size * factor * hop
    frames = int(seconds / hop)
    frames = -(-frames // factor) * factor
    return (pipeline.unet.config.in_channels, frames // factor, bins // factor)


def call_audioldm2(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """Two sequences of embeddings, of GPT-2 and of T5, the second with a mask."""
    return network(x, t, return_dict=False, **condition)[0]  # type: ignore[no-any-return]


def encode_audioldm2(convention: Convention, request: Request, texts: Texts, twice: bool) -> dict[str, Tensor]:
    """What the pipeline's `encode_prompt` returns: with guidance, both halves in one batch."""
    if texts.given:
        return dict(texts.given)
    named = encode_prompts(convention, request, texts, twice)
    if not twice:
        return named
    halves = {name: value.chunk(2) for name, value in named.items()}
    return {sign + name: half[k] for name, half in halves.items() for k, sign in enumerate(("negative_", ""))}


AUDIOLDM2 = Convention(
    name="AudioLDM 2",
    pipelines=("AudioLDM2Pipeline",),
    network="unet",
    call=call_audioldm2,
    event=event_audioldm2,
    codec=MEL,
    encoded=("prompt_embeds", "attention_mask", "generated_prompt_embeds"),
    arguments={
        "generated_prompt_embeds": "encoder_hidden_states",
        "prompt_embeds": "encoder_hidden_states_1",
        "attention_mask": "encoder_attention_mask_1",
    },
    encode=encode_audioldm2,
    checkpointing=False,  # its blocks, when they checkpoint, pass a mask in the place of another argument
)

SOUND = (STABLE_AUDIO, AUDIOLDM2)
