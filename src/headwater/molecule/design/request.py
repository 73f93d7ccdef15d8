"""What is asked of molecules: targets, sizes, known parts and the settings of the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.molecule.io import formula as formulae
from headwater.molecule.io.elements import MAX_ATOMS
from headwater.molecule.io.molecule import Molecule
from headwater.molecule.io.molecule import check as check_molecule
from headwater.molecule.model.regressor import PROPERTIES
from headwater.optimizers import Optimizer
from headwater.problem.batch import select_rows

STEPS, GRADIENTS, CANDIDATES, ATTEMPTS = 6, 8, 32, 2


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
            raise Misuse(f"There is no property {self.property!r}.", f"Give one of {', '.join(PROPERTIES)}.")
        if not bool(torch.isfinite(torch.as_tensor(self.value)).all()):
            raise Misuse(f"A target of {self.property} is not a finite number.", "Give a number for each.")
        if not 0 < self.weight < float("inf"):
            raise Misuse(f"The weight of {self.property} is {self.weight}.", "Give a positive number.")


@dataclass(frozen=True)
class Request:
    """What is asked of `count` molecules.

    Main: `targets`; the number of `atoms` (hydrogens included) or a `formula`, by default drawn to fit the targets; a
    `fragment` to grow around; a `cost(positions, types, mask) -> [b]`.

    Other: `renormalise`, the paper's shell per kind of feature, or, without it, `prior`, the weight of the chi^d
    prior of the source; `undecided`, the weight of the distance to definite types; `steps` of the midpoint solver;
    at most `gradients` per attempt (0: draws are screened only), taken by the `optimizer` (default: Polyak's steps,
    or L-BFGS where the least cost is not known); `candidates`, draws of noise to choose the start from, until one
    hits; `attempts` from new noise for what missed; `stable`: what is no sound molecule (`chemistry.sound`) misses,
    whatever its properties.
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
    steps: int = STEPS
    gradients: int = GRADIENTS
    candidates: int = CANDIDATES
    attempts: int = ATTEMPTS
    stable: bool = True
    optimizer: Optimizer[Any] | None = None
    callback: Callback | None = None

    def part(self, index: Tensor) -> Request:
        """The request for the molecules in `index`, as far as it says something for each."""
        targets = tuple(replace(t, value=select_rows(torch.as_tensor(t.value), index)) for t in self.targets)
        atoms = select_rows(self.atoms, index) if isinstance(self.atoms, Tensor) else self.atoms
        return replace(self, targets=targets, atoms=atoms)


def check_request(request: Request) -> None:
    """Refuse what cannot be served."""
    for name in ("count", "steps", "candidates", "attempts"):
        if getattr(request, name) < 1:
            raise Misuse(f"{name} is {getattr(request, name)}, which asks for nothing.", "Give at least 1.")
    for name in ("prior", "undecided"):
        if not 0 <= getattr(request, name) < float("inf"):
            raise Misuse(f"{name} is {getattr(request, name)}.", "Give 0 or a positive number.")
    if request.gradients < 0:
        raise Misuse(
            f"{request.gradients} gradients cannot be taken.", "Give 0 to screen draws only, or more."
        )
    if request.prior > 0 and request.renormalise:
        raise Misuse("A prior has no effect on a renormalised source.", "Give renormalise=False as well.")
    names = [t.property for t in request.targets]
    if len(set(names)) < len(names):
        raise Misuse(f"Two targets name the same property: {', '.join(names)}.", "Give one for each.")
    for what in (*(t.value for t in request.targets), request.atoms):
        if isinstance(what, Tensor) and what.ndim and len(what) not in (1, request.count):
            raise Misuse(f"{len(what)} values are given for {request.count} molecules.", "Give one for each.")
    if request.formula is not None:
        formulae.check(request.formula)
    if request.fragment is not None:
        check_molecule(request.fragment)
        if request.stable and any(request.fragment.charges):
            raise Misuse(
                "The fragment has formal charges, and only neutral molecules count as sound.",
                "Give a fragment without formal charges.",
            )
    sizes = _sizes_asked(request)
    for size in sizes:
        if not 2 <= size <= MAX_ATOMS:
            raise Misuse(
                f"A molecule of {size} atoms cannot be generated.",
                f"Give 2 to {MAX_ATOMS} atoms, hydrogens included.",
            )
    if request.fragment is None:
        return
    k, least = len(request.fragment), min(sizes, default=MAX_ATOMS)
    if k >= least:
        raise Misuse(
            f"The fragment has {k} atoms, which leaves none to generate of {least}.",
            f"Give {k + 1} to {MAX_ATOMS} atoms, or a smaller fragment.",
        )
    if request.formula is not None:
        for e in set(request.fragment.symbols):
            have, need = request.formula.get(e, 0), request.fragment.symbols.count(e)
            if need > have:
                raise Misuse(
                    f"The fragment has {need} {e} but the formula only {have}.",
                    "Give the formula of the whole molecule.",
                )


def _sizes_asked(request: Request) -> list[int]:
    """The numbers of atoms that are asked for, each once; none if they are to be drawn."""
    asked: list[int] = []
    if request.atoms is not None:
        asked = sorted(set(torch.as_tensor(request.atoms).flatten().tolist()))
    if request.formula is None:
        return asked
    total = sum(request.formula.values())
    if asked not in ([], [total]):
        raise Misuse(
            f"The formula has {total} atoms but {', '.join(map(str, asked))} are asked for.",
            "Give one of the two.",
        )
    return [total]
