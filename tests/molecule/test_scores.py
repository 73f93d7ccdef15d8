"""RDKit's scores as targets: known values, and that they choose among draws only."""

from dataclasses import replace

import pytest
import torch
from by_hand import FEW, METHANE, design_quickly, embedded, state_of

from headwater.errors import Misuse
from headwater.molecule.chemistry import scores
from headwater.molecule.chemistry.scores import compute_scores, load_score
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.structure.interval import Interval
from headwater.molecule.structure.molecule import to_molecules
from headwater.molecule.targets.deviation import Grade, ScoreTargets, TargetDeviation
from headwater.molecule.targets.target import Target

pytest.importorskip("rdkit.Chem")


def test_known_values():
    """Aspirin: QED 0.55 and logP 1.31 as RDKit's own documentation and tests have them; SA 1.58 (Ertl's scale)."""
    found = compute_scores("CC(=O)Oc1ccccc1C(=O)O", ("qed", "logp", "sa"))
    assert found == pytest.approx({"qed": 0.55, "logp": 1.31, "sa": 1.58}, abs=0.01)


def test_what_is_missing_is_said(monkeypatch):
    def absent(module, extra="images"):
        raise Misuse("This needs the package rdkit.Contrib.", "Run: pip install headwater[molecules]")

    load_score.cache_clear()
    real = scores.import_optional
    monkeypatch.setattr(
        scores, "import_optional", lambda m, e="images": absent(m) if "Contrib" in m else real(m, e)
    )
    with pytest.raises(Misuse, match="without its folder Contrib"):
        load_score("sa")
    load_score.cache_clear()
    with pytest.raises(Misuse, match="cannot read the SMILES"):
        compute_scores("no smiles", ("qed",))


def test_a_score_decides_on_the_rounded_molecule():
    """Ethanol has QED 0.41, methane 0.36; what is unsound has no score."""
    broken = replace(METHANE, positions=METHANE.positions * [[1.0], [1.6], [1], [1], [1]])
    x, mask = state_of(embedded("CCO"), METHANE, broken)
    asked = ScoreTargets({"qed": Target("qed", Interval(low=0.38)).make_goal(3)}, {"qed": 2.0})
    verdict = TargetDeviation(None, mask, scores=asked).judge(x)
    assert verdict.grade.tolist() == [Grade.HIT, Grade.MISSED, Grade.UNSOUND]
    methane = compute_scores("C", ("qed",))["qed"]
    assert verdict.deviation[1].item() == pytest.approx((0.43 - methane) / 0.05, abs=1e-3)
    assert (
        verdict.value[1] == pytest.approx(2 * verdict.deviation[1].item()) and verdict.value[2] == torch.inf
    )
    part = TargetDeviation(None, mask, scores=asked).select(torch.tensor([1]))
    assert part.judge(x[1:2]).deviation.item() == verdict.deviation[1].item()


def test_draws_are_taken_until_the_score_is_met(networks):
    """The first draw of each molecule meets any score; a narrower one takes other draws, and no gradient."""
    asked = {"count": 2, "sound": True, "gradients": 0, "candidates": 12, "steps": 6, "atoms": 12}
    free = design_quickly(targets=(Target("logp", Interval(-50.0, 50.0)),), **asked)
    kept = [c.structure for c in examine(to_molecules(free.molecules))]
    above = max(compute_scores(s, ("logp",))["logp"] for s in kept if s) + 0.3
    higher = design_quickly(targets=(Target("logp", Interval(low=above)),), **asked)
    for c, reached in zip(examine(to_molecules(higher.molecules)), higher.reached.tolist(), strict=True):
        assert reached is (compute_scores(c.structure, ("logp",))["logp"] >= above)
    assert higher.gradients.tolist() == [0, 0] and not bool(higher.by_gradient.any())
    assert FEW.gradients > 0 and bool((higher.evaluations > free.evaluations).all())
