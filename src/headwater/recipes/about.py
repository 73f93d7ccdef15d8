"""What the list of methods says of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Takes = Literal["any operator", "linear operator", "mask", "the sample with white noise"]


@dataclass(frozen=True)
class About:
    """A method in the list of methods.

    Attributes
    ----------
    name
        The word of the command line.
    paper
        Authors, title, year; for our own what it is.
    takes
        Which measurements it can be asked about: of any differentiable operator, of a linear one with its adjoint, of
        a mask, or the sample itself with white noise.
    network_gradient
        Whether it differentiates the network.
    cost
        Evaluations of the network and gradients, with the method's own settings.
    """

    name: str
    paper: str
    takes: Takes
    network_gradient: bool
    cost: str
