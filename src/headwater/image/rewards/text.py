"""Rewards of a text: how near a picture and words are to a model that puts both into one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from headwater import zoo
from headwater.errors import Misuse
from headwater.image.metrics.efficientnet import Variant, pool_features
from headwater.image.pictograms import models as pictograms
from headwater.image.pictograms.prompts import embed_prompts, plain_text
from headwater.problem.batch import select_rows
from headwater.text import counted

CAPTIONS = "pictograms-captions"
"""The shipped model of captions."""
EmbedPictures = Callable[[Tensor], Tensor]
EmbedTexts = Callable[[Sequence[str]], Tensor]
Part = Literal["guide", "judge"]


@dataclass(frozen=True, eq=False)
class TextSimilarity:
    """The cosine of the angle between pictures and their texts in the space of a model, `[batch]`, -1 to 1.

    Parameters
    ----------
    embed_pictures
        Pictures `[batch, 3, h, w]` in [-1, 1] to `[batch, n]`, differentiable.
    text
        The embeddings of the texts, `[batch, n]`, or `[1, n]` for all problems.
    words
        The texts themselves, for reports; none if they are not known.

    Raises
    ------
    Misuse
        When it is called, if the model gives another number of entries for a picture than for a text, or there are
        texts for other problems.

    Examples
    --------
    >>> colour = lambda x: x.mean((2, 3))  # a model that knows colours alone
    >>> reward = TextSimilarity(colour, torch.tensor([[1.0, -1.0, -1.0]]))
    >>> red = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    >>> round(reward(red).item(), 3), round(reward(-red).item(), 3)
    (1.0, -1.0)
    """

    embed_pictures: EmbedPictures
    text: Tensor
    words: tuple[str, ...] = ()

    def select(self, index: Tensor) -> TextSimilarity:
        """The reward of the problems in `index`, int64 `[k]`, with their texts."""
        words = select_rows(self.words, index) if self.words else ()
        return TextSimilarity(self.embed_pictures, select_rows(self.text, index), words)

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, 3, h, w]` in [-1, 1], `[batch]`; a `Misuse` if both do not compare."""
        found = self.embed_pictures(x)
        text = self.text.to(found)
        if found.ndim != 2 or text.ndim != 2 or found.shape[1] != text.shape[1]:
            raise Misuse(
                f"The model makes {list(found.shape)} of pictures and {list(text.shape)} of texts.",
                "Give two maps into one space: [batch, n] each.",
            )
        if len(text) not in (1, len(x)):
            raise Misuse(
                f"There are {counted(len(text), 'text')} for {counted(len(x), 'picture')}.",
                "Give one for each, or a single one for all.",
            )
        return (normalize(found, dim=1) * normalize(text, dim=1)).sum(1)


@dataclass(frozen=True)
class TextPictureModel:
    """A model that puts pictures and texts into one space, such as CLIP.

    Parameters
    ----------
    embed_pictures
        Pictures `[batch, 3, h, w]` in [-1, 1] to `[batch, n]`; differentiable, if its rewards are to guide.
    embed_texts
        Texts to `[number of texts, n]`.

    Examples
    --------
    >>> words = {"red": [1.0, -1.0, -1.0], "white": [1.0, 1.0, 1.0]}
    >>> model = TextPictureModel(lambda x: x.mean((2, 3)), lambda texts: torch.tensor([words[t] for t in texts]))
    >>> model.reward("white")(torch.ones(1, 3, 2, 2)).round(decimals=3).tolist()
    [1.0]
    """

    embed_pictures: EmbedPictures
    embed_texts: EmbedTexts

    def reward(self, texts: str | Sequence[str]) -> TextSimilarity:
        """How well pictures show a text, one for all problems, or a list with one for each."""
        words = (texts,) if isinstance(texts, str) else tuple(texts)
        with torch.no_grad():
            found = self.embed_texts(words)
        return TextSimilarity(self.embed_pictures, found, words)


@dataclass(frozen=True, eq=False)
class CaptionRegression:
    """A linear map from pooled features of a network to embeddings of captions, less their mean, `[batch, 384]`.

    Parameters
    ----------
    variant, side
        The network, and the side at which it sees a picture.
    weight
        `[1280, 384]`.
    centre, spread
        The mean and the standard deviation of the features, `[1280]`.
    """

    variant: Variant
    side: int
    weight: Tensor
    centre: Tensor
    spread: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The embedding that pictures `[batch, 3, h, w]` in [-1, 1] should have, `[batch, 384]`."""
        features = pool_features(x, self.variant, self.side)
        centre, spread, weight = (v.to(features) for v in (self.centre, self.spread, self.weight))
        return (features - centre) / spread @ weight


@cache
def caption_model(part: Part = "guide") -> TextPictureModel:
    """The shipped model of pictograms and their captions, which comes twice.

    Both are linear regressions from features of a picture to the embedding of its caption. They share neither the
    network nor the drawings that they learnt from: "guide" is for rewards, "judge" for what a reward did. They know
    drawings of emoji on white, and no photographs. Captions that come with the model `pictograms` need no language
    model; any other text needs the extra `pictograms`.

    Parameters
    ----------
    part
        "guide" or "judge".

    Raises
    ------
    Misuse
        If there is no such part; and when it is asked, if the package of its network's weights, or the language
        model, is not installed.

    Examples
    --------
    >>> caption_model("guide").embed_texts(["red apple"]).shape
    torch.Size([1, 384])
    """
    if part not in ("guide", "judge"):
        raise Misuse(f"The captions have no part {part!r}.", "Give guide or judge.")
    card, weights = zoo.read_card(CAPTIONS), zoo.load_weights(CAPTIONS)
    own = {
        name: weights[f"{part}.{name}"].float() for name in ("weight", "scale", "centre", "spread", "text")
    }
    seen = card["architecture"][part]
    regression = CaptionRegression(
        seen["network"], seen["side"], own["weight"] * own["scale"], own["centre"], own["spread"]
    )
    known = pictograms.load_parts("pictograms").embeddings
    return TextPictureModel(regression, lambda texts: embed_prompts(texts, known) - own["text"])


def rank_text(x: Tensor, text: str, part: Part = "judge") -> Tensor:
    """The place of a text among all captions that the model knows; 0 says that none of them fits a picture better.

    Parameters
    ----------
    x
        Pictures `[batch, 3, h, w]` in [-1, 1].
    text
        Words; those that are no known caption need the extra `pictograms`.
    part
        "guide" or "judge", as of `caption_model`.

    Returns
    -------
    place
        int64 `[batch]`.

    Examples
    --------
    >>> bool((rank_text(torch.ones(2, 3, 32, 32), "red apple") >= 0).all())
    True
    """
    model = caption_model(part)
    others = [caption for caption in pictograms.known_captions() if caption != plain_text(text)]
    with torch.no_grad():
        found = normalize(model.embed_pictures(x.clamp(-1, 1)), dim=1)
        candidates = normalize(model.embed_texts([text, *others]).to(found), dim=1)
        cosines = found @ candidates.T
    return (cosines[:, 1:] > cosines[:, :1]).sum(1)
