"""From options and files to a `DesignJob`: what is asked of which molecules, checked before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.cli.molecule.checks import choose_check
from headwater.cli.molecule.cost import FileCost, load_cost
from headwater.cli.molecule.design_job import DesignJob
from headwater.cli.molecule.files import name_files
from headwater.cli.molecule.options import Aim, Draw, Edited, Method
from headwater.cli.molecule.progress import DesignWatch
from headwater.cli.molecule.rewards import read_rewards, read_scores
from headwater.errors import Misuse, suggest
from headwater.extras import import_optional
from headwater.molecule.chemistry.scores import load_score
from headwater.molecule.chemistry.stability import is_sound_by_table
from headwater.molecule.io.files import read_molecules
from headwater.molecule.structure import formula, units
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.interval import Asked, Interval, as_interval, format_asked
from headwater.molecule.structure.molecule import Molecule, check_molecule, to_batch
from headwater.molecule.targets.design import FREE
from headwater.molecule.targets.edit import EditSearch
from headwater.molecule.targets.likeness import find_structure
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import METHODS, Search, SearchThenControl
from headwater.molecule.targets.sizes import load_ranges
from headwater.molecule.targets.target import TOLERANCE, Target, as_asked

SCORED_DRAWS = 32
"""Draws of which --score takes the best: for rough scores no search did better (benchmarks/results/blackbox.md)."""


@dataclass(frozen=True)
class Refusals:
    """What is refused although it can be computed.

    Parameters
    ----------
    closest
        Atoms nearer than this, angstrom, do not belong to a molecule: the bond of H2 has 0.74.
    slack
        How far gap and LUMO - HOMO may differ as asked, eV.
    """

    closest: float = 0.4
    slack: float = 0.05


def generate_job(o: Draw) -> DesignJob:
    """Molecules with no target; one candidate is taken as it is, sound or not."""
    if o.score:
        if o.reward:
            raise Misuse("Both --reward and --score say what molecules should be like.", "Give one of them.")
        request = replace(_make_request(o), cost=read_scores(o.score))
        recipe = _change_recipe(Search(candidates=SCORED_DRAWS), o)
        return _make_job("generate", request, recipe, o, o.output or Path("molecules.sdf"))
    recipe = _change_recipe(SearchThenControl() if o.reward else FREE, o)
    request = replace(_make_request(o), sound=recipe.candidates > 1)
    return _make_job("generate", request, recipe, o, o.output or Path("molecules.sdf"))


def target_job(o: Aim) -> DesignJob:
    """Molecules with given properties, or of little cost."""
    _refuse_score(o)
    if not o.targets and o.cost is None and not o.reward:
        raise Misuse(
            "Nothing says what to aim at.",
            "Give a target with its unit, e.g. --gap 5.0eV, or --cost FILE.py.",
        )
    request = _aim_request(o)
    return _make_job("target", request, _make_recipe(o), o, o.output or Path("hits.sdf"))


def grow_job(path: Path, o: Aim) -> DesignJob:
    """Molecules around a fragment."""
    _refuse_score(o)
    fragment = read_fragment(path)
    output = o.output or path.with_name(f"{path.stem}-grow.sdf")
    request = replace(_aim_request(o), fragment=fragment)
    return _make_job("grow", request, _make_recipe(o), o, output, fragment=path)


def edit_job(path: Path, o: Edited) -> DesignJob:
    """Molecules like the one of a file, with other properties."""
    for option, given in (("--atoms", o.atoms), ("--formula", o.formula)):
        if given is not None:
            raise Misuse(
                f"An edit has the atoms of its original in number, and {option} is given.", "Leave it out."
            )
    if o.method not in (None, "search") or o.gradients:
        raise Misuse("An edit is searched for by draws.", "Leave --method and --gradients out.")
    if not o.targets and o.cost is None and not o.reward and not o.score:
        raise Misuse(
            "Nothing says what to change.", "Give a target with its unit, e.g. --gap 5.0eV, or a --reward."
        )
    if o.score and (o.reward or o.cost is not None):
        raise Misuse("--score, --reward and --cost each say what to have more of.", "Give one of them.")
    o = replace(o, method="search", gradients=None)
    original = read_original(path)
    request = replace(_aim_request(o), original=original)
    request = request if o.similarity is None else replace(request, similarity=o.similarity)
    request = request if not o.score else replace(request, cost=read_scores(o.score))
    output = o.output or path.with_name(f"{path.stem}-edit.sdf")
    return _make_job("edit", request, _change_recipe(EditSearch(), o), o, output, fragment=path)


def read_original(path: Path) -> Molecule:
    """The one molecule of a file, if it can be edited.

    Raises
    ------
    Misuse
        The file cannot be read or has several molecules, the models cannot hold it, or it is not sound.
    """
    found = read_molecules(path)
    if len(found) != 1:
        raise Misuse(f"{path} has {len(found)} molecules.", "Give a file with the one that is to be edited.")
    original = found[0] if found[0].name else replace(found[0], name=path.name)
    check_molecule(original)
    import_optional("rdkit.Chem", "molecules")
    find_structure(original)
    return original


def _refuse_score(o: Aim) -> None:
    """A score has no value to reach, and its draws belong to free molecules."""
    if o.score:
        raise Misuse("A --score goes with 'molecule generate' only.", "Give a target such as --qed '>0.6'.")


def _make_job(
    command: str,
    request: Request,
    recipe: SearchThenControl,
    o: Draw,
    output: Path,
    *,
    fragment: Path | None = None,
) -> DesignJob:
    """The job of a request, whose files and packages are there."""
    cost, seconds = (o.cost, o.seconds) if isinstance(o, Aim) else (None, None)
    if o.reward and cost is not None:
        raise Misuse("Both --reward and --cost say what molecules should be like.", "Give one of them.")
    inputs = tuple(path for path in (fragment, cost) if path is not None)
    outputs = name_files(output, inputs, overwrite=o.overwrite)
    for module in ("rdkit.Chem", "PIL.ImageFont"):
        import_optional(module, "molecules")
    check = choose_check(o.check)
    for score in (t.property for t in request.targets if not t.by_guide()):
        load_score(score)
    part = "fragment" if request.original is None else "original"
    settings = {} if fragment is None else {part: str(fragment)}
    methods = {"method": _choose_method(o)} if isinstance(o, Aim) else {}
    differentiated = not (isinstance(o, Aim) and _choose_method(o) == "search")
    rewards = read_rewards(o.reward, gradients=differentiated)
    return DesignJob(
        command=f"molecule {command}",
        inputs=inputs,
        settings={**settings, **_list_settings(o), **methods, "check": check},
        report=outputs.report,
        warnings=(
            *_warn_of_size(request),
            *_warn_of_range(request.targets),
            *_warn_of_functions(request, rewards),
        ),
        watch=DesignWatch(command, seconds=seconds, quiet=o.quiet),
        overwrite=o.overwrite,
        quiet=o.quiet,
        request=request,
        recipe=recipe,
        outputs=outputs,
        title=_make_title(command, request, fragment),
        check=check,
        best=o.best or DesignJob.best,
        unique=o.unique,
        broken=o.keep_broken or not request.sound,
        rewards=rewards,
        strength=o.strength or DesignJob.strength,
    )


def _make_request(o: Draw) -> Request:
    """What is asked of any molecules: how many, and which atoms."""
    if o.strength is not None and not o.reward:
        raise Misuse("Nothing is rewarded, so there is no strength.", "Give a --reward.")
    if o.best is not None and o.check != "dft":
        raise Misuse("--best says how many molecules DFT computes.", "Give --check dft as well.")
    if o.atoms is not None and o.formula is not None:
        raise Misuse("Both --atoms and --formula say how many atoms there are.", "Give one of them.")
    counts = None if o.formula is None else formula.parse_formula(o.formula)
    return Request(o.count, o.seed, atoms=o.atoms, formula=counts)


def _aim_request(o: Aim) -> Request:
    """The request with its targets and its cost."""
    request = _make_request(o)
    _check_orbitals(o.targets)
    weights = read_weights(o.weight, o.targets)
    targets = tuple(Target(name, value, weights[name]) for name, value in o.targets.items())
    cost = None if o.cost is None else load_cost(o.cost, gradients=_choose_method(o) != "search")
    return replace(request, targets=targets, cost=cost)


def _choose_method(o: Aim) -> Method:
    """The method as named; else search, unless a cost or --gradients asks for control as well.

    >>> _choose_method(Aim(gap=5.0)), _choose_method(Aim(gap=5.0, gradients=4))
    ('search', 'search-then-control')
    """
    wished = o.cost is not None or bool(o.reward)
    control = bool(o.gradients) or (wished and o.gradients is None)
    return o.method or ("search-then-control" if control else "search")


def _make_recipe(o: Aim) -> SearchThenControl:
    """The recipe of the method, with what the options change in it."""
    method = _choose_method(o)
    control = method != "search"
    if control and o.cost is None and not o.reward and o.targets and not set(o.targets) & set(units.UNITS):
        option = "--gradients" if o.gradients else "--method"
        raise Misuse(
            "Only RDKit's scores are asked for, to which no gradient leads.",
            f"Leave {option} out, or add a target such as --gap 5.0eV.",
        )
    if o.gradients and not control:
        raise Misuse(
            "A search takes no gradients.", "Leave --gradients out, or give --method search-then-control."
        )
    if o.gradients == 0 and control:
        raise Misuse("Control takes gradients, and --gradients is 0.", "Give --method search.")
    if method == "control" and o.candidates not in (None, 1):
        raise Misuse(
            "Control starts from one draw.", "Leave --candidates out, or give --method search-then-control."
        )
    return _change_recipe(METHODS[method](), o)


def _change_recipe(recipe: SearchThenControl, o: Draw) -> SearchThenControl:
    """The recipe with what the options change in it."""
    given = {name: getattr(o, name, None) for name in ("steps", "gradients", "candidates")}
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def read_fragment(path: Path) -> Molecule:
    """The one molecule of a file, if the models can hold it.

    Raises
    ------
    Misuse
        The file cannot be read or has several molecules; there is an unknown element, two atoms in one place,
        or more atoms than fit beside one that grows; or no atom has a bond to give.
    """
    found = read_molecules(path)
    if len(found) != 1:
        raise Misuse(f"{path} has {len(found)} molecules.", "Give a file with one fragment.")
    fragment = found[0] if found[0].name else replace(found[0], name=path.name)
    check_molecule(fragment, max(MAX_ATOMS - 1, 1))
    apart = np.linalg.norm(fragment.positions[:, None] - fragment.positions[None], axis=-1)
    apart[np.diag_indices(len(fragment))] = np.inf
    if apart.min() < Refusals.closest:
        raise Misuse(
            f"Two atoms of {path} are {apart.min():.2g} angstrom apart.", "Give 3-D coordinates in angstrom."
        )
    if bool(is_sound_by_table(to_batch([fragment]))[0]):
        raise Misuse(
            f"{path} is a whole molecule, to which nothing can be bound.",
            "Take away a hydrogen where it is to grow.",
        )
    return fragment


def read_weights(words: tuple[str, ...], targets: Mapping[str, Asked]) -> dict[str, float]:
    """The weight of every target from words such as 'gap=2' or 'gap=2,mu=0.5'; 1 where none is given.

    >>> read_weights(("gap=2",), {"gap": 5.0, "mu": 1.0})
    {'gap': 2.0, 'mu': 1.0}
    """
    weights = dict.fromkeys(targets, 1.0)
    for word in (part for text in words for part in text.split(",")):
        name, _, text = word.partition("=")
        name = name.strip()
        if name not in TOLERANCE:
            raise Misuse(f"--weight {word} names no property.", suggest(name, TOLERANCE))
        if name not in targets:
            raise Misuse(f"--weight {word} weighs a property without a target.", f"Give --{name} as well.")
        try:
            weights[name] = float(text)
        except ValueError:
            weights[name] = math.nan
        if not 0 < weights[name] < math.inf:
            raise Misuse(f"--weight {word} is not a weight.", f"Give a positive number, as in {name}=2.")
    return weights


def _warn_of_range(targets: tuple[Target, ...]) -> tuple[str, ...]:
    """A sentence for every target outside of what nearly all of QM9 has."""
    ranges = load_ranges() if targets else {}
    return tuple(
        f"--{t.property} {format_asked(t.property, as_asked(t))} is outside QM9, where 99.8 % of the molecules have "
        f"{units.format_number(t.property, ranges[t.property][0])} to "
        f"{units.format_quantity(t.property, ranges[t.property][1])}; the networks guess there."
        for t in targets
        if t.by_guide() and not as_interval(as_asked(t)).overlaps(*ranges[t.property])
    )


def _warn_of_size(request: Request) -> tuple[str, ...]:
    """A sentence if the formula has more heavy atoms than QM9."""
    sentence = None if request.formula is None else formula.size_warning(request.formula)
    return () if sentence is None else (sentence,)


def _warn_of_functions(request: Request, rewards: Mapping[str, tuple[float, Any]]) -> tuple[str, ...]:
    """What was seen when the cost of a file, and rewards of files, were tried."""
    functions = (request.cost, *(reward for _, reward in rewards.values()))
    return tuple(s for function in functions if isinstance(function, FileCost) for s in function.warnings)


def _check_orbitals(targets: Mapping[str, Asked]) -> None:
    """Refuse orbitals that contradict each other: the gap is LUMO - HOMO."""
    if not {"homo", "lumo"} <= set(targets):
        return
    homo, lumo, gap = (as_interval(targets.get(name, Interval(low=0.0))) for name in ("homo", "lumo", "gap"))
    least, most = lumo.low - homo.high, lumo.high - homo.low
    if most < 0:
        raise Misuse("--homo is above --lumo.", "Give a LUMO that is higher than the HOMO.")
    if "gap" in targets and not gap.overlaps(least - Refusals.slack, most + Refusals.slack):
        apart = units.format_quantity("gap", least if gap.high < least else most)
        raise Misuse(
            f"--homo and --lumo are {apart} apart, and --gap asks for {format_asked('gap', targets['gap'])}.",
            "Leave one of the three out, or make them agree.",
        )


def _make_title(command: str, request: Request, fragment: Path | None) -> str:
    """The title of sheet and page."""
    asked = ", ".join(f"{t.property} {format_asked(t.property, as_asked(t))}" for t in request.targets)
    what = {
        "generate": "Generated molecules",
        "target": "Molecules",
        "grow": "Molecules grown",
        "edit": "Edits",
    }[command]
    if fragment is not None:
        what += f" {'of' if command == 'edit' else 'from'} {fragment.name}"
    return f"{what}: {asked} asked" if asked else what


def _list_settings(o: Draw) -> dict[str, Any]:
    """The options as the report repeats them; targets and weights have a place of their own."""
    left_out = {"output", "overwrite", "quiet", "weight", *TOLERANCE}
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(o).items() if k not in left_out}
