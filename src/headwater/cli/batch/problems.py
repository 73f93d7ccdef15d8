"""Problems of pictures and recordings that share a batch: each measured by an operator of its own.

Masks, gaps, noises and rooms may differ, and so may the places of the windows that a hole in a large picture needs,
as long as the states of the flow have one shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.cli.batch.sharing import Fork, in_order, rows_of
from headwater.dflow.result import Result
from headwater.flows.cover import put_covers_side_by_side
from headwater.image.canvas import covers_of
from headwater.image.latent import misfit_of_pictures
from headwater.problem.beside import SideBySide, are_alike, contents, join_operators
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit
from headwater.problem.operator import LinearOperator, Operator
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import RecipeOptions
from headwater.solvers.memory import PeakMemory, activation_bytes

STATES = 4
"""States that a problem holds at least: the guess, x0, x1 and the best so far."""


@dataclass(frozen=True)
class AskedProblem:
    """What a job wants solved: one problem for each seed."""

    problem: Problem
    seeds: Sequence[int]
    recipe: Any
    options: RecipeOptions

    @property
    def count(self) -> int:
        """How many problems it has."""
        return len(self.seeds)

    @property
    def most(self) -> None:
        """The most problems of a batch beside what memory allows: none."""
        return None

    @property
    def misfit(self) -> Misfit:
        """The misfit; of a flow on latents that of what they decode to."""
        return misfit_of_pictures(self.problem)

    @property
    def operator(self) -> Operator:
        """The operator of the misfit."""
        operator = self.misfit.operator
        assert isinstance(operator, Operator)
        return operator

    def fingerprint(self) -> str:
        """What problems that go together have in common."""
        p, misfit = self.problem, self.misfit
        y, covers = misfit.y, covers_of(p.flow)
        windows = [len(cover.corners) for cover in covers]
        kind = (type(p.misfit).__name__, isinstance(self.operator, LinearOperator), p.latent is None)
        known = (p.flow.shape, windows, p.guess.shape[1:], y.dtype, kind)
        # The recipes of the tasks draw noise for states alone; another one may draw some for y, too. Damages of
        # pictures are operators of one kind.
        asked: Any = p.recipe
        if len(p.flow.shape) == 3:
            asked = (asked, list(contents(self.operator, shapes=True)))
        asked = asked if self.recipe is None else (asked, self.recipe, y.shape[1:])
        alone = None if misfit.measured is None else id(self)
        return repr((known, asked, alone, replace(self.options, callback=None)))

    def bytes_of_one(self, device: torch.device) -> int:
        """The memory that a problem takes in one evaluation of its network."""
        flow = self.problem.flow.select(torch.tensor([0]))
        one = activation_bytes(flow, flow.noise([0], device=device)) + STATES * 4 * flow.event_size
        if self.problem.latent is None:
            return one
        with PeakMemory() as memory:
            z = flow.noise([0], device=device).requires_grad_()
            torch.autograd.grad(self.problem.latent.decode(z).sum(), z)
        return one + int(memory.peak)

    def of_seeds(self, value: Any) -> Tensor:
        """A number, or a tensor `[1 or seeds, ...]`, as one row for each seed."""
        rows = torch.as_tensor(value)
        rows = rows[None] if not rows.ndim else rows
        return rows.expand(len(self.seeds), *rows.shape[1:])

    def solve_alone(self) -> Result:
        """The result of a run of its own."""
        return self.problem.solve(self.seeds, recipe=self.recipe, options=self.options)


def solve_problems(asked: Sequence[AskedProblem]) -> list[Result]:
    """Solve the problems of several jobs as one batch; the result of each."""
    first, parts = asked[0], in_order([one.count for one in asked])
    told = [one.options.callback for one in asked]
    callback = Fork([tell for tell in told if tell is not None], parts) if None not in told else None
    flows = [one.problem.flow for one in asked for _ in one.seeds]
    flow = put_covers_side_by_side(flows) if covers_of(flows[0]) else flows[0]
    guess = torch.cat([one.of_seeds(one.problem.guess) for one in asked])
    problem = replace(first.problem, flow=flow, misfit=join_misfits(asked), guess=guess)
    seeds = [seed for one in asked for seed in one.seeds]
    result = problem.solve(seeds, recipe=first.recipe, options=replace(first.options, callback=callback))
    return [rows_of(result, part) for part in parts]


def join_misfits(asked: Sequence[AskedProblem]) -> Misfit:
    """The misfit of all problems, each with its operator, its measurement and its noise."""
    levels = [one.misfit.sigma_y for one in asked]
    equal = isinstance(levels[0], float | int) and are_alike(levels)
    sigma = (
        levels[0]
        if equal
        else torch.cat([one.of_seeds(level) for one, level in zip(asked, levels, strict=True)])
    )
    parts = [one.operator.select([i]) for one in asked for i in range(one.count)]
    y = [row[None] for one in asked for row in one.of_seeds(one.misfit.y)]
    operator = join_operators(parts, [row.shape[1:] for row in y])
    joined = operator.join(y) if isinstance(operator, SideBySide) else torch.cat(y)
    misfit, latent = Misfit(operator, joined, sigma), asked[0].problem.latent
    return misfit if latent is None else compose(misfit, latent.decode)
