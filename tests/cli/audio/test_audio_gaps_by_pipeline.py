"""`headwater audio inpaint --model FOLDER`: tiny random pipelines of diffusers fill gaps."""

import json

import numpy as np
import pytest
import soundfile

pytest.importorskip("diffusers")
from tiny_pipelines import build_audioldm2, build_sd, seeded

from headwater.adapters.diffusers import load
from headwater.cli.app import main

RATE, GAP = 8000, slice(8000, 9600)


@pytest.fixture
def take(folder):
    """Two seconds of a chord in stereo, with a tag."""
    t = np.arange(2 * RATE) / RATE
    x = 0.2 * np.stack([np.sin(2 * np.pi * f * t) for f in (110, 165)], 1)
    with soundfile.SoundFile("take.wav", "w", RATE, 2, "PCM_16") as file:
        file.title = "Chord"
        file.write(x)
    return x


def inpaint(*words):
    return main(["audio", "inpaint", "take.wav", *map(str, words), "--quiet"])


def test_a_gap_is_filled_and_all_else_stays(take, stable_audio):
    line = ["--gap", "1-1.2", "--model", stable_audio, "--prompt", "a cat", "--gradients", "2"]
    assert inpaint(*line, "-o", "a.wav") in (0, 1)  # a random network need not agree with the recording
    before, _ = soundfile.read("take.wav")
    after, rate = soundfile.read("a.wav")
    assert rate == RATE and after.shape == before.shape and soundfile.SoundFile("a.wav").title == "Chord"
    known = np.ones(len(before), dtype=bool)
    known[GAP] = False
    np.testing.assert_array_equal(after[known], before[known])
    assert 0.02 < after[GAP].std() < 0.5
    steps = np.abs(np.diff(after, axis=0))
    seams = [GAP.start - 1, GAP.stop - 1]
    assert steps[seams].max() <= 1.5 * steps[: GAP.start - 1].max()  # no click
    with open("a.json", encoding="utf-8") as file:
        report = json.load(file)
    assert report["model"] == str(stable_audio) and report["settings"]["prompt"] == "a cat"
    (row,) = report["stretches"]
    assert row["filled_by"] == "flow and linear prediction" and min(row["evaluations"]) >= 8
    assert "decoder" in report["definitions"]["misfit"]
    assert inpaint(*line, "--negative", "a dog", "--guidance", 5, "--seed", 1, "-o", "b.wav") in (0, 1)
    assert np.abs(soundfile.read("b.wav")[0] - after)[GAP].max() > 1e-4


def test_refusals_have_two_sentences(take, stable_audio, tmp_path, capsys):
    seeded(build_sd)().save_pretrained(tmp_path / "sd")
    for words, part in (
        (["--prompt", "a cat"], "The model of music takes no --prompt. Leave it out, or give a --model."),
        (
            ["--model", "nowhere", "--prompt", "a cat"],
            "There is no folder nowhere. Nothing is downloaded: give",
        ),
        (["--model", stable_audio], "Give --prompt."),
        (
            ["--model", tmp_path / "sd", "--prompt", "a cat"],
            "makes pictures, and no sound. Give the folder of",
        ),
        (
            ["--model", stable_audio, "--prompt", "a cat", "--gap", "0.2-1.2"],
            "are 2.50 s, and the model makes 2.05 s at once. Ask for a shorter gap.",
        ),
    ):
        assert inpaint("--gap", "1-1.2", *words) == 2
        assert part in capsys.readouterr().err


def test_a_pipeline_without_an_encoder_is_refused(take, monkeypatch, capsys):
    from headwater.cli.audio import pipeline

    def without_text(*_, **__):
        return load(seeded(build_audioldm2)(), steps=20, embeddings=EMBEDDED, guidance=1.0)

    monkeypatch.setattr(pipeline, "open_folder", without_text)
    assert inpaint("--gap", "1-1.2", "--model", "audioldm2") == 2
    assert "AudioLDM 2, which has no encoder of sounds. Give the folder" in capsys.readouterr().err


def randn(*shape):
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


EMBEDDED = {
    "prompt_embeds": randn(1, 5, 8),
    "attention_mask": (randn(1, 5) < 9).long(),
    "generated_prompt_embeds": randn(1, 4, 16),
}
