"""Design molecules: from what is asked to molecules with their predicted properties, by D-Flow.

    design      best of a few noise draws -> control -> round -> judge; again from other noise for what missed
    generate    draw molecules from the flow, nothing asked
    score       predict the properties of given molecules

The guide (a regressor trained on half_b) is all that the control sees; the evaluator (half_a) judges the rounded
molecule and never guides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headwater.control import Callback, Event, Result, control
from headwater.cost import Cost, Stop, WeightedSum
from headwater.flow import Flow
from headwater.molecule import models
from headwater.molecule.align import matched
from headwater.molecule.elements import ELEMENTS, MAX_ATOMS
from headwater.molecule.flow import Held, Known, Renormalised, molecule_flow
from headwater.molecule.molecule import Molecule, batch_of
from headwater.molecule.regressor import Regressor
from headwater.molecule.request import STEPS, Request, check_request
from headwater.molecule.sizes import draw_atoms
from headwater.molecule.state import Rounded, mask_of, relaxed_types, rounded, type_state
from headwater.molecule.target import (
    HIT,
    UNSOUND,
    Miss,
    PropertyCost,
    Undecided,
    UserCost,
    Verdict,
    predict,
    predict_rounded,
)
from headwater.optimize import LBFGS, Optimizer, Polyak
from headwater.select import select
from headwater.solve import solve
from headwater.source import ChiPrior
from headwater.status import Status

BATCH = 64
STEP = 0.04
"""The longest step of the source, rms per coordinate: a tenth of it changes bonds in a quarter of the molecules."""


@dataclass(frozen=True)
class Design:
    """Molecules and what is known of them, the first axis of every tensor the problem.

    `guide` and `evaluator` are predictions for the rounded molecules, `relaxed` the guide's before rounding; `miss`
    is the largest deviation by the guide, in tolerances; `hit`: the molecule is sound and its miss at most 1;
    `gradients` and `evaluations` are summed over attempts.
    """

    molecules: Rounded
    guide: dict[str, Tensor]
    evaluator: dict[str, Tensor]
    relaxed: dict[str, Tensor]
    status: tuple[Status, ...]
    miss: Tensor
    hit: Tensor
    gradients: Tensor
    evaluations: Tensor
    x0: Tensor
    x1: Tensor
    fragment_rms: Tensor | None = None


@dataclass(frozen=True)
class Networks:
    """The networks of a design; replaceable for a user's own."""

    generator: nn.Module
    guide: Regressor
    evaluator: Regressor

    @classmethod
    def shipped(cls, device: str = "cpu") -> Networks:
        """Those that come with Headwater, on a device; molecules themselves stay on the CPU."""
        guide, evaluator = (models.regressor(name, device) for name in (models.GUIDE, models.EVALUATOR))
        return cls(models.generator(models.GENERATOR, device), guide, evaluator)


def _sizes(request: Request, seeds: Sequence[int]) -> Tensor:
    if request.formula is not None:
        return torch.full((len(seeds),), sum(request.formula.values()))
    if request.atoms is not None:
        return torch.as_tensor(request.atoms).expand(len(seeds))
    drawn = draw_atoms(seeds, request.targets)
    return drawn if request.fragment is None else drawn.clamp(min=len(request.fragment) + 2, max=MAX_ATOMS)


# ---- the problem


@dataclass(frozen=True)
class _Problem:
    """What the control of a batch of molecules needs, sliced by `select`."""

    flow: Flow
    mask: Tensor
    cost: Cost
    miss: Miss

    def select(self, index: Tensor) -> _Problem:
        return _Problem(
            self.flow.select(index), self.mask[index], select(self.cost, index), self.miss.select(index)
        )


def _problem(request: Request, networks: Networks, atoms: Tensor) -> _Problem:
    mask = mask_of(atoms)
    values = {
        t.property: torch.as_tensor(t.value, dtype=torch.float32).expand(len(atoms)) for t in request.targets
    }
    weights = {t.property: t.weight for t in request.targets}
    properties = PropertyCost(networks.guide, values, weights, mask) if values else None
    known = _known(request, mask)
    terms: list[tuple[float, Cost]] = [(request.undecided, Undecided(mask))]
    if properties is not None:
        terms.append((1.0, properties))
    own = None if request.cost is None else UserCost(request.cost, mask)
    if own is not None:
        terms.append((1.0, own))
    flow = molecule_flow(networks.generator, atoms, known)
    return _Problem(flow, mask, WeightedSum(tuple(terms)), Miss(properties, mask, request.stable, own))


def _known(request: Request, mask: Tensor) -> Known | None:
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


# ---- design


def design(request: Request, networks: Networks | None = None) -> Design:
    """Molecules that meet the request, each problem for itself; what missed is tried again from other noise.

    Molecule i depends on `seed + i` only. Of all points seen the best is kept: hits before sound molecules before
    others, then the smallest miss, weighted by the targets' weights. Once the callback ends the run, what was not
    begun is a plain draw.

    Raises
    ------
    Misuse
        If the request is contradictory: more atoms in the fragment than in the molecule, a formula that lacks the
        fragment's atoms, atoms and formula that disagree.
    """
    check_request(request)
    networks = networks or Networks.shipped()
    seeds = range(request.seed, request.seed + request.count)
    atoms = _sizes(request, seeds)
    told = _Told(request.callback)
    parts = []
    for i in torch.split(torch.arange(request.count), BATCH):
        told.first = int(i[0])
        parts.append(_design(request.part(i), networks, atoms[i], [seeds[k] for k in i.tolist()], told))
    done = _joined(parts)
    return done if request.fragment is None else _where_it_was(done, request.fragment)


def _where_it_was(d: Design, fragment: Molecule) -> Design:
    """The molecules moved so that the fragment, their first atoms, lies where it was given."""
    m, k = d.molecules, len(fragment)
    there = torch.from_numpy(np.asarray(fragment.positions)).float().mean(0)
    shift = there - m.positions[:, :k].mean(1, keepdim=True)
    return replace(d, molecules=replace(m, positions=(m.positions + shift) * m.mask[..., None]))


class _Told:
    """The user's callback over the batches of a run: molecules are counted through, and the first status ends all."""

    def __init__(self, callback: Callback | None) -> None:
        self.callback, self.first = callback, 0
        self.ended: Status | None = None

    def __call__(self, event: Event) -> Status | None:
        if self.ended is None and self.callback is not None:
            self.ended = self.callback(replace(event, active=event.active + self.first))
        return self.ended


def _design(request: Request, networks: Networks, atoms: Tensor, seeds: list[int], told: _Told) -> Design:
    """One batch: attempts until every molecule has hit, or they are used up."""
    problem = _problem(request, networks, atoms)
    best = _Best(len(seeds), problem.flow.shape)
    for attempt in range(request.attempts):
        todo = torch.nonzero(~best.hit).flatten()
        if not len(todo):
            break
        start = _screen(request, problem, todo, [seeds[i] for i in todo.tolist()], attempt, best, told)
        missed = ~best.hit[todo]
        todo, start = todo[missed], start[missed]
        best.end(todo, told.ended or Status.EVALUATIONS)
        if told.ended is None and request.gradients and len(todo):
            best.count(todo, _control(request, problem.select(todo), start, best, todo, told))
        if told.ended is not None:
            break
    best.end(torch.nonzero(best.hit).flatten(), Status.REACHED)
    return _judged(best, problem, networks)


class _Best:
    """The best point of every molecule over all starts, rounds and attempts, by its verdict; and what they cost."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self.x0, self.x1 = torch.zeros(count, *shape), torch.zeros(count, *shape)
        unknown = torch.full((count,), torch.inf, dtype=torch.float64)
        self.cost = unknown.clone()
        self.verdict = Verdict(torch.full((count,), UNSOUND + 1), unknown, unknown.clone())
        self.status = [Status.RUNNING] * count
        self.gradients = torch.zeros(count, dtype=torch.long)
        self.evaluations = torch.zeros(count, dtype=torch.long)

    @property
    def hit(self) -> Tensor:
        """Which molecules have hit."""
        return self.verdict.kind == HIT

    def see(self, index: Tensor, cost: Tensor, verdict: Verdict, x0: Tensor, x1: Tensor) -> None:
        """Keep what is better of the molecules in `index`; a point that is not finite never is."""
        self.cost[index] = torch.fmin(self.cost[index], cost)
        finite = torch.isfinite(x1).flatten(1).all(1)
        better = verdict.better(self.verdict.select(index)) & finite
        rows = index[better]
        self.x0[rows], self.x1[rows] = x0[better], x1[better]
        for mine, new in zip(self.verdict, verdict, strict=True):
            mine[rows] = new[better]

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


def _screen(
    request: Request,
    problem: _Problem,
    index: Tensor,
    seeds: list[int],
    attempt: int,
    best: _Best,
    told: _Told,
) -> Tensor:
    """For the problems in `index` the draw of the source with the lowest cost, sound ones first.

    Who has hit draws no more.
    """
    start = problem.select(index).flow.noise(seeds)
    unknown = torch.full((len(seeds),), torch.inf, dtype=torch.float64)
    lowest = Verdict(torch.full((len(seeds),), UNSOUND + 1), unknown, unknown.clone())
    solves = 2 if isinstance(problem.flow.velocity, Held) else 1
    for c in range(request.candidates):
        left = torch.nonzero(~best.hit[index]).flatten()
        if not len(left) or told.ended is not None:
            break
        rows = index[left]
        part = problem.select(rows)
        fresh = [_draw(seeds[i], attempt * request.candidates + c) for i in left.tolist()]
        with torch.no_grad():
            x0 = _source(part, fresh, request.steps)
            x0 = Renormalised(part.mask)(x0) if request.renormalise else x0
            x1 = solve(part.flow, x0, steps=request.steps)
            cost, verdict = part.cost(x1).double(), part.miss.verdict(x1)
        best.see(rows, cost, verdict, x0, x1)
        best.evaluations[rows] += 2 * request.steps * solves
        verdict = verdict._replace(value=cost)
        better = verdict.better(lowest.select(left))
        start[left[better]] = x0[better]
        for mine, new in zip(lowest, verdict, strict=True):
            mine[left[better]] = new[better]
        told(Event(0, rows, cost, verdict.miss, x1, best.cost.clone(), x0))
    return start


def _draw(seed: int, number: int) -> int:
    """The seed of the so-manieth draw of a molecule; torch's generator keeps 32 bits of it."""
    return (seed * 1_000_003 + number) % 2**32


def _source(problem: _Problem, seeds: list[int], steps: int) -> Tensor:
    """Noise; for known parts in the order and orientation in which it leads near them by itself."""
    x0, held = problem.flow.noise(seeds), problem.flow.velocity
    if not isinstance(held, Held):
        return x0
    x1 = solve(replace(problem.flow, velocity=held.velocity), x0, steps=steps)
    k = held.known
    return matched(x0, x1, problem.mask.sum(1), k.y, k.placed, k.typed, seeds)


def _control(
    request: Request, problem: _Problem, start: Tensor, best: _Best, index: Tensor, told: _Told
) -> Result:
    def watch(event: Event) -> Status | None:
        rows = index[event.active]
        if event.x0 is not None:
            verdict = problem.miss.select(event.active).verdict(event.x1)
            best.see(rows, event.cost, verdict, event.x0, event.x1)
        return told(replace(event, active=rows, best=best.cost.clone()))

    flow = problem.flow
    return control(
        flow,
        problem.cost,
        start,
        stop=Stop(problem.miss, problem.miss.level),
        prior=ChiPrior(request.prior, flow.dimension) if request.prior > 0 else None,
        steps=request.steps,
        gradients=request.gradients,
        optimizer=request.optimizer or _optimizer(request),
        constraint=Renormalised(problem.mask) if request.renormalise else None,
        callback=watch,
    )


def _optimizer(request: Request) -> Optimizer[Any]:
    """Polyak's steps towards a cost of zero, which targets can reach; line searches where no level is known."""
    known = request.cost is None and request.prior == 0
    return Polyak(max_step=STEP) if known else LBFGS(first_step=STEP)


def _judged(best: _Best, problem: _Problem, networks: Networks) -> Design:
    m = rounded(best.x1, problem.mask)
    with torch.no_grad():
        relaxed = predict(networks.guide, best.x1[..., :3], relaxed_types(best.x1), problem.mask)
    velocity = problem.flow.velocity
    rms = velocity.known.rms(best.x1) if isinstance(velocity, Held) else None
    return Design(
        m,
        predict_rounded(networks.guide, m),
        predict_rounded(networks.evaluator, m),
        relaxed,
        tuple(best.status),
        best.verdict.miss,
        best.hit,
        best.gradients,
        best.evaluations,
        best.x0,
        best.x1,
        rms,
    )


def _joined(parts: list[Design]) -> Design:
    """Batches end to end."""

    def cat(name: str) -> Any:
        first = getattr(parts[0], name)
        if first is None:
            return None
        if isinstance(first, dict):
            return {k: torch.cat([getattr(p, name)[k] for p in parts]) for k in first}
        if isinstance(first, tuple):
            return tuple(s for p in parts for s in getattr(p, name))
        if isinstance(first, Rounded):
            return Rounded(
                *(
                    torch.cat([getattr(p.molecules, f) for p in parts])
                    for f in ("positions", "types", "charges", "mask")
                )
            )
        return torch.cat([getattr(p, name) for p in parts])

    return Design(**{name: cat(name) for name in Design.__dataclass_fields__})


# ---- nothing asked


def generate(
    count: int,
    seed: int = 0,
    *,
    atoms: int | None = None,
    formula: Mapping[str, int] | None = None,
    steps: int | None = None,
    callback: Callback | None = None,
    networks: Networks | None = None,
) -> Design:
    """Draws from the flow, one solve each; those with a formula are led to it, see `flow.Held`.

    `callback` is told of every batch and may end the run: then fewer molecules come back, but at least one batch.
    """
    steps = 2 * STEPS if steps is None else steps
    request = Request(count, seed, atoms=atoms, formula=formula, steps=steps, candidates=1, stable=False)
    check_request(request)
    networks = networks or Networks.shipped()
    seeds = range(seed, seed + count)
    sizes = _sizes(request, seeds)
    parts = []
    for i in torch.split(torch.arange(count), BATCH):
        problem = _problem(request, networks, sizes[i])
        best = _Best(len(i), problem.flow.shape)
        with torch.no_grad():
            x0 = _source(problem, [seeds[k] for k in i.tolist()], steps)
            x1 = solve(problem.flow, x0, steps=steps)
        verdict = problem.miss.verdict(x1)
        best.see(torch.arange(len(i)), verdict.value, verdict, x0, x1)
        best.evaluations += 2 * steps * (1 if formula is None else 2)
        best.status = [Status.REACHED if torch.isfinite(x).all() else Status.DIVERGED for x in x1]
        parts.append(_judged(best, problem, networks))
        miss = verdict.miss
        if callback is not None and callback(Event(0, i, miss, miss, x1, miss, x0)) is not None:
            break
    return _joined(parts)


def score(batch: Rounded, networks: Networks | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The six properties of given molecules by the guide and by the evaluator, `[b]` each, canonical units."""
    networks = networks or Networks.shipped()
    return predict_rounded(networks.guide, batch), predict_rounded(networks.evaluator, batch)
