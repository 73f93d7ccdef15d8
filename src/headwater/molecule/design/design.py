"""Design molecules: from what is asked to molecules with their predicted properties, by D-Flow.

    design      search (draws, then control: `search.py`) -> round -> judge
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

from headwater.dflow.control import Callback
from headwater.molecule.design.request import Request, check_request
from headwater.molecule.design.search import Best, Problem, Search, Told, problem_of
from headwater.molecule.design.sizes import draw_atoms
from headwater.molecule.design.target import predict, predict_rounded
from headwater.molecule.model import models
from headwater.molecule.model.regressor import Regressor
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.molecule import Molecule
from headwater.molecule.structure.state import Rounded, relaxed_types, rounded
from headwater.optimizers.status import Status

BATCH = 64
"""Molecules searched at once."""
DRAWN, CANDIDATES = 12, 8
"""Solver steps and draws of `generate`."""


@dataclass(frozen=True)
class Design:
    """Molecules and what is known of them, the first axis of every tensor the problem.

    `guide` and `evaluator` are predictions for the rounded molecules, `relaxed` the guide's before rounding; `miss`
    is the largest deviation by the guide, in tolerances; `reached`: the molecule is sound and its miss at most 1,
    which ended its search (whether it is a hit, the evaluator says); `gradients` and `evaluations` are summed over
    attempts; `fragment_rms` is how far the atoms of a fragment are from where they were given, angstrom.
    """

    molecules: Rounded
    guide: dict[str, Tensor]
    evaluator: dict[str, Tensor]
    relaxed: dict[str, Tensor]
    status: tuple[Status, ...]
    miss: Tensor
    reached: Tensor
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


# ---- design


def design(request: Request, networks: Networks | None = None) -> Design:
    """Molecules that meet the request, each problem for itself; what missed is tried again from other noise.

    Molecule i depends on `seed + i` only, up to rounding, which differs with the batch and which control can amplify
    where the flow is steep. Of all points seen the best is kept: hits before sound molecules before others, then the
    smallest miss, weighted by the targets' weights. Once the callback ends the run, what was not begun is a plain
    draw.

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
    told, parts = Told(request.callback), []
    for i in torch.split(torch.arange(request.count), BATCH):
        told.first, part = int(i[0]), request.part(i)
        problem = problem_of(part, networks.generator, networks.guide, atoms[i])
        best = Search(part, problem, [seeds[k] for k in i.tolist()], told).run()
        parts.append(_judged(best, problem, networks))
    done = joined(parts)
    return done if request.fragment is None else _where_it_was(done, request.fragment)


def _where_it_was(d: Design, fragment: Molecule) -> Design:
    """The molecules moved so that the fragment, their first atoms, lies where it was given."""
    m, k = d.molecules, len(fragment)
    given = torch.from_numpy(np.asarray(fragment.positions)).float()
    moved = m.positions + given.mean(0) - m.positions[:, :k].mean(1, keepdim=True)
    rms = (moved[:, :k] - given).square().sum(-1).mean(1).sqrt()
    return replace(d, molecules=replace(m, positions=moved * m.mask[..., None]), fragment_rms=rms)


def _sizes(request: Request, seeds: Sequence[int]) -> Tensor:
    if request.formula is not None:
        return torch.full((len(seeds),), sum(request.formula.values()))
    if request.atoms is not None:
        return torch.as_tensor(request.atoms).expand(len(seeds))
    drawn = draw_atoms(seeds, request.targets)
    return drawn if request.fragment is None else drawn.clamp(min=len(request.fragment) + 2, max=MAX_ATOMS)


def _judged(best: Best, problem: Problem, networks: Networks) -> Design:
    m = rounded(best.x1, problem.mask)
    with torch.no_grad():
        relaxed = predict(networks.guide, best.x1[..., :3], relaxed_types(best.x1), problem.mask)
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
    )


def joined(parts: list[Design]) -> Design:
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
    atoms: int | Tensor | None = None,
    formula: Mapping[str, int] | None = None,
    steps: int = DRAWN,
    candidates: int = CANDIDATES,
    callback: Callback | None = None,
    networks: Networks | None = None,
) -> Design:
    """Draws from the flow, nothing asked: of each molecule up to `candidates`, until one is sound.

    `candidates=1` are plain draws, whatever they are; with more the easy molecules are more frequent than in the
    model, as unsound draws are dropped. With a formula the draws are led to it, see `flow.Held`.

    >>> d = generate(1, atoms=9, steps=2, candidates=1)
    >>> d.x1.shape, d.molecules.mask.sum().item()
    (torch.Size([1, 29, 9]), 9)
    """
    request = Request(
        count,
        seed,
        atoms=atoms,
        formula=formula,
        steps=steps,
        candidates=candidates,
        gradients=0,
        attempts=1,
        renormalise=False,
        stable=candidates > 1,
        callback=callback,
    )
    return design(request, networks)


def score(batch: Rounded, networks: Networks | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The six properties of given molecules by the guide and by the evaluator, `[b]` each, canonical units."""
    networks = networks or Networks.shipped()
    return predict_rounded(networks.guide, batch), predict_rounded(networks.evaluator, batch)
