"""`headwater molecule edit`: what it asks for, what it writes, what it refuses."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from cli_tools import call
from molecule_stubs import a_design, everything

from headwater.cli.molecule import design_job, jobs
from headwater.molecule.targets import design as designing
from headwater.molecule.targets.edit import EditSearch

E = "molecule edit"
REFUSED = [
    (f"{E} whole.xyz", "Nothing says what to change"),
    (f"{E} ch3.xyz --gap 5eV", "not one sound molecule: open valences"),
    (f"{E} two.xyz --gap 5eV", "2 molecules"),
    (f"{E} chlorine.xyz --gap 5eV", "element Cl"),
    (f"{E} huge.xyz --gap 5eV", "30 atoms"),
    (f"{E} whole.xyz --gap 5eV --atoms 9", "--atoms is given"),
    (f"{E} whole.xyz --gap 5eV --formula C2H6", "--formula is given"),
    (f"{E} whole.xyz --gap 5eV --method control", "searched for by draws"),
    (f"{E} whole.xyz --gap 5eV --gradients 4", "searched for by draws"),
    (f"{E} whole.xyz --gap 5eV --similarity 1", "--similarity"),
    (f"{E} whole.xyz --gap 5eV --similarity nan", "not a number"),
    (f"{E} whole.xyz --score qed --reward mu", "Give one of them"),
    (f"{E} whole.xyz --gap 5eV -o whole.xyz", "whole.xyz"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED, ids=[line for line, _ in REFUSED])
def test_refused_before_any_work(line, words, folder, asked, capsys):
    before = everything(folder)
    assert call(line) == 2 and words in " ".join(capsys.readouterr().err.split())
    assert everything(folder) == before and not asked


@pytest.fixture
def edited(monkeypatch, asked):
    """Edits of methane by a stub: water, which is like it, and methane again; and predictions of the original."""
    plain = designing.design

    def design(request, networks=None, **more):
        plain(request, networks, **more)
        done = a_design(["water", "methane"])
        similarity = torch.tensor([0.45, 1.0], dtype=torch.float64)
        kept = torch.tensor([False, True])
        cost = torch.ones(2) if request.cost else None
        return replace(done, similarity=similarity, scaffold=kept, alike=~kept, cost=cost)

    monkeypatch.setattr(designing, "design", design)
    values = {k: torch.full((1,), 6.5) for k in ("gap", "homo", "lumo", "mu", "alpha", "cv")}
    monkeypatch.setattr(design_job.designing, "score", lambda batch: (values, values))
    return asked


def test_an_edit_is_asked_for_and_written_with_its_likeness(edited, folder, capsys):
    call(f"{E} whole.xyz --gap 5.0eV --similarity 0.3 -n 2 --candidates 7 --check none")
    ((request, recipe),) = edited
    assert request.original.symbols == ("C", "H", "H", "H", "H") and request.similarity == 0.3
    assert type(recipe) is EditSearch and recipe.candidates == 7
    said = capsys.readouterr().out
    assert "Tanimoto" in said and "The original, C: gap 6.500 eV by the evaluator" in said
    first, second = csv.DictReader((folder / "whole-edit.csv").open())
    assert (first["similarity"], first["scaffold_kept"], first["hit"]) == ("0.45", "False", "True")
    # as near as the first, but the original itself
    assert second["hit"] == "False" and "the original itself" in second["notes"]
    report = json.loads((folder / "whole-edit.json").read_text())
    assert report["original"]["smiles"] == "C" and report["original"]["evaluator"]["gap"] == 6.5
    assert report["original"]["least_similarity"] == 0.3
    assert [m["similarity"] for m in report["molecules"]] == [0.45, 1.0]
    assert "<similarity>" in (folder / "whole-edit.sdf").read_text()


def test_a_score_is_the_cost_of_an_edit(edited, folder, capsys):
    assert call(f"{E} whole.xyz --score qed -n 2 --check none --quiet") == 0
    ((request, _),) = edited
    assert request.cost.terms == ((1.0, "qed"),) and request.similarity == 0.4
    assert call(f"{E} whole.xyz --score qed -n 2 --check none --overwrite") == 0
    assert "Tanimoto" in capsys.readouterr().out


def test_the_original_is_named_by_its_file(folder):
    assert jobs.read_original(folder / "whole.xyz").name == "methane"
