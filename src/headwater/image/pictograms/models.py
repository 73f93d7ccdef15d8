"""The shipped model of pictures from words, as a flow on latents with its decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from headwater import zoo
from headwater.errors import Misuse, suggest
from headwater.flows.conditioned import Guided
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.image.pictograms.autoencoder import Autoencoder, AutoencoderConfig
from headwater.image.pictograms.network import PictogramConfig, PictogramNet
from headwater.image.pictograms.prompts import embed_prompts, unpack_captions
from headwater.text import shorten

KIND = "latent image"


class Codec:
    """One direction of an autoencoder, on latents of mean 0 and variance 1 for each channel.

    Parameters
    ----------
    network
        The autoencoder.
    mean, std
        Of each channel of its own latents, `[1, channels, 1, 1]`.
    shape
        The shape of one event of the training; other heights and widths are taken, too.
    multiple
        What height and width have to be multiples of.
    """

    def __init__(
        self, network: Autoencoder, mean: Tensor, std: Tensor, shape: tuple[int, ...], multiple: int
    ) -> None:
        self.network, self.mean, self.std, self.shape = network, mean, std, shape
        self.multiple = multiple

    def check(self, x: Tensor) -> None:
        """Refuse a batch that the network of convolutions cannot take, or takes for another without a word."""
        fits = (
            x.ndim == 4 and x.shape[1] == self.shape[0] and all(n % self.multiple == 0 for n in x.shape[2:])
        )
        if not fits:
            raise Misuse(
                f"The events have the shape {list(x.shape[1:])}, and the model takes {list(self.shape)} "
                f"or other multiples of {self.multiple}.",
                "Give a batch of that shape, such as [1, ...] for a single event.",
            )


class Decode(Codec):
    """Latents `[batch, 4, 16, 16]` to pictures `[batch, 3, 128, 128]` in about [-1, 1]; differentiable."""

    def __call__(self, z: Tensor) -> Tensor:
        self.check(z)
        return self.network.decode(z * self.std + self.mean)


class Encode(Codec):
    """Pictures `[batch, 3, 128, 128]` in [-1, 1] to latents `[batch, 4, 16, 16]`; differentiable."""

    def __call__(self, x: Tensor) -> Tensor:
        self.check(x)
        return (self.network.encode(x) - self.mean) / self.std


@dataclass(frozen=True)
class Parts:
    """What a shipped model consists of: networks in evaluation mode, float32, and embeddings by caption."""

    flow: PictogramNet
    autoencoder: Autoencoder
    mean: Tensor
    std: Tensor
    embeddings: Mapping[str, Tensor]


def latent_model(
    prompt: str | Sequence[str] | None = None,
    *,
    name: str = "pictograms",
    style: str | None = None,
    guidance: float | None = None,
    device: str = "cpu",
) -> LatentModel:
    """A shipped model that makes pictures from words, as a flow on latents with its decoder.

    Parameters
    ----------
    prompt
        One text for all problems, or a list with one for each; None draws anything. The captions that come with the
        model (`known_captions`) need no language model; any other text needs the extra `pictograms`.
    name
        The model.
    style
        The icon set whose manner is followed; None draws from all of them.
    guidance
        The weight of classifier-free guidance towards the prompt: 1 means none. None is the card's own, or 1 without
        a prompt.
    device
        Where the networks are put.

    Returns
    -------
    model
        The flow with its decoder and encoder; the flow takes any solver.

    Raises
    ------
    Misuse
        There is no such model or style, there is guidance without a prompt, a prompt is empty, or the language model
        is not installed.

    References
    ----------
    Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022.

    Examples
    --------
    >>> import headwater as hw
    >>> model = hw.image.latent_model(["red apple", "cat"])
    >>> z = hw.solve(model.flow, model.flow.noise([0, 1]), steps=2)
    >>> model.decode(z).shape
    torch.Size([2, 3, 128, 128])
    """
    card, parts = card_of(name), load_parts(name, device)
    texts = [prompt] if isinstance(prompt, str) else prompt
    if texts is None and guidance not in (None, 1.0):
        raise Misuse(f"A guidance of {guidance} needs a prompt to guide to.", "Give `prompt`.")
    null = torch.zeros(1, parts.flow.config.text, device=device)
    text = null if texts is None else embed_prompts(texts, parts.embeddings).to(device)
    number = torch.tensor([style_number(card["styles"], style)], device=device)
    weight = 1.0 if texts is None else card["guidance"] if guidance is None else guidance
    return make_model(parts, text, number, weight)


def make_model(parts: Parts, text: Tensor, style: Tensor, guidance: float) -> LatentModel:
    """The model of its parts, told embeddings `[batch or 1, 384]` and numbers of styles `[batch or 1]`."""
    config, side = parts.flow.config, parts.autoencoder.config
    null = {"text": torch.zeros_like(text), "style": style}
    velocity = Guided(parts.flow, {"text": text, "style": style}, null, guidance=guidance)
    event = (config.latents, config.side, config.side)
    codec = (parts.autoencoder, parts.mean, parts.std)
    return LatentModel(
        Flow(velocity, event),
        Decode(*codec, event, 1),
        Encode(*codec, (side.channels, side.size, side.size), side.size // config.side),
        family=KIND,
    )


def card_of(name: str) -> dict[str, Any]:
    """The card of a model of pictures from words."""
    content = zoo.read_card(name)
    if content["kind"] != KIND:
        raise Misuse(
            f"The model {name!r} makes no pictures from words.",
            f"Give one of {', '.join(zoo.list_models(KIND))}.",
        )
    return content


@lru_cache(maxsize=2)
def load_parts(name: str, device: str = "cpu") -> Parts:
    """The networks and the embeddings of a shipped model."""
    architecture, weights = card_of(name)["architecture"], zoo.load_weights(name)
    flow = PictogramNet(PictogramConfig(**zoo.read_settings(architecture["flow"])))
    autoencoder = Autoencoder(AutoencoderConfig(**zoo.read_settings(architecture["autoencoder"])))
    for prefix, net in (("flow.", flow), ("autoencoder.", autoencoder)):
        own = {k.removeprefix(prefix): v.float() for k, v in weights.items() if k.startswith(prefix)}
        net.load_state_dict(own)
        net.eval().requires_grad_(False).to(device)
    mean, std = (
        torch.tensor(architecture[key], device=device).reshape(1, -1, 1, 1) for key in ("mean", "std")
    )
    return Parts(flow, autoencoder, mean, std, unpack_captions(weights))


def known_captions(name: str = "pictograms") -> list[str]:
    """The captions whose embeddings come with a model.

    Examples
    --------
    >>> "red apple" in known_captions()
    True
    """
    return list(load_parts(name).embeddings)


def style_number(styles: Sequence[str], style: str | None) -> int:
    """The number of a style; that of any style for None."""
    if style is None:
        return len(styles)
    if style not in styles:
        raise Misuse(f"There is no style {shorten(style)!r}.", suggest(style, styles))
    return list(styles).index(style)
