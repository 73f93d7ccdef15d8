"""`headwater audio generate --reward`, on an exact flow."""

import json

import pytest
import soundfile
import torch
from audio_takes import samples

from headwater.cli.app import main
from headwater.cli.audio import rewarded
from headwater.cli.audio import sound as flow_sound

FILE = "def reward(x):\n    return x[:, :400].square().mean(1)\n\n\ndef scalar(x):\n    return x.mean()\n"
FILE += "\n\ndef cut(x):\n    return x.detach().mean(1)\n"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """CDPAM takes seconds; its place in the report is tested by a stand-in."""
    monkeypatch.setattr(rewarded, "DRAWS", 4)
    monkeypatch.setattr("headwater.audio.rewards.cdpam_embedding", lambda x, rate: x[:, :16] * 10)


def generate(*words):
    return main(["audio", "generate", "--length", "0.5", "--steps", "2", "--quiet", *words])


def test_rewards_rise_and_are_reported_and_each_seed_stands_alone(folder):
    (folder / "begin.py").write_text(FILE)
    wishes = ["--reward", "loudness", "--reward", "0..2 * begin.py", "--gradients", "4"]
    assert generate("-n", "2", "-o", "two.wav", *wishes) == 0
    report = json.loads((folder / "two.json").read_text())
    assert report["settings"]["rewards"] == ["loudness", "0..2 * begin.py"]
    assert report["settings"]["steps"] == 2 and report["rate"] == 4000 and "CDPAM" in report["judge"]
    for row in report["samples"]:
        before, after = (row["standard_deviations"][when] for when in ("before", "after"))
        assert after > before + 0.5 and row["gradients"] <= 4 and row["strangeness"]["before"] >= 0
        assert row["rewards"]["after"]["loudness"] > row["rewards"]["before"]["loudness"]
    x, rate = soundfile.read("two-1.wav")
    assert (len(x), rate) == (2000, 4000)
    level = 10 * torch.tensor(x).square().mean().log10()
    assert float(level) == pytest.approx(report["samples"][1]["rewards"]["after"]["loudness"], abs=0.01)
    assert (folder / "two-sheet.png").read_bytes()[:4] == b"\x89PNG"
    assert generate("-n", "1", "--seed", "1", "-o", "one.wav", *wishes) == 0
    torch.testing.assert_close(samples("one.wav"), samples("two-1.wav"), rtol=0, atol=1e-3)


def test_a_function_that_does_not_serve_is_refused_before_anything_is_drawn(folder, capsys, monkeypatch):
    monkeypatch.setattr(rewarded.RewardJob, "draw", lambda *_: pytest.fail("something was drawn"))
    (folder / "begin.py").write_text(FILE)
    for name in ("scalar", "cut"):
        assert generate("--reward", "loudness", "--reward", f"2 * begin.py:{name}") == 2
        assert f"begin.py:{name}" in capsys.readouterr().err


def test_a_weight_may_be_negative(folder):
    assert generate("-n", "1", "-o", "a.wav", "--reward", "-1 * loudness", "--gradients", "2") == 0
    (row,) = json.loads((folder / "a.json").read_text())["samples"]
    assert row["rewards"]["after"]["loudness"] < row["rewards"]["before"]["loudness"]


def test_the_report_tells_of_the_sound_that_was_written(folder, monkeypatch):
    monkeypatch.setattr(flow_sound, "LEVEL", 1.0)  # far above full scale
    assert generate("-n", "1", "-o", "a.wav", "--reward", "loudness", "--gradients", "2") == 0
    x = torch.from_numpy(soundfile.read("a.wav")[0])
    (row,) = json.loads((folder / "a.json").read_text())["samples"]
    assert float(x.abs().max()) == pytest.approx(0.99, abs=1e-3)
    level = float(10 * x.square().mean().log10())
    assert row["rewards"]["after"]["loudness"] == pytest.approx(level, abs=0.01)
    assert row["rewards"]["before"]["loudness"] < 0


def test_without_the_network_the_report_says_so(folder, monkeypatch, capsys):
    monkeypatch.setattr(rewarded, "find_spec", lambda name: None)
    assert generate("-n", "1", "-o", "a.wav", "--reward", "brightness: 1kHz", "--gradients", "2") == 0
    assert "No second judge" in capsys.readouterr().err
    assert "not installed" in json.loads((folder / "a.json").read_text())["judge"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--reward", "loudnes"], "Did you mean 'loudness'"),
        (["--reward", "brightness: 3kHz"], "no brightness of 3000 Hz"),
        (["--reward", "begin.py:scalar"], "one number per sample"),
        (["--reward", "begin.py:cut"], "does not carry a gradient"),
        (["--reward", "begin.py:cut"], "or give it as --score begin.py:cut."),
        (["--reward", "nowhere.py"], "nowhere.py"),
        (["--reward", "much * loudness"], 'is no number. Write it as in "2 * loudness"'),
        (["--strength", "3"], "Nothing is rewarded"),
        (["--prompt", "rain"], "takes no --prompt"),
        (["--model", "music17"], "Did you mean 'music16'"),
        (["--model", "no/folder"], "There is no folder no/folder"),
    ],
)
def test_refusals_are_two_sentences(folder, capsys, words, part):
    (folder / "begin.py").write_text(FILE)
    assert generate("-n", "1", "-o", "a.wav", *words) == 2
    error = capsys.readouterr().err
    assert part in error and error.startswith("Error: ") and not (folder / "a.wav").exists()
