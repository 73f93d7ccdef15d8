"""The shipped flow of music, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from headwater import zoo
from headwater.audio.model.network import Plane, PlaneConfig
from headwater.audio.model.space import Patches, Space, Spectral
from headwater.audio.prior import Prior
from headwater.errors import Misuse
from headwater.flows.flow import Flow

MUSIC = "music16"
RATE = 16_000
"""Of its waveforms, Hz."""
WINDOW = 32_768
"""Samples of its window."""
KIND = "music"


def build_space(name: str, bins: int, scale: torch.Tensor) -> Space:
    """The space of that name: `mdct`, `companded` or `patches`; `scale` is one number or one for each bin."""
    if name == "patches":
        return Patches(scale, bins)
    return Spectral(scale, 1.0 if name == "mdct" else 0.5)


@lru_cache(maxsize=2)
def load_prior(name: str = MUSIC, device: str = "cpu") -> Prior:
    """The prior of a shipped music model; it is loaded once.

    Parameters
    ----------
    name
        The model; `headwater.zoo.list_models("music")` lists them.
    device
        Where the network is put.

    Returns
    -------
    prior
        On waveforms `[batch, samples]`; of `music16` at 16 kHz.

    Raises
    ------
    Misuse
        There is no music model of that name.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.audio.load_prior().rate
    16000
    """
    card = read_card(name)
    config, space = PlaneConfig(**zoo.read_settings(card["architecture"])), card["space"]
    return assemble(config, zoo.load_weights(name), space["name"], space["scale"], device=device)


def read_card(name: str) -> dict[str, Any]:
    """The card of a music model."""
    card = zoo.read_card(name)
    if card["kind"] != KIND:
        raise Misuse(
            f"The model {name!r} makes no music.", f"Give one of {', '.join(zoo.list_models(KIND))}."
        )
    return card


def load_network(name: str) -> Plane:
    """The network of a shipped music model, to train on."""
    net = Plane(PlaneConfig(**zoo.read_settings(read_card(name)["architecture"])))
    net.load_state_dict({k: v.float() for k, v in zoo.load_weights(name).items()})
    return net


def load_checkpoint(checkpoint: Path) -> Prior:
    """The prior of a training checkpoint, with its averaged weights."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    facts = state["facts"]
    config = PlaneConfig(**zoo.read_settings(facts["config"]))
    return assemble(config, state["ema"], facts["space"], facts["scale"])


def assemble(
    config: PlaneConfig,
    weights: Mapping[str, torch.Tensor],
    space: str,
    scale: float | Sequence[float],
    *,
    device: str = "cpu",
) -> Prior:
    """The prior from its parts: architecture, weights, the name of its space and its scales."""
    net = Plane(config)
    net.load_state_dict({k: v.float() for k, v in weights.items()})
    net.eval().requires_grad_(False)
    found = build_space(space, config.bins, torch.tensor(scale, device=device))
    return Prior(Flow(net.to(device), (WINDOW // config.bins, config.bins)), found, RATE)
