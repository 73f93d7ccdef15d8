"""Models on latents on the command line: a tiny random pipeline of diffusers from a folder."""

import numpy as np
import pytest
import torch
from cli_tools import call, report
from PIL import Image

pytest.importorskip("diffusers")
from tiny_pipelines import build_lcm, build_sd3


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
