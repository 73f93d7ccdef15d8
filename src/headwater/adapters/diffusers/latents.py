"""Decoders and encoders of pipelines: from latents to pixels or samples and back, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headwater.adapters.diffusers.velocity import first
from headwater.errors import Misuse
from headwater.flows.networks import find_networks, freeze_networks

PipelineMap = Callable[[Any, Tensor], Tensor]
"""f(pipeline, z) -> pixels, or the other way."""


@dataclass(frozen=True)
class Codec:
    """How a family decodes and encodes.

    Parameters
    ----------
    decode, encode
        Functions of a pipeline and a batch; None means that there is no encoder.
    component
        The name of the component whose dtype they compute in; "" for pixels, which need none.
    range
        The range of what is decoded.
    sound
        Whether it is a sound.
    """

    decode: PipelineMap
    encode: PipelineMap | None
    component: str = "vae"
    range: tuple[float, float] = (-1.0, 1.0)
    sound: bool = False


@dataclass(frozen=True)
class PipelineFunction:
    """f(z) of a codec's function, computed in the dtype of its component and returned in that of z.

    Its weights are not differentiated. z and the result are `[batch, ...]`, of whose last axis the first `length`
    entries are kept.
    """

    function: PipelineMap
    pipeline: Any
    component: str
    length: int | None = None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The networks behind it."""
        found = [getattr(self.pipeline, name, None) for name in (self.component, "vocoder") if name]
        return tuple(module for part in found for module in find_networks(part))

    def __call__(self, z: Tensor) -> Tensor:
        vae = getattr(self.pipeline, self.component) if self.component else None
        with freeze_networks(self.modules):
            out = self.function(self.pipeline, z if vae is None else z.to(vae.dtype))
        return out[..., : self.length].to(z.dtype)


@dataclass(frozen=True)
class MissingEncoder:
    """Stands in for an encoder that the pipeline does not have."""

    family: str

    def __call__(self, x: Tensor) -> Tensor:
        """Raise a `Misuse`, whatever x `[batch, ...]` is."""
        raise Misuse(
            f"A pipeline of {self.family} has no encoder.",
            "Begin with noise, or compare through the decoder.",
        )


def decode_kl(pipeline: Any, z: Tensor) -> Tensor:
    """Pixels in about [-1, 1] `[batch, 3, H, W]` of latents `[batch, C, h, w]`."""
    scale, shift = scale_of(pipeline.vae, z)
    return first(pipeline.vae.decode(z * scale + shift, return_dict=False))


def encode_kl(pipeline: Any, x: Tensor) -> Tensor:
    """The mode of the latents `[batch, C, h, w]` of pixels `[batch, 3, H, W]`."""
    scale, shift = scale_of(pipeline.vae, x)
    out: Tensor = (pipeline.vae.encode(x).latent_dist.mode() - shift) / scale
    return out


def scale_of(vae: Any, like: Tensor) -> tuple[Any, Any]:
    """The latent of the VAE is z scale + shift: factors, or statistics per channel, of its configuration."""
    factor = 1 / vae.config.scaling_factor
    mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if mean is not None and std is not None:
        mean, std = (
            torch.tensor(v, device=like.device, dtype=like.dtype).view(1, -1, 1, 1) for v in (mean, std)
        )
        return std * factor, mean
    return factor, vae.config.get("shift_factor") or 0.0


def decode_dc(pipeline: Any, z: Tensor) -> Tensor:
    """Pixels `[batch, 3, H, W]` of latents of a deep-compression autoencoder."""
    return first(pipeline.vae.decode(z / pipeline.vae.config.scaling_factor, return_dict=False))


def encode_dc(pipeline: Any, x: Tensor) -> Tensor:
    """Latents of pixels `[batch, 3, H, W]`."""
    out: Tensor = pipeline.vae.encode(x).latent * pipeline.vae.config.scaling_factor
    return out


def decode_flux2(pipeline: Any, z: Tensor) -> Tensor:
    """Pixels of latents in patches `[batch, 4 C, h / 2, w / 2]`, by the statistics of the VAE's batch norm."""
    mean, std = flux2_statistics(pipeline.vae, z)
    z = z * std + mean
    batch, channels, h, w = z.shape
    z = z.reshape(batch, channels // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
    return first(pipeline.vae.decode(z.reshape(batch, channels // 4, 2 * h, 2 * w), return_dict=False))


def encode_flux2(pipeline: Any, x: Tensor) -> Tensor:
    """Latents in patches `[batch, 4 C, h / 2, w / 2]` of pixels."""
    z = pipeline.vae.encode(x).latent_dist.mode()
    batch, channels, h, w = z.shape
    z = z.reshape(batch, channels, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
    z = z.reshape(batch, 4 * channels, h // 2, w // 2)
    mean, std = flux2_statistics(pipeline.vae, z)
    out: Tensor = (z - mean) / std
    return out


def flux2_statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of the latents in patches, `[1, 4 C, 1, 1]`."""
    mean, variance = (v.view(1, -1, 1, 1).to(like) for v in (vae.bn.running_mean, vae.bn.running_var))
    return mean, (variance + vae.config.batch_norm_eps).sqrt()


def decode_oobleck(pipeline: Any, z: Tensor) -> Tensor:
    """Samples `[batch, channels, samples]` of latents `[batch, C, length]`."""
    out: Tensor = pipeline.vae.decode(z).sample
    return out


def encode_oobleck(pipeline: Any, x: Tensor) -> Tensor:
    """The mode of the latents of samples `[batch, channels, samples]`."""
    out: Tensor = pipeline.vae.encode(x).latent_dist.mode()
    return out


def decode_mel(pipeline: Any, z: Tensor) -> Tensor:
    """Samples `[batch, samples]` of latents `[batch, C, frames, bins]`: a spectrogram, then the vocoder."""
    mel = pipeline.vae.decode(z / pipeline.vae.config.scaling_factor).sample.squeeze(1)
    out: Tensor = pipeline.vocoder(mel.to(pipeline.vocoder.dtype))
    return out


def keep(pipeline: Any, x: Tensor) -> Tensor:
    """x itself: the state is the picture."""
    return x


KL = Codec(decode_kl, encode_kl)
DEEP_COMPRESSION = Codec(decode_dc, encode_dc)
FLUX2 = Codec(decode_flux2, encode_flux2)
PIXELS = Codec(keep, keep, component="")
OOBLECK = Codec(decode_oobleck, encode_oobleck, sound=True)
MEL = Codec(decode_mel, None, sound=True)
