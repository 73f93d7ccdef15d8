"""Noise for molecules with a known part, in the order and orientation in which the flow leads near it.

Training aligned noise with data (`chemistry.align`), so noise already decides which atom becomes what and where.
Known parts forced on the wrong rows fit nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.molecule.chemistry.align import align_noise, match_types
from headwater.molecule.chemistry.soundness import is_sound
from headwater.molecule.structure.state import project, round_state
from headwater.molecule.targets.conditioned import ConditionedVelocity
from headwater.molecule.targets.grow import GrowthGuess
from headwater.solvers import solve


@dataclass(frozen=True)
class MatchedNoise:
    """Draws of the source; where something is known, those that the flow leads near it.

    A fragment: the noise is turned and reordered towards a guess of the whole molecule. A formula: of `pool` draws
    the one which by itself, or from the fragment, leads nearest to it, since what is far from a formula breaks on the
    way. All of it is measured in benchmarks/decisions/results/molecule_known.md.

    Parameters
    ----------
    pool
        Draws of which the one that fits a formula best is taken.
    unsound
        How much larger the misfit of an unsound draw is; an atom of another type has about twice that.
    at_once
        Draws of a pool that are solved at once: bounds the memory, changes no result.
    guess
        Of a molecule around a fragment.
    """

    pool: int = 8
    unsound: float = 3.5
    at_once: int = 64
    guess: GrowthGuess = field(default_factory=GrowthGuess)

    def count_solves(self, flow: Flow) -> int:
        """How many solves a draw of this flow takes, the one of the draw itself included."""
        v = flow.velocity
        return self.pool + 1 if isinstance(v, ConditionedVelocity) and v.known.has_formula else 1

    def __call__(self, flow: Flow, mask: Tensor, seeds: Sequence[int], steps: int) -> Tensor:
        """Source points x0 `[b, 29, 9]`, one for each seed.

        Parameters
        ----------
        flow
            Of the molecules with the atoms `mask [b, 29]`.
        seeds
            One for each molecule; its noise depends on its own seed alone.
        steps
            Of the midpoint solver, where a pool is solved.
        """
        v = flow.velocity
        if not isinstance(v, ConditionedVelocity) or not v.known.has_formula:
            return self._draw_aligned(flow, mask, seeds)
        all_rows = torch.arange(len(seeds)).repeat(self.pool)
        own = [derive_seed(s, number) for number in range(self.pool) for s in seeds]
        found = [
            self._match_with_formula(
                flow.select(all_rows[i]), mask[all_rows[i]], [own[k] for k in i.tolist()], steps
            )
            for i in torch.split(torch.arange(len(own)), self.at_once)
        ]
        x0, misfit = (torch.cat(part) for part in zip(*found, strict=True))
        nearest = misfit.reshape(self.pool, len(seeds)).argmin(0)
        return x0.reshape(self.pool, len(seeds), *x0.shape[1:])[nearest, torch.arange(len(seeds))]

    def _draw_aligned(self, flow: Flow, mask: Tensor, seeds: Sequence[int]) -> Tensor:
        """Noise; with a fragment, whose atoms come first, turned and reordered for molecules around it."""
        v, x0 = flow.velocity, flow.noise(seeds)
        if not isinstance(v, ConditionedVelocity) or not v.known.has_fragment:
            return x0
        guess, known = torch.zeros_like(x0), v.known
        for i, seed in enumerate(seeds):
            n, k = int(mask[i].sum()), int(known.placed[i].sum())
            generator = torch.Generator().manual_seed(seed)
            # only the order and orientation of the noise follow from the guess, not its length
            guess[i, :n, :3] = self.guess(known.y[i, :k, :3], known.types[i, :k], n, generator)
        return align_noise(x0, project(guess, mask), mask.sum(1))

    def _match_with_formula(
        self, flow: Flow, mask: Tensor, seeds: Sequence[int], steps: int
    ) -> tuple[Tensor, Tensor]:
        """Noise reordered to match a formula, and how badly what it leads to without it fits, `[b]`.

        The new atoms of a fragment are reordered among themselves.
        """
        v = flow.velocity
        assert isinstance(v, ConditionedVelocity)
        known, x0 = v.known, self._draw_aligned(flow, mask, seeds)
        without = replace(
            flow, velocity=replace(v, known=known.fragment) if known.has_fragment else v.velocity
        )
        x1 = solve(without, x0, steps=steps)
        x0, misfit = match_types(x0, x1, mask.sum(1), known.types, known.typed, known.placed)
        return x0, misfit + self.unsound * ~is_sound(round_state(x1, mask))


def derive_seed(seed: int, number: int) -> int:
    """The seed of draw `number` of a molecule; torch's generator keeps 32 bits of it."""
    return (seed * 1_000_003 + number) % 2**32
