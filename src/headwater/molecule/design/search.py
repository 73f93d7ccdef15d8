"""The search of one batch of molecules: draws of the source, then control of those that missed.

screen    draws until one hits, or the best of them as a start
control   D-Flow from that start
attempts  both again, from new noise, for what missed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headwater.dflow.control import Callback, Event, Result, control
from headwater.dflow.start import ChiPrior
from headwater.flows.flow import Flow
from headwater.molecule.chemistry.align import matched, towards
from headwater.molecule.chemistry.stability import sound_by_table
from headwater.molecule.design.flow import Held, Known, Renormalised, molecule_flow
from headwater.molecule.design.grow import guessed
from headwater.molecule.design.request import Request
from headwater.molecule.design.target import HIT, UNSOUND, Miss, PropertyCost, Undecided, UserCost, Verdict
from headwater.molecule.model.regressor import Regressor
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.molecule import batch_of
from headwater.molecule.structure.state import mask_of, project, relaxed_types, rounded, type_state
from headwater.optimizers import LBFGS, Optimizer, Polyak
from headwater.optimizers.status import Status
from headwater.problem.batch import select
from headwater.problem.cost import Cost, Stop, WeightedSum
from headwater.solvers import solve

FILL = 8
"""Molecules below which a call of the network takes longer for each."""
POOL, BROKEN = 8, 3.5
"""Of so many draws the one that fits a formula best is led to it; the misfit of an unsound one is that much larger,
half that of an atom of another type."""
PIECE = 64
"""Draws of such a pool that are solved at once."""
STEP = 0.04
"""The longest step of the source, rms per coordinate: a tenth of it changes bonds in a quarter of the molecules."""


@dataclass(frozen=True)
class Problem:
    """What the control of a batch of molecules needs, sliced by `select`."""

    flow: Flow
    mask: Tensor
    cost: Cost
    miss: Miss

    @property
    def solves(self) -> int:
        """How many solves a draw takes: a formula needs more, to find noise that leads near it by itself."""
        held = self.flow.velocity
        return POOL + 1 if isinstance(held, Held) and not bool(held.known.placed.any()) else 1

    def select(self, index: Tensor) -> Problem:
        """The problem of the molecules in `index`."""
        return Problem(
            self.flow.select(index), self.mask[index], select(self.cost, index), self.miss.select(index)
        )


def problem_of(request: Request, generator: nn.Module, guide: Regressor, atoms: Tensor) -> Problem:
    """The flow, the cost and the measure of hits of molecules with so many atoms."""
    mask = mask_of(atoms)
    values = {
        t.property: torch.as_tensor(t.value, dtype=torch.float32).expand(len(atoms)) for t in request.targets
    }
    weights = {t.property: t.weight for t in request.targets}
    properties = PropertyCost(guide, values, weights, mask) if values else None
    known = known_part(request, mask)
    terms: list[tuple[float, Cost]] = [(request.undecided, Undecided(mask))]
    if properties is not None:
        terms.append((1.0, properties))
    own = None if request.cost is None else UserCost(request.cost, mask)
    if own is not None:
        terms.append((1.0, own))
    flow = molecule_flow(generator, atoms, known)
    return Problem(flow, mask, WeightedSum(tuple(terms)), Miss(properties, mask, request.stable, own))


def known_part(request: Request, mask: Tensor) -> Known | None:
    """The fragment and the types of a formula, as far as they are given."""
    b, n = mask.shape
    types, charges = torch.zeros(b, n, dtype=torch.long), torch.zeros(b, n)
    placed, typed = torch.zeros(b, n, dtype=torch.bool), torch.zeros(b, n, dtype=torch.bool)
    positions = torch.zeros(b, n, 3)
    left = dict(request.formula or {})
    k = 0
    if request.fragment is not None:
        f = batch_of([request.fragment], n)
        k = len(request.fragment)
        placed[:, :k] = typed[:, :k] = True
        positions, types, charges = (
            a.expand_as(z)
            for a, z in zip(
                (f.positions, f.types, f.charges.float()), (positions, types, charges), strict=True
            )
        )
        for symbol in request.fragment.symbols:
            left[symbol] = left.get(symbol, 0) - 1
    if request.formula is not None:
        rest = [ELEMENTS.index(e) for e in ELEMENTS[1:] + ELEMENTS[:1] for _ in range(left.get(e, 0))]
        types = types.clone()
        types[:, k : k + len(rest)] = torch.tensor(rest, dtype=torch.long)
        typed[:, : k + len(rest)] = True
    if not bool(typed.any()):
        return None
    return Known.of(torch.cat([positions, type_state(types, charges)], dim=-1), placed, typed)


class Told:
    """The user's callback over the batches of a run: molecules are counted through, and the first status ends all."""

    def __init__(self, callback: Callback | None) -> None:
        self.callback, self.first = callback, 0
        self.ended: Status | None = None

    def __call__(self, event: Event) -> Status | None:
        if self.ended is None and self.callback is not None:
            self.ended = self.callback(replace(event, active=event.active + self.first))
        return self.ended


class Best:
    """The best point of every molecule over all starts, rounds and attempts, by its verdict; and what they cost."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self.x0, self.x1 = torch.zeros(count, *shape), torch.zeros(count, *shape)
        self.cost = torch.full((count,), torch.inf, dtype=torch.float64)
        self.verdict = Verdict.none(count)
        self.status = [Status.RUNNING] * count
        self.gradients = torch.zeros(count, dtype=torch.long)
        self.evaluations = torch.zeros(count, dtype=torch.long)

    @property
    def hit(self) -> Tensor:
        """Which molecules have hit."""
        return self.verdict.kind == HIT

    @property
    def nowhere(self) -> Tensor:
        """Of which molecules no point was finite."""
        return self.verdict.kind > UNSOUND

    def see(self, index: Tensor, cost: Tensor, verdict: Verdict, x0: Tensor, x1: Tensor) -> None:
        """Keep what is better of the molecules in `index`; a point that is not finite never is."""
        self.cost[index] = torch.fmin(self.cost[index], cost)
        finite = torch.isfinite(x1).flatten(1).all(1)
        better = verdict.better(self.verdict.select(index)) & finite
        rows = index[better]
        self.x0[rows], self.x1[rows] = x0[better], x1[better]
        self.verdict.put(rows, verdict.select(better))

    def count(self, index: Tensor, result: Result) -> None:
        """Add the evaluations of an attempt, and note how it ended."""
        self.gradients[index] += result.gradients
        self.evaluations[index] += result.evaluations
        for i, status in zip(index.tolist(), result.status, strict=True):
            lost = status is Status.DIVERGED and int(self.verdict.kind[i]) <= UNSOUND
            self.status[i] = Status.STALLED if lost else status

    def end(self, index: Tensor, status: Status) -> None:
        """Note how these molecules ended."""
        for i in index.tolist():
            self.status[i] = status


class Draw(NamedTuple):
    """Draws of the source and what they lead to, one per molecule."""

    x0: Tensor
    x1: Tensor
    cost: Tensor
    verdict: Verdict

    def select(self, index: Tensor) -> Draw:
        """The draws of the molecules in `index`."""
        return Draw(self.x0[index], self.x1[index], self.cost[index], self.verdict.select(index))


class Search:
    """The search for the molecules of one batch, with `seeds` one each; `best` is what it found."""

    def __init__(self, request: Request, problem: Problem, seeds: Sequence[int], told: Told) -> None:
        self.request, self.problem, self.told = request, problem, told
        self.seeds = torch.tensor(seeds)
        self.best = Best(len(seeds), problem.flow.shape)

    def run(self) -> Best:
        """Attempts until every molecule has hit, they are used up, or the callback ends the run."""
        for attempt in range(self.request.attempts):
            index = torch.nonzero(~self.best.hit).flatten()
            if not len(index) or (attempt and self.told.ended is not None):
                break
            start = self.screen(index, attempt)
            missed = ~self.best.hit[index]
            index, start = index[missed], start[missed]
            self.best.end(index, self.told.ended or Status.EVALUATIONS)
            if self.told.ended is None and self.request.gradients and len(index):
                self.best.count(index, self.control(index, start))
        self.best.end(torch.nonzero(self.best.hit).flatten(), Status.REACHED)
        self.best.end(torch.nonzero(self.best.nowhere).flatten(), Status.DIVERGED)
        return self.best

    def screen(self, index: Tensor, attempt: int) -> Tensor:
        """For the molecules in `index` the draw of the source with the lowest cost, sound ones first.

        Who has hit draws no more. Where few are left each draws several at once, for the network's sake; what comes
        after a hit is dropped, so that no molecule depends on its batch.
        """
        start = self.problem.select(index).flow.noise(self.seeds[index].tolist())
        lowest = Verdict.none(len(index))
        numbers = range(attempt * self.request.candidates, (attempt + 1) * self.request.candidates)
        while len(numbers):
            left = torch.nonzero(~self.best.hit[index]).flatten()
            if not len(left):
                break
            several = max(FILL // (len(left) * self.problem.solves), 1)
            for draw in self.draws(index[left], numbers[:several]):
                wanted = ~self.best.hit[index[left]]
                self.note(index[left[wanted]], draw.select(wanted))
                rank = draw.verdict._replace(value=draw.cost)
                better = wanted & rank.better(lowest.select(left))
                start[left[better]] = draw.x0[better]
                lowest.put(left[better], rank.select(better))
            numbers = numbers[several:]
            if self.told.ended is not None:
                break
        return start

    @torch.no_grad()
    def draws(self, rows: Tensor, numbers: Sequence[int]) -> list[Draw]:
        """The draws of these numbers for the molecules in `rows`."""
        request, part = self.request, self.problem.select(rows.repeat(len(numbers)))
        seeds = [_seed(s, n) for n in numbers for s in self.seeds[rows].tolist()]
        x0 = drawn(part, seeds, request.steps)
        x0 = Renormalised(part.mask)(x0) if request.renormalise else x0
        x1 = solve(part.flow, x0, steps=request.steps)
        self.best.evaluations[rows] += len(numbers) * part.solves * 2 * request.steps
        found = Draw(x0, x1, part.cost(x1).double(), part.miss.verdict(x1))
        return [found.select(i) for i in torch.split(torch.arange(len(seeds)), len(rows))]

    def note(self, rows: Tensor, draw: Draw) -> None:
        """Keep a draw where it is the best so far, and tell of it."""
        if len(rows):
            self.best.see(rows, draw.cost, draw.verdict, draw.x0, draw.x1)
            best = self.best.cost.clone()
            self.told(Event(0, rows, draw.cost, draw.verdict.miss, draw.x1, best, draw.x0))

    def control(self, index: Tensor, start: Tensor) -> Result:
        """D-Flow for the molecules in `index` from these sources."""
        request, part = self.request, self.problem.select(index)

        def watch(event: Event) -> Status | None:
            rows = index[event.active]
            if event.x0 is not None:
                verdict = part.miss.select(event.active).verdict(event.x1)
                self.best.see(rows, event.cost, verdict, event.x0, event.x1)
            return self.told(replace(event, active=rows, best=self.best.cost.clone()))

        return control(
            part.flow,
            part.cost,
            start,
            stop=Stop(part.miss, part.miss.level),
            prior=ChiPrior(request.prior, part.flow.dimension) if request.prior > 0 else None,
            steps=request.steps,
            gradients=request.gradients,
            optimizer=request.optimizer or _optimizer(request),
            constraint=Renormalised(part.mask) if request.renormalise else None,
            callback=watch,
        )


def _seed(seed: int, number: int) -> int:
    """The seed of the so-manieth draw of a molecule; torch's generator keeps 32 bits of it."""
    return (seed * 1_000_003 + number) % 2**32


def drawn(problem: Problem, seeds: list[int], steps: int) -> Tensor:
    """Noise; where something is known in the order and orientation in which the flow leads near it.

    A fragment: towards a guess of the whole molecule (`grow.guessed`). A formula: of `POOL` draws that one which by
    itself leads nearest to it, since what is far from a formula breaks on the way.
    """
    held = problem.flow.velocity
    if not isinstance(held, Held):
        return problem.flow.noise(seeds)
    if bool(held.known.placed.any()):
        return _around(problem.flow.noise(seeds), held.known, problem.mask, seeds)
    rows = torch.arange(len(seeds)).repeat(POOL)
    own = [_seed(s, number) for number in range(POOL) for s in seeds]
    pieces = torch.split(torch.arange(len(rows)), PIECE)
    tried = [_led(problem.select(rows[i]), [own[k] for k in i.tolist()], steps) for i in pieces]
    x0, misfit = (torch.cat(part) for part in zip(*tried, strict=True))
    nearest = misfit.reshape(POOL, len(seeds)).argmin(0)
    return x0.reshape(POOL, len(seeds), *x0.shape[1:])[nearest, torch.arange(len(seeds))]


def _around(x0: Tensor, known: Known, mask: Tensor, seeds: Sequence[int]) -> Tensor:
    """Noise turned and reordered for molecules around a fragment, whose atoms come first."""
    guess = torch.zeros_like(x0)
    for i, seed in enumerate(seeds):
        n, k = int(mask[i].sum()), int(known.placed[i].sum())
        types = relaxed_types(known.y[i, :k]).argmax(-1)
        g = torch.Generator().manual_seed(seed)
        guess[i, :n, :3] = guessed(known.y[i, :k, :3], types, n, g)
    return towards(x0, project(guess, mask), mask.sum(1))


def _led(problem: Problem, seeds: list[int], steps: int) -> tuple[Tensor, Tensor]:
    """Noise matched with a formula, and how badly what it leads to by itself fits, `[b]`."""
    held = problem.flow.velocity
    assert isinstance(held, Held)
    x0, k = problem.flow.noise(seeds), held.known
    x1 = solve(replace(problem.flow, velocity=held.velocity), x0, steps=steps)
    x0, misfit = matched(x0, x1, problem.mask.sum(1), relaxed_types(k.y).argmax(-1), k.typed)
    return x0, misfit + BROKEN * ~sound_by_table(rounded(x1, problem.mask))


def _optimizer(request: Request) -> Optimizer[Any]:
    """Polyak's steps towards a cost of zero, which targets can reach; line searches where no level is known."""
    known = request.cost is None and request.prior == 0
    return Polyak(max_step=STEP) if known else LBFGS(first_step=STEP)
