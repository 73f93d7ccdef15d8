"""Rewards from a network of pictures: a class, and likeness to a picture."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files

from torch import Tensor
from torch.nn.functional import interpolate

from headwater.errors import Misuse, suggest
from headwater.image.metrics.efficientnet import Variant, class_logits
from headwater.image.metrics.perceptual import perceptual_distance


@functools.cache
def read_classes() -> tuple[tuple[str, str], ...]:
    """The 1000 classes of ImageNet in the order of the logits: WordNet's number and words of each.

    Examples
    --------
    >>> read_classes()[980]
    ('n09472597', 'volcano')
    """
    lines = files(__package__).joinpath("imagenet.tsv").read_text(encoding="utf-8").splitlines()
    return tuple((wnid, words) for wnid, words in (line.split("\t") for line in lines))


def find_class(name: str | int) -> int:
    """The number of a class of ImageNet, given as number, WNID or one of its words.

    Raises
    ------
    Misuse
        If there is none.

    Examples
    --------
    >>> find_class("volcano"), find_class("n01440764"), find_class("7")
    (980, 0, 7)
    """
    classes, wanted = read_classes(), str(name).strip().lower()
    if wanted.isdecimal():
        if int(wanted) < len(classes):
            return int(wanted)
        raise Misuse(f"There is no class number {wanted}.", f"Give 0 to {len(classes) - 1}.")
    for number, (wnid, words) in enumerate(classes):
        if wanted == wnid or wanted in [w.strip().lower() for w in words.split(",")]:
            return number
    known = [w.strip() for _, words in classes for w in words.split(",")]
    cure = suggest(wanted, known)
    raise Misuse(
        f"ImageNet has no class named {str(name)!r}.",
        cure if cure.startswith("Did") else "Give words, a WNID or a number of one of its 1000 classes.",
    )


@dataclass(frozen=True)
class ClassLogit:
    """The logit of a class of ImageNet, `[batch]`, by EfficientNet-Lite.

    Parameters
    ----------
    label
        Words, a WNID or a number from 0 to 999.
    variant
        "lite0" or "lite1", two networks with weights of their own: guide by one, judge by the other.

    Raises
    ------
    Misuse
        If there is no such class; and, when it is called, if the package of the weights is not installed.

    References
    ----------
    Tan & Le, "EfficientNet", ICML 2019.

    Examples
    --------
    >>> import torch
    >>> ClassLogit("volcano").number, ClassLogit("volcano")(torch.zeros(2, 3, 32, 32)).shape
    (980, torch.Size([2]))
    """

    label: str | int
    variant: Variant = "lite0"

    def __post_init__(self) -> None:
        find_class(self.label)

    @property
    def number(self) -> int:
        """The place of the class among the logits."""
        return find_class(self.label)

    def __call__(self, x: Tensor) -> Tensor:
        """The logit of x `[batch, 3, h, w]` in [-1, 1], `[batch]`."""
        return class_logits(x, self.variant)[:, self.number]


@dataclass(frozen=True, eq=False)
class Likeness:
    """Minus the perceptual distance to a picture, `[batch]`: 0 for the picture itself.

    Parameters
    ----------
    picture
        `[1, 3, h, w]` in [-1, 1]; it is resized to that of the sample.

    Raises
    ------
    Misuse
        If it is no single colour picture.

    Examples
    --------
    >>> import torch
    >>> picture = torch.rand(1, 3, 32, 32) * 2 - 1
    >>> Likeness(picture)(picture).abs().item()
    0.0
    """

    picture: Tensor

    def __post_init__(self) -> None:
        if self.picture.ndim != 4 or tuple(self.picture.shape[:2]) != (1, 3):
            raise Misuse(
                f"The picture to resemble has the shape {list(self.picture.shape)}.", "Give one [1, 3, h, w]."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, 3, h, w]` in [-1, 1], `[batch]`."""
        like = self.picture.to(x)
        if like.shape[2:] != x.shape[2:]:
            like = interpolate(like, x.shape[2:], mode="bicubic", antialias=True).clamp(-1, 1)
        return -perceptual_distance(x, like.expand(len(x), -1, -1, -1))
