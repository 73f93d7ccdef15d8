"""`headwater models`: the shipped models and their cards."""

from __future__ import annotations

from typing import Any

from headwater import zoo
from headwater.cli.shared.terminal import say, say_table

LONG = ("classes", "architecture", "training", "log", "files", "counts")


def show(name: str | None, classes: bool) -> int:
    """Print the table of the models, or the card of one."""
    if name is None:
        print_table()
        return 0
    card = zoo.read_card(name)
    if classes and not card.get("classes"):
        say(f"The model {name} has no classes.")
        return 0
    if classes:
        for number, (wnid, words) in enumerate(card.get("classes", [])):
            say(f"{number:4d}  {wnid}  {words}")
        return 0
    for line in card_lines(card):
        say(line)
    return 0


def card_lines(card: dict[str, Any], indent: str = "") -> list[str]:
    """A card as text: one fact a line, nested ones indented, long lists counted.

    >>> card_lines({"name": "m", "training": {"steps": 3}, "classes": [1, 2]})
    ['name: m', 'training:', '  steps: 3', 'classes: 2']
    """
    lines = []
    for key, value in card.items():
        title = f"{indent}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            lines += [f"{title}:", *card_lines(value, indent + "  ")]
        elif isinstance(value, list) and (key in LONG or len(str(value)) > 80):
            lines.append(f"{title}: {len(value)}")
        elif isinstance(value, list):
            lines.append(f"{title}: {', '.join(map(str, value))}")
        else:
            lines.append(f"{title}: {value}")
    return lines


def event_words(card: dict[str, Any]) -> str:
    """What one sample of a model is, in the units of its domain.

    >>> event_words({"kind": "music", "window": 32768, "rate": 16000})
    '2.05 s at 16 kHz'
    """
    kind = card["kind"]
    if kind == "music":
        return f"{card['window'] / card['rate']:.3g} s at {card['rate'] / 1000:g} kHz"
    net = card["architecture"]
    if kind == "image":
        return f"{net['size']} x {net['size']} x {net['channels']}"
    return "2 to 29 atoms" if kind.startswith("molecule") else ""


def print_table() -> None:
    """Name, kind, sample, size and purpose of every model."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "kind", "events", "size", "what"):
        table.add_column(column, overflow="fold", no_wrap=column != "what")
    for name in zoo.list_models():
        card = zoo.read_card(name)
        size = sum((zoo.FOLDER / file).stat().st_size for file in card["files"])
        table.add_row(name, card["kind"], event_words(card), f"{size / 1e6:.1f} MB", card["what"])
    say_table(table)
    say("'headwater models NAME' prints a card, with --classes its classes.")
