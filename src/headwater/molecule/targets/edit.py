"""Edits of a molecule: noise and denoise the original, and search among what comes back.

for draw k of each molecule, at the strength s = strengths[k mod len]
    z ~ N(0, I), reordered and turned towards the original x1      (the pairing of training, `chemistry.align`)
    x <- s z + (1 - s) x1 at t = 1 - s;  solve the flow from there
    keep what is sound, like the original, and nearest to the targets by the guide
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.molecule.chemistry.align import align_noise
from headwater.molecule.targets.objective import DesignObjective
from headwater.molecule.targets.search import Search
from headwater.solvers.fixed import solve, uniform_grid


@dataclass(frozen=True)
class EditSearch(Search):
    """Search among edits of an original: noise and denoise at several strengths, until one hits; else the best.

    The default for a `Request` with an `original`. An edit has the atoms of the original in number, not in kind. The
    fields are those of `Search`, with `steps` from the time of the noise on.

    Parameters
    ----------
    strengths
        The shares of noise that the draws take in turn, in (0, 1]: 1 forgets the original.

    Raises
    ------
    Misuse
        A strength leaves (0, 1], there is none, or gradients are asked for.

    Notes
    -----
    The flow was trained on noise paired with data by the nearest order and rotation. Noise that is not aligned so is
    no noise that it knows: at a strength of 0.4 nothing comes back sound, aligned nearly all does
    (benchmarks/results/molecule_edits.md). `x0` of a result is that noise, which alone does not lead to x1.

    References
    ----------
    Meng et al., "SDEdit", ICLR 2022; Klein et al., "Equivariant flow matching", NeurIPS 2023, for the pairing.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    >>> methane = hw.molecule.Molecule(("C",) + 4 * ("H",), np.concatenate([[[0, 0, 0]], 0.63 * corners]), (0,) * 5)
    >>> request = hw.molecule.Request(1, original=methane, targets=(hw.molecule.Target("gap", 9.0),))  # eV
    >>> found = hw.molecule.design(request, recipe=hw.molecule.EditSearch(steps=2, candidates=1))
    >>> found.x1.shape, found.similarity.shape
    (torch.Size([1, 29, 9]), torch.Size([1]))
    """

    strengths: tuple[float, ...] = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.strengths or not all(0 < s <= 1 for s in self.strengths):
            raise Misuse(f"The strengths are {self.strengths}.", "Give some, each above 0 and at most 1.")
        if self.gradients:
            raise Misuse("A search among edits takes no gradients.", "Leave them at 0.")

    def draw(
        self, flow: Flow, objective: DesignObjective, seeds: Sequence[int], numbers: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The noise and the edits of one draw for each seed, `[b, 29, 9]` each; `numbers` choose the strengths.

        Raises
        ------
        Misuse
            The request has no original.
        """
        likeness = objective.deviation.likeness
        if likeness is None:
            raise Misuse("An edit has no original.", "Give a Request with `original`.")
        x = likeness.state
        z = align_noise(flow.noise(seeds), x, objective.mask.sum(1))
        s = [self.strengths[n % len(self.strengths)] for n in numbers]
        out = torch.zeros_like(z)
        for one in sorted(set(s)):
            rows = torch.tensor([i for i, own in enumerate(s) if own == one])
            start = flow.path.interpolate(z[rows], x[rows], torch.tensor(1 - one, dtype=torch.float64))
            out[rows] = solve(flow.select(rows), start, steps=uniform_grid(self.steps, 1 - one, 1.0))
        return z, out
