"""States of molecules: there and back, the projection, masks, and the way to and from `Molecule`."""

import numpy as np
import pytest
import torch
from core_laws import F64, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from headwater import Misuse
from headwater.molecule.structure.elements import ELEMENTS, MAX_ATOMS
from headwater.molecule.structure.molecule import Molecule, to_batch, to_molecules
from headwater.molecule.structure.state import (
    CHARGE_SCALE,
    KINDS,
    SHAPE,
    TYPE_SCALE,
    MoleculeBatch,
    atom_mask,
    centre,
    encode_state,
    project,
    relaxed_types,
    round_state,
)

quick = settings(max_examples=40, deadline=None)


@st.composite
def batches(draw):
    """One to four molecules of one to six atoms with what stands in the padding: positions, types, charges, mask."""
    atoms = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    length = max(atoms) + draw(st.integers(0, 3))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (len(atoms), length)
    far = draw(st.floats(0, 50, allow_subnormal=False))
    positions = 2 * torch.randn(*shape, 3, generator=g, dtype=F64) + far
    types = torch.randint(0, KINDS, shape, generator=g)
    charges = torch.randint(-1, 2, shape, generator=g)
    return positions, types, charges, atom_mask(torch.tensor(atoms), length)


@quick
@given(batches(), st.floats(0, 0.49, allow_subnormal=False), st.integers(0, 100))
def test_molecules_come_back_from_states_near_them(batch, error, seed):
    """Types and charges survive any error below half their scale, positions are those given less their mean."""
    positions, types, charges, mask = batch
    x = encode_state(*batch)
    assert x.shape == (*mask.shape, SHAPE[1])
    noise = error * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed), dtype=F64) - 1)
    noise[..., :3] = 0
    noise[..., 3:8] *= TYPE_SCALE
    noise[..., 8] *= CHARGE_SCALE
    m = round_state(x + noise, mask)
    assert torch.equal(m.types, types * mask)
    assert torch.equal(m.charges, charges * mask)
    assert torch.equal(m.mask, mask)
    for row, given_row, keep in zip(m.positions, positions, mask, strict=True):
        own = given_row[keep]
        assert_close(row[keep], own - own.mean(0), rtol=0, atol=1e-12)
        assert not row[~keep].any()
    assert_close(encode_state(m.positions, m.types, m.charges, m.mask), x, rtol=0, atol=1e-12)


def test_a_state_by_hand():
    """O-H: type and charge columns as the module documents them."""
    x = encode_state(
        torch.tensor([[[1.0, 0, 0], [2.0, 0, 4.0], [9.0, 9, 9]]]),
        torch.tensor([[3, 0, 2]]),
        torch.tensor([[-1, 0, 1]]),
        torch.tensor([[True, True, False]]),
    )
    wanted = torch.tensor([
        [-0.5, 0, -2, 0, 0, 0, TYPE_SCALE, 0, -CHARGE_SCALE],
        [0.5, 0, 2, TYPE_SCALE, 0, 0, 0, 0, 0],
        [0] * 9,
    ])  # fmt: skip
    assert_close(x[0], wanted)
    assert_close(relaxed_types(x)[0, :2], torch.eye(5)[[3, 0]])


def test_charges_beyond_one_are_rounded_to_one():
    x = torch.zeros(1, 4, 9)
    x[0, :, 8] = CHARGE_SCALE * torch.tensor([2.7, -3.0, 0.49, -0.51])
    assert round_state(x, torch.ones(1, 4, dtype=torch.bool)).charges.tolist() == [[1, -1, 0, -1]]


ATOMS = torch.tensor([5, 1, 3, 2])
MASK = atom_mask(ATOMS, 6)


def test_project_is_an_orthogonal_projection():
    """P P = P, <P x, y> = <x, P y>, and P has the rank 9 k - 3 of centred states of k atoms."""
    x, y = normal(4, 6, 9), normal(4, 6, 9, seed=1)
    px, py = project(x, MASK), project(y, MASK)
    assert_close(project(px, MASK), px, rtol=0, atol=1e-13)
    assert_close((px * y).sum((1, 2)), (x * py).sum((1, 2)), rtol=1e-12, atol=1e-12)
    assert_close(project(2 * x - 3 * y, MASK), 2 * px - 3 * py, rtol=1e-12, atol=1e-12)
    for k in ATOMS.tolist():
        basis = torch.eye(54, dtype=F64).reshape(54, 6, 9)
        trace = project(basis, atom_mask(torch.tensor([k]), 6).expand(54, -1)).reshape(54, 54).trace()
        assert_close(trace, torch.tensor(9.0 * k - 3, dtype=F64))


def test_project_finds_the_nearest_state():
    """No other centred, masked state is nearer to x; states themselves are left alone."""
    x = normal(4, 6, 9)
    nearest = project(x, MASK)
    for seed in range(5):
        other = project(nearest + 0.1 * normal(4, 6, 9, seed=seed + 2), MASK)
        assert bool(((other - x).square().sum((1, 2)) > (nearest - x).square().sum((1, 2))).all())
    state = encode_state(normal(4, 6, 3), torch.full((4, 6), 2), torch.ones(4, 6, dtype=torch.long), MASK)
    assert_close(project(state, MASK), state, rtol=0, atol=1e-13)


def test_centred_positions():
    x = centre(normal(4, 6, 3) + 7, MASK)
    assert_close(x.sum(1), torch.zeros(4, 3, dtype=F64), rtol=0, atol=1e-12)
    assert not x[~MASK].any()
    assert not x[1].any()  # one atom is at its own centre
    assert_close(torch.cdist(x[0, :5], x[0, :5]), torch.cdist(*[normal(4, 6, 3)[0, :5]] * 2))


def test_masks_count_atoms():
    assert MASK.sum(1).tolist() == ATOMS.tolist()
    assert atom_mask(torch.tensor([0, 29])).shape == (2, MAX_ATOMS)
    assert bool((MASK.int().diff(dim=1) <= 0).all())  # atoms first, then padding


def test_rounded_select_and_one_hot():
    types = torch.arange(24).reshape(4, 6) % KINDS
    m = round_state(encode_state(normal(4, 6, 3), types, torch.zeros_like(types), MASK), MASK)
    assert len(m) == 4
    some = m.select(torch.tensor([2, 0]))
    assert len(some) == 2
    for name in ("positions", "types", "charges", "mask"):
        assert_close(getattr(some, name), getattr(m, name)[[2, 0]], rtol=0, atol=0)
    assert m.one_hot.sum(-1).equal(MASK.to(F64))
    assert bool((m.one_hot.argmax(-1) == m.types)[MASK].all())
    assert_close(relaxed_types(encode_state(m.positions, m.types, m.charges, MASK)), m.one_hot)


# --- Molecule ---------------------------------------------------------------------------------------------------


def some_molecules():
    g = np.random.default_rng(0)
    return [
        Molecule(("O", "H", "H"), g.normal(size=(3, 3)) + 5, (0, 0, 0)),
        Molecule(("F",), g.normal(size=(1, 3)), (-1,)),
        Molecule(("C", "N", "H", "H", "H"), g.normal(size=(5, 3)), (-1, 1, 0, 0, 0)),
    ]


def test_molecules_come_back_from_a_batch():
    """In float32, centred, without padding, whatever the length of the batch."""
    before = some_molecules()
    for length in (5, MAX_ATOMS):
        batch = to_batch(before, length)
        assert batch.mask.shape == (3, length) and not batch.positions[~batch.mask].any()
        for m, back in zip(before, to_molecules(batch), strict=True):
            assert (back.symbols, back.charges, back.charge, len(back)) == (
                m.symbols,
                m.charges,
                m.charge,
                len(m),
            )
            np.testing.assert_allclose(back.positions, m.positions - m.positions.mean(0), atol=1e-6)


def test_molecules_come_back_from_a_state():
    batch = to_batch(some_molecules())
    x = encode_state(batch.positions, batch.types, batch.charges, batch.mask)
    back = to_molecules(round_state(x, batch.mask))
    assert [m.symbols for m in back] == [m.symbols for m in some_molecules()]
    assert isinstance(round_state(x, batch.mask), MoleculeBatch)


@pytest.mark.parametrize(
    ("molecule", "what"),
    [
        (Molecule(("H", "Xe", "Cl"), np.zeros((3, 3)), (0, 0, 0), name="salt"), "'salt' has the element Cl"),
        (Molecule((), np.zeros((0, 3)), ()), "has 0 atoms"),
        (Molecule(("H",) * 30, np.zeros((30, 3)), (0,) * 30), "has 30 atoms"),
        (Molecule(("H",), np.array([[0, np.nan, 0]]), (0,)), "not finite"),
    ],
)
def test_molecules_the_models_cannot_hold_are_refused(molecule, what):
    with pytest.raises(Misuse, match=what) as caught:
        to_batch([molecule])
    assert caught.value.what.endswith(".") and caught.value.cure.endswith(".")


def test_elements_are_in_the_order_of_the_types():
    assert ELEMENTS == ("H", "C", "N", "O", "F") and KINDS == 5 and SHAPE == (29, 9)
