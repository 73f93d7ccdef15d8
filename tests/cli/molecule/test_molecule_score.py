"""`headwater molecule score`: a file of molecules judged, by its own bonds where it has them."""

import csv
import json

import numpy as np
import pytest
from cli_tools import call, report
from molecule_stubs import S, everything, stub_scores


def test_scores_are_printed_and_nothing_is_written(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    before = everything(folder)
    assert call(f"{S} two.xyz") == 0
    out = capsys.readouterr().out
    assert "water" in out and "CH4" in out and "7.000" in out and "9.000" in out and "guide" not in out
    assert everything(folder) == before


@pytest.mark.parametrize("name", ["scores.csv", "scores.json"])
def test_scores_are_written(name, folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    assert call(f"{S} two.xyz -o {name}") == 0
    r = json.loads((folder / "scores.json").read_text())
    assert r["molecules"][0]["evaluator"]["gap"] == 7.0 and r["molecules"][0]["guide"]["gap"] == 8.0
    assert r["summary"]["valid"] == 1.0 and r["molecules"][1]["smiles"] == "C"
    assert "gap_evaluator_eV" in (folder / "scores.csv").read_text()


BENZENE = """
     RDKit          3D

 12 12  0  0  0  0  0  0  0  0999 V2000
"""


def ring(path):
    """Benzene as an SDF with aromatic bonds."""
    angle = np.arange(6) * np.pi / 3
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    places = np.concatenate([1.395 * circle, 2.48 * circle])
    atoms = [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {s}   0  0  0  0  0  0  0  0  0  0  0  0"
        for s, (x, y, z) in zip("C" * 6 + "H" * 6, places, strict=True)
    ]
    bonds = [f"{i + 1:3d}{(i + 1) % 6 + 1:3d}  4  0" for i in range(6)]
    bonds += [f"{i + 1:3d}{i + 7:3d}  1  0" for i in range(6)]
    path.write_text("benzene" + BENZENE + "\n".join([*atoms, *bonds, "M  END", "$$$$", ""]))


def test_an_aromatic_molecule_has_one_name_everywhere(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    ring(folder / "ring.sdf")
    assert call("molecule score ring.sdf -o scored.csv") == 0
    assert "c1ccccc1" in capsys.readouterr().out
    (row,) = csv.DictReader((folder / "scored.csv").open())
    (entry,) = report(folder / "scored.json")["molecules"]
    assert row["smiles"] == entry["smiles"] == entry["smiles_edm"] == "c1ccccc1"
    assert row["sound"] == "True" and row["stable_edm"] == "False" and row["notes"] == ""
    assert row["sound_by_table"] == "False" and row["sound_by_rdkit"] == "True"


def test_charges_are_noted(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    text = """ammonium
     RDKit          3D

  5  4  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 N   0  0  0  0  0  0  0  0  0  0  0  0
    0.5900    0.5900    0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
   -0.5900   -0.5900    0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
   -0.5900    0.5900   -0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
    0.5900   -0.5900   -0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
M  CHG  1   1   1
M  END
"""
    (folder / "nh4.mol").write_text(text)
    assert call("molecule score nh4.mol") == 0
    out = capsys.readouterr().out
    assert "[NH4+]" in out and "charged: the networks know no charges" in out


def test_what_the_networks_did_not_learn_is_said(folder, monkeypatch, capsys):
    """Water and methane have one heavy atom; chlorine and 30 atoms have no row, and end nothing."""
    stub_scores(monkeypatch)
    chlorine = "2\nhydrogen chloride\nH 0 0 0\nCl 1.27 0 0\n"
    huge = (folder / "huge.xyz").read_text()
    (folder / "mixed.xyz").write_text((folder / "two.xyz").read_text() + chlorine + huge)
    assert call(f"{S} mixed.xyz -o mixed.csv") == 0
    out, err = capsys.readouterr()
    assert (
        "1 heavy atom, QM9 has 4 to 9" in out and "not scored: the models know H, C, N, O, F, not Cl" in out
    )
    assert "2 molecules have fewer than 4 or more than 9 atoms other than hydrogen" in err
    assert "2 molecules have no scores: the models cannot hold their elements or their size." in err
    assert "not scored: 30 atoms, the models hold 29" in out
    water, methane, other, _ = report(folder / "mixed.json")["molecules"]
    assert water["notes"] == "1 heavy atom, QM9 has 4 to 9" and methane["evaluator"]["gap"] == 9.0
    assert (
        other["evaluator"]["gap"] is None and other["sound"] is None and other["name"] == "hydrogen chloride"
    )
    assert report(folder / "mixed.json")["summary"]["valid"] == 1.0


def test_one_molecule_is_one(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    assert call(f"{S} whole.xyz -o one.csv") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "one.csv, one.json: 1 molecule"


def test_names_can_harm_neither_a_terminal_nor_a_spreadsheet(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    names = ["\x1b[2J\x1b]0;title\x07red", "=HYPERLINK(0)", "@b\u202e", "+c", "-d"]
    (folder / "odd.xyz").write_text("".join(f"3\n{n}\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n" for n in names))
    assert call(f"{S} odd.xyz -o odd.csv") == 0
    out = capsys.readouterr().out
    assert not {c for c in out if not c.isprintable()} - {"\n"} and "[2J ]0;title red" in out
    with (folder / "odd.csv").open(encoding="utf-8", newline="") as handle:
        cells = [row["name"] for row in csv.DictReader(handle)]
    assert cells == [names[0], *(f"'{n}" for n in names[1:])]
