"""The texts that the flow learns for a drawing: its label, its set's own name, and its tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.image.pictograms.data import Pictograms, fraction
from headwater.image.pictograms.icons import squash

CHANCES = (0.5, 0.15, 0.2, 0.15)
"""How often the flow sees a drawing with each of its `captions`."""


def captions(label: str, name: str, tags: Sequence[str]) -> tuple[str, str, str, str]:
    """Four texts for a drawing: label, name, tags, and two of the tags; the label where there is nothing else.

    Examples
    --------
    >>> captions("cat face", "cat-face", ("cat", "face", "pet"))[:3]
    ('cat face', 'cat face', 'cat, face, pet')
    >>> captions("admission tickets", "admissiontickets", ())  # a name without blanks says no more than the label
    ('admission tickets', 'admission tickets', 'admission tickets', 'admission tickets')
    """
    words = re.sub(r"[^a-z0-9]+", " ", name.lower().replace("flag-for-", "flag-of-")).strip()
    words = label if squash(words) == squash(label) or (" " not in words and len(words) > 10) else words
    kept = [tag for tag in tags if len(tag) > 2]
    few = sorted(kept, key=lambda tag: fraction(f"{label} {name} {tag}"))[:2]
    return label, words, ", ".join(kept[:8]) or label, ", ".join(few) or label


@dataclass(frozen=True)
class Captions:
    """Texts of drawings: `texts` are all that occur, and row i of `rows` int64 `[n, 4]` holds those of drawing i."""

    texts: tuple[str, ...]
    rows: Tensor

    def draw(self, index: Tensor) -> Tensor:
        """The numbers of one text each for the drawings in `index` `[k]`, by `CHANCES`."""
        kind = torch.multinomial(torch.tensor(CHANCES), len(index), replacement=True)
        return self.rows[index, kind]


def captions_of(data: Pictograms) -> Captions:
    """The captions of drawings, each text once."""
    all_of_them = [captions(*given) for given in zip(data.labels, data.names, data.tags, strict=True)]
    number = {text: i for i, text in enumerate(dict.fromkeys(t for four in all_of_them for t in four))}
    return Captions(tuple(number), torch.tensor([[number[text] for text in four] for four in all_of_them]))
