"""Options of `headwater molecule ...`: one frozen dataclass each, flattened into the command."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from headwater.cli.shared.options import (
    LAST_SEED,
    MOST_GRADIENTS,
    MOST_SECONDS,
    MOST_STEPS,
    OUTPUT,
    REWARDS,
    SHORTEST,
    Files,
    Rewards,
    number,
    whole,
    word,
)
from headwater.molecule.structure import units
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.formula import MIN_ATOMS
from headwater.molecule.structure.interval import Asked, read_number, read_target

TARGETS = Group(
    "Targets",
    help="A value with its unit, e.g. 5.0eV, or a range, e.g. 5..6eV, '>8eV' or '<3eV' (with quotes).",
    sort_key=0,
)
SCORED = Group(
    "Scores by RDKit",
    help="A value or a range without a unit, e.g. '>0.6'. They choose among draws; no gradient leads to them.",
    sort_key=1,
)
DESIGN = Group("Molecules", sort_key=2)
CHECKS = Group("Check", sort_key=3)

Check = Literal["none", "xtb", "dft"]
Method = Literal["search", "search-then-control", "control"]
MOST_MOLECULES = 100_000


def _target(property: str, metavar: str) -> Parameter:
    return word(partial(read_target, property), metavar, group=TARGETS)


def _score(name: str) -> Parameter:
    return word(partial(read_number, name), "NUMBER", group=SCORED)


@Parameter(name="*")
@dataclass(frozen=True)
class Draw(Files):
    """What every command that makes molecules understands."""

    count: Annotated[int, whole(1, MOST_MOLECULES, alias="-n", group=DESIGN)] = 16
    """How many molecules."""

    seed: Annotated[int, whole(0, LAST_SEED, group=DESIGN)] = 0
    """Seed of the first molecule; molecule i has seed + i."""

    atoms: Annotated[int | None, whole(MIN_ATOMS, MAX_ATOMS, group=DESIGN)] = None
    """Atoms of every molecule, exactly, hydrogens included: 3 to 29. By default drawn as in QM9."""

    formula: Annotated[str | None, Parameter(group=DESIGN)] = None
    """The atoms of every molecule, e.g. C7H10O2."""

    steps: Annotated[int | None, whole(1, MOST_STEPS, group=DESIGN)] = None
    """Steps of the ODE solver; by default the recipe's."""

    candidates: Annotated[int | None, whole(1, MOST_MOLECULES, group=DESIGN)] = None
    """Most draws per molecule (and attempt): the first that is sound and near the targets is taken; by default the
    recipe's. With 'generate', 1 takes every draw as it is."""

    check: Annotated[Check | None, Parameter(group=CHECKS)] = None
    """Check without our networks: 'xtb' relaxes every molecule with GFN2-xTB; 'dft' computes the --best ones by
    B3LYP/6-31G(2df,p), minutes each, after xtb. By default xtb if tblite is installed, else none."""

    best: Annotated[int | None, whole(1, MOST_MOLECULES, group=CHECKS)] = None
    """How many molecules --check dft computes; by default 3."""

    reward: Rewards = ()
    """What the molecules should have more of: gap, homo, lumo, mu, alpha or cv by the guide, or my_reward.py with a
    differentiable function reward(positions, types, mask), as of --cost. Give the option again for a sum, with
    weights as in '2 * mu' or '-1 * gap'. Each counts in standard deviations among draws."""

    strength: Annotated[float | None, number(0.001, 1000, group=REWARDS)] = None
    """How much the rewards count beside what keeps the atoms definite; by default 4."""

    score: Annotated[
        tuple[str, ...],
        Parameter(metavar="SCORE", group=REWARDS, negative="", allow_leading_hyphen=True),
    ] = ()
    """What the molecules should have more of, without a gradient: qed, logp, sa, rings, 'smarts: [OX2H]', the
    matches of a pattern, or by GFN2-xTB 'xtb: gap' (eV), 'xtb: dipole' (D), '-1 * xtb: strain' (eV that a relaxation
    sets free). The best of --candidates draws is taken, by default 32. Again for a sum, with weights in their own
    units, as in '-0.1 * sa'. For 'generate'."""

    unique: Annotated[bool, Parameter(negative="", group=DESIGN)] = False
    """Only molecules with different SMILES: draw on with further seeds, up to four times --count."""

    keep_broken: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False
    """Write broken molecules too: without it those that are not sound stay out of SDF and XYZ."""


@Parameter(name="*")
@dataclass(frozen=True)
class Scoring(Files):
    """What `score` understands."""

    check: Annotated[Literal["none", "xtb"], Parameter(group=CHECKS)] = "none"
    """Check without our networks: 'xtb' relaxes every molecule with GFN2-xTB, which takes less than a second each."""


@Parameter(name="*")
@dataclass(frozen=True)
class Aim(Draw):
    """What a search understands."""

    gap: Annotated[Any, _target("gap", "ENERGY")] = None
    """HOMO-LUMO gap, e.g. 5.0eV."""

    homo: Annotated[Any, _target("homo", "ENERGY")] = None
    """Energy of the highest occupied orbital, e.g. -6.5eV."""

    lumo: Annotated[Any, _target("lumo", "ENERGY")] = None
    """Energy of the lowest unoccupied orbital, e.g. 0.3eV."""

    mu: Annotated[Any, _target("mu", "DIPOLE")] = None
    """Dipole moment, e.g. 2.5D."""

    alpha: Annotated[Any, _target("alpha", "VOLUME")] = None
    """Isotropic polarisability, e.g. 75Bohr^3."""

    cv: Annotated[Any, _target("cv", "HEAT")] = None
    """Heat capacity Cv at 298.15 K, e.g. 30cal/mol/K; the full Cv, as QM9 lists it."""

    qed: Annotated[Any, _score("qed")] = None
    """Drug-likeness QED, 0 to 1."""

    logp: Annotated[Any, _score("logp")] = None
    """Octanol-water partition coefficient logP, by Wildman and Crippen."""

    sa: Annotated[Any, _score("sa")] = None
    """Synthetic accessibility, 1 (easy) to 10, by Ertl and Schuffenhauer."""

    weight: Annotated[tuple[str, ...], Parameter(group=TARGETS, negative="")] = ()
    """How much a missed target counts beside others, e.g. --weight gap=2; 1 by default, may be repeated."""

    cost: Annotated[Path | None, Parameter(group=TARGETS)] = None
    """A Python file with a function cost(positions, types, mask), one value per molecule, to be as low as possible:
    positions [b, 29, 3] in angstrom, types [b, 29, 5] the weights of H, C, N, O, F, mask [b, 29] which atoms exist.
    Differentiable, or any with --gradients 0, such as a score of RDKit. It adds to the deviations from the targets
    in tolerances, has no goal, and ends no search early: all draws and gradients are spent."""

    method: Annotated[Method | None, Parameter(group=DESIGN)] = None
    """How to search. 'search': draws alone, of which the first that hits is taken, else the best.
    'search-then-control': fewer draws, then gradients (D-Flow) from the best of them. 'control': gradients from the
    first draw. All three may take about as long. By default search, but with --cost or --gradients
    search-then-control."""

    gradients: Annotated[int | None, whole(0, MOST_GRADIENTS, group=DESIGN)] = None
    """Most gradient evaluations per attempt, of the methods with control (0: search alone); by default the
    method's."""

    seconds: Annotated[float | None, number(SHORTEST, MOST_SECONDS, group=DESIGN)] = None
    """Stop after this many seconds and keep the best so far."""

    @property
    def targets(self) -> dict[str, Asked]:
        """The properties and scores asked for, in canonical units."""
        asked = {name: getattr(self, name) for name in (*units.UNITS, *units.SCORES)}
        return {name: value for name, value in asked.items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Edited(Aim):
    """What an edit understands."""

    similarity: Annotated[float | None, number(0, 0.99, group=DESIGN)] = None
    """With 'edit', the least Tanimoto similarity to the original (Morgan fingerprints of radius 2), 0 to 0.99; by
    default 0.4. Of small molecules it falls fast: give 0.3 where little is found."""


NO_SCORING = Scoring()
NO_DRAW = Draw()
NO_AIM = Aim()
NO_EDIT = Edited()
