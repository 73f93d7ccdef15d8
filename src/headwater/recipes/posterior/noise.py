"""The random numbers of chains: one generator each, so that no chain depends on the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed, draw_normal, make_generators

CHAIN_DRAWS = 600_011
"""The number of the first draw of chains: draw 0 of the seed 0 is `flow.noise([0])`."""


def seeds_of_chains(seeds: Sequence[int], chains: int) -> list[int]:
    """The seeds of the generators of all chains, problem by problem, `len(seeds) * chains` of them."""
    make_generators(seeds)  # checks them
    return [derive_seed(int(seed), CHAIN_DRAWS + 2 * chain) for seed in seeds for chain in range(chains)]


def seeds_of_starts(seeds: Sequence[int], chains: int) -> list[int]:
    """The seeds of the starts of all chains, problem by problem."""
    make_generators(seeds)
    return [derive_seed(int(seed), CHAIN_DRAWS + 2 * chain + 1) for seed in seeds for chain in range(chains)]


class Noise:
    """Draws for all chains, on the CPU in one dtype, so that all devices agree.

    Parameters
    ----------
    generators
        One per chain.
    flow
        Whose support the draws are projected on.
    like
        A tensor `[chains, *event]` with the dtype and device of the draws.
    """

    def __init__(self, generators: Sequence[torch.Generator], flow: Flow, like: Tensor) -> None:
        self.generators, self.flow = list(generators), flow
        self.dtype, self.device = like.dtype, like.device

    def source(self) -> Tensor:
        """Draws of N(0, I), projected on the support, `[chains, *event]`."""
        return self.flow.project(self.normal(self.flow.shape))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draws of N(0, I), `[chains, *shape]`."""
        draws = draw_normal(tuple(shape), self.generators)
        return draws.to(device=self.device, dtype=self.dtype)

    def uniform(self) -> Tensor:
        """A draw from (0, 1) for every chain, float64 `[chains]`."""
        draws = [torch.rand((), generator=g, dtype=torch.float64, device="cpu") for g in self.generators]
        return torch.stack(draws).to(self.device)


def save_generators(generators: Sequence[torch.Generator]) -> Tensor:
    """The states of generators, uint8 `[chains, bytes]`; `[0]` of none."""
    return torch.stack([g.get_state() for g in generators]) if generators else torch.zeros(0)


def load_generators(generators: Sequence[torch.Generator], states: Tensor) -> None:
    """Go on from what `save_generators` gave."""
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state.clone())
