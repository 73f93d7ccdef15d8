"""Models on latents on the command line: a tiny random pipeline of diffusers from a folder."""

import json
import shutil

import numpy as np
import pytest
import torch
from cli_tools import call, report
from PIL import Image

pytest.importorskip("diffusers")
from tiny_pipelines import build_lcm, build_sd3

import headwater as hw
from headwater.adapters.diffusers import load
from headwater.cli.image import posterior, rewarded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    build_sd3().save_pretrained(path)
    return str(path)


def picture(name, height, width):
    ramp = np.linspace(90, 160, height * width * 3).round().astype(np.uint8)
    pixels = ramp.reshape(height, width, 3)
    Image.fromarray(pixels).save(name)
    return pixels


def test_generate_takes_the_steps_of_the_pipeline_and_each_seed_alone(here, folder):
    line = ["image", "generate", "--model", folder, "--prompt", "a cat", "--quiet"]
    assert call([*line, "-n", "2", "--seed", "3", "-o", "a.png"]) == 0
    assert call([*line, "-n", "1", "--seed", "4", "-o", "b.png"]) == 0
    gap = np.abs(np.asarray(Image.open("a-1.png"), int) - np.asarray(Image.open("b.png"), int))
    assert gap.max() <= 1
    r = report(here / "a.json")
    assert r["model"] == folder and r["settings"]["prompt"] == "a cat" and r["settings"]["steps"] is None
    assert (
        call([*line, "-n", "1", "--seed", "4", "-o", "c.png", "--negative", "a dog", "--guidance", "5"]) == 0
    )


def test_a_sampler_that_draws_noise_on_the_way_does_so_from_each_seed(here, tmp_path):
    build_lcm().save_pretrained(tmp_path / "lcm")
    line = ["image", "generate", "--model", str(tmp_path / "lcm"), "--prompt", "a cat", "--quiet"]
    assert call([*line, "-n", "2", "--seed", "3", "-o", "a.png"]) == 0
    assert call([*line, "-n", "1", "--seed", "4", "-o", "b.png"]) == 0
    first, second, alone = (np.asarray(Image.open(name), int) for name in ("a-0.png", "a-1.png", "b.png"))
    assert np.abs(second - alone).max() <= 1 < np.abs(first - second).max()


@pytest.mark.parametrize("size", [(16, 16), (13, 21)])
def test_a_hole_in_a_picture_of_any_size_is_filled_and_the_rest_stays(here, capsys, folder, size):
    pixels = picture("photo.png", *size)
    line = ["image", "inpaint", "photo.png", "--box", "4,4,4,4", "--model", folder, "--prompt", "a cat"]
    assert call([*line, "-o", "out.png", "--quiet", "--method", "estimate", "--steps", "2"]) in (0, 1)
    found, known = np.asarray(Image.open("out.png")), np.ones(size, bool)
    known[4:8, 4:8] = False
    assert found.shape == pixels.shape and (found[known] == pixels[known]).all()
    assert "autoencoder alone changes this picture" in capsys.readouterr().err
    r = report(here / "out.json")
    assert (
        r["settings"]["prompt"] == "a cat" and r["misfit_unit"] > 0.1 and r["samples"][0]["evaluations"] == 2
    )


@pytest.mark.parametrize("more, times", [("", 8), (" --steps 64", 64), (" --steps 2", 2)])
def test_an_annealing_through_a_decoder_has_few_times_unless_they_are_given(
    here, folder, monkeypatch, more, times
):
    picture("photo.png", 16, 16)
    plans = []

    def note(problem, seeds, plan, *rest):
        plans.append(plan)
        raise hw.Misuse("Noted.", "That is all.")

    monkeypatch.setattr(posterior, "draw", note)
    line = ["image", "inpaint", "photo.png", "--box", "4,4,4,4", "--model", folder, "--prompt", "a cat"]
    assert call([*line, "-o", "out.png", "--quiet", "--posterior", "4", *more.split()]) == 2
    assert plans[0].method.estimate.times == plans[0].settings["steps"] == times


@pytest.mark.parametrize("method", ["one-evaluation", "pigdm", "lanpaint"])
def test_a_method_for_linear_operators_is_refused_before_it_starts(here, folder, capsys, method):
    picture("photo.png", 16, 16)
    line = ["image", "inpaint", "photo.png", "--box", "4,4,4,4", "--model", folder, "--prompt", "a cat"]
    assert call([*line, "--method", method]) == 2
    assert "Error:" in capsys.readouterr().err and not (here / "photo-inpaint.png").exists()


def test_the_forecast_counts_the_decoder(here, folder, capsys):
    assert call(["forecast", "--size", "32,32", "--model", folder, "--prompt", "a cat", "--steps", "2"]) == 0
    assert "1 x 32 x 32" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, hint",
    [
        (["generate", "--model", "no/such/folder", "--prompt", "x"], "There is no folder no/such/folder"),
        (["generate", "--prompt", "x", "--model", "photo64"], "takes no --prompt"),
        (["generate", "--negative", "x"], "takes no --negative"),
        (["invert", "photo.png", "--prompt", "red apple"], "Give --model photo64."),
    ],
)
def test_what_a_model_does_not_take_is_refused(here, capsys, words, hint):
    picture("photo.png", 64, 64)
    assert call(["image", *words]) == 2
    assert hint in capsys.readouterr().err


def test_a_label_for_a_pipeline_is_refused(here, folder, capsys):
    line = ["image", "generate", "--model", folder, "--prompt", "a cat", "--label"]
    for label, words in (("goldfish", "classes by number"), ("3", "takes no labels. Leave --label out.")):
        assert call([*line, label]) == 2
        assert words in capsys.readouterr().err


@pytest.fixture(scope="module")
def few_steps(tmp_path_factory):
    path = tmp_path_factory.mktemp("lcm")
    torch.manual_seed(0)
    build_lcm().save_pretrained(path)
    return str(path)


def test_steps_and_size_are_those_of_the_pipeline(here, few_steps, capsys):
    """Other times of a sampler of few steps mean nothing: --steps has to reach the sampler itself."""
    line = ["image", "generate", "--model", few_steps, "--prompt", "a cat", "-n", "1", "--quiet", "--size"]
    assert call([*line, "24,16", "--steps", "2", "-o", "a.png"]) == 0
    model = load(few_steps, "a cat", height=24, width=16, steps=2, seeds=[0])
    with torch.no_grad():
        x1 = hw.solve(model.flow, model.flow.noise([0]), method=hw.EULER, steps=model.steps)
        own = ((model.decode(x1)[0].clamp(-1, 1) + 1) * 127.5).movedim(0, 2).numpy()
    assert np.abs(np.asarray(Image.open("a.png"), float) - own).max() <= 0.51
    assert report(here / "a.json")["settings"]["size"] == [24, 16]
    assert call([*line, "23,16"]) == 2
    assert "makes no picture of 23 x 16 pixels. Give multiples of 2" in capsys.readouterr().err


def test_rewards_of_a_sampler_of_few_steps_hold_the_noise_of_each_seed(here, few_steps, monkeypatch):
    monkeypatch.setattr(rewarded, "DRAWS", 4)
    monkeypatch.setattr(rewarded, "find_spec", lambda name: None)
    line = ["image", "generate", "--model", few_steps, "--prompt", "a cat", "--steps", "2", "--quiet"]
    line += ["--reward", "brightness", "--gradients", "3"]
    assert call([*line, "-n", "2", "--seed", "3", "-o", "two.png"]) == 0
    assert call([*line, "-n", "1", "--seed", "4", "-o", "one.png"]) == 0
    two, one = report(here / "two.json"), report(here / "one.json")
    assert two["settings"]["steps"] == 2
    for when in ("before", "after"):
        assert two["samples"][1]["rewards"][when] == pytest.approx(
            one["samples"][0]["rewards"][when], abs=2e-4
        )
    assert (
        two["samples"][1]["rewards"]["after"]["brightness"]
        > two["samples"][1]["rewards"]["before"]["brightness"]
    )


def test_a_sampler_of_few_steps_restores_nothing(here, few_steps, capsys):
    picture("photo.png", 16, 16)
    line = ["image", "inpaint", "photo.png", "--box", "4,4,4,4", "--model", few_steps, "--prompt", "a cat"]
    assert call(line) == 2
    assert "is a sampler of few steps, and no flow" in capsys.readouterr().err


def test_memory_can_be_saved(here, folder, capsys):
    """The forecast of a lean pipeline is below that of the plain one; a shipped model has no such thing."""
    line = [
        "forecast",
        "--model",
        folder,
        "--prompt",
        "a cat",
        "--steps",
        "2",
        "--strategy",
        "direct",
        "--size",
        "32,32",
    ]
    megabytes = []
    for words in ([], ["--checkpointing"]):
        assert call([*line, *words]) == 0
        megabytes.append(float(capsys.readouterr().out.splitlines()[-1].split()[1]))
    assert megabytes[1] < 0.7 * megabytes[0]
    assert (
        call(
            [
                "image",
                "generate",
                "--model",
                folder,
                "--prompt",
                "a cat",
                "-n",
                "1",
                "--quiet",
                "--slicing",
                "--tiling",
            ]
        )
        == 0
    )
    assert call(["image", "generate", "-n", "1", "--tiling", "-o", "b.png"]) == 2
    assert "The model 'photo64' takes no --tiling." in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, hint",
    [
        (
            ["--model", "no/such/folder"],
            "Nothing is downloaded: give the folder of a pipeline, or a model that",
        ),
        (["--model", "weights.safetensors"], "There is no folder weights.safetensors"),
        (
            ["--model", "one.safetensors"],
            "Save it as a folder: from_single_file(file).save_pretrained(folder).",
        ),
        (["--model", "photo46"], "Did you mean 'photo64'?"),
        (["--model", "."], "has no model_index.json"),
        (["--model", "FOLDER"], "Give --prompt."),
        (["--model", "FOLDER", "--negative", "a dog"], "Give --prompt."),
        (["--model", "FOLDER", "--prompt", "a red cat and a red dog !"], "Shorten it."),
        (["--model", "FOLDER", "--prompt", "a", "--size", "15,15"], "Give multiples of"),
    ],
)
def test_refusals_of_pipelines_name_options(here, folder, capsys, words, hint):
    (here / "one.safetensors").write_bytes(b"weights")
    assert call(["image", "generate", *[folder if word == "FOLDER" else word for word in words]]) == 2
    error = capsys.readouterr().err
    assert hint in error and not any(word in error for word in ("embeddings=", "prompt=", "seeds=", "hw."))


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (
            lambda f: next((f / "transformer").glob("*.safetensors")).unlink(),
            "no file named diffusion_pytorch_model.safetensors found in directory",
        ),
        (
            lambda f: write_config(f / "transformer" / "config.json", in_channels=8),
            "size mismatch for",  # not the first line of the library's message alone
        ),
        (
            lambda f: write_config(f / "model_index.json", scheduler=["diffusers", "NoSuchScheduler"]),
            "has no class `NoSuchScheduler`. Save it again",  # not what the library goes on to advise
        ),
    ],
)
def test_a_damaged_folder_is_refused_in_two_sentences_and_nothing_else_is_printed(
    here, folder, capfd, damage, part
):
    shutil.copytree(folder, "damaged")
    damage(here / "damaged")
    assert call(["image", "generate", "-n", "1", "--model", "damaged", "--prompt", "a"]) == 2
    error = capfd.readouterr().err
    assert (
        part in error and len(error.splitlines()) == 1 and error.startswith("Error: The pipeline in damaged")
    )


def write_config(file, **entries):
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
