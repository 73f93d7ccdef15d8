"""Trunk, generator and regressor: symmetries, padding, gradients, properties by their formulae."""

import pytest
import torch
import torch.nn.functional as F
from core_laws import F64, normal, time
from networks import (
    ATOMS,
    GENERATOR,
    MASK,
    READS,
    REFERENCE,
    REGRESSOR,
    TIMES,
    TRUNK,
    either_hand,
    molecules,
    moved_by,
    noisy,
    orders,
    orthogonal,
    perturbed,
    spread_of,
    taken,
)
from torch.testing import assert_close

from headwater.molecule.model.regressor import EXTRA, PROPERTIES, Regressor, RegressorConfig
from headwater.molecule.structure.state import KINDS, atom_mask
from headwater.molecule.structure.units import DEBYE

torch.set_num_threads(1)


# --- symmetries -------------------------------------------------------------------------------------------------


@either_hand
def test_trunk_scalars_are_invariant_and_vectors_turn(hand):
    turn = orthogonal(hand)
    x = noisy()
    h, V, p = TRUNK(x[..., 3:], x[..., :3], MASK, TIMES)
    h2, V2, p2 = TRUNK(x[..., 3:], x[..., :3] @ turn.T, MASK, TIMES)
    assert_close(h2, h, rtol=1e-9, atol=1e-9)
    assert_close(V2, torch.einsum("xy,bync->bxnc", turn, V), rtol=1e-9, atol=1e-9)
    assert_close(p2, p @ turn.T, rtol=1e-9, atol=1e-9)
    seen = MASK[..., None]
    assert spread_of(V.permute(0, 2, 1, 3)[MASK]) > 0.1  # so that this is not 0 = 0
    assert spread_of(((p - x[..., :3]) * seen)[MASK]) > 0.01


@either_hand
def test_generator_velocity_turns_with_the_molecule(hand):
    turn = orthogonal(hand, seed=4)
    x = noisy()
    v = GENERATOR(x, TIMES, MASK)
    assert_close(GENERATOR(moved_by(turn, x), TIMES, MASK), moved_by(turn, v), rtol=1e-9, atol=1e-9)
    assert float((moved_by(turn, v) - v).abs().max()) > 0.1


@either_hand
def test_properties_do_not_depend_on_the_motion(hand):
    """Rotation or reflection, and a translation of its own for every molecule."""
    positions, types, mask = molecules()
    before = REGRESSOR(positions, types, mask)
    away = positions @ orthogonal(hand, seed=5).T + 10 * normal(len(mask), 1, 3, seed=6)
    after = REGRESSOR(away, types, mask)
    for name in (*PROPERTIES, *EXTRA, "partial"):
        assert_close(after[name], before[name], rtol=1e-9, atol=1e-9, msg=name)


def test_properties_depend_on_the_shape():
    """What is invariant is not constant: a bond 0.1 longer is seen by every property."""
    positions, types, mask = molecules()
    longer = positions.clone()
    longer[:, 0, 0] += 0.1
    a, b = REGRESSOR(positions, types, mask), REGRESSOR(longer, types, mask)
    for name in (*PROPERTIES, *EXTRA):
        assert float((a[name] - b[name]).abs()[mask.sum(1) > 1].min()) > 1e-6, name


def test_trunk_follows_the_order_of_atoms():
    x, order = noisy(), orders()
    h, V, p = TRUNK(x[..., 3:], x[..., :3], MASK, TIMES)
    y = taken(x, order)
    h2, V2, p2 = TRUNK(y[..., 3:], y[..., :3], MASK, TIMES)
    assert_close(h2, taken(h, order), rtol=1e-9, atol=1e-9)
    assert_close(V2, taken(V, order, dim=2), rtol=1e-9, atol=1e-9)
    assert_close(p2, taken(p, order), rtol=1e-9, atol=1e-9)


def test_velocity_follows_the_order_of_atoms():
    x, order = noisy(), orders()
    v = GENERATOR(x, TIMES, MASK)
    assert_close(GENERATOR(taken(x, order), TIMES, MASK), taken(v, order), rtol=1e-9, atol=1e-9)
    assert not torch.equal(taken(v, order), v)


def test_properties_do_not_depend_on_the_order_of_atoms():
    positions, types, mask = molecules()
    order = orders()
    before, after = (
        REGRESSOR(positions, types, mask),
        REGRESSOR(taken(positions, order), taken(types, order), mask),
    )
    for name in (*PROPERTIES, *EXTRA):
        assert_close(after[name], before[name], rtol=1e-9, atol=1e-9, msg=name)
    assert_close(after["partial"], taken(before["partial"], order), rtol=1e-9, atol=1e-9)


# --- padding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(len(ATOMS)))
def test_a_molecule_alone_has_the_velocity_it_has_beside_larger_ones(i):
    """Without any padding, with more of it, and beside others: batch of k equals k of one."""
    k, x = int(ATOMS[i]), noisy()
    v = GENERATOR(x, TIMES, MASK)[i]
    alone = GENERATOR(x[i : i + 1, :k], TIMES[i], MASK[i : i + 1, :k])[0]
    assert_close(v[:k], alone, rtol=1e-10, atol=1e-10)
    wide = GENERATOR(F.pad(x[i : i + 1], (0, 0, 0, 22)), TIMES[i], atom_mask(ATOMS[i : i + 1], 29))[0]
    assert_close(wide[:k], alone, rtol=1e-10, atol=1e-10)
    assert not wide[k:].any() and not v[k:].any()


@pytest.mark.parametrize("i", range(len(ATOMS)))
def test_a_molecule_alone_has_the_properties_it_has_beside_larger_ones(i):
    positions, types, mask = molecules()
    k = int(ATOMS[i])
    beside = REGRESSOR(positions, types, mask)
    alone = REGRESSOR(positions[i : i + 1, :k], types[i : i + 1, :k], mask[i : i + 1, :k])
    for name in (*PROPERTIES, *EXTRA):
        assert_close(beside[name][i : i + 1], alone[name], rtol=1e-10, atol=1e-10, msg=name)
    assert_close(beside["partial"][i, :k], alone["partial"][0], rtol=1e-10, atol=1e-10)
    assert not beside["partial"][i, k:].any()


def test_what_stands_in_the_padding_does_not_matter_to_the_properties():
    positions, types, mask = molecules()
    hidden = ~mask[..., None]
    garbage = REGRESSOR(positions + 50 * hidden, types + 7 * hidden, mask)
    for name, value in REGRESSOR(positions, types, mask).items():
        assert_close(garbage[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_gradients_do_not_leak_into_the_padding():
    """A cost that sees all of the velocity, and all properties, has gradient zero where there is no atom."""
    x = noisy().requires_grad_()
    v = GENERATOR(x, TIMES, MASK)
    (v * normal(*v.shape, seed=8)).sum().backward()
    assert float(x.grad[~MASK].abs().max()) < 1e-12 < float(x.grad[MASK].abs().max())
    positions, types, mask = molecules()
    positions.requires_grad_(), types.requires_grad_()
    sum(y.sum() for y in REGRESSOR(positions, types, mask).values()).backward()
    for leaf in (positions, types):
        assert float(leaf.grad[~mask].abs().max()) < 1e-12 < float(leaf.grad[mask].abs().max())


# --- gradients --------------------------------------------------------------------------------------------------

SMALL = torch.tensor([2, 3])


def test_gradients_of_properties_equal_finite_differences():
    """Central differences in float64 for positions and relaxed types, padding included."""
    mask = atom_mask(SMALL, 4)
    positions = (1.2 * normal(2, 4, 3, seed=9)).requires_grad_()
    types = (2 * normal(2, 4, KINDS, seed=10)).softmax(-1).requires_grad_()

    def properties(positions, types):
        out = REGRESSOR(positions, types, mask)
        return tuple(out[name] for name in (*PROPERTIES, *EXTRA))

    assert torch.autograd.gradcheck(properties, (positions, types), eps=1e-5, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("t", [0.35, 0.97])
def test_gradients_through_the_velocity_equal_finite_differences(t):
    mask = atom_mask(SMALL, 4)
    x = noisy(mask, seed=11).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: GENERATOR(x, time(t), mask), (x,), eps=1e-5, atol=1e-5, rtol=1e-5
    )


# --- the properties' formulae -----------------------------------------------------------------------------------


def test_gap_is_lumo_minus_homo_and_references_are_linear_in_the_composition():
    """With the last layers at zero only the reference is left: a constant and a number per atom of each element."""
    net = perturbed(lambda: Regressor(RegressorConfig(READS, REFERENCE)))
    with torch.no_grad():
        for layer in (net.sums, net.frontier[2]):
            layer.weight.zero_(), layer.bias.zero_()
    positions, types, mask = molecules()
    out = net(positions, types, mask)
    composition = (types * mask[..., None]).sum(1)
    for name, line in REFERENCE.items():
        line = torch.tensor(line).to(F64)  # the network keeps its references in float32
        assert_close(out[name], line[0] + composition @ line[1:], rtol=1e-10, atol=1e-10)
    assert_close(out["gap"], out["lumo"] - out["homo"])
    full = REGRESSOR(positions, types, mask)
    assert_close(full["gap"], full["lumo"] - full["homo"])


def test_dipole_is_that_of_neutral_point_charges():
    """Charges by the atom's type, no atomic dipoles: mu = |sum (q_i - mean q) r_i| in Debye, by hand."""
    net = perturbed(lambda: Regressor(RegressorConfig(READS)))
    with torch.no_grad():
        net.dipole.weight.zero_()
        net.sums.weight.zero_()
    positions, types, mask = molecules()
    with torch.no_grad():  # every atom the same charge: a neutral molecule has none
        net.sums.bias.fill_(0.7)
    assert float(net(positions, types, mask)["mu"].max()) < 1e-3
    charge = normal(5, 7, seed=12)
    net.sums.register_forward_hook(lambda m, i, o: torch.cat([o[..., :5], charge[..., None]], dim=-1))
    for i, k in enumerate(ATOMS.tolist()):
        q = charge[i, :k] - charge[i, :k].mean()
        mu = DEBYE * (q[:, None] * positions[i, :k]).sum(0).norm()
        assert_close(net(positions, types, mask)["mu"][i], mu, rtol=1e-6, atol=1e-3)
