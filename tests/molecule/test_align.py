"""Alignment of data to noise: nearer, by a proper motion and a reordering only, and recovered when planted."""

import itertools
import math

import pytest
import torch
from core_laws import F64, normal
from torch.testing import assert_close

from headwater.molecule.chemistry.align import align_noise, align_to_noise, match_types, rotations
from headwater.molecule.structure.state import KINDS, atom_mask, encode_state, project

rotation_of = pytest.importorskip("scipy.spatial.transform").Rotation
ATOMS = torch.tensor([9, 1, 4, 2, 12, 3])
MASK = atom_mask(ATOMS, 12)


def turn(angle, seed=0):
    """A rotation by `angle` about a random axis."""
    axis = torch.nn.functional.normalize(normal(3, seed=seed), dim=0)
    return torch.from_numpy(rotation_of.from_rotvec((angle * axis).numpy()).as_matrix())


def data(seed=0):
    """Molecules with all kinds of atoms and charges."""
    types = torch.arange(MASK.numel()).reshape(MASK.shape) % KINDS
    charges = torch.arange(MASK.numel()).reshape(MASK.shape) % 3 - 1
    return encode_state(1.4 * normal(*MASK.shape, 3, seed=seed), types, charges, MASK)


def noise(seed=1):
    return project(normal(*MASK.shape, 9, seed=seed), MASK)


def cost(x0, x1):
    """Squared distance of the positions, per molecule."""
    return (x0[..., :3] - x1[..., :3]).square().sum((1, 2))


def all_orders(k):
    return [list(o) for o in itertools.permutations(range(k))]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_aligned_pairs_are_nearer(seed, rounds):
    x0, x1 = noise(seed + 10), data(seed)
    before, after = cost(x0, x1), cost(x0, align_to_noise(x0, x1, ATOMS, rounds)[0])
    assert bool((after <= before + 1e-9).all())
    assert bool((after < 0.9 * before)[ATOMS > 1].all())


def test_more_rounds_are_nearer():
    x0, x1 = noise(), data()
    costs = torch.stack([cost(x0, align_to_noise(x0, x1, ATOMS, k)[0]) for k in (1, 2, 3, 5)])
    assert bool((costs.diff(dim=0) <= 1e-9).all())


@pytest.mark.parametrize("seed", range(3))
def test_only_a_proper_motion_and_a_reordering(seed):
    """Out row i is in row order[i], turned by one R with R R^T = 1 and det R = +1; types and charges travel."""
    x0, x1 = noise(seed + 10), data(seed)
    kept0, kept1 = x0.clone(), x1.clone()
    out, order = align_to_noise(x0, x1, ATOMS)
    assert torch.equal(x0, kept0) and torch.equal(x1, kept1)
    for i, k in enumerate(ATOMS.tolist()):
        assert sorted(order[i, :k].tolist()) == list(range(k))
        assert order[i, k:].tolist() == list(range(k, 12))
        assert torch.equal(out[i, :, 3:], x1[i, order[i], 3:])
        p, q = x1[i, order[i], :3], out[i, :, :3]
        assert_close(torch.cdist(q, q), torch.cdist(p, p), rtol=1e-9, atol=1e-9)
        if k > 3:  # R is determined by the atoms
            R = torch.linalg.lstsq(p[:k], q[:k]).solution.T
            assert_close(R @ R.T, torch.eye(3, dtype=F64), rtol=0, atol=1e-9)
            assert_close(torch.det(R), torch.tensor(1.0, dtype=F64), rtol=0, atol=1e-9)
    assert not out[~MASK].any()
    assert_close(project(out, MASK), out, rtol=0, atol=1e-12)  # still centred


@pytest.mark.parametrize("angle", [0.0, 0.1, 0.2])
def test_a_turned_and_reordered_copy_is_recovered(angle):
    """x1 is x0 turned by a small angle and shuffled: aligned() brings every atom back onto its own."""
    x0 = data(seed=3)
    g = torch.Generator().manual_seed(0)
    planted = torch.arange(12).repeat(len(ATOMS), 1)
    for row, k in zip(planted, ATOMS.tolist(), strict=True):
        row[:k] = torch.randperm(k, generator=g)
    copy = torch.cat([x0[..., :3] @ turn(angle).T, x0[..., 3:]], dim=-1)
    copy = torch.stack([c[o] for c, o in zip(copy, planted, strict=True)])
    out, order = align_to_noise(x0, copy, ATOMS)
    assert_close(out, x0, rtol=0, atol=1e-9)
    assert_close(planted.gather(1, order), torch.arange(12).expand(len(ATOMS), -1))


def test_the_first_order_is_the_best_of_all():
    """One round: among all 24 orders of four atoms none is nearer, and the rotation is the best for it."""
    x0, x1 = noise()[2:3, :4], data()[2:3, :4]
    out, order = align_to_noise(x0, x1, torch.tensor([4]), rounds=1)
    best = min(all_orders(4), key=lambda o: float(cost(x0, x1[:, o])))
    assert order[0].tolist() == best
    _, residual = rotation_of.align_vectors(x0[0, :, :3].numpy(), x1[0, best, :3].numpy())
    assert_close(cost(x0, out), torch.tensor([residual**2]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("mirrored", [False, True], ids=["any", "mirror image"])
def test_rotations_are_kabschs(mirrored):
    """Equal to SciPy's, and proper where a reflection would be nearer."""
    x, y = normal(6, 7, 3), normal(6, 7, 3, seed=1)
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    if mirrored:
        y = x * torch.tensor([1.0, 1, -1]) + 0.05 * y
    R = rotations(x, y)
    assert_close(torch.det(R), torch.ones(6, dtype=F64), rtol=0, atol=1e-12)
    wanted = [
        rotation_of.align_vectors(a.numpy(), b.numpy())[0].as_matrix() for a, b in zip(x, y, strict=True)
    ]
    assert_close(R, torch.stack([torch.from_numpy(w) for w in wanted]), rtol=1e-8, atol=1e-8)


def test_rotations_of_flat_straight_and_single_molecules_are_proper():
    """Where R is not unique it is still a rotation, and a planted one is undone."""
    flat, straight, single = normal(3, 5, 3, seed=2)
    flat, straight = flat - flat.mean(0), straight - straight.mean(0)
    flat = flat * torch.tensor([1.0, 1, 0])
    straight = straight * torch.tensor([1.0, 0, 0])
    x = torch.stack([flat, straight, 0 * single])
    y = x @ turn(1.1, seed=3).T
    R = rotations(x, y)
    assert_close(R @ R.mT, torch.eye(3, dtype=F64).expand(3, 3, 3), rtol=0, atol=1e-12)
    assert_close(torch.det(R), torch.ones(3, dtype=F64), rtol=0, atol=1e-12)
    assert_close(y @ R.mT, x, rtol=0, atol=1e-9)


def test_alignment_does_not_depend_on_the_batch():
    x0, x1 = noise(), data()
    together, order = align_to_noise(x0, x1, ATOMS)
    for i, k in enumerate(ATOMS.tolist()):
        alone, own = align_to_noise(x0[i : i + 1, :k], x1[i : i + 1, :k], ATOMS[i : i + 1])
        assert_close(together[i, :k], alone[0], rtol=1e-9, atol=1e-9)
        assert order[i, :k].tolist() == own[0].tolist()


def test_distances_in_float32():
    """As in training: float32, angles up to half a turn; internal distances to 1e-5 angstrom."""
    x0, x1 = noise().float(), data().float()
    x1 = torch.cat([x1[..., :3] @ turn(math.pi - 0.1).T.float(), x1[..., 3:]], dim=-1)
    out, order = align_to_noise(x0, x1, ATOMS)
    p = torch.stack([x[o, :3] for x, o in zip(x1, order, strict=True)])
    assert_close(torch.cdist(out[..., :3], out[..., :3]), torch.cdist(p, p), rtol=0, atol=1e-5)


def test_matched_finds_the_atoms_of_what_is_known():
    """x1 has the known types in another order: x0 comes back in the known one; wrong types cost, NaN fits nothing."""
    g = torch.Generator().manual_seed(3)
    n, mask = 9, atom_mask(torch.tensor([9]), 12)
    types = torch.randint(0, 5, (1, 12), generator=g) * mask
    y = encode_state(1.5 * torch.randn(1, 12, 3, generator=g), types, torch.zeros_like(types), mask)
    x1 = y[:, torch.cat([torch.randperm(n, generator=g), torch.arange(n, 12)])]
    typed = mask & (torch.arange(12) < 5)
    x0, misfit = match_types(
        x1, x1, torch.tensor([n]), types, typed, typed & False
    )  # x0 = x1: what is done to it shows
    assert_close(x0[0, :5, 3:], y[0, :5, 3:])
    assert_close(x0[0].sum(0), x1[0].sum(0), atol=1e-5, rtol=0)  # a reordering: nothing lost
    assert misfit.item() < 1e-3
    hydrogens = encode_state(y[..., :3], types * 0, types * 0, mask)
    far = match_types(x1, hydrogens, torch.tensor([n]), types * 0 + 3, typed, typed & False)[1]
    assert far.item() == pytest.approx(-5 * math.log(1e-3))  # oxygens asked for where all are hydrogens
    lost, misfit = match_types(x1, x1 * torch.nan, torch.tensor([n]), types, typed, typed & False)
    assert torch.equal(lost, x1) and misfit.item() == torch.inf


def test_the_atoms_of_a_fragment_keep_their_rows_when_a_formula_is_matched():
    """Carbon and oxygen are known; of two new atoms the flow makes H and N where N and H are asked for."""
    mask, kinds = atom_mask(torch.tensor([4])), torch.tensor([[1, 3, 2, 0]])
    kinds = torch.nn.functional.pad(kinds, (0, 25))
    made = torch.nn.functional.pad(torch.tensor([[3, 1, 0, 2]]), (0, 25))
    places = torch.randn(1, 29, 3, generator=torch.Generator().manual_seed(0))
    x1 = encode_state(places, made, made * 0, mask)
    x0 = torch.arange(29.0)[None, :, None].expand(1, 29, 9)
    found, misfit = match_types(x0, x1, torch.tensor([4]), kinds, mask, mask & (torch.arange(29) < 2))
    assert found[0, :4, 0].tolist() == [0, 1, 3, 2] and misfit.item() < 1e-3


def test_towards_is_aligned_the_other_way_round():
    """As near as aligned makes them, with x1 where it was; a planted motion of x0 is undone."""
    x0, x1 = noise(), data()
    moved = align_noise(x0, x1, ATOMS)
    assert_close(cost(moved, x1), cost(x0, align_to_noise(x0, x1, ATOMS)[0]), rtol=1e-6, atol=1e-9)
    assert_close(torch.cdist(moved[..., :3], moved[..., :3]).sort(-1)[0].sum((1, 2)),
                 torch.cdist(x0[..., :3], x0[..., :3]).sort(-1)[0].sum((1, 2)))  # fmt: skip
    for i, n in enumerate(ATOMS.tolist()):
        assert_close(moved[i, :n, 3:].sort(0)[0], x0[i, :n, 3:].sort(0)[0])
        assert not moved[i, n:].any()
