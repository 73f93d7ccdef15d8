"""The shipped flow of music, by name."""

from __future__ import annotations

from functools import lru_cache

import torch

from headwater import zoo
from headwater.audio.network import Frames, FramesConfig
from headwater.audio.restore import Prior
from headwater.audio.space import Patches, Space, Spectral
from headwater.errors import Misuse
from headwater.flow import Flow

MUSIC = "music16"
RATE = 16_000
"""Its rate in Hz."""
KIND = "music"


def space_of(name: str, bins: int, scale: torch.Tensor) -> Space:
    """The space of that name: `mdct`, `companded` or `patches`."""
    if name == "patches":
        return Patches(scale, bins)
    return Spectral(scale, 1.0 if name == "mdct" else 0.5)


@lru_cache(maxsize=2)
def prior(name: str = MUSIC, device: str = "cpu") -> Prior:
    """The flow of a shipped music model, its space and rate.

    Raises
    ------
    Misuse
        There is no music model of that name.
    """
    card = zoo.card(name)
    if card.get("kind") != KIND:
        raise Misuse(f"The model {name!r} makes no music.", f"Give one of {', '.join(zoo.names(KIND))}.")
    config = FramesConfig(**card["architecture"])
    net = Frames(config)
    net.load_state_dict({k: v.float() for k, v in zoo.tensors(name).items()})
    net.eval().requires_grad_(False)
    scale = torch.tensor(card["space"]["scale"], device=device)
    space = space_of(card["space"]["name"], config.bins, scale)
    return Prior(Flow(net.to(device), (card["window"] // config.bins, config.bins)), space, card["rate"])
