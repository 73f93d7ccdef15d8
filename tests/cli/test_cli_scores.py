"""generate --score: programs, functions and JPEG size without a gradient, with the shipped model at few steps."""

import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from cli_tools import call, report, two_sentences
from PIL import Image

from headwater.cli.image import scored
from headwater.cli.shared.options import SearchName
from headwater.errors import Misuse
from headwater.image.rewards import JpegSize, ProgramScore
from headwater.image.rewards.program import read_scores
from headwater.recipes.blackbox import BestOf
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


def test_a_picture_that_is_not_finite_has_no_score_and_no_start(tmp_path):
    code = (
        "import json,sys; n = len(json.load(sys.stdin)['pictures']); print(json.dumps({'scores': [n] * n}))"
    )
    score = ProgramScore(program(code).removeprefix("program: "))
    x = torch.zeros(3, 3, 8, 8)
    x[1, 0, 0, 0] = torch.nan
    found = score(x)
    assert found[[0, 2]].tolist() == [2.0, 2.0] and bool(torch.isnan(found[1])) and score.failures == []
    mark = tmp_path / "started"
    assert bool(torch.isnan(ProgramScore(f"touch {mark}")(x[1:2])).all()) and not mark.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sessions and signals of POSIX")
def test_what_a_program_starts_ends_with_it_at_a_timeout(tmp_path):
    pid = tmp_path / "pid"
    score = ProgramScore(f"sh -c 'sleep 50 & echo $! > {pid}; wait'", seconds=1.0)
    assert (
        bool(torch.isnan(score(torch.zeros(1, 3, 8, 8))).all()) and "more than 1 seconds" in score.failures[0]
    )
    end = time.monotonic() + 5
    while running(int(pid.read_text())) and time.monotonic() < end:
        time.sleep(0.02)
    assert not running(int(pid.read_text()))


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # one that has ended, and waits for init, is no longer running
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_a_child_that_keeps_stdout_open_costs_no_time():
    score = ProgramScore('sh -c \'sleep 3 & echo "{\\"scores\\": [1]}"\'', seconds=2.5)
    assert score(torch.zeros(1, 3, 8, 8)).tolist() == [1.0], score.failures


def test_a_program_that_floods_is_ended():
    code = "while True: print('y' * 1000)"
    score = ProgramScore(program(code).removeprefix("program: "), seconds=30)
    assert bool(torch.isnan(score(torch.zeros(1, 3, 8, 8))).all()) and "more than 1 MB" in score.failures[0]


def test_answers_and_arguments_at_the_edge():
    code = "import sys; sys.stdout.buffer.write(bytes([239, 187, 191]) + b'{\\\"scores\\\": [2]}')"
    assert ProgramScore(program(code).removeprefix("program: "))(torch.zeros(1, 3, 8, 8)).tolist() == [2.0]
    with pytest.raises(Misuse, match="printed no scores"):
        read_scores("[" * 200_000, 1, "mine")
    for wrong in (lambda: ProgramScore("echo", seconds=math.inf), lambda: ProgramScore("echo a\0b")):
        with pytest.raises(Misuse):
            wrong()


def test_a_sample_that_is_not_finite_is_a_status_and_the_next_seeds_go_on(here, monkeypatch):
    """The search of seed 0 returns NaN; seed 1 is written."""

    def search(flow, reward, seeds, *, device="cpu"):
        found = BestOf(draws=1, steps=1)(flow, reward, seeds, device=device)
        return replace(found, x1=torch.full_like(found.x1, torch.nan)) if seeds == [0] else found

    monkeypatch.setattr(scored, "make_search", lambda *a, **k: search)
    assert call(["image", "generate", "-n", "2", "-o", "a.png", "--quiet", "--score", "jpeg"]) != 0
    bad, good = report(here / "a.json")["samples"]
    assert (bad["status"], bad["file"]) == ("DIVERGED", None) and bad["scores"]["after"]["jpeg"] is None
    assert good["status"] == "COMPUTED" and Image.open(good["file"]).size == (64, 64)


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
        (["--score", "jpegg"], "no score named"),
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
