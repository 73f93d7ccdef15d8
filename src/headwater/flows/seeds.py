"""Random draws that depend on their seed alone, and not on the batch, the device or torch's global defaults."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.errors import Misuse


def make_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator on the CPU per problem.

    Raises
    ------
    Misuse
        If there is no seed, or one is not a whole number from 0 to 2^64 - 1.
    """
    if len(seeds) == 0:
        raise Misuse("There is no seed.", "Give one per problem, e.g. range(4).")
    return [torch.Generator(device="cpu").manual_seed(_checked(seed)) for seed in seeds]


def _checked(seed: int) -> int:
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < 2**64:
        raise Misuse(
            f"The seed {seed!r} is not a whole number from 0 to 2^64 - 1.", "Give one such as 0, 1, 2."
        )
    return number


def derive_seed(seed: int, number: int) -> int:
    """The seed of draw `number` of a problem; torch's generator keeps 32 bits of it.

    Examples
    --------
    >>> derive_seed(2, 1)
    2000007
    """
    return (operator.index(seed) * 1_000_003 + number) % 2**32


def draw_normal(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """A draw of N(0, I) for every problem from its own generator, `[len(generators), *shape]`, float32 on the CPU.

    Examples
    --------
    >>> torch.equal(draw_normal((2,), make_generators([3, 5]))[1:], draw_normal((2,), make_generators([5])))
    True
    """
    draws = [torch.randn(tuple(shape), generator=g, dtype=torch.float32, device="cpu") for g in generators]
    return torch.stack(draws)
