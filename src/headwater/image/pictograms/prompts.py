"""Prompts: their spelling, the captions that come with a model, and the embeddings of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.pictograms.texts import embed_texts


def plain_text(text: str) -> str:
    """A text as the known captions are spelt: lower case, single blanks, straight apostrophes.

    Examples
    --------
    >>> plain_text(" Woman\u2019s  hat")
    "woman's hat"
    """
    return " ".join(text.replace("\u2019", "'").split()).lower()


def pack_captions(texts: Sequence[str], embeddings: Tensor) -> dict[str, Tensor]:
    """Texts and their embeddings `[n, numbers]` of unit length as tensors of bytes, for a file of weights.

    Examples
    --------
    >>> stored = pack_captions(["a", "b"], torch.tensor([[0.6, 0.8], [1.0, 0.0]]))
    >>> unpack_captions(stored)["a"]
    tensor([0.5990, 0.8008])
    """
    scale = embeddings.abs().amax(1, keepdim=True) / 127
    return {
        "captions.texts": torch.tensor(list("\n".join(texts).encode()), dtype=torch.uint8),
        "captions.embeddings": (embeddings / scale).round().to(torch.int8),
    }


def unpack_captions(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The embeddings of unit length by text that `pack_captions` stored."""
    texts = bytes(weights["captions.texts"].tolist()).decode().split("\n")
    rows = torch.nn.functional.normalize(weights["captions.embeddings"].float(), dim=1)
    return dict(zip(texts, rows.unbind(), strict=True))


def embed_prompts(texts: Sequence[str], known: Mapping[str, Tensor]) -> Tensor:
    """Embeddings `[n, 384]` of texts: the known ones, and by the language model for all others."""
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise Misuse("A prompt is empty or no text.", "Give words, such as 'a red apple'.")
    plain = [plain_text(text) for text in texts]
    others = list(dict.fromkeys(text for text in plain if text not in known))
    found = dict(zip(others, embed_texts(others).unbind(), strict=True)) if others else {}
    return torch.stack([known[text] if text in known else found[text] for text in plain])
