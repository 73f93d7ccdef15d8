"""Molecules of several jobs that share a search: each has its own targets, and its own number of atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from headwater.cli.batch.sharing import Fork, in_order, select_part
from headwater.flows.flow import Flow
from headwater.flows.watched import WatchedVelocity
from headwater.molecule.targets.conditioned import ConditionedVelocity, KnownPart
from headwater.molecule.targets.design import DesignProblem
from headwater.molecule.targets.flow import MoleculeVelocity, molecule_flow
from headwater.molecule.targets.record import SearchResult
from headwater.molecule.targets.search import SearchThenControl
from headwater.problem.beside import contents
from headwater.recipes.recipe import RecipeOptions


@dataclass(frozen=True)
class AskedDesign:
    """Molecules that a job wants searched for: one for each seed."""

    problem: DesignProblem
    seeds: Sequence[int]
    recipe: SearchThenControl | None
    options: RecipeOptions

    @property
    def count(self) -> int:
        """How many molecules."""
        return len(self.seeds)

    @property
    def method(self) -> SearchThenControl:
        """The recipe that searches."""
        return self.recipe or self.problem.recipe

    @property
    def most(self) -> int:
        """The most molecules that are searched for at once, which bounds the memory."""
        return self.method.at_once

    @property
    def known(self) -> KnownPart | None:
        """What each molecule is to have."""
        velocity = self.problem.flow.velocity
        return velocity.known if isinstance(velocity, ConditionedVelocity) else None

    def fingerprint(self) -> str:
        """What molecules that go together have in common: the properties asked for and their weights, the method.

        A cost or a reward of a file is a function of one job alone.
        """
        known = self.known
        kind = None if known is None else (known.has_fragment, known.has_formula)
        asked = list(contents(self.problem.misfit, shapes=True))
        return repr((asked, kind, self.method, replace(self.options, callback=None)))

    def bytes_of_one(self, device: torch.device) -> int:
        """Nothing beside `most`, as a molecule is small."""
        return 1

    def solve_alone(self) -> SearchResult:
        """The result of a run of its own."""
        return self.problem.solve(self.seeds, recipe=self.recipe, options=self.options)


def solve_designs(asked: Sequence[AskedDesign]) -> list[SearchResult]:
    """Search for the molecules of several jobs at once; the result of each."""
    first, parts = asked[0], in_order([one.count for one in asked])
    told = [one.options.callback for one in asked]
    callback = Fork([tell for tell in told if tell is not None], parts) if None not in told else None
    problem = DesignProblem(
        join_flows([one.problem.flow for one in asked]),
        join_rows([one.problem.misfit for one in asked]),
        first.method,
    )
    seeds = [seed for one in asked for seed in one.seeds]
    result = problem.solve(seeds, options=replace(first.options, callback=callback))
    return [select_part(result, part) for part in parts]


def join_flows(flows: Sequence[Flow]) -> Flow:
    """The flow of the molecules of all flows, on the network and under the watch of the first."""
    known: list[KnownPart] = []
    masks: list[Tensor] = []
    check, network = None, nn.Module()
    for flow in reversed(flows):
        velocity: Any = flow.velocity
        if isinstance(velocity, ConditionedVelocity):
            known.insert(0, velocity.known)
            velocity = velocity.velocity
        if isinstance(velocity, WatchedVelocity):
            check, velocity = velocity.check, velocity.velocity
        assert isinstance(velocity, MoleculeVelocity)
        network = velocity.network
        masks.insert(0, velocity.mask)
    return molecule_flow(network, torch.cat(masks).sum(1), join_rows(known) if known else None, check)


def join_rows(parts: Sequence[Any]) -> Any:
    """The opposite of `select`: things of one kind as one thing, with the rows of all of their tensors.

    Examples
    --------
    >>> from headwater.molecule.targets.target import Target
    >>> goals = [Target("gap", value).make_goal(1) for value in (5.0, 6.0)]
    >>> join_rows(goals).low.tolist()
    [5.0, 6.0]
    """
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return {name: join_rows([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return tuple(join_rows(each) for each in zip(*parts, strict=True))
    if is_dataclass(first) and not isinstance(first, type):
        own = {f.name: join_rows([getattr(part, f.name) for part in parts]) for f in fields(first)}
        return replace(first, **own)
    return first
