"""What a list of methods says of one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """A method in the list of methods.

    Attributes
    ----------
    name
        The word of the command line.
    paper
        Authors, title, year.
    needs
        What it cannot do without: "linear operator", "adjoint", "gradient of the network", "noise level".
    cost
        What a step takes.
    """

    name: str
    paper: str
    needs: tuple[str, ...]
    cost: str
