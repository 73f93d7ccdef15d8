"""Design molecules: from what is asked to molecules with their predicted properties, by D-Flow.

    design      best of a few noise draws -> control -> round -> judge; again from other noise for what missed
    generate    draw molecules from the flow, nothing asked
    score       predict the properties of given molecules

The guide (a regressor trained on half_b) is all that the control sees; the evaluator (half_a) judges the rounded
molecule and never guides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headwater import zoo
from headwater.control import Callback, Event, Result, control
from headwater.cost import Cost, Stop, WeightedSum
from headwater.errors import Misuse
from headwater.flow import Flow
from headwater.molecule import models
from headwater.molecule.align import matched
from headwater.molecule.elements import ELEMENTS, MAX_ATOMS
from headwater.molecule.flow import Held, Known, Renormalised, molecule_flow
from headwater.molecule.molecule import Molecule, batch_of
from headwater.molecule.regressor import PROPERTIES, Regressor
from headwater.molecule.state import Rounded, mask_of, relaxed_types, rounded, type_state
from headwater.molecule.target import (
    TOLERANCE,
    Miss,
    PropertyCost,
    Undecided,
    UserCost,
    predict,
    predict_rounded,
)
from headwater.optimize import LBFGS
from headwater.select import rows, select
from headwater.solve import solve
from headwater.source import ChiPrior
from headwater.status import Status

STEPS, GRADIENTS, CANDIDATES, ATTEMPTS = 12, 12, 4, 3
BATCH = 64


@dataclass(frozen=True)
class Target:
    """A property to hit: one of `PROPERTIES`, its value in canonical units (`units.UNITS`) and its weight.

    The value is one for all molecules, or a tensor with one for each.
    """

    property: str
    value: float | Tensor
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.property not in PROPERTIES:
            raise Misuse(f"There is no property {self.property!r}.", f"Known are {', '.join(PROPERTIES)}.")


@dataclass(frozen=True)
class Request:
    """What is asked of `count` molecules.

    Main: `targets`; the number of `atoms` (hydrogens included) or a `formula`, by default drawn to fit the targets; a
    `fragment` to grow around; a `cost(positions, types, mask) -> [b]`.

    Other: `prior`, the weight of the chi^d prior of the source; `renormalise`, the paper's shell per feature; `steps`
    of the midpoint solver; at most `gradients` per attempt; `candidates`, noise draws to choose the start from;
    `attempts` from new noise for what missed; `stable`: an unstable molecule does not count as a hit.
    """

    count: int
    seed: int = 0
    targets: tuple[Target, ...] = ()
    atoms: int | Tensor | None = None
    formula: Mapping[str, int] | None = None
    fragment: Molecule | None = None
    cost: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    prior: float = 0.0
    renormalise: bool = True
    undecided: float = 1.0
    steps: int | None = None
    gradients: int | None = None
    candidates: int | None = None
    attempts: int = ATTEMPTS
    stable: bool = True
    callback: Callback | None = None

    def part(self, index: Tensor) -> Request:
        """The request for the molecules in `index`, as far as it says something for each."""
        targets = tuple(replace(t, value=rows(torch.as_tensor(t.value), index)) for t in self.targets)
        atoms = rows(self.atoms, index) if isinstance(self.atoms, Tensor) else self.atoms
        return replace(self, targets=targets, atoms=atoms)


@dataclass(frozen=True)
class Design:
    """Molecules and what is known of them, the first axis of every tensor the problem.

    `guide` and `evaluator` are predictions for the rounded molecules, `relaxed` the guide's before rounding; `miss`
    is the largest deviation in tolerances (inf: unstable); `gradients` and `evaluations` are summed over attempts.
    """

    molecules: Rounded
    guide: dict[str, Tensor]
    evaluator: dict[str, Tensor]
    relaxed: dict[str, Tensor]
    status: tuple[Status, ...]
    miss: Tensor
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
    def shipped(cls) -> Networks:
        """Those that come with Headwater."""
        return cls(models.generator(), models.regressor(models.GUIDE), models.regressor(models.EVALUATOR))


def ranges() -> dict[str, tuple[float, float]]:
    """The 0.1 and 99.9 percentiles of QM9 per property, canonical units."""
    return {name: (low, high) for name, (low, high) in zoo.card(models.GENERATOR)["ranges"].items()}


# ---- sizes


@lru_cache(maxsize=1)
def _statistics() -> dict[str, Tensor]:
    """Per number of atoms: how many molecules of half_b have it, and mean and std of each property."""
    card = zoo.card(models.GENERATOR)
    by_count = {k: torch.tensor(v, dtype=torch.float64) for k, v in card["by_count"].items()}
    return {"counts": torch.tensor(card["counts"], dtype=torch.float64)} | by_count


def draw_atoms(seeds: Sequence[int], targets: Sequence[Target] = ()) -> Tensor:
    """Numbers of atoms `[len(seeds)]`, as in the data and as the targets make them likely.

    p(n | y) is proportional to p(n) prod_k N(y_k; mean_k(n), std_k(n)), from the statistics of half_b.
    """
    s = _statistics()
    log = s["counts"].log().expand(len(seeds), -1)
    for target in targets:
        mean, std = s[target.property].T
        std = std.clamp(min=TOLERANCE[target.property])
        y = torch.as_tensor(target.value, dtype=torch.float64).reshape(-1, 1)
        log = log - 0.5 * ((y - mean) / std).square() - std.log()
    log = torch.where(s["counts"] > 20, log, -torch.inf)
    weights = (log - log.amax(1, keepdim=True)).exp()
    draws = [
        torch.multinomial(w, 1, generator=_generator(s, "atoms")) for w, s in zip(weights, seeds, strict=True)
    ]
    return torch.cat(draws)


def _generator(seed: int, what: str) -> torch.Generator:
    """A stream of its own for each use of a seed."""
    return torch.Generator().manual_seed((seed * 1_000_003 + sum(map(ord, what))) % 2**63)


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
    if request.cost is not None:
        terms.append((1.0, UserCost(request.cost, mask)))
    flow = molecule_flow(networks.generator, atoms, known)
    return _Problem(flow, mask, WeightedSum(tuple(terms)), Miss(properties, mask, request.stable))


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

    Molecule i depends on `seed + i` only. Of several attempts the one with the smallest miss is kept.

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
    parts = [
        _design(request.part(i), networks, atoms[i], [seeds[k] for k in i.tolist()])
        for i in torch.split(torch.arange(request.count), BATCH)
    ]
    done = _joined(parts)
    return done if request.fragment is None else _where_it_was(done, request.fragment)


def _where_it_was(d: Design, fragment: Molecule) -> Design:
    """The molecules moved so that the fragment, their first atoms, lies where it was given."""
    m, k = d.molecules, len(fragment)
    there = torch.from_numpy(np.asarray(fragment.positions)).float().mean(0)
    shift = there - m.positions[:, :k].mean(1, keepdim=True)
    return replace(d, molecules=replace(m, positions=(m.positions + shift) * m.mask[..., None]))


def _design(request: Request, networks: Networks, atoms: Tensor, seeds: list[int]) -> Design:
    """One batch: attempts until every molecule has hit, or they are used up."""
    problem = _problem(request, networks, atoms)
    best: _Best | None = None
    for attempt in range(max(1, request.attempts)):
        todo = torch.arange(len(seeds)) if best is None else best.missed()
        if not len(todo):
            break
        part = problem.select(todo)
        x0, evaluations = _start(request, part, [seeds[i] for i in todo.tolist()], attempt)
        result = _control(request, part, x0, evaluations)
        best = _Best.of(result, part) if best is None else best.merged(todo, result, part)
        if any(s in (Status.CANCELLED, Status.SECONDS) for s in result.status):
            break
    assert best is not None
    return _judged(best, problem, networks)


def _start(request: Request, problem: _Problem, seeds: list[int], attempt: int) -> tuple[Tensor, int]:
    """The best of some source points, and the network evaluations each problem spent on finding it."""
    steps, candidates = request.steps or STEPS, request.candidates or CANDIDATES
    draws, misses, spent = [], [], 0
    for c in range(candidates):
        fresh = [(s * 1009 + attempt * candidates + c) % 2**63 for s in seeds]
        with torch.no_grad():
            x0 = _source(problem, fresh, steps)
            x1 = solve(problem.flow, x0, steps=steps)
            spent += 2 * steps * (2 if isinstance(problem.flow.velocity, Held) else 1)
            stable = torch.isfinite(problem.miss(x1))
            misses.append(problem.cost(x1) + torch.where(stable | (not request.stable), 0.0, 1e6))
        draws.append(x0)
        if _told(request.callback, problem, x1):
            break
    pick = torch.stack(misses).argmin(0)
    return torch.stack(draws)[pick, torch.arange(len(seeds))], spent


def _source(problem: _Problem, seeds: list[int], steps: int) -> Tensor:
    """Noise; for known parts in the order and orientation in which it leads near them by itself."""
    x0, held = problem.flow.noise(seeds), problem.flow.velocity
    if not isinstance(held, Held):
        return x0
    x1 = solve(replace(problem.flow, velocity=held.velocity), x0, steps=steps)
    k = held.known
    return matched(x0, x1, problem.mask.sum(1), k.y, k.placed, k.typed, seeds)


def _told(callback: Callback | None, problem: _Problem, x1: Tensor) -> bool:
    """Tell the callback of a candidate, as round 0; whether it wants to end. What follows then ends at once, too."""
    if callback is None:
        return False
    with torch.no_grad():
        cost, miss = problem.cost(x1).to(torch.float64), problem.miss(x1)
    return callback(Event(0, torch.arange(len(x1)), cost, miss, x1, cost)) is not None


def _control(request: Request, problem: _Problem, x0: Tensor, preparation: int) -> Result:
    flow = problem.flow
    result = control(
        flow,
        problem.cost,
        x0,
        stop=Stop(problem.miss, 1.0),
        prior=ChiPrior(request.prior, flow.dimension) if request.prior > 0 else None,
        steps=request.steps or STEPS,
        gradients=request.gradients or GRADIENTS,
        optimizer=LBFGS(first_step=0.02),
        constraint=Renormalised(problem.mask) if request.renormalise else None,
        callback=request.callback,
    )
    return replace(result, preparation=preparation)


@dataclass(frozen=True)
class _Best:
    """The best attempt of every problem so far, and what all attempts cost."""

    x0: Tensor
    x1: Tensor
    miss: Tensor
    status: tuple[Status, ...]
    gradients: Tensor
    evaluations: Tensor

    @classmethod
    def of(cls, result: Result, problem: _Problem) -> _Best:
        x1 = torch.nan_to_num(result.x1)
        miss = torch.nan_to_num(problem.miss(x1), nan=torch.inf, posinf=torch.inf)
        return cls(result.x0, x1, miss, result.status, result.gradients, result.evaluations)

    def missed(self) -> Tensor:
        """The problems without a hit."""
        return torch.nonzero(self.miss > 1).flatten()

    def merged(self, index: Tensor, result: Result, problem: _Problem) -> _Best:
        """With another attempt of the problems in `index`."""
        new = _Best.of(result, problem)
        better = new.miss < self.miss[index]
        hits = index[better]
        x0, x1, miss = self.x0.clone(), self.x1.clone(), self.miss.clone()
        x0[hits], x1[hits], miss[hits] = new.x0[better], new.x1[better], new.miss[better]
        gradients, evaluations = self.gradients.clone(), self.evaluations.clone()
        gradients[index] += new.gradients
        evaluations[index] += new.evaluations
        status = list(self.status)
        for i, s, b in zip(index.tolist(), new.status, better.tolist(), strict=True):
            if b:
                status[i] = s
        return _Best(x0, x1, miss, tuple(status), gradients, evaluations)


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
        best.status,
        best.miss,
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


def check_request(request: Request) -> None:
    """Refuse what cannot be served."""
    if request.count < 1:
        raise Misuse(f"A count of {request.count} asks for nothing.", "Give at least 1.")
    total = None if request.formula is None else sum(request.formula.values())
    if total is not None and request.atoms is not None and total != request.atoms:
        raise Misuse(
            f"The formula has {total} atoms but {request.atoms} are asked for.", "Give one of the two."
        )
    size = total or (request.atoms if isinstance(request.atoms, int) else None)
    if size is not None and not 2 <= size <= MAX_ATOMS:
        raise Misuse(
            f"A molecule of {size} atoms cannot be generated.",
            f"Give 2 to {MAX_ATOMS} atoms, hydrogens included.",
        )
    if request.fragment is None:
        return
    k = len(request.fragment)
    if k >= (size or MAX_ATOMS):
        raise Misuse(
            f"The fragment has {k} atoms, which leaves none to generate of {size or MAX_ATOMS}.",
            f"Give a smaller fragment or more atoms, at most {MAX_ATOMS}.",
        )
    if request.formula is not None:
        for e in set(request.fragment.symbols):
            have, need = request.formula.get(e, 0), request.fragment.symbols.count(e)
            if need > have:
                raise Misuse(
                    f"The fragment has {need} {e} but the formula only {have}.",
                    "Give the formula of the whole molecule.",
                )


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
    """Draws from the flow; with a formula, the types are asked for as in `design`."""
    request = Request(
        count, seed, atoms=atoms, formula=formula, steps=steps, callback=callback, candidates=1, attempts=1
    )
    if formula is not None:
        return design(replace(request, candidates=None, attempts=ATTEMPTS), networks)
    check_request(request)
    networks = networks or Networks.shipped()
    seeds = range(seed, seed + count)
    sizes = _sizes(request, seeds)
    parts = []
    for i in torch.split(torch.arange(count), 4 * BATCH):
        problem = _problem(request, networks, sizes[i])
        x0 = problem.flow.noise([seeds[k] for k in i.tolist()])
        with torch.no_grad():
            x1 = solve(problem.flow, x0, steps=steps or 2 * STEPS)
        n = len(i)
        zero = torch.zeros(n, dtype=torch.long)
        cost = 2 * (steps or 2 * STEPS)
        best = _Best(x0, x1, problem.miss(x1), (Status.REACHED,) * n, zero, zero + cost)
        parts.append(_judged(best, problem, networks))
    return _joined(parts)


def score(batch: Rounded, networks: Networks | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The six properties of given molecules by the guide and by the evaluator, `[b]` each, canonical units."""
    networks = networks or Networks.shipped()
    return predict_rounded(networks.guide, batch), predict_rounded(networks.evaluator, batch)
