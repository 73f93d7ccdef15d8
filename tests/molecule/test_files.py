"""Molecule files: what is written is read back; what is damaged is named and refused."""

import csv
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.io.files import read_molecules, write_sdf, write_xyz
from headwater.molecule.io.table import write_csv
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.molecule import Molecule

Chem = pytest.importorskip("rdkit.Chem")

WATER = Molecule(
    ("O", "H", "H"),
    np.array([[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]]),
    (0, 0, 0),
    "water",
    {"gap": 5.0, "count": 3, "note": "two\nlines", "id": "007"},
)
AMMONIUM = Molecule(
    ("N", "H", "H", "H", "H"),
    np.array([[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [-0.6, 0.6, -0.6], [0.6, -0.6, -0.6]]),
    (1, 0, 0, 0, 0),
    "ammonium",
)
WATER_XYZ = "3\nwater\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"


def same(a, b, decimals, *, charges=True):
    assert a.symbols == b.symbols and a.name == b.name
    assert np.array_equal(np.round(a.positions, decimals), b.positions)
    if charges:
        assert a.charges == b.charges and a.data == b.data
        assert [type(v) for v in a.data.values()] == [type(v) for v in b.data.values()]


text = st.text("abcXYZ 019-_.=#()é", max_size=20).map(lambda s: " ".join(s.split()))
tag = st.text("abcXYZ_ ()", min_size=1, max_size=10).filter(str.strip)
value = (
    text.filter(bool)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
)


@st.composite
def molecules(draw):
    n = draw(st.integers(1, 12))
    atoms = st.lists(st.sampled_from(ELEMENTS), min_size=n, max_size=n)
    positions = np.random.default_rng(draw(st.integers(0, 999))).normal(size=(n, 3)) * 3
    charges = draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n))
    data = draw(st.dictionaries(tag, value, max_size=3))
    return Molecule(tuple(draw(atoms)), positions, tuple(charges), draw(text), data)


def numbers_as_read(m):
    """Text that looks like a number comes back as one: the only change a round trip may make."""
    data = {}
    for name, v in m.data.items():
        for kind in (int, float):
            if isinstance(v, str) and v.lstrip("-").replace(".", "").isdigit():
                try:
                    v = kind(v) if str(kind(v)) == v else v
                except ValueError:
                    continue
        data[name] = v
    return Molecule(m.symbols, m.positions, m.charges, m.name, data)


@settings(max_examples=40, deadline=None)
@given(batch=st.lists(molecules(), min_size=1, max_size=4))
def test_sdf_is_read_back_with_charges_names_and_data(batch, tmp_path_factory):
    path = tmp_path_factory.mktemp("sdf") / "some.sdf"
    write_sdf(path, batch)
    back = read_molecules(path)
    assert len(back) == len(batch)
    for a, b in zip(batch, back, strict=True):
        same(numbers_as_read(a), b, 4)
    again = path.with_name("again.sdf")
    write_sdf(again, back)
    assert again.read_text() == path.read_text()


def test_a_charged_radical_is_marked_whether_its_bonds_are_given_or_found(tmp_path):
    """CH+ and four lone H: RDKit's perception charges other atoms, so the table's bonds are written."""
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], *([5.0 * k, 0.0, 0.0] for k in range(1, 5))])
    m = Molecule(("C", *"HHHHH"), positions, (1, 0, 0, 0, 0, 0))
    write_sdf(tmp_path / "found.sdf", [m])
    assert "M  RAD  1   1   3" in (tmp_path / "found.sdf").read_text()
    write_sdf(tmp_path / "given.sdf", read_molecules(tmp_path / "found.sdf"))
    assert (tmp_path / "given.sdf").read_text() == (tmp_path / "found.sdf").read_text()


@settings(max_examples=40, deadline=None)
@given(batch=st.lists(molecules(), min_size=1, max_size=4))
def test_xyz_is_read_back(batch, tmp_path_factory):
    path = tmp_path_factory.mktemp("xyz") / "some.xyz"
    write_xyz(path, batch)
    back = read_molecules(path)
    assert len(back) == len(batch)
    for a, b in zip(batch, back, strict=True):
        same(a, b, 6, charges=False)
        assert b.charge == 0 and not b.data


def test_sdf_is_what_other_programs_expect(tmp_path):
    path = tmp_path / "two.sdf"
    write_sdf(path, [WATER, AMMONIUM])
    water, ammonium = Chem.SDMolSupplier(str(path), removeHs=False)
    assert Chem.MolToSmiles(Chem.RemoveHs(water)) == "O"
    assert Chem.MolToSmiles(Chem.RemoveHs(ammonium)) == "[NH4+]"
    assert water.GetProp("_Name") == "water" and water.GetProp("gap") == "5.0"
    assert water.GetConformer().Is3D()
    lines = path.read_text().splitlines()
    assert lines[1][20:22] == "3D" and lines[3].endswith("V2000")
    assert path.read_text().count("$$$$\n") == 2


def embedded(smiles):
    """A molecule in space, by RDKit's force field."""
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(mol)
    return mol


@pytest.mark.parametrize(
    "smiles", ["c1ccccc1", "Oc1ccccc1", "C[N+](=O)[O-]", "CN=[N+]=[N-]", "[NH3+]CC(=O)[O-]", "CC(N)=O"]
)
def test_sdf_has_the_structure_a_chemist_would_draw(smiles, tmp_path):
    """Where the distance table is too narrow too; the file's own bonds decide on validity, not on soundness."""
    Chem.MolToMolFile(embedded(smiles), str(tmp_path / "a.mol"))
    (m,) = read_molecules(tmp_path / "a.mol")
    c = examine([m])[0]
    assert c.valid and c.smiles == smiles and c.sound == ("+" not in smiles) == (not c.charged)
    for written in (m, replace(m, bonds=None)):
        write_sdf(tmp_path / "b.sdf", [written], overwrite=True)
        (back,) = Chem.SDMolSupplier(str(tmp_path / "b.sdf"), removeHs=False)
        assert Chem.MolToSmiles(Chem.RemoveHs(back)) == smiles
        assert read_molecules(tmp_path / "b.sdf")[0].charges == m.charges


def test_a_radical_stays_one_in_sdf(tmp_path):
    methyl = Molecule(("C", "H", "H", "H"), AMMONIUM.positions[:4] * 1.05, (0,) * 4)
    write_sdf(tmp_path / "ch3.sdf", [methyl])
    (back,) = Chem.SDMolSupplier(str(tmp_path / "ch3.sdf"), removeHs=False)
    assert Chem.MolToSmiles(Chem.RemoveHs(back)) == "[CH3]" and back.GetNumAtoms() == 4


def test_types_of_tags_survive(tmp_path):
    write_sdf(tmp_path / "a.sdf", [WATER])
    same(WATER, read_molecules(tmp_path / "a.sdf")[0], 4)


def test_a_mol_file_by_another_program(tmp_path):
    """No $$$$, Windows line ends, zwitterion charges, hydrogens left out: read as it is."""
    mol = Chem.MolFromSmiles("[NH3+]CC(=O)[O-]")
    conformer = Chem.Conformer(5)
    conformer.SetPositions(np.arange(15.0).reshape(5, 3) ** 1.1)
    mol.AddConformer(conformer)
    path = tmp_path / "glycine.mol"
    path.write_bytes(Chem.MolToMolBlock(mol).replace("\n", "\r\n").encode())
    (m,) = read_molecules(path)
    assert m.symbols == ("N", "C", "C", "O", "O") and m.charges == (1, 0, 0, 0, -1)
    assert m.positions[4, 2] == pytest.approx(14**1.1, abs=1e-4)


def test_sdf_with_impossible_valences_is_read(tmp_path):
    five = Molecule(("C",) + ("H",) * 5, np.vstack([np.zeros(3), np.eye(3), -np.eye(3)[:2]]), (0,) * 6)
    write_sdf(tmp_path / "five.sdf", [five])
    same(five, read_molecules(tmp_path / "five.sdf")[0], 4)


def test_xyz_by_another_program(tmp_path):
    path = tmp_path / "frames.XYZ"
    path.write_text("\n 2 \n\n1 0 0 0 0.1\nF\t0.92 0 1.0*^-6 x\n\n\n1\nonly one\nh 0 0 0")
    first, second = read_molecules(path)
    assert first.symbols == ("H", "F") and first.name == "" and first.positions[1].tolist() == [0.92, 0, 1e-6]
    assert second.symbols == ("H",) and second.name == "only one"


def test_planar_and_single_atoms_are_molecules(tmp_path):
    flat = Molecule(WATER.symbols, WATER.positions[:, [1, 2, 0]], WATER.charges)
    atom = Molecule(("F",), np.zeros((1, 3)), (-1,))
    write_sdf(tmp_path / "a.sdf", [flat, atom])
    assert [len(m) for m in read_molecules(tmp_path / "a.sdf")] == [3, 1]


def sdf_text(tmp_path, *batch):
    write_sdf(tmp_path / "whole.sdf", batch)
    return (tmp_path / "whole.sdf").read_text()


def refused(tmp_path, name, content, *words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(Misuse) as caught:
        read_molecules(path)
    message = str(caught.value)
    assert caught.value.what.endswith(".") and caught.value.cure.endswith(".")
    for word in (name, *words):
        assert word in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        ("  \n\n", ["empty"]),
        ("water\n", ["Line 1", "number of atoms"]),
        ("0\nnothing\n", ["Line 1"]),
        ("-3\nnothing\n", ["Line 1"]),
        (WATER_XYZ.rsplit("H", 1)[0], ["line 1", "2 of 3"]),
        (WATER_XYZ + "3\n", ["line 6", "0 of 3"]),
        (WATER_XYZ + WATER_XYZ.replace("-0.7572 -0.4692", "-0.7572"), ["Line 10"]),
        (WATER_XYZ.replace("O", "O?"), ["Line 3"]),
        (WATER_XYZ.replace("O 0", "O zero"), ["Line 3", "'O zero"]),
        (WATER_XYZ.replace("O 0", "O nan"), ["molecule 1", "finite"]),
        (WATER_XYZ + WATER_XYZ.replace("O 0", "O inf"), ["molecule 2", "finite"]),
        ("2\nx\nH 0 0 0\nH 0 0 0\n", ["all are zero"]),
        (WATER_XYZ.replace("3\n", "4\n", 1), ["cut off", "3 of 4"]),
        (WATER_XYZ.replace("3\n", "2\n", 1), ["Line 5"]),
    ],
)
def test_bad_xyz_is_named(content, words, tmp_path):
    refused(tmp_path, "bad.xyz", content, *words)


@pytest.mark.parametrize("lines", range(1, 8))
def test_a_cut_second_record_is_named(lines, tmp_path):
    whole = sdf_text(tmp_path, WATER)
    cut = "".join(whole.splitlines(keepends=True)[:lines])
    refused(tmp_path, "bad.sdf", whole + cut, "record 2", f"line {len(whole.splitlines()) + 1}", "M  END")


def test_bad_sdf_is_named(tmp_path):
    whole = sdf_text(tmp_path, WATER)
    refused(tmp_path, "bad.sdf", whole.replace("$$$$\n", ""), "record 1", "$$$$")
    refused(tmp_path, "bad.sdf", whole + whole.replace("  3  2", " 30  2", 1), "record 2", "not a readable")
    refused(tmp_path, "bad.sdf", whole.replace("    0.7572", "       nan", 1), "record 1")
    refused(tmp_path, "bad.sdf", whole.replace("    0.7572", "    0.7x72", 1), "record 1")
    refused(tmp_path, "bad.sdf", "just text\nof several\nlines\n", "record 1", "M  END")
    refused(tmp_path, "bad.mol", "\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n", "no atoms")


def test_a_drawing_is_refused(tmp_path):
    from rdkit.Chem import AllChem

    mol = Chem.MolFromSmiles("c1ccccc1O")
    AllChem.Compute2DCoords(mol)
    refused(tmp_path, "flat.mol", Chem.MolToMolBlock(mol), "record 1", "2D")
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CO")).replace("2D", "3D")
    refused(tmp_path, "none.mol", block.replace("1.2990    0.7500", "0.0000    0.0000"), "all are zero")


def test_bad_paths_are_named(tmp_path):
    for name, words in [
        ("no.sdf", "There is no file"),
        ("no.pdb", ".mol, .sdf, .xyz"),
        ("no", "unknown kind"),
    ]:
        with pytest.raises(Misuse, match=words):
            read_molecules(tmp_path / name)
    (tmp_path / "folder.xyz").mkdir()
    with pytest.raises(Misuse, match="is a folder"):
        read_molecules(tmp_path / "folder.xyz")


def test_bytes_are_no_molecule(tmp_path):
    for name in ("noise.sdf", "noise.xyz"):
        (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(2000))
        with pytest.raises(Misuse):
            read_molecules(tmp_path / name)


@pytest.mark.parametrize("write", [write_sdf, write_xyz])
def test_nothing_is_lost_when_writing_fails(write, tmp_path):
    path = tmp_path / "kept.out"
    path.write_text("old")
    with pytest.raises(Misuse, match="exists already"):
        write(path, [WATER])
    broken = Molecule(WATER.symbols, WATER.positions * np.nan, WATER.charges)
    with pytest.raises(Misuse, match="molecule 2 has coordinates that are not finite"):
        write(path, [WATER, broken], overwrite=True)
    assert path.read_text() == "old"
    write(path, [WATER], overwrite=True)
    assert "water" in path.read_text() and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "data", [{"a<b": 1}, {"": 1}, {"a\nb": 1}, {"a": "x\n\ny"}, {"a": "x\n$$$$"}, {"a": "x\r\n\r\ny"}]
)
def test_tags_that_would_break_the_file_are_refused(data, tmp_path):
    with pytest.raises(Misuse, match="tag"):
        write_sdf(tmp_path / "a.sdf", [Molecule(WATER.symbols, WATER.positions, WATER.charges, "", data)])
    assert not list(tmp_path.iterdir())


def test_odd_names_cannot_break_a_file(tmp_path):
    odd = [
        Molecule(WATER.symbols, WATER.positions, WATER.charges, n)
        for n in ("$$$$", "a\nb", "M  END", "x" * 300)
    ]
    for name, write in [("a.sdf", write_sdf), ("a.xyz", write_xyz)]:
        write(tmp_path / name, odd)
        back = read_molecules(tmp_path / name)
        assert len(back) == 4 and back[1].name == "a b" and all(m.symbols == WATER.symbols for m in back)


def test_csv_has_all_columns_and_exact_numbers(tmp_path):
    path = tmp_path / "t.csv"
    rows = [{"name": 'a,"b"', "gap": 0.1 + 0.2}, {"name": "é\nc", "mu": None, "count": 3}]
    write_csv(path, rows)
    with path.open(newline="", encoding="utf-8") as handle:
        table = list(csv.DictReader(handle))
    assert list(table[0]) == ["name", "gap", "mu", "count"]
    assert float(table[0]["gap"]) == 0.1 + 0.2 and table[0]["name"] == 'a,"b"' and table[0]["count"] == ""
    assert table[1] == {"name": "é\nc", "gap": "", "mu": "", "count": "3"}
    with pytest.raises(Misuse, match="exists already"):
        write_csv(path, [])
    assert path.read_text().startswith("name,gap")


QM9_FRAME = """5
gdb 1\t157.7118\t157.70997
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 2.150416*^-3\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765748*^-4\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


def test_qm9s_own_xyz(tmp_path):
    """Its exponents, and the frequencies, SMILES and InChI after each frame (chemfiles#489)."""
    (tmp_path / "dsgdb9nsd_000001.xyz").write_text(QM9_FRAME + QM9_FRAME.replace("gdb 1", "gdb 2"))
    first, second = read_molecules(tmp_path / "dsgdb9nsd_000001.xyz")
    assert (first.name, second.name) == ("gdb 1", "gdb 2") and first.symbols == ("C", "H", "H", "H", "H")
    assert first.positions[1].tolist() == [0.002150416, -0.0060313176, 0.0019761204]
    assert first.positions[2, 2] == 2.765748e-4 and examine([first])[0].sound


@pytest.mark.parametrize(
    "properties",
    [
        "species:S:1:forces:R:3:pos:R:3",
        '"forces:R:3:species:S:1:pos:R:3"',
        "pos:R:3:Z:I:1",
        "Pos:R:3:id:I:1:element:S:1",
    ],
)
def test_extended_xyz_is_read_by_its_columns(properties, tmp_path):
    """Water, whatever stands before its positions."""
    values = {"species": "O H H", "element": "O H H", "z": "8 1 1", "id": "1 2 3"}
    names = [part.lower() for part in properties.strip('"').split(":")[::3]]
    places = ["0 0 0", "0.96 0 0", "-0.24 0.93 0"]
    columns = {"pos": places, "forces": ["9 8 7"] * 3} | {k: v.split() for k, v in values.items()}
    rows = [" ".join(columns[name][i] for name in names) for i in range(3)]
    comment = f'Lattice="9 0 0 0 9 0 0 0 9" Properties={properties} name=water pbc="F F F"'
    (tmp_path / "w.xyz").write_text("\n".join(["3", comment, *rows, ""]))
    (m,) = read_molecules(tmp_path / "w.xyz")
    assert m.symbols == ("O", "H", "H") and m.name == "water"
    assert m.positions.tolist() == [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "2\nProperties=species:S:1:forces:R:3\nH 0 0 0\nH 1 0 0\n",
            ["Line 2", "no place of species and pos"],
        ),
        ("1\nProperties=pos:R:3:species\nH 0 0 0\n", ["Line 2"]),
        ("1\nProperties=species:S:1:skip:R:99999999999:pos:R:3\nH 0 0 0\n", ["Line 2"]),
        ("1\nProperties=species:S:1:skip:R:99999:pos:R:3\nH 0 0 0\n", ["Line 3"]),
        (WATER_XYZ.replace("water\n", ""), ["line 1", "no comment line"]),
        (WATER_XYZ.replace("water\n", "") * 2, ["line 1", "no comment line"]),
        (WATER_XYZ + WATER_XYZ.replace("water\n", ""), ["line 6", "no comment line"]),
        ("9" * 5000 + "\nmany\nH 0 0 0\n", ["cut off", "(5,000 characters)"]),
        ("0" * 5000 + "\nnone\nH 0 0 0\n", ["Line 1", "(5,000 characters)"]),
    ],
)
def test_what_columns_and_counts_cannot_be_is_named(content, words, tmp_path):
    refused(tmp_path, "bad.xyz", content, *words)


def test_a_comment_that_looks_like_an_atom_is_a_comment(tmp_path):
    (tmp_path / "a.xyz").write_text("2\nC 1 2 3\nH 0 0 0\nF 0.92 0 0\n")
    (m,) = read_molecules(tmp_path / "a.xyz")
    assert m.symbols == ("H", "F") and m.name == "C 1 2 3"


def test_long_lines_of_brackets_take_linear_time(tmp_path):
    """40,000 of them took seconds by a regular expression; ten times as many take no time here."""
    whole = sdf_text(tmp_path, WATER)
    for line in ("> " + "<" * 400_000, ">" * 400_000, "> " + "<>" * 200_000):
        (tmp_path / "a.sdf").write_text(whole.replace("$$$$", f"{line}\n1\n\n$$$$"))
        start = time.process_time()
        (m,) = read_molecules(tmp_path / "a.sdf")
        assert time.process_time() - start < 1 and m.symbols == WATER.symbols


def test_tags_have_the_names_between_the_brackets(tmp_path):
    text = sdf_text(tmp_path, AMMONIUM)
    tags = ">  <gap (eV)>  (7)\n1.5\n\n> 25 <a>b>\nx\n\n>  <>\nlost\n\n"
    (tmp_path / "a.sdf").write_text(text.replace("$$$$", f"{tags}$$$$"))
    assert read_molecules(tmp_path / "a.sdf")[0].data == {"gap (eV)": 1.5, "a>b": "x"}


def test_what_rdkit_fails_on_is_read_without_bonds_and_in_silence(tmp_path, capfd):
    """A count of hydrogens far too large: RDKit reads the record, and cannot kekulize it."""
    whole = sdf_text(tmp_path, WATER)
    (tmp_path / "a.sdf").write_text(whole.replace(" O   0  0  0", " O   0  0  999999999999.9", 1))
    (m,) = read_molecules(tmp_path / "a.sdf")
    assert m.symbols == WATER.symbols and m.bonds is None and capfd.readouterr() == ("", "")


def test_csv_runs_nothing_in_a_spreadsheet(tmp_path):
    names = ["=HYPERLINK(0)", "+1+1", "@SUM(A1)", "-2+3", "\t=1", "C=O", "-5.5", "[NH4+]"]
    write_csv(tmp_path / "t.csv", [{"name": n, "x": -1.5} for n in names])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [r["name"] for r in rows] == [f"'{n}" for n in names[:5]] + names[5:]
    assert {r["x"] for r in rows} == {"-1.5"}
