"""`headwater methods`: what the name after --method may be, and what each is."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from headwater.cli.shared.terminal import say, say_table
from headwater.recipes.methods import METHODS, OURS, find_method


def show(name: str | None) -> int:
    """Print the table of the methods, or what one is and its settings."""
    if name is None:
        print_table()
        return 0
    for line in describe(find_method(name)):
        say(line)
    return 0


def describe(recipe: Any) -> list[str]:
    """A method as text: where it is from, what it takes and costs, and its settings.

    >>> from headwater.recipes.paper import Paper
    >>> describe(Paper())[:2]
    ['paper: Ben-Hamu et al., D-Flow, ICML 2024, Algorithm 1', 'takes: any operator']
    """
    about = recipe.about
    lines = [
        f"{about.name}: {about.paper}",
        f"takes: {about.takes}",
        f"differentiates the network: {'yes' if about.network_gradient else 'no'}",
        f"cost: {about.cost}",
        f"in Python: {type(recipe).__module__}.{type(recipe).__qualname__}",
        "settings:",
    ]
    return lines + [f"  {field.name} = {getattr(recipe, field.name)}" for field in fields(recipe)]


def print_table() -> None:
    """Name, what it takes, what it costs and where it is from, of every method."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "takes", "gradient", "cost", "from"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for name, method in METHODS.items():
        about = method.about
        whose = about.paper if method not in OURS or name == "paper" else f"Headwater: {about.paper}"
        table.add_row(name, about.takes, "yes" if about.network_gradient else "no", about.cost, whose)
    say_table(table)
    say("'headwater methods NAME' prints the settings of one. Without --method each task has its own method;")
    say("for pictures --method faithful or plausible chooses between its two answers.")
