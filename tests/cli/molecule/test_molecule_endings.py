"""How `headwater molecule` ends: exit codes, Ctrl-C, limits of time and memory, defects; nothing written is lost."""

import csv
import signal
import time
from dataclasses import replace

import pytest
import torch
from cli_tools import EXITS, call, report, two_sentences
from molecule_stubs import T, a_design, everything

from headwater.errors import Misuse
from headwater.molecule.targets import design as designing
from headwater.optimizers.status import Status


def ended(monkeypatch, *statuses, spoil=None):
    """Make the design end with these statuses."""

    def design(request, networks=None, **how):
        done = a_design(["water", "methane"])
        if spoil is not None:
            done.molecules.positions[0] = spoil
        return replace(done, status=statuses)

    monkeypatch.setattr(designing, "design", design)


SPENT = (Status.EVALUATIONS, Status.STALLED, Status.MISSED)


@pytest.mark.parametrize("status, code", EXITS)
def test_how_it_ends_is_an_exit_code_and_a_warning(status, code, folder, asked, capsys, monkeypatch):
    """A hit by the evaluator is one, also where the guide, which ends the search, found none."""
    ended(monkeypatch, status, Status.REACHED)
    assert call(f"{T} --gap 5eV --count 2 --check none --quiet") == (0 if status in SPENT else code)
    out, err = capsys.readouterr()
    assert out == "" and (status.value in err) is not (status.ok or status in SPENT)
    assert report(folder / "hits.json")["molecules"][0]["status"] == status.name
    assert len((folder / "hits.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("status", SPENT)
def test_what_misses_is_counted_in_the_first_line(status, folder, asked, capsys, monkeypatch):
    """The first is a hit at 5.0 eV, the second one misses 4.9 eV by more than its tolerance."""
    ended(monkeypatch, status, status)
    assert call(f"{T} --gap 4.95eV --count 2 --check none") == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "1 of 2 molecules missed its goal." and f"molecule 2: {status.value}" in err
    assert [m["hit"] for m in report(folder / "hits.json")["molecules"]] == [True, False]


def with_cost(monkeypatch, *names, status=Status.EVALUATIONS):
    """A design with the costs 0.25, 0.5, ... in the order of the names."""
    done = replace(a_design(names, status=status), cost=torch.arange(1, len(names) + 1) / 4)
    monkeypatch.setattr(designing, "design", lambda request, **how: done)


@pytest.mark.parametrize("status", SPENT)
def test_a_cost_has_no_goal_to_miss(status, folder, asked, monkeypatch, capsys):
    with_cost(monkeypatch, "water", "methane", status=status)
    assert call(f"{T} --cost good.py --count 2 --check none --quiet") == 0
    assert capsys.readouterr() == ("", "")
    first, second = report(folder / "hits.json")["molecules"]
    assert first["status"] == "SPENT" and "a cost has no value to reach" in first["sentence"]
    assert (first["cost"], second["cost"], first["rank"], first["hit"]) == (0.25, 0.5, 1, None)


def test_the_limit_of_time_is_one_with_a_cost_too(folder, asked, monkeypatch, capsys):
    with_cost(monkeypatch, "water", status=Status.SECONDS)
    assert call(f"{T} --cost good.py --count 1 --check none") == 1
    assert report(folder / "hits.json")["molecules"][0]["status"] == "SECONDS"


def test_with_a_cost_a_broken_molecule_and_a_missed_target_are_missed(folder, asked, monkeypatch, capsys):
    """Water hits 5 eV, methane is 0.1 eV off and hits, too; the radical is broken."""
    with_cost(monkeypatch, "water", "radical")
    assert call(f"{T} --cost good.py --count 2 --check none -o a.sdf") == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 of 2 molecules missed its goal.") and Status.EVALUATIONS.value not in err
    with_cost(monkeypatch, "water", "methane")
    assert call(f"{T} --gap 4.95eV --cost good.py --count 2 --check none -o b.sdf") == 1
    assert [m["hit"] for m in report(folder / "b.json")["molecules"]] == [True, False]


def test_the_value_of_a_cost_is_told(folder, asked, capsys):
    """The stub's costs are 2, 1, 0: the last is the best, but a duplicate of the first."""
    assert call(f"{T} --cost good.py --count 3 --check none -o a.sdf") == 0
    out = capsys.readouterr().out
    assert "cost" in out.splitlines()[1] and out.splitlines()[-1].endswith("cost 1")
    rows = list(csv.DictReader((folder / "a.csv").open()))
    assert [row["cost"] for row in rows] == ["2.0", "1.0", "0.0"] and rows[0]["status"] == "REACHED"
    assert "cost" in report(folder / "a.json")["definitions"]
    assert call(f"{T} --gap 5eV --cost good.py --count 2 --check none -o b.sdf") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("tolerances; cost 1")
    assert call(f"{T} --gap 5eV --count 2 --check none -o c.sdf") == 0
    assert "cost" not in capsys.readouterr().out + (folder / "c.csv").read_text()


@pytest.mark.parametrize("name", ["flat", "bent"])
def test_a_cost_that_is_flat_somewhere_is_warned_of(name, folder, asked, capsys):
    assert call(f"{T} --cost {name}.py --count 1 --check none") == 0
    err = capsys.readouterr().err
    assert f"Warning: The cost in {name}.py has a gradient of zero" in err and "--gradients 0" in err
    assert len(report(folder / "hits.json")["warnings"]) == 1


def test_broken_molecules_miss_and_stay_out_of_the_files(folder, asked, capsys):
    """Of water, methane, water and a radical; no 'Best' is named where nothing was asked."""
    assert call("molecule generate --formula C2H6O --count 4 --check none -o g.sdf") == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "1 of 4 molecules missed its goal." and "Best" not in out
    assert "1 of 4 molecules is not sound and not in SDF and XYZ; --keep-broken writes all." in err
    assert (folder / "g.sdf").read_text().count("$$$$") == 3
    assert call("molecule generate --count 4 --check none -o k.sdf --keep-broken --quiet") == 1
    assert (folder / "k.sdf").read_text().count("$$$$") == 4
    assert call("molecule generate --count 4 --candidates 1 --check none -o d.sdf --quiet") == 0
    assert (folder / "d.sdf").read_text().count("$$$$") == 4


def test_no_sound_molecule_is_no_best_one(folder, asked, capsys, monkeypatch):
    monkeypatch.setattr(designing, "design", lambda request, **how: a_design(["radical"]))
    assert call(f"{T} --gap 5eV --count 1 --check none") == 1
    out = capsys.readouterr().out
    assert out.startswith("The molecule missed its goal.") and "Best" not in out and "nearest" not in out


@pytest.mark.parametrize("spoil", [float("nan"), 0.0])
def test_a_molecule_without_coordinates_is_reported(spoil, folder, asked, capsys, monkeypatch):
    ended(monkeypatch, Status.DIVERGED, Status.REACHED, spoil=spoil)
    assert call(f"{T} --gap 5eV --count 2 --check none -o hits.sdf") == 1
    first, second = report(folder / "hits.json")["molecules"]
    assert (
        first["formula"] is None and first["evaluator"]["gap"] is None and "no coordinates" in first["notes"]
    )
    assert second["formula"] == "CH4" and (folder / "hits.sdf").read_text().count("$$$$") == 1
    assert len((folder / "hits.csv").read_text().splitlines()) == 3
    assert "Best: number 2, C," in capsys.readouterr().out


def test_no_molecule_has_coordinates(folder, asked, monkeypatch):
    def design(request, networks=None, **how):
        done = a_design(["water"], status=Status.DIVERGED)
        done.molecules.positions[:] = float("nan")
        return done

    monkeypatch.setattr(designing, "design", design)
    assert call(f"{T} --gap 5eV --count 1 -o hits.sdf") == 1
    assert report(folder / "hits.json")["summary"] == {
        "molecules": 1, "with_coordinates": 0, "sound": 0, "hits": 0, "mae": {"gap": None},
        "mae_of_sound": {"gap": None},
    }  # fmt: skip
    assert not (folder / "hits-sheet.png").exists() and (folder / "hits.csv").exists()


def interrupting(monkeypatch, at):
    """Press Ctrl-C in the rounds `at` of the design."""
    stub = designing.design

    def design(request, networks=None, *, recipe, callback, check, solver):
        def press(event):
            for _ in range(at.count(event.round)):
                signal.raise_signal(signal.SIGINT)
            return callback(event)

        return stub(request, recipe=recipe, callback=press, check=check)

    monkeypatch.setattr(designing, "design", design)


def test_ctrl_c_keeps_what_is_done(folder, asked, monkeypatch, capsys):
    former = signal.getsignal(signal.SIGINT)
    interrupting(monkeypatch, at=(2,))
    assert call(f"{T} --gap 5eV --count 70 -o hits.sdf") == 130
    r = report(folder / "hits.json")
    assert len(r["molecules"]) == 64 and r["interrupted"] and r["molecules"][0]["status"] == "CANCELLED"
    err = capsys.readouterr().err
    assert "6 of 70 molecules were not begun." in err and "What was done is written" in err
    assert signal.getsignal(signal.SIGINT) is former


def test_ctrl_c_twice_aborts(folder, asked, monkeypatch, capsys):
    interrupting(monkeypatch, at=(1, 1))
    before = everything(folder)
    assert call(f"{T} --gap 5eV --count 2 -o hits.sdf") == 130
    assert everything(folder) == before and "Work not yet written is lost." in capsys.readouterr().err


def test_the_time_limit(folder, asked, monkeypatch):
    stub = designing.design

    def slow(*arguments, **options):
        time.sleep(0.01)
        return stub(*arguments, **options)

    monkeypatch.setattr(designing, "design", slow)
    assert call(f"{T} --gap 5eV --count 2 --seconds 0.001 --check none --quiet") == 1
    assert report(folder / "hits.json")["molecules"][0]["status"] == "SECONDS"


def test_running_out_of_memory_names_the_option(folder, asked, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(designing, "design", fail)
    before = everything(folder)
    assert call(f"{T} --gap 5eV --quiet") == 2
    assert "--count" in (err := capsys.readouterr().err) and two_sentences(err)
    assert everything(folder) == before


def ending(monkeypatch, error):
    """The second batch raises."""
    stub, calls = designing.design, []

    def design(request, networks=None, **how):
        calls.append(request)
        if len(calls) == 2:
            raise error
        return stub(request, **how)

    monkeypatch.setattr(designing, "design", design)


@pytest.mark.parametrize(
    "error, words",
    [(MemoryError(), "ran out of memory"), (Misuse("The cost failed.", "Make it work."), "The cost failed.")],
)
def test_what_ends_a_later_batch_keeps_the_first(error, words, folder, asked, monkeypatch, capsys):
    ending(monkeypatch, error)
    assert call(f"{T} --gap 5eV --count 130 -o hits.sdf --check none --quiet") == 2
    err = capsys.readouterr().err
    assert words in err and "66 of 130 molecules were not begun." in err
    r = report(folder / "hits.json")
    assert len(r["molecules"]) == 64 and words in r["ended_by"]
    assert (folder / "hits.sdf").exists() and (folder / "hits.html").exists()


def test_a_defect_in_a_later_batch_leaves_the_molecules_before(folder, asked, monkeypatch):
    ending(monkeypatch, RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        call(f"{T} --gap 5eV --count 130 -o hits.sdf --check none --quiet")
    assert len((folder / "hits.csv").read_text().splitlines()) == 65


def test_batches_are_numbered_on_and_duplicates_found_across_them(folder, asked):
    assert call(f"{T} --gap 5eV --count 66 -o hits.sdf --check none --quiet") == 1
    last = report(folder / "hits.json")["molecules"][-2:]
    assert [(m["number"], m["seed"], m["smiles"], m["duplicate_of"]) for m in last] == [
        (65, 64, "O", 1), (66, 65, "C", 2)
    ]  # fmt: skip
