"""Words for people, and the encoding of every file that the package reads or writes."""

import ast
import re
from pathlib import Path

import pytest

import headwater
from headwater.text import counted, printable, shorten, with_article

SOURCE = Path(headwater.__file__).parent


@pytest.mark.parametrize(
    ("noun", "found"),
    [
        ("energy", "an energy"),
        ("Operator", "an Operator"),
        ("dipole moment", "a dipole moment"),
        ("unit", "a unit"),
        ("8 x 8 box", "an 8 x 8 box"),
        ("80 x 8 box", "an 80 x 8 box"),
        ("11 x 3 box", "an 11 x 3 box"),
        ("110 x 3 box", "a 110 x 3 box"),
        ("18 x 3 box", "an 18 x 3 box"),
        ("1 x 8 box", "a 1 x 8 box"),
    ],
)
def test_articles(noun, found):
    assert with_article(noun) == found


def test_one_is_singular():
    assert [counted(n, "molecule") for n in (0, 1, 2)] == ["0 molecules", "1 molecule", "2 molecules"]
    assert counted(1, "stretch", "stretches") == "1 stretch" and counted(1000, "atom") == "1,000 atoms"


def test_long_text_is_shortened():
    assert shorten("a" * 60) == "a" * 60 and len(shorten("a" * 10**6)) < 100


def test_nothing_printable_can_steer_a_terminal():
    """Of all characters below U+3000, and of all halves of surrogate pairs, what is shown can be written as UTF-8 and
    holds no control character but tab and line feed, and nothing that turns the direction of writing."""
    shown = printable("".join(map(chr, [*range(0x3000), *range(0xD800, 0xE000)])))
    shown.encode("utf-8")
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown) == []
    assert printable("Ωmega 日本 é\tb\n") == "Ωmega 日本 é\tb\n"


def is_text(node):
    """Whether a call reads or writes text: read_text, write_text, or open as text."""
    if not isinstance(node, ast.Call):
        return False
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    modes = [word for word in words if re.fullmatch("[rwaxbt+]{1,3}", word)]
    as_text = bool(modes) and "b" not in modes[0]
    if getattr(node.func, "id", "") == "open":
        return as_text or not modes
    return method in ("read_text", "write_text") or (method == "open" and as_text)


def names_encoding(call):
    given = [a.value for a in call.args if isinstance(a, ast.Constant)]
    return "utf-8" in given or any(keyword.arg == "encoding" for keyword in call.keywords)


def test_no_file_is_read_in_the_encoding_of_the_locale():
    found = [
        f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if is_text(node) and not names_encoding(node)
    ]
    assert found == []
