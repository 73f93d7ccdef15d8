"""The methods for goals without a gradient by the names of the command line, all for the same cost."""

from __future__ import annotations

from typing import Any

from headwater.errors import Misuse, suggest
from headwater.recipes.blackbox.best_of import BestOf
from headwater.recipes.blackbox.blockwise import CoDe, StochasticControl
from headwater.recipes.blackbox.evolution import CMAES
from headwater.recipes.blackbox.feynman_kac import FeynmanKac
from headwater.recipes.blackbox.natural import NaturalEvolution

SEARCHES: dict[str, type[Any]] = {
    "best-of-n": BestOf,
    "cma": CMAES,
    "es": NaturalEvolution,
    "fk": FeynmanKac,
    "code": CoDe,
    "scg": StochasticControl,
}
"""The class of every method."""


def make_search(name: str, draws: int, steps: int, *, strength: float = 4.0, at_once: int = 64) -> Any:
    """A method that takes as many evaluations of the network as `draws` samples of `steps` steps.

    Parameters
    ----------
    name
        Of `SEARCHES`.
    draws
        At least 4: the samples of a search, the particles or candidates of a steered sample.
    steps
        Steps of a solve.
    strength
        Of "fk"; the others only maximise.
    at_once
        The most candidates in one call of the network.

    Raises
    ------
    Misuse
        If there is no such method, or there are fewer draws.

    Examples
    --------
    >>> make_search("fk", 16, 12).particles, make_search("cma", 16, 12).draws
    (16, 16)
    """
    if name not in SEARCHES:
        raise Misuse(f"There is no search named {name!r}.", suggest(name, SEARCHES))
    if draws < 4:
        raise Misuse(f"A search of {draws} draws finds nothing.", "Give at least 4.")
    common = {"steps": steps, "at_once": at_once}
    own: dict[str, dict[str, Any]] = {
        "best-of-n": {"draws": draws},
        "cma": {"draws": draws},
        "es": {"draws": draws, "pairs": max(draws // 10, 1)},
        "fk": {"particles": draws, "strength": strength},
        "code": {"candidates": draws, "block": max(steps // 4, 1)},
        "scg": {"candidates": draws},
    }
    return SEARCHES[name](**own[name], **common)
