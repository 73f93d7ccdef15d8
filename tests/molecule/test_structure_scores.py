"""Scores of structures as rewards and costs: RDKit's values, rings and patterns of known molecules."""

import math

import pytest
import torch

import headwater as hw
from headwater.molecule.checks.xtb import relax
from headwater.molecule.io.files import read_molecules
from headwater.molecule.targets.scores import (
    ScoreCost,
    StructureScore,
    compute_score,
    score_structures,
    strain_of,
)

METHANOL = """6
methanol
C -0.0187 1.5256 0.0104
O 0.0021 -0.0039 0.0020
H 0.9949 1.9397 0.0029
H -0.5421 1.9230 -0.8651
H -0.5252 1.9140 0.9000
H -0.8900 -0.3500 0.0060
"""


@pytest.fixture
def methanol(tmp_path):
    pytest.importorskip("rdkit", reason="RDKit is not installed")
    (tmp_path / "m.xyz").write_text(METHANOL)
    return hw.molecule.to_batch(read_molecules(tmp_path / "m.xyz"))


def test_rings_and_patterns_are_counted(methanol):
    assert compute_score("rings", "C1CC2CC1CC2") == 2.0
    assert compute_score("smarts: [OX2H]", "OCCO") == 2.0 and compute_score("smarts:C#N", "CCO") == 0.0
    assert compute_score("logp", "CCO") == pytest.approx(
        -0.0014, abs=1e-4
    )  # RDKit's own example of Crippen's model


def test_a_sound_molecule_has_its_score_and_a_broken_one_none(methanol):
    assert score_structures("smarts: [OX2H]", methanol).tolist() == [1.0]
    cost = ScoreCost(((2.0, "smarts: [OX2H]"), (-1.0, "rings")))
    assert cost(methanol.positions, methanol.one_hot, methanol.mask).tolist() == [-2.0]
    far = cost(5 * methanol.positions, methanol.one_hot, methanol.mask)
    assert math.isnan(far.item())


def test_the_score_of_states_follows_its_problems():
    pytest.importorskip("rdkit", reason="RDKit is not installed")
    mask = torch.zeros(2, 29, dtype=torch.bool)
    mask[0, :3], mask[1, :5] = True, True
    score = StructureScore("rings", mask)
    assert score.select(torch.tensor([1])).mask.sum() == 5
    assert torch.isnan(score(torch.zeros(2, 29, 9))).all()


def test_xtb_scores_the_geometry(methanol):
    """The long bond between carbon and oxygen holds energy until a relaxation."""
    pytest.importorskip("tblite.interface", reason="tblite is not installed")
    relaxed = hw.molecule.to_batch([relax(m).molecule for m in hw.molecule.to_molecules(methanol)])
    strain, none = (score_structures("xtb: strain", m).item() for m in (methanol, relaxed))
    assert 0.2 < strain < 0.4 and 0 <= none < 1e-3
    assert score_structures("xtb: dipole", methanol).item() == pytest.approx(1.7, abs=0.3)  # 1.7 D, measured


def test_the_strain_of_a_relaxation_that_stopped_early_is_unknown(methanol):
    """Its energy is too small, and a search for little strain would prefer it."""
    pytest.importorskip("tblite.interface", reason="tblite is not installed")
    (m,) = hw.molecule.to_molecules(methanol)
    short, long = relax(m, limit=2), relax(m)
    assert 0 < short.energy_drop_ev < long.energy_drop_ev and not short.converged
    assert math.isnan(strain_of(short)) and strain_of(long) == long.energy_drop_ev


@pytest.mark.parametrize("name", ["qedd", "smarts: [[", "smarts:", "xtb: charm"])
def test_other_scores_are_refused(name):
    pytest.importorskip("rdkit", reason="RDKit is not installed")
    with pytest.raises(hw.Misuse):
        StructureScore(name, torch.ones(1, 29, dtype=torch.bool))
