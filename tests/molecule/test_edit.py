"""Edits of a molecule: what is like the original, the noise that fits it, and a search among edits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from headwater.errors import Misuse
from headwater.molecule.chemistry.similarity import compute_similarity, find_scaffold
from headwater.molecule.structure.molecule import Molecule, to_batch
from headwater.molecule.structure.state import atom_mask, encode_state, round_state
from headwater.molecule.targets.design import DesignTask, choose_recipe
from headwater.molecule.targets.deviation import Grade, TargetDeviation
from headwater.molecule.targets.edit import EditSearch
from headwater.molecule.targets.likeness import Likeness
from headwater.molecule.targets.objective import DesignObjective
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import Search

pytest.importorskip("rdkit")
Chem, AllChem = pytest.importorskip("rdkit.Chem"), pytest.importorskip("rdkit.Chem.AllChem")


def embedded(smiles):
    m = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(m, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(m, maxIters=2000)
    symbols = tuple(a.GetSymbol() for a in m.GetAtoms())
    return Molecule(symbols, m.GetConformer().GetPositions(), (0,) * len(symbols), smiles)


def states(*smiles):
    m = to_batch([embedded(s) for s in smiles])
    return encode_state(m.positions, m.types, m.charges, m.mask), m


PHENOL = embedded("Oc1ccccc1")


def test_similarity_is_tanimotos_of_the_bits_that_both_have():
    a, b = "Oc1ccccc1", "Nc1ccccc1"
    make = pytest.importorskip("rdkit.Chem.rdFingerprintGenerator").GetMorganGenerator(radius=2, fpSize=2048)
    mine, other = (set(make.GetFingerprint(Chem.MolFromSmiles(s)).GetOnBits()) for s in (a, b))
    assert compute_similarity(a, b) == pytest.approx(len(mine & other) / len(mine | other))
    assert compute_similarity(a, b) == compute_similarity(b, a) < 1 == compute_similarity(a, a)


def test_the_scaffold_is_rings_and_links_without_stereo():
    assert find_scaffold("C[C@H]1CC[C@@H](O)C1") == find_scaffold("C1CCCC1")
    assert find_scaffold("c1ccccc1CC1CC1") != find_scaffold("c1ccccc1C1CC1")
    with pytest.raises(Misuse, match="cannot read"):
        find_scaffold("C1CC")


def test_accepted_is_what_is_like_the_original_and_not_the_original():
    _, m = states("Oc1ccccc1", "Nc1ccccc1", "CCCO", "Fc1ccccc1")
    likeness = Likeness.to_original(PHENOL, 4, 0.35)
    found = likeness.similarity(m)
    assert found[0] == 1 and found[1] > 0.35 > found[2]
    assert likeness.accepts(m).tolist() == [False, True, False, bool(found[3] >= 0.35)]
    assert likeness.keeps_scaffold(m).tolist() == [True, True, False, True]
    assert not Likeness.to_original(PHENOL, 4, 0.99).accepts(m).any()


def test_a_stereoisomer_is_the_original():
    first, second = (embedded(s) for s in ("C[C@H](N)CO", "C[C@@H](N)CO"))
    assert not Likeness.to_original(first, 1, 0.0).accepts(to_batch([second])).any()


def test_what_is_unlike_is_no_hit_and_worse_than_what_missed():
    x, m = states("Oc1ccccc1", "Nc1ccccc1", "CCCO")
    alone = TargetDeviation(None, m.mask)
    assert alone.judge(x).grade.tolist() == [Grade.HIT] * 3
    near = replace(alone, likeness=Likeness.to_original(PHENOL, 3, 0.35))
    assert near.judge(x).grade.tolist() == [Grade.UNLIKE, Grade.HIT, Grade.UNLIKE]
    assert near(x).isinf().tolist() == [True, False, True]
    assert Grade.MISSED < Grade.UNLIKE < Grade.UNSOUND


def posed(count, least=0.3, original=PHENOL):
    """The edit of a flow that leads every state to the original: v = (x1 - x) / (1 - t)."""
    request = Request(count, original=original, similarity=least)
    task = DesignTask(request)
    likeness = Likeness.to_original(original, count, least)
    mask = atom_mask(task.atoms)

    class Network(torch.nn.Module):
        def forward(self, x, t, mask):
            return (likeness.state[:1, : x.shape[1]] - x) / (1 - t).clamp(min=1e-4)[:, None, None]

    from headwater.molecule.targets.flow import molecule_flow

    flow = molecule_flow(Network(), task.atoms)
    deviation = TargetDeviation(None, mask, likeness=likeness)
    return flow, DesignObjective(lambda x: x.square().sum((1, 2)), deviation), likeness


def test_noise_is_aligned_to_the_original_and_the_path_starts_at_its_strength():
    flow, objective, likeness = posed(3)
    seen = []
    watched = replace(flow, velocity=Watched(flow.velocity, seen))
    recipe = EditSearch(steps=1, strengths=(0.25, 0.5))
    z, x1 = recipe.draw(watched, objective, [5, 6, 7], [0, 1, 2])
    plain = flow.noise([5, 6, 7])
    torch.testing.assert_close(z.flatten(1).norm(dim=1), plain.flatten(1).norm(dim=1))  # the same draw, moved
    state = likeness.state
    assert (
        (z - state)[..., :3].flatten(1).norm(dim=1) < (plain - state)[..., :3].flatten(1).norm(dim=1)
    ).all()
    torch.testing.assert_close(seen[0], (0.25 * z + 0.75 * state)[[0, 2]])
    assert len(seen) == 4  # two strengths, two evaluations of the midpoint method each
    torch.testing.assert_close(x1, state, atol=1e-3, rtol=0)


class Watched:
    """Notes the states that a velocity is asked at."""

    def __init__(self, velocity, seen):
        self.velocity, self.seen = velocity, seen

    def select(self, index):
        return Watched(self.velocity.select(index), self.seen)

    def __call__(self, x, t):
        self.seen.append(x.clone())
        return self.velocity(x, t)


def test_an_edit_does_not_depend_on_its_neighbours_or_on_the_order_of_the_atoms():
    flow, objective, likeness = posed(3)
    recipe = EditSearch(steps=2)
    z, _ = recipe.draw(flow, objective, [5, 6, 7], [0, 1, 2])
    last = torch.tensor([2])
    alone, _ = recipe.draw(flow.select(last), objective.select(last), [7], [2])
    torch.testing.assert_close(alone, z[2:])
    order = np.random.default_rng(0).permutation(len(PHENOL))
    mixed = Molecule(tuple(PHENOL.symbols[i] for i in order), PHENOL.positions[order], (0,) * len(order))
    torch.testing.assert_close(posed(1, original=mixed)[2].state, likeness.state[:1])


def test_a_search_among_edits_never_returns_the_original_as_a_hit():
    flow, objective, _ = posed(2)
    result = EditSearch(steps=2, candidates=3)(flow, objective, [0, 1])
    assert [s.name for s in result.status] == ["EVALUATIONS"] * 2 and result.evaluations.tolist() == [12, 12]
    (m,) = [round_state(result.x1, objective.mask)]
    assert Likeness.to_original(PHENOL, 2, 0.3).similarity(m).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"atoms": 9}, "Beside the original"),
        ({"formula": {"C": 6, "H": 6, "O": 1}}, "Beside the original"),
        ({"fragment": PHENOL, "atoms": None}, "Beside the original"),
        ({"similarity": 1.0}, "least similarity is 1.0"),
        ({"similarity": float("nan")}, "least similarity is nan"),
        ({"sound": False}, "only sound molecules"),
    ],
)
def test_edits_that_cannot_be_are_refused(given, words):
    with pytest.raises(Misuse, match=words):
        Request(1, **{"original": PHENOL, **given})


def test_recipes_and_originals_are_refused():
    for strengths in ((), (0.0,), (1.2,), (float("nan"),)):
        with pytest.raises(Misuse, match="strengths"):
            EditSearch(strengths=strengths)
    with pytest.raises(Misuse, match="no gradients"):
        EditSearch(gradients=2)
    radical = Molecule(("O", "H"), np.array([[0.0, 0, 0], [0.96, 0, 0]]), (0, 0))
    with pytest.raises(Misuse, match="open valences"):
        Likeness.to_original(radical, 1, 0.4)
    flow, objective, _ = posed(1)
    lost = replace(objective, deviation=replace(objective.deviation, likeness=None))
    with pytest.raises(Misuse, match="no original"):
        EditSearch(steps=1)(flow, lost, [0])
    assert type(choose_recipe(Request(1, original=PHENOL))) is EditSearch
    assert type(choose_recipe(Request(1))) is Search
