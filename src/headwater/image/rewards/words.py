"""Rewards in words, as the command line has them: "class: volcano", "2 * palette: #e33, #fff", "symmetry"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from headwater.adapters import clip
from headwater.errors import Misuse, suggest
from headwater.image.io.files import read_image
from headwater.image.rewards.appearance import Brightness, Contrast, Palette, Sharpness, Symmetry
from headwater.image.rewards.networks import ClassLogit, Likeness
from headwater.image.rewards.text import TextPictureModel, caption_model
from headwater.problem.rewards import Reward


def parse_colour(text: str) -> tuple[float, float, float]:
    """A colour in [-1, 1] from "#e33" or "#ee3333".

    Raises
    ------
    Misuse
        If it is written in another way.

    Examples
    --------
    >>> parse_colour("#fff"), parse_colour("#000000")
    ((1.0, 1.0, 1.0), (-1.0, -1.0, -1.0))
    """
    word = text.strip()
    if not re.fullmatch(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", word):
        raise Misuse(f"{word!r} is no colour.", "Write it as #e33 or #ee3333.")
    digits = word[1:] if len(word) == 7 else "".join(2 * c for c in word[1:])
    red, green, blue = (int(digits[i : i + 2], 16) / 127.5 - 1 for i in (0, 2, 4))
    return red, green, blue


def _palette(argument: str) -> Reward:
    return Palette(tuple(parse_colour(word) for word in argument.split(",")))


def _symmetry(argument: str) -> Reward:
    return Symmetry(argument or "horizontal")  # type: ignore[arg-type] # checked there


def _like(argument: str) -> Reward:
    picture, _ = read_image(Path(argument))
    return Likeness(picture.expand(-1, 3, -1, -1))


def _text(argument: str) -> Reward:
    return caption_model("guide").reward(argument)


def _clip(argument: str) -> Reward:
    folder, colon, words = argument.partition(": ")
    if not colon or not words.strip():
        raise Misuse(
            f"The reward 'clip: {argument}' does not say of what model and what text.",
            "Write clip: FOLDER: and the text, with a blank after each colon.",
        )
    return TextPictureModel(*clip.load(folder.strip())).reward(words.strip())


def _sharpness(argument: str) -> Reward:
    if argument:
        raise Misuse(f"Sharpness takes no argument, and got {argument!r}.", "Write sharpness.")
    return Sharpness()


def _number(argument: str) -> float | None:
    if not argument:
        return None
    try:
        return float(argument)
    except ValueError:
        raise Misuse(f"The target {argument!r} is no number.", "Write it as in brightness: 0.2.") from None


NAMES: Mapping[str, Callable[[str], Reward]] = {
    "class": ClassLogit,
    "palette": _palette,
    "brightness": lambda argument: Brightness(_number(argument)),
    "contrast": lambda argument: Contrast(_number(argument)),
    "symmetry": _symmetry,
    "sharpness": _sharpness,
    "like": _like,
    "text": _text,
    "clip": _clip,
}
"""What makes a reward of the words after its name."""
NEEDY = ("class", "palette", "like", "text", "clip")
"""Those that say nothing without such words."""


def read_reward(text: str) -> Reward:
    """The reward of pictures that "NAME" or "NAME: ARGUMENT" asks for, without its weight.

    Parameters
    ----------
    text
        class: WORDS, palette: #RGB,#RGB,..., brightness, brightness: LUMA, contrast, contrast: STD, symmetry,
        symmetry: vertical, sharpness, like: FILE, text: WORDS by the shipped captions of pictograms, or
        clip: FOLDER: WORDS by a model of the user's own.

    Returns
    -------
    reward
        x `[batch, 3, h, w]` in [-1, 1] -> `[batch]`.

    Raises
    ------
    Misuse
        If there is no reward of that name, it needs an argument, or its argument is wrong.

    Examples
    --------
    >>> read_reward("palette: #e33, #fff").colours[1]
    (1.0, 1.0, 1.0)
    """
    name, _, argument = (part.strip() for part in text.partition(":"))
    if name not in NAMES:
        raise Misuse(f"There is no reward named {name!r}.", suggest(name, NAMES))
    if not argument and name in NEEDY:
        raise Misuse(f"The reward {name!r} does not say of what.", f"Write {name}: and what it is.")
    return NAMES[name](argument)
