"""Titles of figures: text from file names, in fonts that have its characters."""

from __future__ import annotations

from functools import cache
from typing import Any

from headwater.extras import import_optional
from headwater.text import printable

FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "IPAexGothic",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
)
"""The font that comes with matplotlib, then those of Linux, Windows and macOS with Chinese, Japanese and Korean."""


def title_style(text: str) -> dict[str, Any]:
    r"""The text of a title and its style, as arguments of matplotlib's `Figure.text`.

    A character that no installed font has is a question mark, and a dollar sign is a dollar sign, not mathematics.

    Examples
    --------
    >>> title_style("take$1\U00013000.wav")["s"]
    'take$1?.wav'
    """
    families, known = _installed()
    shown = "".join(c if ord(c) in known else "?" for c in printable(text))
    return {"s": shown, "family": list(families), "parse_math": False}


@cache
def _installed() -> tuple[tuple[str, ...], frozenset[int]]:
    """Those of the families that are installed, and the characters that one of them has."""
    manager = import_optional("matplotlib.font_manager", "plots")
    there = {font.name for font in manager.fontManager.ttflist}
    families = tuple(name for name in FAMILIES if name in there)
    maps = [manager.get_font(manager.findfont(name)).get_charmap() for name in families]
    return families, frozenset().union(*maps)
