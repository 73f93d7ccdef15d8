"""Bonds and stability of hand-made molecules; orders by distance against EDM's tables."""

import math

import pytest
import torch
from core_laws import F64, normal
from torch.testing import assert_close

from headwater.molecule.chemistry.stability import LIMITS, bond_orders, has_valence, stability
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.state import MoleculeBatch


def ring(radius, count=6, offset=0.0):
    angles = [2 * math.pi * (i + offset) / count for i in range(count)]
    return [(radius * math.cos(a), radius * math.sin(a), 0.0) for a in angles]


def bent(length, angle):
    half = math.radians(angle) / 2
    return [
        (length * math.sin(half), length * math.cos(half), 0.0),
        (-length * math.sin(half), length * math.cos(half), 0.0),
    ]


def tetrahedron(length):
    s = length / math.sqrt(3)
    return [(s, s, s), (s, -s, -s), (-s, s, -s), (-s, -s, s)]


def ethylene():
    out = [(0.0, 0, 0.6695), (0.0, 0, -0.6695)]
    y, z = 1.086 * math.sin(math.radians(58.7)), 1.086 * math.cos(math.radians(58.7))
    return out + [(0, side * y, end * (0.6695 + z)) for end in (1, -1) for side in (1, -1)]


def kekule(short, long):
    """Benzene with bonds of two lengths in turn: atoms on a circle at alternating angles."""
    # chords short = 2 r sin(a), long = 2 r sin(60 degrees - a): solve for a
    third = math.radians(60)
    a = math.atan2(short * math.sin(third), long + short * math.cos(third))
    r = short / (2 * math.sin(a))
    angles = [2 * third * i + side * a for i in range(3) for side in (-1, 1)]
    return [(q * math.cos(x), q * math.sin(x), 0.0) for q in (r, r + 1.085) for x in angles]


O = (0.0, 0.0, 0.0)
WATER = ("OHH", [O, *bent(0.9572, 104.52)])
METHANE = ("CHHHH", [O, *tetrahedron(1.087)])
ETHYLENE = ("CCHHHH", ethylene())
CYANIDE = ("HCN", [(0, 0, -1.065), O, (0, 0, 1.153)])
DIOXIDE = ("OCO", [(0, 0, -1.162), O, (0, 0, 1.162)])
NITROGEN = ("NN", [O, (0, 0, 1.098)])
HYDROGEN = ("HH", [O, (0, 0, 0.741)])
FLUORIDE = ("HF", [O, (0, 0, 0.917)])
KEKULE = ("C" * 6 + "H" * 6, kekule(1.34, 1.46))
AROMATIC = ("C" * 6 + "H" * 6, ring(1.397) + ring(1.397 + 1.084))
STABLE = {
    "H2O": WATER, "CH4": METHANE, "C2H4": ETHYLENE, "HCN": CYANIDE, "CO2": DIOXIDE, "N2": NITROGEN,
    "H2": HYDROGEN, "HF": FLUORIDE, "benzene of Kekule": KEKULE,
}  # fmt: skip


def molecule(symbols, places, length=None):
    """A batch of one, padded with atoms at the origin, where they would bond if they were seen."""
    n = len(symbols)
    length = length or n
    positions = torch.zeros(1, length, 3, dtype=F64)
    positions[0, :n] = torch.tensor(places, dtype=F64)
    types = torch.zeros(1, length, dtype=torch.long)
    types[0, :n] = torch.tensor([ELEMENTS.index(s) for s in symbols])
    return MoleculeBatch(positions, types, torch.zeros_like(types), torch.arange(length)[None] < n)


def orders(name, length=None):
    return bond_orders(molecule(*STABLE[name], length))[0]


@pytest.mark.parametrize("length", [None, 29], ids=["alone", "padded"])
@pytest.mark.parametrize("name", STABLE)
def test_real_molecules_are_stable(name, length):
    m = molecule(*STABLE[name], length)
    share, whole = stability(m)
    assert share.tolist() == [1.0] and whole.tolist() == [True]
    assert has_valence(m)[0].tolist() == m.mask[0].tolist()


def test_bond_orders_by_hand():
    """H2O, C2H4, HCN, CO2 and N2, bond by bond."""
    assert orders("H2O").tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert orders("HCN").tolist() == [[0, 1, 0], [1, 0, 3], [0, 3, 0]]
    assert orders("CO2").tolist() == [[0, 2, 0], [2, 0, 2], [0, 2, 0]]
    assert orders("N2").tolist() == [[0, 3], [3, 0]]
    C = orders("C2H4")
    assert C[0].tolist() == [0, 2, 1, 1, 0, 0] and C[1].tolist() == [2, 0, 0, 0, 1, 1]
    ring_bonds = orders("benzene of Kekule")[:6, :6]
    assert sorted(ring_bonds[0].tolist()) == [0, 0, 0, 0, 1, 2] and int(ring_bonds.sum()) == 18


def test_the_padding_has_no_bonds():
    for name, (symbols, _) in STABLE.items():
        n, padded = len(symbols), orders(name, 29)
        assert torch.equal(padded[:n, :n], orders(name))
        assert not padded[n:].any() and not padded[:, n:].any()


def test_benzene_with_equal_bonds_is_what_the_tables_miss():
    """At 1.397 angstrom all six bonds count as single (a double ends at 1.39): H stable, C not. EDM's own limit."""
    m = molecule(*AROMATIC)
    assert has_valence(m)[0].tolist() == [False] * 6 + [True] * 6
    share, whole = stability(m)
    assert share.tolist() == [0.5] and whole.tolist() == [False]


def test_a_stretched_bond_is_broken():
    """O-H up to 1.06 angstrom (0.96 + 0.10) is a bond; water beyond it has two unstable atoms of three."""
    for length, share in ((1.05, 1.0), (1.07, 1 / 3)):
        hydrogen = bent(0.9572, 104.52)[0]
        other = (0.0, 0.0, length)
        atoms, whole = stability(molecule("OHH", [O, hydrogen, other]))
        assert_close(atoms, torch.tensor([share])) and whole.tolist() == [share == 1]


def test_water_without_a_hydrogen_is_not_stable():
    m = molecule("OH", WATER[1][:2])
    assert has_valence(m)[0].tolist() == [False, True]
    assert [y.tolist() for y in stability(m)] == [[0.5], [False]]


def test_too_many_bonds_are_not_stable_and_formal_charges_do_not_excuse_them():
    """NH4 has four bonds on N: unstable in EDM's sense, with a formal charge of +1 too."""
    m = molecule("NHHHH", [O, *tetrahedron(1.02)])
    charged = MoleculeBatch(m.positions, m.types, torch.tensor([[1, 0, 0, 0, 0]]), m.mask)
    for each in (m, charged):
        assert has_valence(each)[0].tolist() == [False, True, True, True, True]


def test_two_fragments_are_stable_each():
    """Stability does not ask whether a molecule is in one piece: no bond between, both stable."""
    far = [(x, y, z + 5.0) for x, y, z in HYDROGEN[1]]
    m = molecule("OHH" + "HH", WATER[1] + far)
    bonds = bond_orders(m)[0]
    assert not bonds[:3, 3:].any() and bonds[3, 4] == 1
    assert stability(m)[1].tolist() == [True]


def test_bonds_are_symmetric_and_follow_motion_and_order():
    m = molecule(*KEKULE, 14)
    bonds = bond_orders(m)
    assert torch.equal(bonds, bonds.mT) and not bonds.diagonal(dim1=1, dim2=2).any()
    turn = torch.linalg.qr(normal(3, 3))[0]
    moved = MoleculeBatch(m.positions @ turn.T + 3, m.types, m.charges, m.mask)
    assert torch.equal(bond_orders(moved), bonds)
    order = [*torch.randperm(12, generator=torch.Generator().manual_seed(0)).tolist(), 12, 13]
    other = MoleculeBatch(m.positions[:, order], m.types[:, order], m.charges, m.mask)
    assert torch.equal(bond_orders(other), bonds[:, order][:, :, order])


def test_molecules_of_a_batch_are_judged_alone():
    each = [molecule(*STABLE[n], 12) for n in ("H2O", "CO2", "benzene of Kekule")] + [
        molecule("OH", WATER[1][:2], 12)
    ]
    parts = ("positions", "types", "charges", "mask")
    batch = MoleculeBatch(*(torch.cat([getattr(m, p) for m in each]) for p in parts))
    assert [y.tolist() for y in stability(batch)] == [[1, 1, 1, 0.5], [True, True, True, False]]


def pairs():
    return [(a, b) for a in range(5) for b in range(a, 5)]


def test_limits_are_symmetric_and_shorter_for_higher_orders():
    """single > double >= triple for every pair; all elements can bond, H and F only once."""
    assert LIMITS.shape == (3, 5, 5)
    assert torch.equal(LIMITS, LIMITS.mT)
    assert bool((LIMITS[0] > LIMITS[1]).all()) and bool((LIMITS[1] >= LIMITS[2]).all())
    assert bool((LIMITS[0] > 0.8).all())
    hydrogen_or_fluorine = [0, 4]
    assert not LIMITS[1:, hydrogen_or_fluorine].any()


@pytest.mark.parametrize(
    ("pair", "limits"),
    [
        ("HH", (0.84, 0, 0)), ("CH", (1.19, 0, 0)), ("HF", (1.02, 0, 0)), ("CC", (1.64, 1.39, 1.23)),
        ("NC", (1.57, 1.34, 1.19)), ("CO", (1.53, 1.25, 1.16)), ("NN", (1.55, 1.30, 1.13)),
        ("ON", (1.50, 1.26, 0)), ("OO", (1.58, 1.26, 0)), ("FC", (1.45, 0, 0)), ("FF", (1.52, 0, 0)),
    ],
)  # fmt: skip
def test_orders_by_distance_are_those_of_edm(pair, limits):
    """Just inside and outside of typical length + margin (10, 5, 3 pm) of EDM's tables, in both orders of atoms."""

    def order(distance):
        both = [int(bond_orders(molecule(p, [O, (0.0, 0.0, distance)]))[0, 0, 1]) for p in (pair, pair[::-1])]
        assert both[0] == both[1]
        return both[0]

    highest = max(k for k in range(3) if limits[k])
    for k in range(highest + 1):
        assert order(limits[k] - 1e-4) == k + 1
        assert order(limits[k] + 1e-4) == k
    scan = [order(0.5 + 0.05 * i) for i in range(30)]
    assert scan == sorted(scan, reverse=True) and scan[0] == highest + 1 and scan[-1] == 0
