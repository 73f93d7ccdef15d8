"""What is refused before a run: data of other problems, and a state of another run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.seeds import make_generators
from headwater.problem.batch import Each, row_counts
from headwater.problem.cost import Misfit
from headwater.recipes.posterior.chains import Sampler
from headwater.text import counted


def check_counts(seeds: Sequence[int], chains: int, draws: int) -> None:
    """Refuse seeds that are none, and a run without chains or draws."""
    make_generators(seeds)
    if chains < 1 or draws < 1:
        raise Misuse(
            f"{counted(chains, 'chain')} of {counted(draws, 'draw')} make no sample.",
            "Give at least 1 of each.",
        )


def check_rows(things: Sequence[Any], problems: int) -> None:
    """Refuse data of another number of problems, as far as it is declared: in a `Misfit`, and by `Each`."""
    for thing in things:
        for who, count in count_rows(thing):
            if count not in (1, problems):
                raise Misuse(
                    f"{who} has {counted(count, 'row')}, and there are {counted(problems, 'seed')}.",
                    "Give one seed per problem, and one row of data for each, or a single one for all.",
                )


def count_rows(thing: Any) -> Iterator[tuple[str, int]]:
    """The declared data in a cost or velocity, down to its parts: what it is, and its rows."""
    if isinstance(thing, Each):
        for name, value in thing.data.items():
            yield from ((f"The data {name!r} of {thing.__name__}", n) for n in row_counts(value))
        yield from count_rows(thing.function)
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from count_rows(part)
    elif is_dataclass(thing):
        for field in fields(thing):
            value = getattr(thing, field.name, None)
            if isinstance(thing, Misfit) and isinstance(value, Tensor):
                yield from ((f"The {field.name} of the misfit", n) for n in row_counts(value))
            elif not isinstance(value, list) and value is not thing:
                yield from count_rows(value)


def fingerprint(method: Sampler, seeds: Sequence[int], chains: int) -> dict[str, Tensor]:
    """Of which run a state is: its seeds less 2^63, int64 `[problems]`, chains, and method as bytes, uint8."""
    settings = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(method))  # an address says nothing of another process
    return {
        "of.seeds": torch.tensor([int(seed) - 2**63 for seed in seeds]),
        "of.chains": torch.tensor(chains),
        "of.method": torch.tensor(list(settings.encode()), dtype=torch.uint8),
    }


def check_fingerprint(saved: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Refuse a state of another run.

    Raises
    ------
    Misuse
        If its seeds, chains or method are others, or it says nothing of them.
    """
    names = {"of.method": "sampler", "of.seeds": "seeds", "of.chains": "number of chains"}
    for name, what in names.items():
        if name not in saved or not torch.equal(saved[name].cpu(), own[name]):
            raise Misuse(
                f"The state is of another {what}." if what != "seeds" else "The state is of other seeds.",
                "Give the method, seeds and chains of the earlier run, or begin without a state.",
            )


def check_complete(saved: dict[str, Tensor], names: Iterable[str]) -> None:
    """Refuse a state that lacks what a run of this version goes on from.

    Raises
    ------
    Misuse
        If one of the names is not there.
    """
    lacking = sorted(set(names) - set(saved))
    if lacking:
        raise Misuse(
            f"The state has no {lacking[0]!r}, so another version of Headwater saved it.",
            "Begin without a state; on the command line give --overwrite.",
        )


def move_state(saved: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A state on a device; the generators stay on the CPU, where all draws are made."""
    return {name: value.cpu() if name == "generators" else value.to(device) for name, value in saved.items()}
