"""The sheet of molecules: any molecule, equal scale, nothing cut off, no file replaced unasked."""

import os

import numpy as np
import pytest

from headwater.errors import Misuse
from headwater.molecule.molecule import Molecule

pytest.importorskip("rdkit")
pytest.importorskip("PIL")

from PIL import Image
from rdkit import Chem
from rdkit.Chem import AllChem

from headwater.molecule import sheet as module
from headwater.molecule.sheet import Card, Line, clean, formula, sheet

LINES = (
    Line("gap", "eV", (("asked", 5.0), ("guide", 5.03), ("evaluator", 5.11), ("xTB", 4.7))),
    Line("alpha", "Bohr³", (("asked", 75.0), ("guide", 74.2), ("xTB", None))),
)


def molecule(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    atoms = list(mol.GetAtoms())
    symbols, charges = tuple(a.GetSymbol() for a in atoms), tuple(a.GetFormalCharge() for a in atoms)
    return Molecule(symbols, mol.GetConformer().GetPositions(), charges)


def scattered(symbols, seed=0):
    positions = np.random.default_rng(seed).normal(size=(len(symbols), 3)) * 2
    return Molecule(tuple(symbols), positions, (0,) * len(symbols))


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), dtype=int)


def red(part):
    return (np.abs(part - [0xB4, 0x23, 0x18]).sum(-1) < 30).sum()


@pytest.mark.parametrize(
    "m",
    [
        molecule("c1ccccc1O"),
        molecule("[NH3+]CC([O-])=O"),
        molecule("C1C2CC3C1C23"),
        molecule("CCCCCCCCC"),
        molecule("C"),
        molecule("[H][H]"),
        molecule("[H+]"),
        scattered("H" * 29),
        scattered("CNOFH" * 5),
        scattered("C"),
        scattered(["Xe", "F", "F"]),
        Molecule(("C", "O"), np.array([[0, 0, 0], [np.nan, 0, 0]]), (0, 0)),
        Molecule(("C", "C"), np.zeros((2, 3)), (0, 0)),
    ],
    ids=lambda m: formula(m),
)
def test_any_molecule(tmp_path, m):
    out = sheet(tmp_path / "s.png", [Card(m, "a name", LINES, ("unstable",))], title="A title")
    image = Image.open(out)
    assert image.format == "PNG" and image.width > 400 and 400 < image.height < 700
    assert os.listdir(tmp_path) == ["s.png"]
    assert (pixels(out)[:, [0, -1]] == 255).all()  # white, and nothing beyond the margin


def test_broken_molecules_are_marked(tmp_path):
    good = sheet(tmp_path / "good.png", [Card(molecule("CC"), "ethane", LINES)], title="")
    bad = sheet(tmp_path / "bad.png", [Card(scattered("CNCOHHHH"), "ethane", LINES)], title="")
    assert red(pixels(good)) == 0 and red(pixels(bad)) > 20


def test_hydrogens_are_not_invented():
    assert module._found(scattered("C"))[0] is None
    ethane, note = module._found(molecule("CC"))
    assert ethane.GetNumAtoms() == 2 and note == ""


def test_bonds_of_one_length():
    """The same bond in two molecules of very different size has the same length in pixels."""
    small, large = module._structures([molecule("C#C"), molecule("C#CC#CC#C")], 440)
    x = [np.flatnonzero((np.asarray(p) < 128).all(-1).any(0)) for p in (small, large)]
    assert np.ptp(x[1]) == pytest.approx(5 * np.ptp(x[0]), abs=8)


def test_grid_and_what_is_left_out(tmp_path):
    water = Card(molecule("O"), "water")
    sizes = {}
    for count, columns in ((1, 4), (4, 4), (5, 4), (4, 2), (module.MOST, 8), (module.MOST + 3, 8)):
        out = sheet(tmp_path / f"{count}-{columns}.png", [water] * count, title="t", columns=columns)
        sizes[count, columns] = Image.open(out).size
    one, four, five, square = (sizes[k] for k in ((1, 4), (4, 4), (5, 4), (4, 2)))
    assert one[0] < four[0] == five[0] and one[1] == four[1] < five[1] == square[1]
    full, more = sizes[module.MOST, 8], sizes[module.MOST + 3, 8]
    assert more[0] == full[0] and 0 < more[1] - full[1] < 80  # a line at the foot, no ninth row


def test_hostile_and_long_words(tmp_path):
    name = "<b>\n\x00\udc80 " + "very long " * 40
    line = Line("l" * 99, "u" * 99, tuple((f"source {i}" * 9, 1e300 * (-1) ** i) for i in range(5)))
    out = sheet(tmp_path / "s.png", [Card(molecule("O"), name, (line,), (name,) * 3)], title=name)
    assert Image.open(out).width < 1500 and (pixels(out)[:, -40:] == 255).all()


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((5.0, 5.03, 4.7), ["5.00", "5.03", "4.70"]),
        ((-6.5, -10.2, None), ["−6.50", "−10.20", "–"]),
        ((75.04, float("nan"), 0.0), ["75.0", "–", "0.0"]),
        ((5012.0, 4990.4, float("inf")), ["5012", "4990", "inf"]),
        ((None, None, None), ["–", "–", "–"]),
        ((0.0012, 0.0, -1e9), ["0", "0", "−1e+09"]),
    ],
)
def test_numbers(values, shown):
    assert list(Line("p", "", tuple(zip("abc", values, strict=True))).shown().values()) == shown


def test_names_and_formulae():
    assert clean(" a\r\n\tb\u2028\x1b[0m ") == "a b [0m"
    assert formula(molecule("[NH4+]")) == "H₄N+" and formula(molecule("CC(=O)[O-]")) == "C₂H₃O₂−"


def test_refusals(tmp_path):
    card, path = Card(molecule("O"), "water"), tmp_path / "s.png"
    with pytest.raises(Misuse, match="at least one"):
        sheet(path, [], title="")
    with pytest.raises(Misuse, match="0 columns"):
        sheet(path, [card], title="", columns=0)
    path.write_text("precious")
    with pytest.raises(Misuse, match="exists already"):
        sheet(path, [card], title="")
    assert path.read_text() == "precious"
    assert Image.open(sheet(path, [card], title="", overwrite=True)).format == "PNG"
