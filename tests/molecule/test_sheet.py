"""The sheet of molecules: any molecule, equal scale, nothing cut off, no file replaced unasked."""

import os

import numpy as np
import pytest
from by_hand import embedded, scattered

from headwater.errors import Misuse
from headwater.molecule.structure.molecule import Molecule

pytest.importorskip("rdkit")
pytest.importorskip("PIL")

from PIL import Image

from headwater.molecule.io.card import Card, Line, formula_text
from headwater.molecule.sheet import SheetLayout, write_sheet

LINES = (
    Line("gap", "eV", (("asked", 5.0), ("guide", 5.03), ("evaluator", 5.11), ("xTB", 4.7))),
    Line("alpha", "Bohr³", (("asked", 75.0), ("guide", 74.2), ("xTB", None))),
)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), dtype=int)


def red(part):
    return (np.abs(part - [0xB4, 0x23, 0x18]).sum(-1) < 30).sum()


@pytest.mark.parametrize(
    "m",
    [
        embedded("c1ccccc1O"),
        embedded("[NH3+]CC([O-])=O"),
        embedded("C1C2CC3C1C23"),
        embedded("CCCCCCCCC"),
        embedded("C"),
        embedded("[H][H]"),
        embedded("[H+]"),
        scattered("H" * 29),
        scattered("CNOFH" * 5),
        scattered("C"),
        scattered(["Xe", "F", "F"]),
        Molecule(("C", "O"), np.array([[0, 0, 0], [np.nan, 0, 0]]), (0, 0)),
        Molecule(("C", "C"), np.zeros((2, 3)), (0, 0)),
    ],
    ids=lambda m: formula_text(m),
)
def test_any_molecule(tmp_path, m):
    out = write_sheet(tmp_path / "s.png", [Card(m, "a name", LINES, ("unstable",))], title="A title")
    image = Image.open(out)
    assert image.format == "PNG" and image.width > 400 and 400 < image.height < 700
    assert os.listdir(tmp_path) == ["s.png"]
    assert (pixels(out)[:, [0, -1]] == 255).all()  # white, and nothing beyond the margin


def test_broken_molecules_are_marked(tmp_path):
    good = write_sheet(tmp_path / "good.png", [Card(embedded("CC"), "ethane", LINES)], title="")
    bad = write_sheet(tmp_path / "bad.png", [Card(scattered("CNCOHHHH"), "ethane", LINES)], title="")
    assert red(pixels(good)) == 0 and red(pixels(bad)) > 20


def test_grid_and_what_is_left_out(tmp_path):
    water = Card(embedded("O"), "water")
    sizes = {}
    for count, columns in ((1, 4), (4, 4), (5, 4), (4, 2), (SheetLayout.most, 8), (SheetLayout.most + 3, 8)):
        out = write_sheet(tmp_path / f"{count}-{columns}.png", [water] * count, title="t", columns=columns)
        sizes[count, columns] = Image.open(out).size
    one, four, five, square = (sizes[k] for k in ((1, 4), (4, 4), (5, 4), (4, 2)))
    assert one[0] < four[0] == five[0] and one[1] == four[1] < five[1] == square[1]
    full, more = sizes[SheetLayout.most, 8], sizes[SheetLayout.most + 3, 8]
    assert more[0] == full[0] and 0 < more[1] - full[1] < 80  # a line at the foot, no ninth row


def test_hostile_and_long_words(tmp_path):
    name = "<b>\n\x00\udc80 " + "very long " * 40
    line = Line("l" * 99, "u" * 99, tuple((f"source {i}" * 9, 1e300 * (-1) ** i) for i in range(5)))
    out = write_sheet(tmp_path / "s.png", [Card(embedded("O"), name, (line,), (name,) * 3)], title=name)
    assert Image.open(out).width < 1500 and (pixels(out)[:, -40:] == 255).all()


def test_refusals(tmp_path):
    card, path = Card(embedded("O"), "water"), tmp_path / "s.png"
    with pytest.raises(Misuse, match="at least one"):
        write_sheet(path, [], title="")
    with pytest.raises(Misuse, match="0 columns"):
        write_sheet(path, [card], title="", columns=0)
    path.write_text("precious")
    with pytest.raises(Misuse, match="exists already"):
        write_sheet(path, [card], title="")
    assert path.read_text() == "precious"
    assert Image.open(write_sheet(path, [card], title="", overwrite=True)).format == "PNG"
