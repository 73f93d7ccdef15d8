"""Design molecules: from what is asked to molecules with their predicted properties, by D-Flow.

    pose      the request as a problem on the generator's flow: a cost, and a deviation that ends the search
    solve     a recipe: search, by draws, or with control (`search.py`)
    finish    the states rounded to molecules, a fragment where it was given
    predict   their properties

The guide (a regressor trained on half_b) is all that the search sees; the evaluator (half_a) judges the rounded
molecules and never guides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.watched import Check
from headwater.molecule.model.models import Networks
from headwater.molecule.model.prediction import predict, predict_batch
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.molecule import Molecule, select_atoms, sort_atoms
from headwater.molecule.structure.state import MoleculeBatch, atom_mask, relaxed_types, round_state
from headwater.molecule.targets.conditioned import find_known_part
from headwater.molecule.targets.cost import PropertyCost, RoundingPenalty, UserCost, UserFunction
from headwater.molecule.targets.deviation import ScoreTargets, TargetDeviation
from headwater.molecule.targets.edit import EditSearch
from headwater.molecule.targets.flow import molecule_flow
from headwater.molecule.targets.likeness import Likeness
from headwater.molecule.targets.objective import DesignObjective
from headwater.molecule.targets.record import SearchResult
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.result import Design
from headwater.molecule.targets.search import Search, SearchThenControl
from headwater.molecule.targets.sizes import draw_atoms
from headwater.optimizers.status import Status
from headwater.problem.cost import Cost, WeightedSum
from headwater.recipes.recipe import RecipeOptions

FREE = Search(steps=12, candidates=8, renormalise=False)
"""The recipe of `generate`: finer solves, and the first sound draw is taken."""


@dataclass(frozen=True)
class DesignProblem:
    """A request posed on the generator's flow, ready for a recipe."""

    flow: Flow
    misfit: DesignObjective
    recipe: SearchThenControl = field(default_factory=Search)

    def solve(
        self,
        seeds: Sequence[int],
        *,
        recipe: SearchThenControl | None = None,
        options: RecipeOptions | None = None,
    ) -> SearchResult:
        """The molecules that the recipe finds, as states; one seed each."""
        return (recipe or self.recipe)(self.flow, self.misfit, seeds, options=options)


@dataclass(frozen=True)
class DesignTask:
    """What is asked of molecules, in the shape of every domain: `pose` a problem on a model, `finish` a sample.

    Parameters
    ----------
    request
        What is asked.
    rounding_weight
        Of the penalty on types that are not definite, beside that of the targets
        (benchmarks/decisions/results/molecule_pareto.md).
    check
        Asked before every evaluation of the generator, see `watch_flow`.
    """

    request: Request
    rounding_weight: float = 1.0
    check: Check | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rounding_weight < float("inf"):
            raise Misuse(f"rounding_weight is {self.rounding_weight}.", "Give 0 or a positive number.")

    @property
    def atoms(self) -> Tensor:
        """The number of atoms of each molecule, `[count]`: as asked, or drawn to fit the targets."""
        r = self.request
        if r.original is not None:
            return torch.full((r.count,), len(r.original))
        if r.formula is not None:
            return torch.full((r.count,), sum(r.formula.values()))
        if r.atoms is not None:
            return torch.as_tensor(r.atoms).expand(r.count)
        drawn = draw_atoms(r.seeds, r.targets)
        return drawn if r.fragment is None else drawn.clamp(min=len(r.fragment) + 2, max=MAX_ATOMS)

    @property
    def order(self) -> Tensor:
        """Which atom of a molecule as given each row of a state is, `[29]`: a fragment's atoms are sorted.

        So the order of the atoms in a file changes nothing: noise belongs to rows.
        """
        order, fragment = torch.arange(MAX_ATOMS), self.request.fragment
        if fragment is not None:
            order[: len(fragment)] = torch.from_numpy(sort_atoms(fragment))
        return order

    def pose(self, model: Networks) -> DesignProblem:
        """The request on these networks: the flow of its molecules, the cost of their targets, their deviation."""
        r, mask = self.request, atom_mask(self.atoms)
        if r.fragment is not None:
            r = replace(r, fragment=select_atoms(r.fragment, self.order[: len(r.fragment)].numpy()))
        weights = {t.property: t.weight for t in r.targets}
        guided, scored = (
            {t.property: t.make_goal(r.count) for t in r.targets if t.by_guide() is whose}
            for whose in (True, False)
        )
        properties = PropertyCost(model.guide, guided, weights, mask) if guided else None
        scores = ScoreTargets(scored, weights) if scored else None
        user = None if r.cost is None else UserCost(r.cost, mask)
        terms: list[tuple[float, Cost]] = [(self.rounding_weight, RoundingPenalty(mask))]
        terms += [(1.0, cost) for cost in (properties, user) if cost is not None]
        likeness = None if r.original is None else Likeness.to_original(r.original, r.count, r.similarity)
        deviation = TargetDeviation(properties, mask, r.sound, user, scores, likeness=likeness)
        flow = molecule_flow(model.generator, self.atoms, find_known_part(r, mask), self.check)
        objective = DesignObjective(WeightedSum(tuple(terms)), deviation, bounded=user is None)
        return DesignProblem(flow, objective, choose_recipe(r))

    def restore_order(self, x: Tensor) -> Tensor:
        """States `[count, 29, 9]` with the atoms of a fragment in the order in which they were given."""
        return x[:, self.order.argsort()]

    def finish(self, x1: Tensor) -> MoleculeBatch:
        """The molecules of states `[count, 29, 9]`: rounded, and a fragment back where and as it was given."""
        m = round_state(self.restore_order(x1), atom_mask(self.atoms))
        return m if self.request.fragment is None else _move_to_fragment(m, self.request.fragment)


def choose_recipe(request: Request) -> SearchThenControl:
    """How a request is searched for: among edits, by draws alone, or with control for a cost of the user's."""
    if request.original is not None:
        return EditSearch()
    return Search() if request.cost is None else SearchThenControl()


def design(
    request: Request,
    networks: Networks | None = None,
    *,
    recipe: SearchThenControl | None = None,
    rounding_weight: float = 1.0,
    callback: Callback | None = None,
    check: Check | None = None,
    solver: Callable[..., SearchResult] = DesignProblem.solve,
) -> Design:
    """Molecules that meet the request, each for itself; what missed is tried again from other noise.

    Parameters
    ----------
    request
        What is asked.
    networks
        By default those that come with Headwater.
    recipe
        How to search; by default `Search()`, with a cost `SearchThenControl()`.
    rounding_weight
        Of the penalty on types that are not definite, 0 or more.
    callback
        Sees every round of evaluations, draws as round 0; ends the run by returning a `Status`.
    check
        Asked before every evaluation of the generator; ends the run, too, by returning a `Status`.
    solver
        What solves the problem, `solver(problem, seeds, recipe=..., options=...)`: by default at once and alone. A
        batch of jobs searches for the molecules of several together.

    Returns
    -------
    found
        The molecules, what both networks predict for them, `[count]` each, and the states `[count, 29, 9]`.

    Raises
    ------
    Ended
        `check` ended the run before every molecule had its first draw.
    Misuse
        The weight is negative or infinite.

    Examples
    --------
    >>> import headwater as hw
    >>> request = hw.molecule.Request(1, atoms=5, targets=(hw.molecule.Target("gap", 7.0),))  # eV
    >>> quick = hw.molecule.Search(candidates=1)  # one draw
    >>> found = hw.molecule.design(request, recipe=quick)
    >>> found.x1.shape, found.guide["gap"].shape, found.gradients.tolist()
    (torch.Size([1, 29, 9]), torch.Size([1]), [0])
    """
    task, networks = DesignTask(request, rounding_weight, check), networks or Networks.load()
    problem = task.pose(networks)
    options = RecipeOptions(callback=callback)
    result = solver(problem, request.seeds, recipe=recipe, options=options)
    m, likeness = task.finish(result.x1), problem.misfit.deviation.likeness
    centred = round_state(result.x1, m.mask)  # as in training; a fragment's place changes no property
    with torch.no_grad():
        relaxed = predict(networks.guide, result.x1[..., :3], relaxed_types(result.x1), m.mask)
    return Design(
        molecules=m,
        guide=predict_batch(networks.guide, centred),
        evaluator=predict_batch(networks.evaluator, centred),
        relaxed=relaxed,
        status=result.status,
        deviation=result.measure,
        by_gradient=result.by_gradient,
        gradients=result.gradients,
        evaluations=result.evaluations,
        x0=task.restore_order(result.x0),
        x1=task.restore_order(result.x1),
        cost=None if request.cost is None else _evaluate_cost(request.cost, centred, result.status),
        fragment_rms=None if request.fragment is None else _fragment_rms(m, request.fragment),
        similarity=None if likeness is None else likeness.similarity(m),
        alike=None if likeness is None else likeness.accepts(m),
        scaffold=None if likeness is None else likeness.keeps_scaffold(m),
    )


def generate(
    count: int,
    seed: int = 0,
    *,
    atoms: int | Tensor | None = None,
    formula: Mapping[str, int] | None = None,
    recipe: SearchThenControl | None = None,
    callback: Callback | None = None,
    networks: Networks | None = None,
) -> Design:
    """Draws from the flow, no property asked for: of each molecule up to `recipe.candidates`, until one is sound.

    One candidate is a plain draw, whatever it is. With more, easy molecules are more frequent than in the model, as
    unsound draws are dropped. With a formula the draws are led to it, see `conditioned.ConditionedVelocity`.

    Parameters
    ----------
    count
        How many molecules.
    seed
        Of the first; molecule i has `seed + i`.
    atoms
        The number of atoms, hydrogens included, 2 to 29: one for all, or a tensor `[count]`. By default drawn as in
        QM9.
    formula
        Element: number of atoms, the same for all molecules.
    recipe
        How to draw; by default `Search(steps=12, candidates=8, renormalise=False)`.
    callback
        Sees the draws; ends the run by returning a `Status`.
    networks
        By default those that come with Headwater.

    Returns
    -------
    found
        The molecules, and what both networks predict for them, `[count]` each.

    Raises
    ------
    Misuse
        As `Request`: no molecule, no such size or formula, or atoms and formula that disagree.

    Examples
    --------
    >>> import headwater as hw
    >>> found = hw.molecule.generate(1, atoms=9, recipe=hw.molecule.Search(steps=2, candidates=1))
    >>> found.x1.shape, len(hw.molecule.to_molecules(found.molecules)[0])
    (torch.Size([1, 29, 9]), 9)
    """
    recipe = recipe or FREE
    request = Request(count, seed, atoms=atoms, formula=formula, sound=recipe.candidates > 1)
    return design(request, networks, recipe=recipe, callback=callback)


def score(
    batch: MoleculeBatch, networks: Networks | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The six properties of given molecules by the guide and by the evaluator.

    Parameters
    ----------
    batch
        The molecules: positions `[b, n, 3]`, angstrom; none is fine, too.
    networks
        By default those that come with Headwater.

    Returns
    -------
    guide, evaluator
        Property: values `[b]`; alpha in Bohr^3, gap, homo and lumo in eV, mu in D, cv in cal/(mol K).

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    >>> methane = hw.molecule.Molecule(("C",) + 4 * ("H",), np.concatenate([[[0, 0, 0]], 0.63 * corners]), (0,) * 5)
    >>> guide, evaluator = hw.molecule.score(hw.molecule.to_batch([methane]))
    >>> sorted(guide), guide["gap"].shape
    (['alpha', 'cv', 'gap', 'homo', 'lumo', 'mu'], torch.Size([1]))
    """
    networks = networks or Networks.load()
    return predict_batch(networks.guide, batch), predict_batch(networks.evaluator, batch)


def _evaluate_cost(cost: UserFunction, m: MoleculeBatch, status: tuple[Status, ...]) -> Tensor:
    """The user's cost of molecules as the search saw them, `[b]`; NaN of those that were never finite."""
    seen = torch.tensor([i for i, s in enumerate(status) if s is not Status.DIVERGED], dtype=torch.long)
    values = torch.full((len(m),), torch.nan, dtype=torch.float64)
    if len(seen):
        with torch.no_grad():
            part = UserCost(cost, m.mask).select(seen).evaluate_batch(m.select(seen))
        values[seen] = part.double()
    return values


def _move_to_fragment(m: MoleculeBatch, fragment: Molecule) -> MoleculeBatch:
    """The molecules moved so that the fragment, their first atoms, lies where it was given."""
    given = _positions(fragment)
    moved = m.positions + given.mean(0) - m.positions[:, : len(given)].mean(1, keepdim=True)
    return replace(m, positions=moved * m.mask[..., None])


def _fragment_rms(m: MoleculeBatch, fragment: Molecule) -> Tensor:
    """How far the first atoms of the molecules are from the fragment's, angstrom, `[b]`."""
    given = _positions(fragment)
    return (m.positions[:, : len(given)] - given).square().sum(-1).mean(1).sqrt()


def _positions(m: Molecule) -> Tensor:
    return torch.from_numpy(np.asarray(m.positions)).float()
