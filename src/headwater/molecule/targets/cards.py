"""From a `Design` to the cards that sheet and page show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.molecule.checks.physics import Physics
from headwater.molecule.chemistry.scores import compute_scores
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.io.card import Card, Line
from headwater.molecule.structure import units
from headwater.molecule.structure.interval import Asked, Interval
from headwater.molecule.structure.molecule import has_coordinates, to_molecules
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.result import Design
from headwater.molecule.targets.target import list_asked

Values = Mapping[str, float | None]


def make_cards(found: Design, request: Request, checks: Sequence[Physics] | None = None) -> list[Card]:
    """Cards of the molecules of a design, as the command line shows them, for `write_sheet` and `write_page`.

    A card has a line for each target, or for all six properties where there is none: what was asked, what guide and
    evaluator predict, and what the checks found. Its notes say what is no hit, and what contradicts it.

    Parameters
    ----------
    found
        Of the first molecule on; states `[b, 29, 9]`. One without coordinates has no card.
    request
        What was asked.
    checks
        One for each molecule, from `check_physics`.

    Returns
    -------
    cards
        In the order of the molecules.

    Raises
    ------
    Misuse
        The request asks for another number of molecules, or there is another number of checks.

    Examples
    --------
    >>> import headwater as hw
    >>> request = hw.molecule.Request(1, atoms=9, targets=(hw.molecule.Target("gap", 7.0),))  # eV
    >>> quick = hw.molecule.Search(candidates=1)
    >>> (card,) = hw.molecule.make_cards(hw.molecule.design(request, recipe=quick), request)
    >>> card.name, list(card.lines[0].format_values())
    ('seed 0, by draw', ['asked', 'guide', 'evaluator'])
    """
    hits = found.hits(request, checks)  # refuses what does not belong together
    asked = list_asked(request.targets, request.count)
    molecules = to_molecules(found.molecules)
    cards = []
    for i, (m, seed) in enumerate(zip(molecules, request.seeds, strict=True)):
        if not has_coordinates(m):
            continue
        (chemistry,), physics = examine([m]), None if checks is None else checks[i]
        scored = [name for name in asked[i] if name in units.SCORES]
        structure = chemistry.structure
        scores = compute_scores(structure, scored) if structure is not None and scored else {}
        guide, evaluator = (
            {k: float(v[i]) for k, v in values.items()} for values in (found.guide, found.evaluator)
        )
        lines = [
            make_line(name, asked[i].get(name), guide, evaluator, scores, list_checks(physics))
            for name in asked[i] or found.evaluator
        ]
        if found.cost is not None:
            lines.append(make_cost_line(float(found.cost[i])))
        if physics is not None and physics.xtb is not None:
            lines.append(make_strain_line(physics.strain))
        notes = (["no hit"] if asked[i] and not hits[i] else []) + [*chemistry.notes]
        notes += [] if physics is None else physics.notes(asked[i])
        by = "gradient" if found.by_gradient[i] else "draw"
        cards.append(Card(m, f"seed {seed}, by {by}", tuple(lines), tuple(notes)))
    return cards


def make_line(
    property: str,
    asked: Asked | None,
    guide: Values,
    evaluator: Values,
    scores: Values,
    checks: Mapping[str, Values],
) -> Line:
    """A property by its sources; the guide's prediction beside what was asked only, as it led there.

    >>> make_line("gap", 5.0, {"gap": 5.01}, {"gap": 5.1}, {}, {"xTB": {"gap": 5.4}}).format_values()
    {'asked': '5.00', 'guide': '5.01', 'evaluator': '5.10', 'xTB': '5.40'}
    """
    values: list[tuple[str, float | str | None]] = []
    if asked is not None:
        values.append(("asked", str(asked) if isinstance(asked, Interval) else asked))
    if property in units.SCORES:
        return Line(property, "", (*values, ("RDKit", scores.get(property))))
    if asked is not None:
        values.append(("guide", guide.get(property)))
    values.append(("evaluator", evaluator.get(property)))
    values += [(name, found.get(property)) for name, found in checks.items()]
    return Line(property, units.UNITS[property], tuple(values))


def make_cost_line(cost: float | None) -> Line:
    """The user's cost of a molecule."""
    return Line("cost", "", (("function", cost),))


def make_strain_line(strain: float | None) -> Line:
    """The energy that xTB's relaxation sets free, kcal/mol."""
    return Line("strain", "kcal/mol", (("xTB", strain),))


def list_checks(physics: Physics | None) -> dict[str, Values]:
    """The checks that were made, by name: gap, HOMO, LUMO and dipole; xTB's on the scale of B3LYP."""
    if physics is None:
        return {}
    made = {"xTB": (physics.xtb, physics.xtb_values), "DFT": (physics.dft, physics.dft_values)}
    names = ("gap", "homo", "lumo", "mu")
    return {
        name: {k: values.get(k) for k in names} for name, (check, values) in made.items() if check is not None
    }
