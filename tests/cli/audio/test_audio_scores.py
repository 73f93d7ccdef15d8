"""`headwater audio generate --score`, on an exact flow."""

import json

import pytest
import soundfile

from headwater.cli.app import main
from headwater.cli.audio import scored

FILE = "def score(x):\n    return [float(row[0] > 0) + float(row[:400].square().mean()) for row in x]\n"


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(scored, "DRAWS", 4)


def generate(*words):
    return main(["audio", "generate", "--length", "0.5", "--steps", "3", *words])


@pytest.mark.parametrize("search", ["best-of-n", "fk"])
def test_scores_rise_and_are_reported(folder, search, capsys):
    (folder / "begin.py").write_text(FILE)
    words = ["--score", "begin.py", "--score", "-0.1 * onsets", "--search", search, "--draws", "8"]
    assert generate("-n", "2", "-o", "two.wav", *words) == 0
    report = json.loads((folder / "two.json").read_text())
    assert report["settings"]["scores"] == ["begin.py", "-0.1 * onsets"] and report["settings"]["draws"] == 8
    rows = report["samples"]
    gains = [r["standard_deviations"]["after"] - r["standard_deviations"]["before"] for r in rows]
    assert sum(gains) > 0.5 and all(r["evaluations"] > 0 and r["calls"] > 0 for r in rows)
    assert [r["radius"] is None for r in rows] == [search == "fk"] * 2
    assert soundfile.read("two-1.wav")[0].shape == (2000,)
    assert "sounds scored" in capsys.readouterr().out
    assert (folder / "two-sheet.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--search", "cma"], "Nothing is scored"),
        (["--score", "onsets", "--reward", "loudness"], "goes with no --reward"),
        (["--score", "onsets", "--strength", "2"], "Only the search fk has a strength"),
        (["--score", "tempo"], "no score of sound"),
        (["--score", "curve: 0 0", "--score", "none.py"], "none.py"),
    ],
)
def test_scores_that_cannot_be_are_refused(folder, words, told, capsys):
    assert generate("-o", "a.wav", *words) == 2
    assert told in capsys.readouterr().err and not list(folder.glob("a.*"))
