"""CLIP and its kin, of the library transformers, as two differentiable maps into one space.

Pictures are scaled to the size that the model sees, with nothing cut off; its processor would cut the longer side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from headwater.errors import Misuse, summarise
from headwater.extras import import_optional
from headwater.flows.networks import freeze_networks
from headwater.text import shorten

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that CLIP was trained on, in [0, 1]; a folder may say otherwise."""


@dataclass(frozen=True)
class PictureEncoder:
    """The embeddings of pictures x `[batch, 3, h, w]` in [-1, 1], `[batch, n]`.

    Parameters
    ----------
    model
        A `CLIPModel` of transformers, or another with `get_image_features`; it is moved to where the pictures are.
    mean, std
        Of each colour in [0, 1], by which pictures are standardised.
    """

    model: Any
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD

    def __call__(self, x: Tensor) -> Tensor:
        """The embeddings of x; the weights are not differentiated."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise Misuse(f"CLIP sees colour pictures, not {list(x.shape)}.", "Give [batch, 3, h, w].")
        side = self.model.config.vision_config.image_size
        seen = (
            x if x.shape[2:] == (side, side) else interpolate(x, (side, side), mode="bicubic", antialias=True)
        )
        mean, std = (
            torch.tensor(v, dtype=x.dtype, device=x.device).reshape(1, 3, 1, 1) for v in (self.mean, self.std)
        )
        weights = next(self.model.to(x.device).parameters())
        pixels = (((seen + 1) / 2 - mean) / std).to(weights)
        with freeze_networks((self.model,)):
            return features_of(self.model.get_image_features(pixel_values=pixels)).to(x)


@dataclass(frozen=True)
class TextEncoder:
    """The embeddings `[number of texts, n]` of texts.

    Parameters
    ----------
    model
        The model, which has `get_text_features`.
    tokenizer
        Its tokenizer.
    """

    model: Any
    tokenizer: Any

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """The embeddings of texts; a `Misuse` of a text that is longer than the model reads."""
        longest = self.model.config.text_config.max_position_embeddings
        # SigLIP was trained on texts of one length, and reads its last place, padding or not
        padding = "max_length" if getattr(self.model.config, "model_type", "").startswith("siglip") else True
        asked = {"padding": padding, "max_length": longest if padding == "max_length" else None}
        tokens = self.tokenizer(list(texts), return_tensors="pt", **asked)
        if tokens["input_ids"].shape[1] > longest:
            count = tokens["input_ids"].shape[1]
            raise Misuse(f"A text has {count} tokens, and the model reads at most {longest}.", "Shorten it.")
        device = next(self.model.parameters()).device
        with torch.no_grad():
            found = self.model.get_text_features(**{name: value.to(device) for name, value in tokens.items()})
        return features_of(found).float()


def features_of(found: Any) -> Tensor:
    """The embeddings among what a model returns, a tensor or an output that holds one."""
    tensor: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return tensor


def load(
    source: str | Path | Any, tokenizer: Any = None, *, device: str | None = None
) -> tuple[Callable[[Tensor], Tensor], Callable[[Sequence[str]], Tensor]]:
    """A model of pictures and texts as two maps into one space, for `rewards.TextPictureModel(*load(...))`.

    Parameters
    ----------
    source
        The folder that `save_pretrained` of the model, and of its tokenizer, have written; or the model itself.
    tokenizer
        The tokenizer of a model that is given itself.
    device
        Where the model is put at once; later it follows the pictures.

    Returns
    -------
    embed_pictures
        Pictures `[batch, 3, h, w]` in [-1, 1] to `[batch, n]`; differentiable.
    embed_texts
        Texts to `[number of texts, n]`.

    Raises
    ------
    Misuse
        If transformers is missing; if the folder is missing, is no such model, is incomplete, or has pickled weights;
        if a model comes without its tokenizer.

    References
    ----------
    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.

    Examples
    --------
    >>> load("no/such/folder")
    Traceback (most recent call last):
    headwater.errors.Misuse: There is no folder no/such/folder. Give the folder that save_pretrained has written.
    """
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD
    if isinstance(source, str | Path):
        mean, std = read_statistics(Path(source))
        model, tokenizer = read_folder(Path(source))
    else:
        model = source
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise Misuse(
            f"A {type(model).__name__} does not put pictures and texts into one space.",
            "Give a CLIPModel, or two functions of your own to rewards.TextPictureModel.",
        )
    if tokenizer is None:
        raise Misuse("The model came without its tokenizer.", "Give tokenizer=..., or a folder with both.")
    model = model.eval() if device is None else model.eval().to(device)
    return PictureEncoder(model, mean, std), TextEncoder(model, tokenizer)


def read_folder(folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer of a folder, from safetensors only, and nothing from the network."""
    transformers = import_optional("transformers", "diffusers")
    safetensors = import_optional("safetensors", "diffusers")
    errors = (OSError, ValueError, RuntimeError, KeyError, ImportError, safetensors.SafetensorError)
    asked = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = transformers.AutoModel.from_pretrained(str(folder), use_safetensors=True, **asked)
        return model, transformers.AutoTokenizer.from_pretrained(str(folder), **asked)
    except errors as error:
        raise Misuse(
            f"The model in {folder} cannot be read: {shorten(summarise(error), 300)}.",
            "Save model and tokenizer again with save_pretrained(folder).",
        ) from error


def read_statistics(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the colours, of the processor's file if the folder has one, else CLIP's."""
    if not folder.is_dir():
        raise Misuse(f"There is no folder {folder}.", "Give the folder that save_pretrained has written.")
    names = ("preprocessor_config.json", "processor_config.json")  # an image processor's, a whole processor's
    for file in (folder / name for name in names):
        if file.is_file():
            return read_colours(file)
    return MEAN, STD


def read_colours(file: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the colours, of a processor's file; CLIP's where it has none."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misuse(f"{file} cannot be read: {summarise(error)}.", "Save the processor again.") from error
    known = known.get("image_processor", known) if isinstance(known, dict) else known
    if not isinstance(known, dict):
        raise Misuse(f"{file} is no processor's file.", "Save the processor again.")
    mean, std = known.get("image_mean", MEAN), known.get("image_std", STD)
    if not (is_colour(mean) and is_colour(std) and min(std) > 0):
        raise Misuse(f"{file} has no mean and deviation of three colours.", "Save the processor again.")
    return mean, std


def is_colour(value: Any) -> bool:
    """Whether it is three numbers."""
    return isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(v, Real) for v in value)
