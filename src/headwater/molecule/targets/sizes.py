"""Ranges of properties and numbers of atoms, from the statistics of QM9 in the generator's card."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from headwater import zoo
from headwater.molecule.model import models
from headwater.molecule.targets.target import TOLERANCE, Target


def load_ranges() -> dict[str, tuple[float, float]]:
    """The 0.1 and 99.9 percentiles of QM9 per property, canonical units."""
    return {name: (low, high) for name, (low, high) in zoo.read_card(models.GENERATOR)["ranges"].items()}


@lru_cache(maxsize=1)
def load_statistics() -> dict[str, Tensor]:
    """Per number of atoms: how many molecules of half_b have it, and mean and std of each property."""
    card = zoo.read_card(models.GENERATOR)
    by_count = {k: torch.tensor(v, dtype=torch.float64) for k, v in card["by_count"].items()}
    return {"counts": torch.tensor(card["counts"], dtype=torch.float64)} | by_count


def draw_atoms(seeds: Sequence[int], targets: Sequence[Target] = ()) -> Tensor:
    """Numbers of atoms `[len(seeds)]`, as in the data and as the targets make them likely.

        p(n | y) ~ p(n) prod_k N(y_k; mean_k(n), std_k(n))

    from the statistics of half_b; a spread is taken to be at least the tolerance of its property. Sizes of which
    half_b has 20 molecules or fewer are never drawn.

    Parameters
    ----------
    seeds
        One for each molecule, whose size depends on its own seed alone.
    targets
        The properties y_k, canonical units; of a range the value nearest to the mean of a size counts.
    """
    s = load_statistics()
    log = s["counts"].log().expand(len(seeds), -1)
    for target in (t for t in targets if t.by_guide()):
        mean, std = s[target.property].T
        std = std.clamp(min=TOLERANCE[target.property])
        y = target.nearest(mean)
        log = log - 0.5 * ((y - mean) / std).square() - std.log()
    log = torch.where(s["counts"] > 20, log, -torch.inf)
    weights = (log - log.amax(1, keepdim=True)).exp()
    draws = [
        torch.multinomial(w, 1, generator=_stream(s, "atoms")) for w, s in zip(weights, seeds, strict=True)
    ]
    return torch.cat(draws)


def _stream(seed: int, what: str) -> torch.Generator:
    """A stream of its own for each use of a seed."""
    return torch.Generator().manual_seed((seed * 1_000_003 + sum(map(ord, what))) % 2**63)
