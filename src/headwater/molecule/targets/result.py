"""`Design`: what a search found, with the properties that the networks predict for it, and which of it are hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.molecule.checks.physics import Physics
from headwater.molecule.chemistry.soundness import is_sound
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.deviation import ScoreTargets
from headwater.molecule.targets.likeness import Likeness
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.target import list_asked
from headwater.optimizers.status import Status
from headwater.text import counted


@dataclass(frozen=True)
class Design:
    """Molecules and what is known of them; the first axis of every tensor is the molecule.

    Attributes
    ----------
    molecules
        With definite atoms.
    guide
        Property: what the guide predicts for `molecules`, `[b]`; alpha in Bohr^3, gap, homo and lumo in eV, mu in D,
        cv in cal/(mol K).
    evaluator
        Property: what the evaluator predicts for them, `[b]`, in the same units.
    relaxed
        Property: the guide's prediction before rounding, `[b]`, in the same units.
    status
        How the search for each ended. REACHED: the molecule is a hit by the guide; whether it is one, the evaluator
        says (`hits`). A cost has no value to reach: with one a search ends when its draws and gradients are spent,
        which is no missed goal.
    deviation
        The largest deviation from a target by the guide, in tolerances, `[b]`.
    by_gradient
        Whether the molecule is from a gradient's step, and not a draw, `[b]`.
    gradients
        Gradient evaluations, over all draws and attempts, `[b]`.
    evaluations
        Forward calls of the generator, over all draws and attempts, `[b]`.
    x0
        The source points, `[b, 29, 9]`.
    x1
        Their samples, `[b, 29, 9]`.
    fragment_rms
        How far the atoms of a fragment are from where they were given, angstrom, `[b]`; None without a fragment.
    cost
        The user's cost of the molecules, `[b]`: the lower the better; None without a cost.
    similarity
        Tanimoto's similarity to the original of an edit, `[b]`, NaN without a structure; None without an original.
    alike
        Which are as like it as was asked, and not the original itself, bool `[b]`; None without an original.
    scaffold
        Which have the Murcko scaffold of the original, bool `[b]`; None without an original.

    Examples
    --------
    >>> import headwater as hw
    >>> plain = hw.molecule.Search(steps=2, candidates=1)
    >>> found = hw.molecule.generate(2, atoms=9, recipe=plain)
    >>> found.x1.shape, found.molecules.mask.sum(1).tolist(), sorted(found.guide)
    (torch.Size([2, 29, 9]), [9, 9], ['alpha', 'cv', 'gap', 'homo', 'lumo', 'mu'])
    """

    molecules: MoleculeBatch
    guide: dict[str, Tensor]
    evaluator: dict[str, Tensor]
    relaxed: dict[str, Tensor]
    status: tuple[Status, ...]
    deviation: Tensor
    by_gradient: Tensor
    gradients: Tensor
    evaluations: Tensor
    x0: Tensor
    x1: Tensor
    fragment_rms: Tensor | None = None
    cost: Tensor | None = None
    similarity: Tensor | None = None
    alike: Tensor | None = None
    scaffold: Tensor | None = None

    @property
    def reached(self) -> Tensor:
        """Which molecules hit by the guide, which ended their search, bool `[b]`."""
        return torch.tensor([s is Status.REACHED for s in self.status])

    def hits(self, request: Request, checks: Sequence[Physics] | None = None) -> Tensor:
        """Which molecules are hits by the evaluator, bool `[b]`.

        A hit is sound (`is_sound`), its evaluator is within the tolerance of every single value and inside every
        range (RDKit judges its own scores), and no check contradicts it. The guide has no say. Without targets
        every sound molecule is what was asked for; a cost has no value to reach. An edit is to be like its original
        as well, and not the original itself.

        Parameters
        ----------
        request
            What was asked.
        checks
            One for each molecule, from `check_physics`; without them nothing is contradicted.

        Raises
        ------
        Misuse
            The request asks for another number of molecules, or there is another number of checks.

        Examples
        --------
        >>> import headwater as hw
        >>> request = hw.molecule.Request(2, atoms=9, targets=(hw.molecule.Target("gap", 7.0),))  # eV
        >>> quick = hw.molecule.Search(candidates=1)
        >>> hw.molecule.design(request, recipe=quick).hits(request).shape
        torch.Size([2])
        """
        count = len(self.molecules)
        checked = count if checks is None else len(checks)
        for what, given in (("request is for", request.count), ("checks are of", checked)):
            if given != count:
                raise Misuse(
                    f"The {what} {counted(given, 'molecule')}, and the design has {count}.",
                    "Give what belongs to this design.",
                )
        hit = is_sound(self.molecules)
        if request.original is not None:
            likeness = Likeness.to_original(request.original, count, request.similarity)
            hit = hit & likeness.accepts(self.molecules)
        goals = {t.property: t.make_goal(count) for t in request.targets}
        scored = {k: goal for k, goal in goals.items() if k not in self.evaluator}
        for k in goals.keys() - scored.keys():
            hit = hit & (goals[k].deviation(self.evaluator[k].double()) <= 1)
        for deviation in ScoreTargets(scored, {}).deviations(self.molecules).values() if scored else ():
            hit = hit & (deviation <= 1)
        if checks is None:
            return hit
        asked = list_asked(request.targets, count)
        return hit & torch.tensor([not c.notes(a) for c, a in zip(checks, asked, strict=True)])
