"""`--check xtb` and `--check dft`: what stands beside the target, and that no failure takes a molecule with it."""

import csv
import os
import signal

import pytest
from cli_tools import call, report
from molecule_stubs import S, T, stub_scores

from headwater.cli.molecule import checks as molecule_checks
from headwater.molecule.checks import dft, xtb


@pytest.fixture
def fake_xtb(monkeypatch):
    """xTB that costs nothing; the molecules it got."""
    seen = []

    def relax(m):
        seen.append(m)
        e = xtb.Electrons(-7.0, -2.0, 5.0, 1.5)
        return xtb.Relaxation(
            m, len(seen) != 2, 5, 0.1, 0.03, len(seen) == 1, e, e, "" if len(seen) != 2 else "No."
        )

    monkeypatch.setattr(xtb, "relax", relax)
    monkeypatch.setattr(molecule_checks, "find_spec", lambda name: True)
    return seen


def test_xtb_stands_beside_the_target(folder, asked, fake_xtb, capsys):
    assert call(f"{T} --gap 5eV --alpha 70Bohr^3 --count 2 -o hits.sdf") == 1  # alpha is missed
    out = capsys.readouterr().out
    assert "xTB" in out and "bonds change in xTB" in out and "xTB did not converge" in out
    line = xtb.RELAXED_CALIBRATION["gap"]
    first = report(folder / "hits.json")["molecules"][0]["xtb"]
    assert first["on_b3lyp_scale"]["gap"] == pytest.approx(5 * line.slope + line.intercept, abs=1e-5)
    assert first["relaxed"]["gap_ev"] == 5.0 and first["bond_change"] is True and len(fake_xtb) == 2
    assert "gap_xtb_eV" in (folder / "hits.csv").read_text()


def test_scored_molecules_are_checked_in_the_columns_of_a_target(
    folder, asked, fake_xtb, monkeypatch, capsys
):
    """Water's bonds change, methane does not converge, and chlorine, which has no scores, is not computed."""
    stub_scores(monkeypatch)
    chlorine = "2\nhydrogen chloride\nH 0 0 0\nCl 1.27 0 0\n"
    (folder / "mixed.xyz").write_text((folder / "two.xyz").read_text() + chlorine)
    assert call(f"{S} mixed.xyz -o mixed.csv --check xtb") == 0 and len(fake_xtb) == 2
    out, err = capsys.readouterr()
    assert "xTB" in out and "strain" in out and "bonds change in xTB" in out and "xTB did not converge" in out
    assert "xtb  0 of 2 molecules" in err
    assert call(f"{T} --gap 5eV --count 1 -o hits.sdf --check xtb --quiet") == 1  # xTB says 6.8 eV
    r = report(folder / "mixed.json")
    water, _, chlorine = r["molecules"]
    assert water["xtb"] == {**report(folder / "hits.json")["molecules"][0]["xtb"], "bond_change": True}
    assert "xtb" not in chlorine and chlorine["sound"] is None
    assert {"xtb", "disagreement"} <= set(r["definitions"]) and r["calibration"]["gap"]
    scored, hit = (next(csv.DictReader((folder / f).open())) for f in ("mixed.csv", "hits.csv"))
    more = {"gap_xtb_eV", "gap_disagreement_eV", "mu_xtb_debye", "strain_kcal_per_mol"}
    assert more <= set(scored) & set(hit) and scored["gap_xtb_eV"] == hit["gap_xtb_eV"]


def test_scores_are_not_checked_unless_asked(folder, fake_xtb, monkeypatch, capsys):
    stub_scores(monkeypatch)
    assert call(f"{S} two.xyz -o two.csv") == 0
    assert not fake_xtb and "xtb" not in capsys.readouterr().out + (folder / "two.csv").read_text()


def test_ctrl_c_during_the_check_keeps_the_scores(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    monkeypatch.setattr(molecule_checks, "PACKAGES", {"xtb": ()})
    monkeypatch.setattr(xtb, "relax", lambda m: signal.raise_signal(signal.SIGINT))
    assert call(f"{S} two.xyz -o two.csv --check xtb --quiet") == 130
    assert len((folder / "two.csv").read_text().splitlines()) == 3


def strained(gap, strain):
    """A relaxation by its gap on the scale of B3LYP, eV, and the energy it frees, kcal/mol."""
    line = xtb.RELAXED_CALIBRATION["gap"]
    raw = (gap - line.intercept) / line.slope
    e = xtb.Electrons(-7.0, -7.0 + raw, raw, 1.5)
    return lambda m: xtb.Relaxation(m, True, 5, strain / 23.0605, 0.03, False, e, e)


def test_what_xtb_contradicts_is_no_hit_and_ranks_behind(folder, asked, monkeypatch, capsys):
    """Water, the nearer one by the evaluator, is 1.6 eV off by xTB and strained; methane stands the test."""
    monkeypatch.setattr(xtb, "relax", lambda m: strained(*((3.4, 57.0) if len(m) == 3 else (5.2, 1.5)))(m))
    assert call(f"{T} --gap 5eV --count 2 -o hits.sdf --check xtb") == 1
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "1 of 2 molecules missed its goal."
    best = out.splitlines()[-1]
    assert best.startswith("Best: number 2, C, by gradient") and "xTB gap 5.200 eV" in best
    water, methane = report(folder / "hits.json")["molecules"]
    assert water["notes"][-2:] == ["xTB: gap 1.60 eV below the evaluator's", "strain 57 kcal/mol"]
    assert (water["hit"], water["rank"], water["contradicted"]) == (False, 2, True)
    assert (methane["hit"], methane["rank"], methane["contradicted"]) == (True, 1, False)
    assert water["disagreement"]["gap"] == pytest.approx(-1.6, abs=1e-3)
    assert water["xtb"]["strain_kcal_per_mol"] == pytest.approx(57.0, abs=0.01)
    with (folder / "hits.csv").open() as handle:
        row = next(csv.DictReader(handle))
    assert float(row["gap_disagreement_eV"]) == pytest.approx(-1.6, abs=1e-3)
    assert float(row["strain_kcal_per_mol"]) == pytest.approx(57.0, abs=0.01) and row["hit"] == "False"


def test_of_two_that_stand_the_test_the_less_doubtful_is_better(folder, asked, monkeypatch, capsys):
    """The evaluator prefers water by 0.1 eV, 0.8 tolerances; xTB is 0.7 eV off there, 1.5 mean errors."""
    monkeypatch.setattr(xtb, "relax", lambda m: strained(5.7 if len(m) == 3 else 5.1, 1.0)(m))
    assert call(f"{T} --gap 5eV --count 2 -o hits.sdf --check xtb") == 0
    assert [m["rank"] for m in report(folder / "hits.json")["molecules"]] == [2, 1]
    assert call(f"{T} --gap 5eV --count 2 -o plain.sdf --check none") == 0
    assert [m["rank"] for m in report(folder / "plain.json")["molecules"]] == [1, 2]


def test_a_check_that_fails_takes_no_other_molecule_with_it(folder, asked, fake_xtb, monkeypatch):
    relax = xtb.relax

    def failing(m):
        if len(m) == 5:
            raise MemoryError
        return relax(m)

    monkeypatch.setattr(xtb, "relax", failing)
    assert call(f"{T} --gap 5eV --count 3 -o hits.sdf --check xtb --quiet") == 1
    found = [m["xtb"] for m in report(folder / "hits.json")["molecules"]]
    assert found[1]["sentence"] == "The check failed: MemoryError." and found[1]["relaxed"]["gap_ev"] is None
    assert found[0]["relaxed"]["gap_ev"] == found[2]["relaxed"]["gap_ev"] == 5.0


def test_molecules_are_on_disk_before_the_checks_and_ctrl_c_keeps_them(folder, asked, monkeypatch, capsys):
    calls = []

    def relax(m):
        assert (folder / "hits.sdf").exists() and (folder / "hits.csv").exists()
        calls.append(m)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        e = xtb.Electrons(-7.0, -2.0, 5.0, 1.5)
        return xtb.Relaxation(m, True, 5, 0.1, 0.03, False, e, e)

    monkeypatch.setattr(xtb, "relax", relax)
    assert call(f"{T} --gap 5eV --count 3 -o hits.sdf --check xtb --quiet") == 130
    molecules = report(folder / "hits.json")["molecules"]
    assert [m["xtb"] is None for m in molecules] == [False, True, True]
    assert "What was done is written" in capsys.readouterr().err


def test_sigterm_during_the_checks_keeps_the_molecules(folder, asked, monkeypatch, capsys):
    """As Ctrl-C: the check that runs is dropped, report and page are written."""

    def relax(m):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal came too late")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(xtb, "relax", relax)
    assert call(f"{T} --gap 5eV --count 2 -o hits.sdf --check xtb --quiet") == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(report(folder / "hits.json")["molecules"]) == 2 and (folder / "hits.html").exists()


def test_dft_computes_the_best(folder, asked, fake_xtb, monkeypatch, capsys):
    got = []

    def check(molecules, *, callback=None):
        for i, m in enumerate(molecules):
            callback(dft.Progress(i, len(molecules), 75.0))
            got.append("".join(m.symbols))
            yield dft.DftResult(-7.0, -1.9, 5.1, 1.8, -40.0, 60.0, i == 0, "" if i == 0 else "No.")

    monkeypatch.setattr(dft, "compute_all", check)
    monkeypatch.setitem(molecule_checks.PACKAGES, "dft", ())
    assert call(f"{T} --gap 5eV --count 4 -o hits.sdf --check dft --best 2") == 1
    assert got == ["OHH", "CHHHH"]  # not the duplicate, and not the radical
    molecules = report(folder / "hits.json")["molecules"]
    assert molecules[0]["dft"]["gap"] == 5.1 and molecules[2]["dft"] is None and molecules[0]["xtb"]
    out, err = capsys.readouterr()
    assert "DFT" in out and "DFT did not converge" in out and "dft  0 of 2" in err
