"""What is asked of molecules: targets, sizes, known parts, a cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.formula import check_formula
from headwater.molecule.structure.molecule import Molecule, check_molecule
from headwater.molecule.targets.target import Target
from headwater.text import counted


@dataclass(frozen=True)
class Request:
    """What is asked of `count` molecules; how they are searched for is a recipe's (`Search`).

    Parameters
    ----------
    count
        How many molecules.
    seed
        Of the first; molecule i has `seed + i`.
    targets
        Properties to hit, each once.
    atoms
        The number of atoms, hydrogens included, 2 to 29: one for all, or a tensor `[count]`. By default drawn to fit
        the targets.
    formula
        Element: number of atoms, the same for all molecules.
    fragment
        A molecule whose atoms keep their places, and around which the others grow.
    cost
        `cost(positions, types, mask) -> [b]`, to be as low as possible: differentiable in the positions `[b, n, 3]`,
        angstrom, and the weights of the elements H, C, N, O, F, `[b, n, 5]`; `mask [b, n]` says which atoms exist.
    sound
        Whether an unsound molecule misses whatever its properties, see `chemistry.soundness.is_sound`.
    original
        A sound molecule that is to be edited: the molecules have as many atoms, and are like it.
    similarity
        With an `original`, the least Tanimoto similarity to it, 0 to below 1 (`chemistry.similarity`). The original
        itself and its stereoisomers do not count.

    Raises
    ------
    Misuse
        The request asks for no molecule; a number is not whole; a target is no `Target`; or the request is
        contradictory: two targets for one property, another number of values than molecules, more atoms in the
        fragment than in the molecule, a formula that lacks the fragment's atoms, atoms and formula that disagree, a
        charged fragment in sound molecules; an original beside atoms, a formula or a fragment, or among molecules
        that need not be sound.

    Examples
    --------
    >>> import headwater as hw
    >>> gap = hw.molecule.Target("gap", hw.molecule.Interval(5.0, 6.0))  # eV
    >>> hw.molecule.Request(count=4, seed=10, targets=(gap,)).seeds
    range(10, 14)
    >>> hw.molecule.Request(count=4, atoms=30)
    Traceback (most recent call last):
    headwater.errors.Misuse: A molecule of 30 atoms cannot be generated. Give 2 to 29 atoms, hydrogens included.
    """

    count: int
    seed: int = 0
    targets: tuple[Target, ...] = ()
    atoms: int | Tensor | None = None
    formula: Mapping[str, int] | None = None
    fragment: Molecule | None = None
    cost: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    sound: bool = True
    original: Molecule | None = None
    similarity: float = 0.4

    def __post_init__(self) -> None:
        _check(self)

    @property
    def seeds(self) -> range:
        """One seed for each molecule."""
        return range(self.seed, self.seed + self.count)


def _check_types(request: Request) -> None:
    """Refuse what is not a whole number or a target where it has to be one."""
    atoms = request.atoms
    for name, value in (("count", request.count), ("seed", request.seed), ("atoms", atoms)):
        whole = isinstance(value, Integral | None) or (
            isinstance(value, Tensor) and not value.is_floating_point()
        )
        if not whole:
            raise Misuse(f"{name} is {value}, which is not a whole number.", "Give a whole number.")
    if not isinstance(request.targets, Sequence) or not all(isinstance(t, Target) for t in request.targets):
        raise Misuse("The targets are no tuple of targets.", 'Give (Target("gap", 7.0),), for example.')
    if isinstance(atoms, Tensor) and atoms.ndim > 1:
        raise Misuse(f"The numbers of atoms are {list(atoms.shape)}.", "Give one, or one for each molecule.")


def _check(request: Request) -> None:
    """Refuse what cannot be served."""
    _check_types(request)
    if request.count < 1:
        raise Misuse(f"count is {request.count}, which asks for nothing.", "Give at least 1.")
    names = [t.property for t in request.targets]
    if len(set(names)) < len(names):
        raise Misuse(f"Two targets name the same property: {', '.join(names)}.", "Give one for each.")
    given = [t.value for t in request.targets if isinstance(t.value, Tensor)]
    for what in (*given, *([request.atoms] if isinstance(request.atoms, Tensor) else [])):
        if what.ndim and len(what) not in (1, request.count):
            raise Misuse(
                f"{len(what)} values are given for {counted(request.count, 'molecule')}.",
                "Give one for each.",
            )
    if request.formula is not None:
        check_formula(request.formula)
    if request.fragment is not None:
        check_molecule(request.fragment)
        if request.sound and any(request.fragment.charges):
            raise Misuse(
                "The fragment has formal charges, and only neutral molecules count as sound.",
                "Give a fragment without formal charges.",
            )
    if request.original is not None:
        _check_original(request)
    sizes = _sizes_asked(request)
    for size in sizes:
        if not 2 <= size <= MAX_ATOMS:
            raise Misuse(
                f"A molecule of {counted(size, 'atom')} cannot be generated.",
                f"Give 2 to {MAX_ATOMS} atoms, hydrogens included.",
            )
    if request.fragment is None:
        return
    k, least = len(request.fragment), min(sizes, default=MAX_ATOMS)
    if k >= least:
        raise Misuse(
            f"The fragment has {counted(k, 'atom')}, which leaves none to generate of {least}.",
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


def _check_original(request: Request) -> None:
    """Refuse an edit that cannot be."""
    assert request.original is not None
    check_molecule(request.original)
    if not 0 <= request.similarity < 1:
        raise Misuse(
            f"The least similarity is {request.similarity}.",
            "Give 0 to below 1, at which only the original is.",
        )
    given = {"atoms": request.atoms, "a formula": request.formula, "a fragment": request.fragment}
    for what, value in given.items():
        if value is not None:
            raise Misuse(
                f"Beside the original of an edit there is {what}.",
                "Leave it out: an edit has as many atoms as its original.",
            )
    if not request.sound:
        raise Misuse(
            "An edit is to be like its original, which only sound molecules are.", "Leave `sound` at True."
        )


def _sizes_asked(request: Request) -> list[int]:
    """The numbers of atoms that are asked for, each once; none if they are to be drawn."""
    asked: list[int] = [] if request.original is None else [len(request.original)]
    if request.atoms is not None:
        asked = sorted(set(torch.as_tensor(request.atoms).flatten().tolist()))
    if request.formula is None:
        return asked
    total = sum(request.formula.values())
    if asked not in ([], [total]):
        raise Misuse(
            f"The formula has {counted(total, 'atom')} but {', '.join(map(str, asked))} are asked for.",
            "Give one of the two.",
        )
    return [total]
