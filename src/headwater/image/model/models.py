"""The shipped image priors as flows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from headwater import zoo
from headwater.errors import Misuse, suggest
from headwater.flows.conditioned import Guided
from headwater.flows.flow import Flow
from headwater.image.model.network import UNet, UNetConfig

DEFAULT = "photo64"
"""The image prior of every command and function that is not given one."""


class ChannelsLast(torch.nn.Module):
    """A network of images that is given them with the channels last in memory, which convolutions take faster."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The velocity of x `[batch, channels, height, width]` with the labels `[batch]`, None for no class."""
        return self.network(x.contiguous(memory_format=torch.channels_last), t, label)  # type: ignore[no-any-return]


def flow(
    name: str = DEFAULT, *, label: str | int | None = None, guidance: float = 1.0, device: str = "cpu"
) -> Flow:
    """The flow of a shipped image model, on its window `[channels, height, width]` in the data range [-1, 1].

    Parameters
    ----------
    name
        The model.
    label
        A class: words, a WNID or a number; None draws from all classes.
    guidance
        The weight of classifier-free guidance towards the label; 1 means no guidance.
    device
        Where the network is put.

    Returns
    -------
    flow
        On states `[batch, channels, height, width]`; a picture of another size is restored in windows.

    Raises
    ------
    Misuse
        There is no image model of that name, or no such class, or the guidance is not finite.

    Examples
    --------
    >>> import headwater as hw
    >>> model = hw.image.flow(label="goldfish")
    >>> model.shape, model.range
    ((3, 64, 64), (-1, 1))
    """
    content = card_of(name)
    if not math.isfinite(guidance):
        raise Misuse(f"A guidance of {guidance} is not finite.", "Give a number, such as 1.0 for none.")
    if label is None and guidance != 1.0:
        raise Misuse(f"A guidance of {guidance} needs a class to guide to.", "Give `label`.")
    null = len(content["classes"])
    number = null if label is None else class_number(content, label)
    size, channels = content["architecture"]["size"], content["architecture"]["channels"]
    low, high = content["range"]
    velocity = Guided(
        ChannelsLast(network(name, device)),
        {"label": torch.tensor([number], device=device)},
        {"label": torch.tensor([null], device=device)},
        guidance=guidance,
    )
    return Flow(velocity, (channels, size, size), range=(low, high))


@lru_cache(maxsize=2)
def network(name: str, device: str = "cpu") -> torch.nn.Module:
    """The network of a shipped image model, in evaluation mode, float32."""
    net = UNet(UNetConfig(**zoo.read_settings(card_of(name)["architecture"])))
    net.load_state_dict({k: v.float() for k, v in zoo.load_weights(name).items()})
    net.eval().requires_grad_(False)
    return net.to(device)


def card_of(name: str) -> dict[str, Any]:
    """The card of an image model."""
    content = zoo.read_card(name)
    if content["kind"] != "image":
        raise Misuse(
            f"The model {name!r} makes no images.", f"Give one of {', '.join(zoo.list_models('image'))}."
        )
    return content


def class_number(content: Mapping[str, Any], label: str | int) -> int:
    """The number of a class given as number, WNID or words."""
    classes: list[list[str]] = content["classes"]
    if not isinstance(label, int | str):
        raise Misuse(f"The label {label!r} is no class.", "Give words, a WNID or a whole number.")
    if isinstance(label, int) or label.isdecimal():
        if 0 <= int(label) < len(classes):
            return int(label)
        raise Misuse(f"There is no class number {label}.", f"Give 0 to {len(classes) - 1}.")
    for number, (wnid, words) in enumerate(classes):
        if label == wnid or label.lower() in [w.strip().lower() for w in words.split(",")]:
            return number
    known = [w.strip() for _, words in classes for w in words.split(",")]
    raise Misuse(f"There is no class named {label!r}.", suggest(label, known))
