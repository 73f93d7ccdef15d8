"""QM9: the split, the parser on a small table of the same make, formal charges, padding."""

import json

import numpy as np
import pytest
import torch
from core_laws import F64
from torch.testing import assert_close

from headwater import Misuse
from headwater.molecule.model import data
from headwater.molecule.model.data import (
    HARTREE,
    PARTS,
    SIZES,
    Molecules,
    draw_split,
    formal_charges,
    load,
    parse,
    parse_number,
    read_rows,
    split,
)
from headwater.molecule.structure.elements import ELEMENTS

COUNT = 130_831


# --- split ------------------------------------------------------------------------------------------------------


def test_the_parts_are_disjoint_and_complete():
    parts = [split(name) for name in PARTS]
    assert {n: len(p) for n, p in zip(PARTS, parts, strict=True)} == {
        "half_a": 50_000, "half_b": 50_000, "validation": 17_748, "test": 13_083,
    }  # fmt: skip
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(COUNT))


def test_the_committed_split_is_drawn_from_seed_zero():
    drawn = draw_split(COUNT)
    for i, name in enumerate(PARTS):
        assert np.array_equal(split(name).numpy(), np.flatnonzero(drawn == i))
    assert np.array_equal(draw_split(COUNT, seed=0), drawn)
    assert not np.array_equal(draw_split(COUNT, seed=1), drawn)


def test_every_part_is_a_fair_sample_of_the_index():
    """QM9's index grows with the molecules: the mean row of each part is that of all, within 5 standard errors."""
    for name in PARTS:
        rows = split(name).double()
        assert abs(float(rows.mean()) - COUNT / 2) < 5 * COUNT / 12**0.5 / len(rows) ** 0.5


def test_sizes_of_a_split_of_another_length():
    part = draw_split(SIZES["half_a"] + SIZES["half_b"] + SIZES["test"] + 7)
    assert [int((part == i).sum()) for i in range(len(PARTS))] == [50_000, 50_000, 7, 13_083]


def test_an_unknown_part_is_refused():
    with pytest.raises(Misuse, match="'train'") as caught:
        split("train")
    assert "half_a" in caught.value.cure


# --- numbers and formal charges ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.", 0.0),
        ("-1.5", -1.5),
        ("2.1*^-6", 2.1e-6),
        ("-4.5*^-5", -4.5e-5),
        ("1.*^3", 1000.0),
        ("3e-2", 0.03),
    ],
)
def test_mathematicas_floats(text, value):
    assert parse_number(text) == value


def types_of(symbols):
    return [ELEMENTS.index(s) for s in symbols]


def test_formal_charges_of_neutral_smiles_need_no_chemistry():
    """Even one whose atoms would not match: only charged SMILES are read."""
    assert formal_charges("CC=O", types_of("CCOHHHH")) == [0] * 7


@pytest.mark.parametrize(
    ("smiles", "symbols", "charges"),
    [
        ("[NH3+]CC([O-])=O", "NCCOOHHHHH", [1, 0, 0, -1, 0, 0, 0, 0, 0, 0]),  # glycine
        ("[NH3+]CC([O-])=O", "HNHCHCHOOH", [0, 1, 0, 0, 0, 0, 0, -1, 0, 0]),  # hydrogens between
        ("[C-]#[O+]", "CO", [-1, 1]),
        ("C[N+]([O-])=O", "CNOOHHH", [0, 1, -1, 0, 0, 0, 0]),
        (
            "[H][N+]([H])([H])CC([O-])=O",
            "NCCOOHHHHH",
            [1, 0, 0, -1, 0, 0, 0, 0, 0, 0],
        ),  # explicit H in the SMILES
    ],
)
def test_formal_charges_of_zwitterions(smiles, symbols, charges):
    pytest.importorskip("rdkit")
    assert formal_charges(smiles, types_of(symbols)) == charges


@pytest.mark.parametrize("symbols", ["NCCOO", "OCC", "CCNOO"])
def test_formal_charges_refuse_another_order_of_atoms(symbols):
    pytest.importorskip("rdkit")
    with pytest.raises(ValueError, match="another order"):
        formal_charges("C([NH3+])C(=O)[O-]", types_of(symbols))


# --- the parser -------------------------------------------------------------------------------------------------

TABLE = [
    {
        "SMILES": "O", "Elements": "['O','H','H']",
        "XYZ_Ang": "[[1.0,2.0,3.0],[1.9,2.0,3.0],[1.0,2.9,3.*^-1]]", "Mulliken_pop": "[-0.6,0.3,3.*^-1]",
        "Dipole_debye": "1.85", "Polarizability_bohr3": "6.31", "HOMO_au": "-0.2928", "LUMO_au": "0.0687",
        "HOMO_LUMO_gap_au": "0.3615", "R2_bohr2": "19.0002", "ZPVE_au": "0.021375",
        "InternalEnergy_0K_au": "-76.404702", "Heatcapacity_Cv_cal_mol_K": "6.002",
    },
    {
        "SMILES": "[C-]#[O+]", "Elements": "['C','O']",
        "XYZ_Ang": "[[0.0,0.0,0.0],[0.0,0.0,1.128]]", "Mulliken_pop": "[0.1,-0.1]",
        "Dipole_debye": "6.*^-2", "Polarizability_bohr3": "1.*^1", "HOMO_au": "-0.37", "LUMO_au": "-2.*^-2",
        "HOMO_LUMO_gap_au": "0.35", "R2_bohr2": "40.", "ZPVE_au": "5.*^-3",
        "InternalEnergy_0K_au": "-113.3", "Heatcapacity_Cv_cal_mol_K": "5.0",
    },
    {
        "SMILES": "F", "Elements": "['H','F']",
        "XYZ_Ang": "[[0.0,0.0,0.0],[0.92,0.0,0.0]]", "Mulliken_pop": "[0.2,-0.2]",
        "Dipole_debye": "1.7", "Polarizability_bohr3": "4.0", "HOMO_au": "-0.4", "LUMO_au": "0.05",
        "HOMO_LUMO_gap_au": "0.45", "R2_bohr2": "9.", "ZPVE_au": "0.009",
        "InternalEnergy_0K_au": "-100.4", "Heatcapacity_Cv_cal_mol_K": "5.1",
    },
]  # fmt: skip


@pytest.fixture
def qm9pack(tmp_path, monkeypatch):
    """A package qm9pack with one molecule in each of its three tables; importing it fails, as it may."""
    folder = tmp_path / "site" / "qm9pack"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('never imported')")
    for part, row in enumerate(TABLE, start=1):
        quoted = [json.dumps(v) for v in row.values()]
        text = ",".join(row) + "\n" + ",".join(quoted) + "\n"
        (folder / "data" / f"qm9_part{part}.csv").write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_rows_of_the_three_tables_in_order(qm9pack):
    assert list(read_rows()) == TABLE


def test_without_qm9pack_it_is_named(monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(Misuse, match="qm9pack") as caught:
        next(read_rows())
    assert "pip install" in caught.value.cure


@pytest.fixture
def parsed(monkeypatch):
    pytest.importorskip("rdkit")
    monkeypatch.setattr(data, "read_rows", lambda: iter(TABLE))
    return parse()


def test_parse_by_hand(parsed):
    """Atoms end to end, centred with unit weights; formal charges from the SMILES."""
    assert len(parsed) == 3 and parsed.smiles == ["O", "[C-]#[O+]", "F"]
    assert parsed.offsets.tolist() == [0, 3, 5, 7] and parsed.counts.tolist() == [3, 2, 2]
    assert parsed.types.tolist() == types_of("OHHCOHF")
    assert parsed.charges.tolist() == [0, 0, 0, -1, 1, 0, 0]
    assert_close(parsed.partial, torch.tensor([-0.6, 0.3, 0.3, 0.1, -0.1, 0.2, -0.2]))
    water = torch.tensor([[1.0, 2.0, 3.0], [1.9, 2.0, 3.0], [1.0, 2.9, 0.3]])
    assert_close(parsed.positions[:3], water - water.mean(0))
    assert_close(parsed.positions[3:5], torch.tensor([[0, 0, -0.564], [0, 0, 0.564]]))


def test_units_of_the_properties(parsed):
    """eV for energies, the table's own units for the others, in float64."""
    p = parsed.properties
    assert pytest.approx(27.2113862, abs=1e-7) == HARTREE
    wanted = {
        "alpha": [6.31, 10.0, 4.0], "mu": [1.85, 0.06, 1.7], "cv": [6.002, 5.0, 5.1], "r2": [19.0002, 40.0, 9.0],
        "homo": [-0.2928 * HARTREE, -0.37 * HARTREE, -0.4 * HARTREE],
        "lumo": [0.0687 * HARTREE, -0.02 * HARTREE, 0.05 * HARTREE],
        "zpve": [0.021375 * HARTREE, 0.005 * HARTREE, 0.009 * HARTREE],
        "u0": [-76.404702 * HARTREE, -113.3 * HARTREE, -100.4 * HARTREE],
    }  # fmt: skip
    for name, values in wanted.items():
        assert_close(p[name], torch.tensor(values, dtype=F64), rtol=1e-12, atol=0)
    assert_close(p["gap"], p["lumo"] - p["homo"], rtol=1e-12, atol=1e-12)


def test_what_is_stored_is_what_was_parsed(parsed, tmp_path, monkeypatch):
    """The second load reads the file and does not parse."""
    first = load(tmp_path / "new" / "folder")
    monkeypatch.setattr(data, "read_rows", lambda: pytest.fail("parsed again"))
    second = load(tmp_path / "new" / "folder")
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["qm9.npz"]
    for stored in (first, second):
        assert stored.smiles == parsed.smiles and stored.properties.keys() == parsed.properties.keys()
        for name in ("offsets", "positions", "types", "charges", "partial"):
            assert_close(getattr(stored, name), getattr(parsed, name), rtol=0, atol=0)
        for name, values in parsed.properties.items():
            assert_close(stored.properties[name], values, rtol=0, atol=0)


# --- padding ----------------------------------------------------------------------------------------------------


def ramp():
    """Molecules of 2, 4, 1 and 3 atoms whose numbers count up."""
    n = torch.arange(10)
    return Molecules(
        torch.tensor([0, 2, 6, 7, 10]),
        n[:, None] + torch.tensor([0.1, 0.2, 0.3]),
        (n % 5).to(torch.uint8),
        (n % 3 - 1).to(torch.int8),
        n / 10,
        {},
        ["?"] * 4,
    )


@pytest.mark.parametrize("length", [None, 4, 29])
def test_padded_molecules_are_their_own_atoms_then_zeros(length):
    m, index = ramp(), torch.tensor([3, 1, 2, 0, 3])
    b = m.pad(index, length)
    assert {v.shape[:2] for v in b.values()} == {(5, length or 4)}
    for row, i in enumerate(index.tolist()):
        own = slice(int(m.offsets[i]), int(m.offsets[i + 1]))
        k = own.stop - own.start
        assert b["mask"][row].tolist() == [True] * k + [False] * ((length or 4) - k)
        for name in ("positions", "types", "charges", "partial"):
            assert_close(b[name][row, :k], getattr(m, name)[own].to(b[name].dtype), rtol=0, atol=0)
            assert not b[name][row, k:].any()
    assert b["types"].dtype == b["charges"].dtype == torch.int64


def test_padding_is_as_long_as_the_longest_asked_for():
    assert ramp().pad(torch.tensor([2, 0]))["mask"].shape == (2, 2)
