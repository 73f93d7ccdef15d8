"""generate --score: programs, functions and JPEG size without a gradient, with the shipped model at few steps."""

import sys
from typing import get_args

import pytest
import torch
from cli_tools import call, report, two_sentences
from PIL import Image

from headwater.cli.image import scored
from headwater.cli.shared.options import SearchName
from headwater.image.rewards import JpegSize, ProgramScore
from headwater.recipes.blackbox.methods import SEARCHES, make_search

PROGRAM = """
import json, sys
from pathlib import Path
sizes = [Path(file).stat().st_size for file in json.load(sys.stdin)["pictures"]]
print(json.dumps({"scores": sizes}))
"""
FILE = """
def score(x):
    return [float(row[0].mean()) for row in x]

def words(x):
    return "much"

def flat(x):
    return [1.0] * len(x)

def fails(x):
    raise ValueError("no such thing.")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scored, "DRAWS", 3)
    monkeypatch.setattr(scored, "STEPS", 1)
    (tmp_path / "prog.py").write_text(PROGRAM)
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path


def program(code):
    return f'program: {sys.executable} -c "{code}"'


def test_a_program_is_asked_and_its_score_rises(here, capsys):
    words = f"program: {sys.executable} prog.py"
    line = ["image", "generate", "-n", "1", "--seed", "6", "--draws", "5", "-o", "a.png", "--score", words]
    assert call(line) == 0
    assert "without the search above" in capsys.readouterr().out
    r = report(here / "a.json")
    assert [row["seed"] for row in r["samples"]] == [6] and r["settings"]["search"] == "cma"
    for row in r["samples"]:
        assert row["scores"]["after"][words] >= row["scores"]["before"][words]
        assert row["evaluations"] == row["calls"] <= 5 and 0.9 < row["radius"] < 1.1  # one step a sample
    assert r["failures"] == [] and set(r["definitions"]) >= {"scores", "calls"}
    assert Image.open("a.png").size == (64, 64)


@pytest.mark.parametrize("search", ["best-of-n", "fk"])
def test_other_searches_and_weights(here, search):
    line = ["image", "generate", "-n", "1", "--draws", "4", "--search", search, "-o", "a.png", "--quiet"]
    assert call([*line, "--score", "-1 * jpeg", "--score", "mine.py"]) == 0
    r = report(here / "a.json")
    (row,) = r["samples"]
    assert set(row["scores"]["after"]) == {"jpeg", "mine.py"}
    assert (row["radius"] is None) == (search == "fk")  # a steered sample has no source point
    assert (r["settings"]["strength"] is None) == (search != "fk")


def test_a_program_that_fails_later_costs_its_pictures_only(here, capsys):
    """It answers for batches of one picture, as at the start and for the draws, and fails on all others."""
    code = "import json,sys; n = len(json.load(sys.stdin)['pictures']); print(json.dumps({'scores': [n]}))"
    score = ProgramScore(program(code).removeprefix("program: "))
    assert score(torch.zeros(1, 3, 8, 8)).tolist() == [1.0]
    assert torch.isnan(score(torch.zeros(3, 3, 8, 8))).all()
    assert "printed 1 scores for 3 pictures" in score.failures[0]


def test_a_program_that_hangs_is_ended():
    score = ProgramScore(f'{sys.executable} -c "import time; time.sleep(60)"', seconds=0.2)
    assert torch.isnan(score(torch.zeros(1, 3, 8, 8))).all() and "more than 0.2 seconds" in score.failures[0]


def test_the_size_of_a_jpeg_counts_detail():
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    both = torch.cat([x, torch.nn.functional.avg_pool2d(x, 5, 1, 2)])
    large, small = JpegSize(90)(both).tolist()
    assert large > 1.5 * small and JpegSize(30)(x) < JpegSize(90)(x)
    assert JpegSize()(x[:, :1]).shape == (1,)  # grey


def test_every_search_has_its_name_and_costs_about_the_same():
    assert list(get_args(SearchName)) == list(SEARCHES)
    for name in SEARCHES:
        method = make_search(name, 20, 8)
        assert getattr(method, "draws", getattr(method, "particles", getattr(method, "candidates", 0))) == 20


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--score", "jpegg"], "no reward named"),
        (["--score", "jpeg: fine"], "no whole number"),
        (["--score", "program: no-such-program"], "no program 'no-such-program'"),
        (["--score", "program: false"], "ended with error 1"),
        (["--score", "program: echo hello"], "printed no scores, but hello"),
        (["--score", "program: echo 'open"], "open quotation mark"),
        (["--score", "program:"], "no program"),
        (["--score", "mine.py:none"], "no function named 'none'"),
        (["--score", "mine.py:fails"], "The score mine.py:fails failed"),
        (["--score", "mine.py:words"], "no numbers"),
        (["--score", "mine.py:flat"], "the same for all draws"),
        (["--score", "jpeg", "--reward", "symmetry"], "goes with no --reward"),
        (["--score", "jpeg", "--strength", "3"], "Only the search fk"),
        (["--search", "cma"], "Nothing is scored"),
        (["--draws", "9"], "Nothing is scored"),
    ],
)
def test_refusals_are_two_sentences(here, capsys, words, part):
    assert call(["image", "generate", "-n", "1", "-o", "a.png", *words]) == 2
    error = capsys.readouterr().err
    assert part in error and two_sentences(error), error
    assert not (here / "a.png").exists()
