"""Words for people: counted nouns, articles, and text from files and file names that is safe to show."""

from __future__ import annotations

import re

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no terminal, log or JSON file should get from a file: control characters but tab and line feed, marks that
reverse the order of writing (U+202A to U+202E and their kin), and halves of surrogate pairs, which stand for the
bytes of a file name that is not UTF-8 (PEP 383)."""


def printable(text: object) -> str:
    r"""Text in which whatever could harm a terminal, or cannot be written as UTF-8, is an escape such as \x1b.

    Examples
    --------
    >>> printable("\x1b[2Jred"), printable("caf\udce9.png"), printable("Ωmega 日本")
    ('\\x1b[2Jred', 'caf\\xe9.png', 'Ωmega 日本')
    """
    return UNSAFE.sub(lambda found: _escape(ord(found[0])), str(text))


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # PEP 383: the byte is the low half
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun.

    Examples
    --------
    >>> counted(1, "molecule"), counted(1200, "sample"), counted(2, "stretch", "stretches")
    ('1 molecule', '1,200 samples', '2 stretches')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def with_article(noun: str) -> str:
    """A noun, or a number and a noun, with its indefinite article, by how they begin: an 8, an 11, an 80.

    Examples
    --------
    >>> with_article("energy"), with_article("volume"), with_article("8 x 8 box"), with_article("10 x 8 box")
    ('an energy', 'a volume', 'an 8 x 8 box', 'a 10 x 8 box')
    """
    return f"{'an' if re.match(r'[aeio]|8|1[18](?![0-9])', noun, re.IGNORECASE) else 'a'} {noun}"


def shorten(text: str, most: int = 60) -> str:
    """Text of at most `most` characters; of longer text the beginning and its length.

    Examples
    --------
    >>> shorten("9" * 5000, most=5)
    '99999... (5,000 characters)'
    """
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"
