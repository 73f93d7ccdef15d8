"""The random numbers of chains: one generator each, so that no chain depends on the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        self.drawn: list[Tensor] = []
        self.again: list[Tensor] = []

    def source(self) -> Tensor:
        """Draws of N(0, I), projected on the support, `[chains, *event]`."""
        return self.flow.project(self.normal(self.flow.shape))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draws of N(0, I), `[chains, *shape]`."""
        draws = self._draw(lambda: draw_normal(tuple(shape), self.generators))
        return draws.to(device=self.device, dtype=self.dtype)

    def uniform(self) -> Tensor:
        """A draw from (0, 1) for every chain, float64 `[chains]`."""
        return self._draw(self._draw_uniform).to(self.device)

    def _draw_uniform(self) -> Tensor:
        draws = [torch.rand((), generator=g, dtype=torch.float64, device="cpu") for g in self.generators]
        return torch.stack(draws)

    def _draw(self, make: Callable[[], Tensor]) -> Tensor:
        """A draw of this step: one of a step that was cut short, as long as there are any, else a new one."""
        self.drawn.append(self.again.pop(0) if self.again else make())
        return self.drawn[-1]

    def commit(self) -> None:
        """The step is done: its draws are not needed again."""
        self.drawn = []

    def save(self) -> dict[str, Tensor]:
        """The generators, uint8 `[chains, bytes]`, and the draws of a step that was cut short, to be used again."""
        states = [g.get_state() for g in self.generators]
        out = {"generators": torch.stack(states) if states else torch.zeros(0)}
        return out | {f"drawn.{i}": value for i, value in enumerate([*self.drawn, *self.again])}

    def load(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `save` gave."""
        for generator, state in zip(self.generators, saved["generators"], strict=True):
            generator.set_state(state.clone())
        names = sorted((n for n in saved if n.startswith("drawn.")), key=lambda n: int(n.split(".")[1]))
        self.again = [saved[name] for name in names]
