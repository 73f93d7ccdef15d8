"""Shipped models, each a card (JSON) and weights (safetensors), found by name.

Weights are stored in half precision and used in single precision. Each domain builds its own networks from
them: `headwater.image.model.models`, `headwater.audio.model.models`, `headwater.molecule.model.models`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.text import shorten

FOLDER = Path(__file__).parent / "weights"


def list_models(kind: str | None = None) -> list[str]:
    """The names of the shipped models, of a kind ("image", "molecule generator" ...) or, for None, all.

    Examples
    --------
    >>> "tiny64" in list_models(), "tiny64" in list_models("molecule generator")
    (True, False)
    """
    found = sorted(path.stem for path in FOLDER.glob("*.json"))
    return [name for name in found if kind is None or read_card(name).get("kind", "image") == kind]


def read_card(name: str) -> dict[str, Any]:
    """The card of a model: what it was trained on, how, and how good it is.

    Raises
    ------
    Misuse
        If no model has this name; the nearest name is suggested.
    """
    if name not in (known := list_models()):  # a name, and not a path to another file
        raise Misuse(f"There is no model named {shorten(name)!r}.", suggest(name, known))
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def load_weights(name: str) -> dict[str, Tensor]:
    """The weights of a model by parameter name, as stored in half precision, from all its files."""
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for file in read_card(name)["files"]:
        weights |= load_file(FOLDER / file)
    return weights


def read_settings(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a network's configuration from a card or checkpoint, with tuples for the lists of JSON.

    Examples
    --------
    >>> read_settings({"widths": [64, 128], "heads": 4})
    {'widths': (64, 128), 'heads': 4}
    """
    return {k: tuple(v) if isinstance(v, list) else v for k, v in architecture.items()}
