"""How `headwater molecule` ends: exit codes, Ctrl-C, limits of time and memory, defects; nothing written is lost."""

import signal
from dataclasses import replace

import pytest
from cli_tools import EXITS, call, report, two_sentences
from molecule_stubs import T, a_design, everything

from headwater.errors import Misuse
from headwater.molecule.design import design as designing
from headwater.optimizers.status import Status


def ended(monkeypatch, *statuses, spoil=None):
    """Make the design end with these statuses."""

    def design(request, networks=None, **how):
        done = a_design(["water", "methane"])
        if spoil is not None:
            done.molecules.positions[0] = spoil
        return replace(done, status=statuses)

    monkeypatch.setattr(designing, "design", design)


@pytest.mark.parametrize("status, code", EXITS)
def test_how_it_ends_is_an_exit_code_and_a_warning(status, code, folder, asked, capsys, monkeypatch):
    ended(monkeypatch, status, Status.REACHED)
    assert call(f"{T} --gap 5eV --count 2 --check none --quiet") == code
    out, err = capsys.readouterr()
    assert out == "" and (status.value in err) is not status.ok
    assert report(folder / "hits.json")["molecules"][0]["status"] == status.name
    assert len((folder / "hits.csv").read_text().splitlines()) == 3


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

    def design(request, networks=None, *, recipe, callback, check):
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


def test_the_time_limit(folder, asked):
    assert call(f"{T} --gap 5eV --count 2 --seconds 1e-9 --check none --quiet") == 1
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
    assert call(f"{T} --gap 5eV --count 66 -o hits.sdf --check none --quiet") == 0
    last = report(folder / "hits.json")["molecules"][-2:]
    assert [(m["number"], m["seed"], m["smiles"], m["duplicate_of"]) for m in last] == [
        (65, 64, "O", 1), (66, 65, "C", 2)
    ]  # fmt: skip
