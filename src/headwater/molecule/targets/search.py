"""The recipes of the molecules: search, control, and search then control.

for each attempt, for each molecule that has not hit
search    draw x0 until the rounded molecule hits; else keep the draw of the lowest cost as a start
control   D-Flow (Ben-Hamu et al., ICML 2024, Algorithm 1) from that start, until the rounded molecule hits
return the best of all points seen: hits before sound molecules before others, then the smallest sum of deviations
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.control import control
from headwater.dflow.prior import ChiPrior
from headwater.dflow.result import Event, Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed
from headwater.flows.watched import Ended
from headwater.molecule.targets.deviation import Verdict
from headwater.molecule.targets.flow import FeatureShell
from headwater.molecule.targets.noise import MatchedNoise
from headwater.molecule.targets.objective import DesignObjective
from headwater.molecule.targets.record import Draws, RunCallback, SearchRecord, SearchResult, join_records
from headwater.optimizers import LBFGS, Optimizer, Polyak
from headwater.optimizers.status import Status
from headwater.problem.cost import Stop
from headwater.recipes.recipe import RecipeOptions
from headwater.solvers import solve


@dataclass(frozen=True)
class SearchThenControl:
    """Search, then control: draws of the source until one hits, then D-Flow from the best of them.

    Parameters
    ----------
    steps
        Of the midpoint solver. Six cost half of twelve and lose 25 meV of the gap (molecule_pareto).
    gradients
        Most gradient evaluations for each attempt; 0 is a search alone (molecule_targets).
    candidates
        Most draws for each attempt (molecule_targets).
    attempts
        How often what missed is tried, each time from new noise (molecule_targets).
    step_length
        The longest step of the source, rms per coordinate; a tenth of it changes bonds in a quarter of the molecules
        (molecule_roughness, molecule_pareto).
    renormalise
        Whether the source stays on a shell for each kind of feature, as in the paper (molecule_pareto).
    chi_weight
        Of the chi^d prior of the source; only without the shell (molecule_pareto).
    optimizer
        By default Polyak's steps towards a cost of 0 if the cost can reach it, else L-BFGS (molecule_pareto).
    noise
        How noise is drawn where a part of the molecule is known (molecule_known).
    at_once
        Molecules searched at once; bounds the memory.
    least
        Molecules below which a call of the network takes longer for each, so that those few draw several at once.

    Raises
    ------
    Misuse
        A number is too small, `chi_weight` is negative or infinite, or it is given with the shell.

    Notes
    -----
    The benchmarks named are in benchmarks/results and benchmarks/decisions/results. Of several draws at once those
    after a hit are dropped, so that no molecule depends on its batch. A molecule depends on its own seed only, up to
    rounding, which differs with the batch and which control can amplify where the flow is steep.

    Examples
    --------
    >>> import headwater as hw
    >>> recipe = hw.molecule.SearchThenControl(steps=2, candidates=2, gradients=1, attempts=1)
    >>> request = hw.molecule.Request(1, atoms=5, targets=(hw.molecule.Target("gap", 15.0),))  # eV
    >>> found = hw.molecule.design(request, recipe=recipe)
    >>> found.x0.shape, found.gradients.tolist()  # the source point, and what it took
    (torch.Size([1, 29, 9]), [1])
    """

    steps: int = 6
    gradients: int = 8
    candidates: int = 32
    attempts: int = 2
    step_length: float = 0.04
    renormalise: bool = True
    chi_weight: float = 0.0
    optimizer: Optimizer[Any] | None = None
    noise: MatchedNoise = field(default_factory=MatchedNoise)
    at_once: int = 64
    least: int = 8

    def __post_init__(self) -> None:
        for name in ("steps", "candidates", "attempts", "at_once", "least"):
            if getattr(self, name) < 1:
                raise Misuse(f"{name} is {getattr(self, name)}, which asks for nothing.", "Give at least 1.")
        if self.gradients < 0:
            raise Misuse(f"{self.gradients} gradients cannot be taken.", "Give 0 to search only, or more.")
        if not 0 <= self.chi_weight < float("inf"):
            raise Misuse(f"chi_weight is {self.chi_weight}.", "Give 0 or a positive number.")
        if self.chi_weight > 0 and self.renormalise:
            raise Misuse("A prior has no effect on a renormalised source.", "Give renormalise=False as well.")

    def __call__(
        self,
        flow: Flow,
        misfit: DesignObjective,
        seeds: Sequence[int],
        *,
        guess: Tensor | None = None,
        options: RecipeOptions | None = None,
    ) -> SearchResult:
        """Search each molecule for itself.

        Parameters
        ----------
        flow
            Of the molecules (`molecule_flow`).
        misfit
            What is minimised, and what ends the search.
        seeds
            One for each molecule.
        guess
            Not used: draws are the start.
        options
            `steps` and `gradients` in place of the recipe's; the `callback`, which sees draws as round 0. Once it
            ends the run, what was not begun is a plain draw.

        Returns
        -------
        result
            The states of the molecules, x0 and x1 `[len(seeds), 29, 9]`, and how each search ended.

        Raises
        ------
        Misuse
            The options have a `tau` or a `gradient`.
        """
        o = options or RecipeOptions()
        if o.tau is not None or o.gradient is not None:
            raise Misuse(
                "A search of molecules has no noise level tau, and chooses how it is differentiated by itself.",
                "Leave tau and gradient out of the options.",
            )
        recipe = replace(self, steps=o.steps or self.steps, gradients=o.gradients or self.gradients)
        callback = RunCallback(o.callback)
        records = []
        for index in torch.split(torch.arange(len(seeds)), self.at_once):
            callback.first = int(index[0])
            own = [seeds[i] for i in index.tolist()]
            records.append(_Run(recipe, flow.select(index), misfit.select(index), own, callback).run())
        return join_records(records)

    def draw(
        self, flow: Flow, objective: DesignObjective, seeds: Sequence[int], numbers: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The source points and states of one draw for each seed, `[b, 29, 9]` each; `numbers` count the draws."""
        x0 = self.noise(flow, objective.mask, seeds, self.steps)
        x0 = FeatureShell(objective.mask)(x0) if self.renormalise else x0
        return x0, solve(flow, x0, steps=self.steps)

    def choose_optimizer(self, misfit: DesignObjective) -> Optimizer[Any]:
        """Polyak's steps where the least cost is known, which is 0; line searches where it is not."""
        if self.optimizer is not None:
            return self.optimizer
        bounded = misfit.bounded and self.chi_weight == 0
        return Polyak(max_step=self.step_length) if bounded else LBFGS(first_step=self.step_length)


@dataclass(frozen=True)
class Search(SearchThenControl):
    """Search: draws of the source alone, until one hits; else the best of them.

    The default (molecule_targets, molecule_search). The fields are those of `SearchThenControl` with other values; it
    makes states x1 `[b, 29, 9]`, too. `candidates` is what takes as long as both attempts of `SearchThenControl`.

    Examples
    --------
    >>> import headwater as hw
    >>> draws = hw.molecule.Search(steps=2, candidates=1)
    >>> hw.molecule.generate(1, atoms=5, recipe=draws).evaluations.tolist()  # two for each midpoint step
    [4]
    """

    gradients: int = 0
    candidates: int = 100
    attempts: int = 1


@dataclass(frozen=True)
class Control(SearchThenControl):
    """Control: D-Flow from a draw, and from another one where it has not hit.

    The fields are those of `SearchThenControl` with other values, which take as long; it makes states x1
    `[b, 29, 9]`, too.

    Examples
    --------
    >>> import headwater as hw
    >>> request = hw.molecule.Request(1, atoms=5, targets=(hw.molecule.Target("gap", 15.0),))  # eV
    >>> found = hw.molecule.design(request, recipe=hw.molecule.Control(steps=2, gradients=1, attempts=2))
    >>> found.gradients.tolist()
    [2]
    """

    candidates: int = 1
    attempts: int = 5


METHODS: dict[str, type[SearchThenControl]] = {
    "search": Search,
    "search-then-control": SearchThenControl,
    "control": Control,
}
"""The recipes by name."""


class _Run:
    """The search for the molecules of one batch."""

    def __init__(
        self,
        recipe: SearchThenControl,
        flow: Flow,
        misfit: DesignObjective,
        seeds: Sequence[int],
        callback: RunCallback,
    ) -> None:
        self.recipe, self.flow, self.misfit, self.callback = recipe, flow, misfit, callback
        self.seeds = torch.tensor(seeds)
        self.record = SearchRecord(len(seeds), flow.shape)

    def run(self) -> SearchRecord:
        """Attempts until every molecule has hit, they are used up, or the callback or a watched flow ends the run."""
        record = self.record
        try:
            self.attempt()
        except Ended as ended:
            if bool(record.unseen.any()):
                raise
            record.set_status(~record.hit, ended.status)
        record.set_status(record.hit, Status.REACHED)
        record.set_status(record.unseen, Status.DIVERGED)
        return record

    def attempt(self) -> None:
        """Search and control for the molecules that have not hit, attempt after attempt."""
        record, callback = self.record, self.callback
        for attempt in range(self.recipe.attempts):
            index = torch.nonzero(~record.hit).flatten()
            if not len(index) or (attempt and callback.status is not None):
                break
            start = self.search(index, attempt)
            missed = ~record.hit[index]
            index, start = index[missed], start[missed]
            record.set_status(index, callback.status or Status.EVALUATIONS)
            if callback.status is None and self.recipe.gradients and len(index):
                record.add_attempt(index, self.control(index, start))

    def search(self, index: Tensor, attempt: int) -> Tensor:
        """For the molecules in `index` the draw of the source with the lowest cost, sound ones first, `[k, 29, 9]`.

        A molecule that has hit draws no more. Where few are left each draws several at once, for the network's sake.
        """
        recipe, record = self.recipe, self.record
        start = self.flow.select(index).noise(self.seeds[index].tolist())
        best = Verdict.worst(len(index))
        numbers = range(attempt * recipe.candidates, (attempt + 1) * recipe.candidates)
        while len(numbers):
            left = torch.nonzero(~record.hit[index]).flatten()
            if not len(left):
                break
            solves = recipe.noise.count_solves(self.flow)
            several = max(recipe.least // (len(left) * solves), 1)
            for draws in self.draw(index[left], numbers[:several]):
                wanted = ~record.hit[index[left]]  # what comes after a hit is dropped
                self.note(index[left[wanted]], draws.select(wanted))
                rank = draws.verdict._replace(value=draws.cost)
                better = wanted & rank.is_better(best.select(left))
                start[left[better]] = draws.x0[better]
                best.put(left[better], rank.select(better))
            numbers = numbers[several:]
            if self.callback.status is not None:
                break
        return start

    @torch.no_grad()
    def draw(self, rows: Tensor, numbers: Sequence[int]) -> list[Draws]:
        """The draws of these numbers for the molecules in `rows`, one entry for each number."""
        recipe, all_rows = self.recipe, rows.repeat(len(numbers))
        flow, misfit = self.flow.select(all_rows), self.misfit.select(all_rows)
        seeds = [derive_seed(s, n) for n in numbers for s in self.seeds[rows].tolist()]
        x0, x1 = recipe.draw(flow, misfit, seeds, [n for n in numbers for _ in rows])
        # two evaluations for each step of the midpoint method
        self.record.evaluations[rows] += len(numbers) * recipe.noise.count_solves(flow) * 2 * recipe.steps
        found = misfit.judge(x0, x1)
        return [found.select(i) for i in torch.split(torch.arange(len(seeds)), len(rows))]

    def note(self, rows: Tensor, draws: Draws) -> None:
        """Keep draws where they are the best so far, and tell the callback."""
        if len(rows):
            self.record.keep_better(rows, draws, by_gradient=False)
            self.callback(
                Event(
                    round=0,
                    active=rows,
                    cost=draws.cost,
                    measure=draws.verdict.deviation,
                    x1=draws.x1,
                    best=self.record.lowest.clone(),
                    x0=draws.x0,
                )
            )

    def control(self, index: Tensor, start: Tensor) -> Result:
        """D-Flow for the molecules in `index` from these source points."""
        recipe, flow, misfit = self.recipe, self.flow.select(index), self.misfit.select(index)

        def watch(event: Event) -> Status | None:
            rows = index[event.active]
            if event.x0 is not None:
                verdict = misfit.deviation.select(event.active).judge(event.x1)
                found = Draws(event.x0, event.x1, event.cost, verdict)
                self.record.keep_better(rows, found, by_gradient=True)
            return self.callback(replace(event, active=rows, best=self.record.lowest.clone()))

        # Ben-Hamu et al., Algorithm 1, with the renormalisation of sec. 5.4 inside what is differentiated
        return control(
            flow,
            misfit,
            start,
            stop=Stop(misfit.deviation, misfit.deviation.level),
            prior=ChiPrior(recipe.chi_weight, flow.source_dimension) if recipe.chi_weight > 0 else None,
            steps=recipe.steps,
            gradients=recipe.gradients,
            optimizer=recipe.choose_optimizer(misfit),
            constraint=FeatureShell(misfit.mask) if recipe.renormalise else None,
            callback=watch,
        )
