"""`headwater audio generate --model FOLDER`: tiny random pipelines of diffusers."""

import json

import numpy as np
import pytest
import soundfile

pytest.importorskip("diffusers")
from tiny_pipelines import build_audioldm2, build_sd, build_stable_audio, seeded

import headwater as hw
from headwater.adapters.diffusers import load
from headwater.cli.app import main
from headwater.cli.audio import rewarded


@pytest.fixture(scope="module")
def stable_audio(tmp_path_factory):
    path = tmp_path_factory.mktemp("stable-audio")
    pipeline = seeded(build_stable_audio)()
    pipeline.vae.register_to_config(sampling_rate=1000)  # files below 100 Hz are refused
    pipeline.save_pretrained(path)
    return path


def generate(*words):
    return main(["audio", "generate", *map(str, words), "--quiet"])


def test_a_pipeline_makes_the_sound_of_its_own_sampler_and_each_seed_alone(folder, stable_audio):
    line = ["--model", stable_audio, "--prompt", "a cat", "--steps", "4"]
    assert generate(*line, "-n", "2", "--seed", "3", "-o", "two.wav") == 0
    assert generate(*line, "-n", "1", "--seed", "4", "-o", "one.wav") == 0
    two, rate = soundfile.read("two-1.wav")
    one, _ = soundfile.read("one.wav")
    assert rate == 1000 and two.shape == (32, 2)
    np.testing.assert_allclose(one, two, atol=1e-6)
    model = load(stable_audio, "a cat", steps=4)
    x1 = hw.solve(model.flow, model.flow.noise([4]), method=hw.EULER, steps=model.steps)
    own = model.decode(x1)[0].T.detach().numpy()
    np.testing.assert_allclose(one, own * min(1, 0.99 / np.abs(own).max()), atol=1e-5)
    report = json.loads((folder / "two.json").read_text())
    assert report["model"] == str(stable_audio) and report["rate"] == 1000
    assert report["settings"]["prompt"] == "a cat" and report["settings"]["steps"] == 4


def test_length_and_a_negative_prompt_and_guidance_reach_the_pipeline(folder, stable_audio):
    line = ["--model", stable_audio, "--prompt", "a cat", "--steps", "2", "-n", "1", "--length", "0.016"]
    assert generate(*line, "-o", "a.wav") == 0
    assert generate(*line, "-o", "b.wav", "--negative", "a dog", "--guidance", "4") == 0
    (a, _), (b, _) = soundfile.read("a.wav"), soundfile.read("b.wav")
    assert a.shape == b.shape == (16, 2) and np.abs(a - b).max() > 1e-4


def test_rewards_of_a_pipeline_go_through_its_decoder(folder, stable_audio, monkeypatch):
    monkeypatch.setattr(rewarded, "DRAWS", 4)
    monkeypatch.setattr(rewarded, "find_spec", lambda name: None)
    line = ["--model", stable_audio, "--prompt", "a cat", "--steps", "3", "-n", "1", "--gradients", "3"]
    assert generate(*line, "--reward", "loudness", "-o", "a.wav") == 0
    (row,) = json.loads((folder / "a.json").read_text())["samples"]
    assert (
        row["standard_deviations"]["after"] > row["standard_deviations"]["before"] and row["gradients"] <= 3
    )


def test_a_pipeline_through_a_spectrogram_has_one_channel_and_its_vocoders_rate():
    model = load(seeded(build_audioldm2)(), embeddings=EMBEDDED, guidance=1.0, steps=2)
    assert model.rate == 16000 and len(model.shape) == 1
    with pytest.raises(hw.Misuse, match="The decoder makes"):
        model.factor  # noqa: B018 # a spectrogram and its sound differ by no factor


def test_a_pipeline_of_pictures_makes_no_sound(folder, tmp_path, capsys):
    seeded(build_sd)().save_pretrained(tmp_path / "sd")
    assert generate("--model", tmp_path / "sd", "--prompt", "a cat", "--steps", "20", "-n", "1") == 2
    assert "makes pictures, and no sound. Use 'headwater image generate'." in capsys.readouterr().err


def test_refusals_name_options(folder, stable_audio, capsys):
    for words, part in (
        ([], "needs text_audio_duration, audio_duration. Give --prompt."),
        (["--prompt", "a cat", "--length", "1"], "makes no sound of 1 s"),
        (["--negative", "a cat"], "a negative prompt but no prompt. Give --prompt."),
    ):
        assert generate("--model", stable_audio, "-n", "1", *words) == 2
        assert part in capsys.readouterr().err


def randn(*shape):
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


EMBEDDED = {
    "prompt_embeds": randn(1, 5, 8),
    "attention_mask": (randn(1, 5) < 9).long(),
    "generated_prompt_embeds": randn(1, 4, 16),
}
