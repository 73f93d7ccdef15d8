"""From options and files to a `Task`: what is asked of which molecules, checked before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.cli.molecule.options import Aim, Draw
from headwater.errors import Misuse, suggest
from headwater.molecule.design.request import Request, check_request
from headwater.molecule.structure import formula as formulae
from headwater.molecule.structure import units
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.molecule import Molecule, check_molecule, to_batch

if TYPE_CHECKING:
    from headwater.cli.molecule.cost import Cost

CLOSE = 0.4
"""Atoms nearer than this, angstrom, are no molecule: a bond of hydrogen has 0.74."""
SLACK = 0.05
"""How far gap and LUMO - HOMO may differ as asked, eV."""


@dataclass(frozen=True, eq=False)
class Task:
    """One run: `targets` and `weights` by property (canonical units), or none; which atoms; what stays fixed.

    `inputs` are the files that were read, `settings` what the report says of the options, `warnings` sentences
    for the user.
    """

    command: str
    output: Path
    inputs: tuple[Path, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    atoms: int | None = None
    formula: Mapping[str, int] | None = None
    fragment: Molecule | None = None
    cost: Cost | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def generate(o: Draw) -> Task:
    """Molecules with no target."""
    _check_draw(o)
    atoms, counts = _atoms(o)
    task = Task("generate", o.output or Path("molecules.sdf"), atoms=atoms, formula=counts)
    return replace(task, settings=_settings(o), warnings=_formula_warning(counts))


def target(o: Aim) -> Task:
    """Molecules with given properties, or of little cost."""
    if not o.targets and o.cost is None:
        raise Misuse(
            "Nothing says what to aim at.",
            "Give a target with its unit, e.g. --gap 5.0eV, or --cost FILE.py.",
        )
    return _aimed(Task("target", o.output or Path("hits.sdf")), o)


def grow(path: Path, o: Aim) -> Task:
    """Molecules around a fragment."""
    fragment = read_fragment(path)
    output = o.output or path.with_name(f"{path.stem}-grow.sdf")
    task = _aimed(Task("grow", output, fragment=fragment, inputs=(path,)), o)
    check_request(Request(1, atoms=task.atoms, formula=task.formula, fragment=fragment))
    return replace(task, settings={"fragment": str(path), **task.settings})


def read_fragment(path: Path) -> Molecule:
    """The one molecule of a file, if the models can hold it.

    Raises
    ------
    Misuse
        The file cannot be read or has several molecules; there is an unknown element, two atoms in one place,
        or more atoms than fit beside one that grows; or no atom has a bond to give.
    """
    from headwater.molecule.chemistry.stability import is_sound_by_table
    from headwater.molecule.io.files import read_molecules

    found = read_molecules(path)
    if len(found) != 1:
        raise Misuse(f"{path} has {len(found)} molecules.", "Give a file with one fragment.")
    fragment = found[0] if found[0].name else replace(found[0], name=path.name)
    check_molecule(fragment, max(MAX_ATOMS - 1, 1))
    apart = np.linalg.norm(fragment.positions[:, None] - fragment.positions[None], axis=-1)
    apart[np.diag_indices(len(fragment))] = np.inf
    if apart.min() < CLOSE:
        raise Misuse(
            f"Two atoms of {path} are {apart.min():.2g} angstrom apart.", "Give 3-D coordinates in angstrom."
        )
    if bool(is_sound_by_table(to_batch([fragment]))[0]):
        raise Misuse(
            f"{path} is a whole molecule, to which nothing can be bound.",
            "Take away a hydrogen where it is to grow.",
        )
    return fragment


def weights_of(words: tuple[str, ...], targets: Mapping[str, float]) -> dict[str, float]:
    """The weight of every target from words such as 'gap=2' or 'gap=2,mu=0.5'; 1 where none is given.

    >>> weights_of(("gap=2",), {"gap": 5.0, "mu": 1.0})
    {'gap': 2.0, 'mu': 1.0}
    """
    weights = dict.fromkeys(targets, 1.0)
    for word in (part for text in words for part in text.split(",")):
        name, _, text = word.partition("=")
        name = name.strip()
        if name not in units.UNITS:
            raise Misuse(f"--weight {word} names no property.", suggest(name, units.UNITS))
        if name not in targets:
            raise Misuse(f"--weight {word} weighs a property without a target.", f"Give --{name} as well.")
        try:
            weights[name] = float(text)
        except ValueError:
            weights[name] = math.nan
        if not 0 < weights[name] < math.inf:
            raise Misuse(f"--weight {word} is no weight.", f"Give a positive number, as in {name}=2.")
    return weights


def range_warnings(targets: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for every target outside of what nearly all of QM9 has."""
    from headwater.molecule.design.sizes import load_ranges

    known = load_ranges() if targets else {}
    return tuple(
        f"--{name} {units.format_quantity(name, value)} is outside QM9, where 99.8 % of the molecules have "
        f"{units.format_number(name, known[name][0])} to {units.format_quantity(name, known[name][1])}; "
        "the networks guess there."
        for name, value in targets.items()
        if not known[name][0] <= value <= known[name][1]
    )


def _aimed(task: Task, o: Aim) -> Task:
    _check_draw(o)
    _check_positive(seconds=o.seconds)
    if o.gradients is not None and o.gradients < 0:
        raise Misuse(f"--gradients is {o.gradients}.", "Give 0 to screen draws only, or a positive number.")
    atoms, counts = _atoms(o)
    _check_orbitals(o.targets)
    weights, cost = weights_of(o.weight, o.targets), None
    if o.cost is not None:
        from headwater.cli.molecule.cost import load

        cost = load(o.cost)
    return replace(
        task,
        inputs=(*task.inputs, *([] if o.cost is None else [o.cost])),
        targets=o.targets,
        weights=weights,
        atoms=atoms,
        formula=counts,
        cost=cost,
        settings=_settings(o),
        warnings=(*_formula_warning(counts), *range_warnings(o.targets)),
    )


def _check_draw(o: Draw) -> None:
    _check_positive(count=o.count, steps=o.steps, candidates=o.candidates, best=o.best)
    if o.seed < 0 or o.seed + o.count > 2**63:
        raise Misuse(f"--seed is {o.seed}.", "Give 0 or a positive whole number.")
    if o.best is not None and o.check != "dft":
        raise Misuse("--best says how many molecules DFT computes.", "Give --check dft as well.")


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not value > 0:
            raise Misuse(f"--{name} is {value}.", "Give a positive number.")


def _atoms(o: Draw) -> tuple[int | None, dict[str, int] | None]:
    """The number of atoms or the formula."""
    if o.atoms is not None and o.formula is not None:
        raise Misuse("Both --atoms and --formula say how many atoms there are.", "Give one of them.")
    if o.atoms is not None and not formulae.MIN_ATOMS <= o.atoms <= MAX_ATOMS:
        raise Misuse(
            f"--atoms is {o.atoms}.", f"Give {formulae.MIN_ATOMS} to {MAX_ATOMS}, hydrogens included."
        )
    return o.atoms, None if o.formula is None else formulae.parse_formula(o.formula)


def _formula_warning(counts: Mapping[str, int] | None) -> tuple[str, ...]:
    said = None if counts is None else formulae.size_warning(counts)
    return () if said is None else (said,)


def _check_orbitals(targets: Mapping[str, float]) -> None:
    """Refuse orbitals that contradict each other: the gap is LUMO - HOMO."""
    if not {"homo", "lumo"} <= set(targets):
        return
    gap = targets["lumo"] - targets["homo"]
    if gap < 0:
        raise Misuse("--homo is above --lumo.", "Give a LUMO that is higher than the HOMO.")
    if abs(targets.get("gap", gap) - gap) > SLACK:
        raise Misuse(
            f"--homo and --lumo are {units.format_quantity('gap', gap)} apart, and --gap asks for "
            f"{units.format_quantity('gap', targets['gap'])}.",
            "Leave one of the three out, or make them agree.",
        )


def _settings(o: Draw) -> dict[str, Any]:
    """The options as the report repeats them; targets and weights have a place of their own."""
    left_out = {"output", "overwrite", "quiet", "weight", *units.UNITS}
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(o).items() if k not in left_out}
