"""The page of molecules: whole, self-contained, and safe whatever the names say."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from headwater.errors import Misuse
from headwater.molecule.structure.molecule import Molecule

pytest.importorskip("rdkit")

from rdkit import Chem

from headwater.molecule.io import viewer
from headwater.molecule.io.card import Card, Line
from headwater.molecule.io.viewer import write_page

HOSTILE = (
    "$$$$\n</script><script>alert(1)</script><img src=x onerror=alert(2)>&quot;'\"<!-- <!--slot:library-->"
)
HOSTILE += "\n$$$$\n\udc80"
WATER = Molecule(("O", "H", "H"), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), (0, 0, 0))
HYDROXIDE = Molecule(("O", "H"), np.array([[0, 0, 0], [0.96, 0, 0]]), (-1, 0))
LONE = Molecule(("C",), np.zeros((1, 3)), (0,))
CROWD = Molecule(("H",) * 6, np.random.default_rng(0).normal(size=(6, 3)) * 0.3, (0,) * 6)
LINE = Line("gap", "eV", (("asked", 5.0), ("guide", 5.03), ("xTB", None)))


class Page(HTMLParser):
    """The elements of a page, as a browser would split it: scripts are opaque up to their end tag."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.scripts, self.text, self.open = [], [], {}, ""
        self.source = path.read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open = tag
        if tag == "script":
            self.scripts.append((dict(attributes), ""))

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        self.text[self.open] = self.text.get(self.open, "") + data
        if self.open == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)

    @property
    def data(self):
        (text,) = [text for kind, text in self.scripts if kind.get("id") == "data"]
        return json.loads(text)


@pytest.fixture
def made(tmp_path):
    cards = [
        Card(WATER, "water", (LINE,), ("duplicate of 3",)),
        Card(HYDROXIDE, HOSTILE, (Line(HOSTILE, HOSTILE, ((HOSTILE, 1.0),)),), (HOSTILE,)),
        Card(LONE, ""),
        Card(CROWD, "crowd"),
        Card(Molecule(("Xe", "F", "F"), np.eye(3) * 2, (0, 0, 0)), "xenon difluoride"),
        Card(Molecule(("C", "H"), np.full((2, 3), np.nan), (0, 0)), "nowhere"),
    ]
    return Page(write_page(tmp_path / "hits.html", cards, title=HOSTILE))


def test_all_cards_are_there(made):
    cards = made.data["cards"]
    assert [card["name"] for card in cards][::2] == ["water", "molecule 3", "xenon difluoride"]
    assert made.data["sources"][:3] == ["asked", "guide", "xTB"]
    assert cards[0]["lines"] == [
        {"label": "gap", "unit": "eV", "values": {"asked": "5.00", "guide": "5.03", "xTB": "–"}}
    ]
    assert cards[0]["notes"] == ["duplicate of 3"] and cards[0]["formula"] == "H₂O"
    assert cards[1]["charges"] == [[0, -1]]


def test_models_can_be_read_back(made):
    for card in made.data["cards"][:4]:
        assert card["format"] == "sdf"
        supplier = Chem.SDMolSupplier()
        supplier.SetData(card["model"], removeHs=False, sanitize=False)
        assert len(supplier) == 1 and supplier[0] is not None  # a hostile name opens no second record
    water = made.data["cards"][0]["model"]
    mol = Chem.MolFromMolBlock(water, removeHs=False)
    assert np.allclose(mol.GetConformer().GetPositions(), WATER.positions, atol=1e-4)
    assert ">  <gap asked eV>\n5\n" in water and "xTB" not in water
    xenon, nowhere = made.data["cards"][4:]
    assert xenon["format"] == nowhere["format"] == "xyz" and "nan" not in nowhere["model"]


def test_aromatic_molecules_have_alternating_bonds(tmp_path):
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    benzene = Molecule(("C",) * 6 + ("H",) * 6, np.concatenate([1.39 * ring, 2.48 * ring]), (0,) * 12)
    made = Page(write_page(tmp_path / "hits.html", [Card(benzene, "benzene")], title=""))
    mol = Chem.MolFromMolBlock(made.data["cards"][0]["model"], sanitize=False)
    assert {b.GetBondTypeAsDouble() for b in mol.GetBonds()} == {1.0, 2.0}


def test_no_bonds_at_all_gives_xyz(tmp_path, monkeypatch):
    def refuse(m):
        raise Misuse("The molecule has the element Xe.", "Give another.")

    monkeypatch.setattr(viewer, "perceive", lambda m: None)
    monkeypatch.setattr(viewer, "to_rdkit", refuse)
    (card,) = Page(write_page(tmp_path / "hits.html", [Card(WATER, "a\nb")], title="")).data["cards"]
    assert card["format"] == "xyz" and card["model"].splitlines()[:2] == ["3", "a b"]
    assert card["notes"] == ["no valid bonds"]


def test_hostile_names_stay_text(made):
    assert [kind for kind, _ in made.scripts] == [{"type": "application/json", "id": "data"}, {}, {}]
    assert "img" not in [tag for tag, _ in made.tags]
    assert not any(key.startswith("on") for _, attributes in made.tags for key in attributes)
    assert "alert(1)" in made.text["title"] and "alert(1)" in made.text["h1"]
    assert "alert(2)" in made.data["cards"][1]["name"]
    assert "<" not in next(text for kind, text in made.scripts if kind)
    assert (
        made.source.count("typeof define&&define.amd") == 1
    )  # the library is in once, no slot came in by a name
    own = made.scripts[-1][1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", own)


def test_nothing_is_fetched(made):
    fetching = ("src", "href", "srcset", "data", "action", "poster", "background")
    assert not [pair for pair in made.tags if any(name in pair[1] for name in fetching)]
    policy = next(a["content"] for _, a in made.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';") and "http" not in policy and "connect" not in policy
    own = made.scripts[-1][1] + made.text["style"]
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|@import|url\(", own)


def test_licence_travels_with_the_library(made):
    assert "University of Pittsburgh" in made.text["pre"]
    library = made.scripts[1][1]
    assert library == (files("headwater.molecule.io") / "assets" / "3Dmol-min.js").read_text("utf-8")


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_scripts_are_valid_javascript(made, tmp_path):
    for i, (_, text) in enumerate(made.scripts[1:]):
        script = tmp_path / f"{i}.js"
        script.write_text(text, "utf-8")
        subprocess.run(["node", "--check", str(script)], check=True, timeout=30)


def test_refusals(tmp_path):
    path = tmp_path / "hits.html"
    with pytest.raises(Misuse, match="at least one"):
        write_page(path, [], title="")
    path.write_text("precious")
    with pytest.raises(Misuse, match="exists already"):
        write_page(path, [Card(WATER)], title="")
    assert path.read_text() == "precious"
    write_page(path, [Card(WATER)], title="", overwrite=True)
    assert Page(path).data["cards"][0]["name"] == "molecule 1"
