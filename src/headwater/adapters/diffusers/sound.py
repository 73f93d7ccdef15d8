"""Families of sound: latents of a waveform or of a spectrogram."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request, entry
from headwater.adapters.diffusers.latents import MEL, OOBLECK
from headwater.adapters.diffusers.prompts import Texts, encode_prompts
from headwater.adapters.diffusers.velocity import first
from headwater.errors import Misuse
from headwater.extras import import_optional


def event_stable_audio(request: Request) -> tuple[int, ...]:
    """[C, length]: always the longest sound of the transformer, of which a part is asked for."""
    config = request.pipeline.transformer.config
    return (config.in_channels, int(config.sample_size))


def samples_stable_audio(request: Request) -> int:
    """The samples of the seconds that were asked for; a `Misuse` if the transformer makes less."""
    longest = longest_sound(request.pipeline)
    seconds = longest if request.seconds is None else request.seconds
    if not 0 < seconds <= longest:
        raise Misuse(f"This pipeline makes no sound of {seconds:g} s.", f"Give up to {longest:g} seconds.")
    return int(seconds * request.pipeline.vae.config.sampling_rate)


def longest_sound(pipeline: Any) -> float:
    """The seconds of the longest sound of the transformer."""
    samples = pipeline.transformer.config.sample_size * pipeline.vae.hop_length
    return float(samples / pipeline.vae.config.sampling_rate)


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
    return first(
        network(
            x,
            t,
            encoder_hidden_states=encoder_hidden_states,
            global_hidden_states=global_hidden_states,
            rotary_embedding=tuple(p.to(x.device) for p in places),
            return_dict=False,
        )
    )


def encode_stable_audio(
    convention: Convention, request: Request, texts: Texts, twice: bool
) -> dict[str, Tensor]:
    """Prompts, projected and followed by the duration; without a negative prompt its tokens are zeros."""
    pipeline, given = request.pipeline, dict(texts.given)
    if texts.prompt is None and "prompt_embeds" not in given:
        return {}
    negative = twice and (texts.negative is not None or "negative_prompt_embeds" in given)
    tokens = pipeline.encode_prompt(texts.prompt, request.device, negative, texts.negative, **given)
    null, tokens = tokens.chunk(2) if negative else (None, tokens)
    start, end = pipeline.encode_duration(
        0.0, request.seconds or longest_sound(pipeline), request.device, False, len(tokens)
    )
    duration = torch.cat([start, end], 2)
    named = {"text_audio_duration": torch.cat([tokens, start, end], 1), "audio_duration": duration}
    zeros = torch.zeros_like(named["text_audio_duration"])
    named["negative_text_audio_duration"] = zeros if null is None else torch.cat([null, start, end], 1)
    return {**named, "negative_audio_duration": duration}


STABLE_AUDIO = Convention(
    name="Stable Audio",
    pipelines=("StableAudioPipeline",),
    call=call_stable_audio,
    event=event_stable_audio,
    codec=OOBLECK,
    arguments={"text_audio_duration": "encoder_hidden_states", "audio_duration": "global_hidden_states"},
    encode=encode_stable_audio,
    channels={"prompt_embeds": entry("projection_model", "text_encoder_dim")},
    samples=samples_stable_audio,
    rate=lambda pipeline: int(pipeline.vae.config.sampling_rate),
)


def event_audioldm2(request: Request) -> tuple[int, ...]:
    """[C, frames, bins] of the latent of a log-mel spectrogram."""
    pipeline = request.pipeline
    factor = pipeline.vae_scale_factor
    frames = int(sound_seconds(request) / frame_seconds(pipeline))
    bins = pipeline.vocoder.config.model_in_dim
    return (pipeline.unet.config.in_channels, -(-frames // factor), bins // factor)


def frame_seconds(pipeline: Any) -> float:
    """The seconds of one frame of the spectrogram."""
    return float(math.prod(pipeline.vocoder.config.upsample_rates) / pipeline.vocoder.config.sampling_rate)


def sound_seconds(request: Request) -> float:
    """The seconds that were asked for, or those that the network was trained on."""
    pipeline = request.pipeline
    if request.seconds is None:
        return float(pipeline.unet.config.sample_size * pipeline.vae_scale_factor * frame_seconds(pipeline))
    if not frame_seconds(pipeline) <= request.seconds <= 3600:
        raise Misuse(f"This pipeline makes no sound of {request.seconds:g} s.", "Give seconds up to 3600.")
    return request.seconds


def samples_audioldm2(request: Request) -> int:
    """The samples of the seconds that were asked for; the latents are a little longer."""
    return int(sound_seconds(request) * request.pipeline.vocoder.config.sampling_rate)


def call_audioldm2(network: Any, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
    """Two sequences of embeddings, of GPT-2 and of T5, the second with a mask."""
    return first(network(x, t, return_dict=False, **condition))


def encode_audioldm2(
    convention: Convention, request: Request, texts: Texts, twice: bool
) -> dict[str, Tensor]:
    """What the pipeline's `encode_prompt` returns: with guidance, both halves in one batch."""
    if texts.given:
        return dict(texts.given)
    named = encode_prompts(convention, request, texts, twice)
    if not twice:
        return named
    halves = {name: value.chunk(2) for name, value in named.items()}
    return {sign + name: half[k] for name, half in halves.items() for k, sign in enumerate(("negative_", ""))}


def of_sequence(number: int) -> Callable[[Any], int]:
    """The entries of a token of one of the two sequences, by the list of widths of the network's attention."""
    return lambda pipeline: int(pipeline.unet.config.cross_attention_dim[0][number])


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
    channels={"prompt_embeds": of_sequence(2), "generated_prompt_embeds": of_sequence(1)},
    encode=encode_audioldm2,
    samples=samples_audioldm2,
    rate=lambda pipeline: int(pipeline.vocoder.config.sampling_rate),
    checkpointing=False,  # its blocks, when they checkpoint, pass a mask in the place of another argument
)

SOUND = (STABLE_AUDIO, AUDIOLDM2)
