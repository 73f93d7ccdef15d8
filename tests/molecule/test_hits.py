"""Which molecules of a design are hits, their cards, and xTB from Python."""

from dataclasses import replace

import pytest
import torch
from by_hand import METHANE

import headwater as hw
from headwater import Misuse, Status
from headwater.molecule.checks import xtb
from headwater.molecule.targets.cards import list_checks

WATER = hw.molecule.Molecule(("O", "H", "H"), [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], (0, 0, 0))
RADICAL = hw.molecule.Molecule(("O", "H"), [[0, 0, 0], [0.97, 0, 0]], (0, 0))


def found(*molecules, gap):
    """A design of these molecules with gaps by the evaluator; the guide says 0."""
    n, x = len(molecules), torch.zeros(len(molecules), 29, 9)
    values = {k: torch.zeros(n) for k in ("alpha", "gap", "homo", "lumo", "mu", "cv")}
    return hw.molecule.Design(
        hw.molecule.to_batch(molecules), values, values | {"gap": torch.tensor(gap)}, values,
        (Status.EVALUATIONS,) * n, torch.zeros(n), torch.zeros(n, dtype=torch.bool), torch.zeros(n), torch.zeros(n),
        x, x,
    )  # fmt: skip


def ask(count, **asked):
    return hw.molecule.Request(
        count, seed=7, targets=tuple(hw.molecule.Target(k, v) for k, v in asked.items())
    )


def test_a_hit_is_sound_and_near_by_the_evaluator():
    done = found(WATER, METHANE, RADICAL, gap=[5.12, 5.14, 5.0])
    assert done.hits(ask(3, gap=5.0)).tolist() == [True, False, False]
    assert done.hits(ask(3)).tolist() == [True, True, False]
    assert done.hits(ask(3, gap=torch.tensor([9.0, 5.2, 5.0]))).tolist() == [False, True, False]
    assert done.hits(ask(3, gap=5.0, mu=3.0)).tolist() == [False] * 3


def test_a_range_is_hit_inside_and_has_no_tolerance_beyond():
    done = found(WATER, WATER, WATER, WATER, gap=[4.99, 5.01, 5.99, 6.01])
    within = hw.molecule.Interval(5.0, 6.0)
    assert done.hits(ask(4, gap=within)).tolist() == [False, True, True, False]
    assert done.hits(ask(4, gap=hw.molecule.Interval(low=5.0))).tolist() == [False, True, True, True]


def test_rdkit_judges_its_scores():
    """QED of water is 0.33, of methane 0.36."""
    done = found(WATER, METHANE, gap=[5.0, 5.0])
    assert done.hits(ask(2, qed=hw.molecule.Interval(low=0.35))).tolist() == [False, True]


def strained(kcal_mol):
    e = xtb.Electrons(-7.0, -2.0, 5.0, 1.5)
    return xtb.Relaxation(WATER, True, 5, kcal_mol / 23.0605, 0.03, False, e, e)


def test_what_a_check_contradicts_is_no_hit():
    done, request = found(WATER, WATER, gap=[6.8, 6.8]), ask(2, gap=6.8)
    checks = [hw.molecule.Physics({"gap": 6.8}, strained(strain)) for strain in (1.0, 57.0)]
    assert done.hits(request).tolist() == [True, True]
    assert done.hits(request, checks).tolist() == [True, False]
    first, second = hw.molecule.make_cards(done, request, checks)
    assert first.notes == () and second.notes == ("no hit", "strain 57 kcal/mol")
    assert [line.label for line in second.lines] == ["gap", "strain"] and second.name == "seed 8, by draw"


def test_cards_show_what_was_asked_and_leave_out_what_is_nowhere():
    nowhere = replace(WATER, positions=0 * METHANE.positions[:3])
    done = found(WATER, nowhere, gap=[5.0, 5.0])
    (card,) = hw.molecule.make_cards(done, ask(2, gap=hw.molecule.Interval(5.0, 6.0), qed=0.3))
    assert card.lines[0].values[0] == ("asked", "5..6") and [s for s, _ in card.lines[1].values] == [
        "asked",
        "RDKit",
    ]
    assert "guide" not in hw.molecule.make_cards(done, ask(2))[0].lines[0].format_values()
    priced = replace(done, cost=torch.tensor([0.5, 0.5]))
    assert hw.molecule.make_cards(priced, ask(2))[0].lines[-1].format_values() == {"function": "0.500"}


@pytest.mark.parametrize("count, checks", [(1, None), (2, [])])
def test_what_does_not_belong_together_is_refused(count, checks):
    done = found(WATER, METHANE, gap=[5.0, 5.0])
    for use in (done.hits, lambda request, c: hw.molecule.make_cards(done, request, c)):
        with pytest.raises(Misuse, match="belongs to this design"):
            use(ask(count), checks)


def test_xtb_from_python():
    pytest.importorskip("tblite")
    batch = hw.molecule.to_batch([WATER, RADICAL])
    water, radical = hw.molecule.check_physics(batch, {"gap": torch.tensor([7.0, 7.0])})
    assert water.xtb.converged and 0 <= water.strain < 1 and "bonds change" not in str(water.notes({}))
    assert water.disagreement == {"gap": pytest.approx(water.xtb_values["gap"] - 7.0)}
    assert not radical.xtb.converged and "closed shells" in radical.xtb.sentence and radical.xtb_values == {}
    assert list(list_checks(water)) == ["xTB"]
    with pytest.raises(Misuse, match="2 molecules"):
        hw.molecule.check_physics(batch, {"gap": torch.zeros(1)})
    assert hw.molecule.check_physics([]) == []


def test_the_value_of_a_cost_is_that_of_the_definite_molecule(networks):
    """Carbons are whole where atoms are definite; the search goes through weights."""

    def cost(positions, types, mask):
        return (types[..., 1] * mask).sum(1)

    quick = hw.molecule.SearchThenControl(steps=2, candidates=2, gradients=1, attempts=1)
    done = hw.molecule.design(hw.molecule.Request(2, atoms=9, cost=cost), networks, recipe=quick)
    carbons = [m.symbols.count("C") for m in hw.molecule.to_molecules(done.molecules)]
    assert done.cost.tolist() == carbons and not done.cost.requires_grad
    assert hw.molecule.generate(1, atoms=5, recipe=hw.molecule.Search(steps=2, candidates=1)).cost is None
