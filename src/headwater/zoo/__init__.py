"""Shipped models, each a card (JSON) and weights (safetensors), found by name.

Weights are stored in half precision and used in single precision. Each domain builds its own networks from
them: `headwater.image.model.models`, `headwater.audio.model.models`, `headwater.molecule.model.models`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import Misuse, suggest
from headwater.text import shorten

if TYPE_CHECKING:  # the page reads cards without torch
    from torch import Tensor

FOLDER = Path(__file__).parent / "weights"


def list_models(kind: str | None = None) -> list[str]:
    """The names of the shipped models in alphabetical order.

    Parameters
    ----------
    kind
        "image", "latent image", "captions", "music", "molecule generator" or "molecule regressor"; None means all.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.zoo.list_models("image")
    ['photo64']
    """
    found = sorted(path.stem for path in FOLDER.glob("*.json"))
    return [name for name in found if kind is None or read_card(name)["kind"] == kind]


def read_card(name: str) -> dict[str, Any]:
    """The card of a model: what it was trained on, how, and how good it is.

    Parameters
    ----------
    name
        The model, of `list_models`.

    Returns
    -------
    card
        What the JSON file holds: every card has `name`, `files`, `kind`, `architecture`, `training`, `what`,
        `data` and `weights_licence`.

    Raises
    ------
    Misuse
        If no model has this name; the nearest name is suggested.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.zoo.read_card("photo64")["weights_licence"]
    'Apache-2.0'
    >>> hw.zoo.read_card("photo46")
    Traceback (most recent call last):
    headwater.errors.Misuse: There is no model named 'photo46'. Did you mean 'photo64'?
    """
    if name not in (known := list_models()):  # a name, and not a path to another file
        raise Misuse(f"There is no model named {shorten(name)!r}.", suggest(name, known))
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def load_weights(name: str) -> dict[str, Tensor]:
    """The weights of a model by parameter name, as stored in half precision, from all its files.

    Parameters
    ----------
    name
        The model, of `list_models`.

    Returns
    -------
    weights
        Tensors `[...]` of the shapes that its network has, float16, on the CPU; stored captions are bytes.

    Raises
    ------
    Misuse
        If no model has this name.

    Examples
    --------
    >>> import headwater as hw
    >>> weights = hw.zoo.load_weights("qm9-guide")
    >>> {w.dtype for w in weights.values()}
    {torch.float16}
    """
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
