"""generate, invert, likelihood, models, forecast and demo, with the shipped model at few steps."""

import json

import audio_small
import numpy as np
import pytest
import torch
from cli_tools import call, report
from PIL import Image

from headwater import zoo
from headwater.audio.model import models as music
from headwater.cli import demo as demonstration
from headwater.cli.image.samples import contact_sheet
from headwater.cli.molecule.options import Aim
from headwater.image.io import photos
from headwater.image.io.files import read_image
from headwater.image.model import models
from headwater.solvers import solve


def test_generate_is_reproducible_and_labelled(here, capsys):
    line = "image generate --steps 2 --label goldfish --guidance 2"
    assert call(f"{line} -n 2 --seed 3 -o a.png") == 0
    assert "a-0.png, a-1.png" in capsys.readouterr().out
    assert call(f"{line} -n 1 --seed 4 -o b.png --quiet") == 0
    gap = np.abs(np.asarray(Image.open("a-1.png"), int) - np.asarray(Image.open("b.png"), int))
    assert gap.max() <= 1
    assert Image.open("a-sheet.png").size == (2 * 66 + 2, 66 + 2)
    r = report(here / "a.json")
    assert r["label"] == "goldfish" and r["settings"]["guidance"] == 2 and r["samples"][1]["seed"] == 4


def test_bfloat16_changes_a_picture_by_little(here):
    line = "image generate --steps 2 -n 1 --quiet"
    assert call(f"{line} -o a.png") == 0 and call(f"{line} -o b.png --bfloat16") == 0
    gap = np.abs(np.asarray(Image.open("a.png"), int) - np.asarray(Image.open("b.png"), int))
    assert 0 < gap.max() < 12 and gap.mean() < 1
    assert report(here / "b.json")["settings"]["bfloat16"] is True
    assert call("image invert a.png --steps 2 --bfloat16 --quiet -o x0.npy") == 0
    assert call("image likelihood a.png --steps 2 --bfloat16 --quiet -o bits.json") == 0
    assert all(report(here / name)["settings"]["bfloat16"] for name in ("x0.npy.json", "bits.json"))


def test_generate_any_size(here):
    assert call("image generate --steps 1 -n 1 --size 64,80 -o a.png --quiet") == 0
    assert Image.open("a.png").size == (80, 64)


def test_generate_draws_a_prompt_and_says_so(here):
    line = "image generate --style noto --steps 1 -n 2 -o a.png --quiet --prompt"
    assert call([*line.split(), "red apple"]) == 0
    assert Image.open("a-0.png").size == (128, 128)
    settings = report(here / "a.json")["settings"]
    assert (
        settings["prompt"] == "red apple" and settings["style"] == "noto" and settings["size"] == [128, 128]
    )
    assert settings["guidance"] == zoo.read_card("pictograms")["guidance"]


def test_the_contact_sheet_is_about_square():
    page = contact_sheet([torch.full((3, 4, 4), -1.0)] * 5)
    assert page.shape == (1, 3, 14, 20) and int((page == -1).sum()) == 5 * 3 * 16


def test_invert_writes_the_source_and_its_diagnostics(here):
    assert call(["image", "invert", photos.path("cat"), "--steps", "8", "-o", "x0.npy", "--quiet"]) == 0
    x0, r = torch.from_numpy(np.load("x0.npy"))[None], report(here / "x0.npy.json")
    assert x0.shape == (1, 3, 64, 64) and r["radius"] == pytest.approx(float(x0.square().mean().sqrt()), 1e-4)
    truth = read_image(photos.path("cat"))[0]
    back = solve(models.flow(), x0, steps=8).detach()
    assert r["round_trip_rms"] == pytest.approx(float((back - truth).square().mean().sqrt()), rel=1e-3)


def test_likelihood_prefers_photos_to_noise(here, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save("noise.png")
    line = ["image", "likelihood", photos.path("cat"), "noise.png", "--steps", "2", "-o", "bits.json"]
    assert call(line) == 0
    cat, other = report(here / "bits.json")["images"]
    assert cat["bits_per_dimension"] < other["bits_per_dimension"]
    assert f"{cat['bits_per_dimension']:.4f} bits per dimension" in capsys.readouterr().out


def test_models(capsys):
    assert call("models") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in zoo.list_models())
    assert call("models photo64") == 0
    card = capsys.readouterr().out
    assert "data licence: " in card and "held out loss" in card
    assert call("models photo64 --classes") == 0
    assert "n01443537  goldfish" in capsys.readouterr().out
    assert call("models music16 --classes") == 0
    assert capsys.readouterr().out == "The model music16 has no classes.\n"


def test_forecast_prints_both_strategies(here, capsys):
    assert call("forecast --steps 4") == 0
    first, direct, checkpoint = capsys.readouterr().out.splitlines()
    assert first.startswith("1 x 64 x 64, 4 midpoint steps, cpu")
    assert direct.startswith("direct") and checkpoint.startswith("checkpoint")
    assert int(direct.split()[1]) > int(checkpoint.split()[1])
    assert call("forecast photo.png --strategy direct") == 0  # smaller than the window
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_demo_damages_restores_and_says_where_to_look(here, cheap, no_sheet, capsys, monkeypatch):
    few = Aim(gap=5.0, count=2, steps=2, gradients=1, candidates=1, check="none")
    (here / "demo-output").mkdir()
    (here / "demo-output" / "cat-damaged.png").write_text("of an earlier demo")
    monkeypatch.setattr(demonstration, "MOLECULES", few)
    monkeypatch.setattr(music, "load_prior", audio_small.prior)
    assert call("demo --quiet") == 0  # two steps reach few goals, and all are shown
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 7 and all("dB damaged" in line for line in out[:3]) and "demo-output" in out[6]
    assert "rebuilt from 512 numbers" in out[3] and "dB after" in out[3]
    assert "a gap of 80 ms, filled: SI-SDR" in out[4] and "of 2 hit" in out[5]
    names = {p.name for p in (here / "demo-output").iterdir()}
    assert {"cat.png", "cat-damaged.png", "cat.json", "cat-sheet.png"} <= names
    assert {f"molecules{end}" for end in (".sdf", ".xyz", ".csv", ".json", ".html", "-sheet.png")} <= names
    assert {"guitar.wav", "guitar-damaged.wav", "guitar.json", "guitar-sheet.png"} <= names
    assert {"few_numbers.py", "portrait-numbers.npy", "portrait-reference.png", "portrait.png"} <= names
    assert len(names) == 28
    kinds = {call["task"].operator.kind for call in cheap}
    assert "inpaint" in kinds and kinds & {"upscale", "deblur"} and len(cheap) == 4
    assert any(max(call["task"].size) > 64 for call in cheap)
    assert (here / "demo-output" / "cat-damaged.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((here / "demo-output" / "coffee.json").read_text())["samples"][0]["psnr"] > 0
