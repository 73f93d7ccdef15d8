"""The random numbers of chains: one generator each, so that no chain depends on the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed, draw_normal, make_generators


def seeds_of_chains(seeds: Sequence[int], chains: int) -> list[int]:
    """The seeds of the generators of all chains, problem by problem, `len(seeds) * chains` of them."""
    make_generators(seeds)  # checks them
    return [derive_seed(int(seed), 2 * chain) for seed in seeds for chain in range(chains)]


def seeds_of_starts(seeds: Sequence[int], chains: int) -> list[int]:
    """The seeds of the starts of all chains, problem by problem."""
    make_generators(seeds)
    return [derive_seed(int(seed), 2 * chain + 1) for seed in seeds for chain in range(chains)]


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
        return draw_normal(tuple(shape), self.generators).to(device=self.device, dtype=self.dtype)

    def uniform(self) -> Tensor:
        """A draw from (0, 1) for every chain, float64 `[chains]`."""
        draws = [torch.rand((), generator=g, dtype=torch.float64, device="cpu") for g in self.generators]
        return torch.stack(draws).to(self.device)

    def seeds(self) -> list[int]:
        """A seed for every chain, for what draws from generators of its own."""
        return [
            int(torch.randint(2**32, (), generator=g, dtype=torch.int64, device="cpu"))
            for g in self.generators
        ]

    def save(self) -> Tensor:
        """The states of the generators, uint8 `[chains, bytes]`."""
        return torch.stack([g.get_state() for g in self.generators])

    def load(self, states: Tensor) -> None:
        """Go on from the states that `save` gave."""
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state.clone())
