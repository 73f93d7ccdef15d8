"""Shipped models: a card (JSON) and weights (safetensors) each, loaded by name.

Weights are stored in half precision and computed with in single precision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.flows.flow import Flow

FOLDER = Path(__file__).parent / "weights"


def names(kind: str | None = None) -> list[str]:
    """The names of the shipped models, all or of a kind ("image", "molecule generator", ...).

    >>> "tiny64" in names(), "tiny64" in names("molecule generator")
    (True, False)
    """
    found = sorted(path.stem for path in FOLDER.glob("*.json"))
    return [name for name in found if kind is None or card(name).get("kind", "image") == kind]


def card(name: str) -> dict[str, Any]:
    """The card of a model: what it was trained on, how, and how good it is."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        raise Misuse(f"There is no model named {name!r}.", suggest(name, names()))
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def tensors(name: str) -> dict[str, Tensor]:
    """The stored weights of a model, from all its files."""
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for file in card(name)["files"]:
        weights |= load_file(FOLDER / file)
    return weights


@dataclass(frozen=True)
class Guided:
    """The velocity of a class-conditional network with classifier-free guidance.

    v = v_null + w (v_label - v_null) (Ho & Salimans 2022); without a label the null velocity alone.
    """

    network: torch.nn.Module
    label: int | None
    guidance: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        if self.label is None:
            return self.network(x, t, None)  # type: ignore[no-any-return]
        v = self.network(x, t, torch.full((len(x),), self.label, device=x.device))
        if self.guidance == 1.0:
            return v  # type: ignore[no-any-return]
        null = self.network(x, t, None)
        return null + self.guidance * (v - null)  # type: ignore[no-any-return]


def _image_card(name: str) -> dict[str, Any]:
    content = card(name)
    if content.get("kind", "image") != "image":
        raise Misuse(f"The model {name!r} makes no images.", f"Give one of {', '.join(names('image'))}.")
    return content


def settings(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network's configuration from a card or checkpoint; JSON has lists for tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in architecture.items()}


@lru_cache(maxsize=2)
def network(name: str, device: str = "cpu") -> torch.nn.Module:
    """The network of a shipped image model, in evaluation mode, float32."""
    from headwater.image.model.network import UNet, UNetConfig

    content = _image_card(name)
    net = UNet(UNetConfig(**settings(content["architecture"])))
    net.load_state_dict({k: v.float() for k, v in tensors(name).items()})
    net.eval().requires_grad_(False)
    return net.to(device)


def flow(
    name: str = "tiny64", *, label: str | int | None = None, guidance: float = 1.0, device: str = "cpu"
) -> Flow:
    """The flow of a shipped image model; `label` a class name, WNID or number, `guidance` its weight.

    >>> flow("tiny64").shape
    (3, 64, 64)
    """
    content = _image_card(name)
    number = None if label is None else class_number(content, label)
    size, channels = content["architecture"]["size"], content["architecture"]["channels"]
    low, high = content["range"]
    return Flow(Guided(network(name, device), number, guidance), (channels, size, size), range=(low, high))


def class_number(content: dict[str, Any], label: str | int) -> int:
    """The number of a class given as number, WNID or words."""
    classes: list[list[str]] = content["classes"]
    if isinstance(label, int) or label.isdecimal():
        if 0 <= int(label) < len(classes):
            return int(label)
        raise Misuse(f"There is no class number {label}.", f"Give 0 to {len(classes) - 1}.")
    for number, (wnid, words) in enumerate(classes):
        if label == wnid or label.lower() in [w.strip().lower() for w in words.split(",")]:
            return number
    known = [w.strip() for _, words in classes for w in words.split(",")]
    raise Misuse(f"There is no class named {label!r}.", suggest(label, known))
