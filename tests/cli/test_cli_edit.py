"""image edit: what it writes, keeps and reports, and what it refuses, with the shipped models at few steps."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from cli_tools import call, report, two_sentences
from PIL import Image

import headwater as hw
from headwater.cli.image import edited
from headwater.cli.shared.options import EditName
from headwater.errors import Misuse
from headwater.image.editing import edit_picture, strength_of_states
from headwater.image.io.masks import read_strength
from headwater.recipes.editing import Boundary, FlowEdit, HEdit, StochasticEdit
from headwater.recipes.editing.methods import DRAWLESS, EDITS, NUMBERS, TAKES, choose_edit, make_edit


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a photo of 64 x 64, and a map that keeps its left 30 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(edited, "DRAWS", 4)
    rows, columns = np.mgrid[:64, :64]
    waves = [127 + 100 * np.sin(0.1 * rows * c + 0.2 * columns) for c in (1, 2, 3)]
    Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save("photo.png")
    level = np.zeros((64, 64), np.uint8)
    level[:, 30:] = 255
    Image.fromarray(level).save("map.png")
    return tmp_path


def show_examples(folder, shades):
    """A folder of one grey picture a shade, each of its own size."""
    Path(folder).mkdir()
    for i, shade in enumerate(shades):
        Image.new("RGB", (64 + 8 * i, 64), (shade,) * 3).save(f"{folder}/{i}.png")


def pixels(name):
    return np.asarray(Image.open(name)).astype(int)


def test_a_reward_rises_where_the_map_allows_it(here, capsys):
    (here / "warm.py").write_text("def reward(x):\n    return x[:, 0].mean((1, 2)) - x[:, 2].mean((1, 2))\n")
    line = ["image", "edit", "photo.png", "--reward", "warm.py", "--strength", "map.png"]
    assert call([*line, "--steps", "2", "--gradients", "4", "--weight", "8"]) == 0
    out, err = capsys.readouterr()
    assert "standard deviations" in out and "The inversion does not close" in err
    r = report(here / "photo-edit.json")
    (row,) = r["samples"]
    before, after = (row["standard_deviations"][when] for when in ("before", "after"))
    assert after > before + 0.05 and row["gradients"] <= 4 and row["evaluations"] > 8
    assert (pixels("photo-edit.png")[:, :30] == pixels("photo.png")[:, :30]).all()
    assert np.abs(pixels("photo-edit.png") - pixels("photo.png"))[:, 30:].mean() > 1
    assert row["kept_distance"] > 0 and r["settings"]["method"] == "reward"
    assert row["inversion_residual"] > 0.01  # two steps are too few for this photo, and it says so
    assert Image.open("photo-edit-sheet.png").size == (3 * 66 + 2, 68)


@pytest.mark.parametrize("method", ["h-edit", "trajectory"])
def test_other_methods_of_a_reward(here, method):
    line = ["image", "edit", "photo.png", "--reward", "brightness", "--method", method, "--steps", "2"]
    line += ["--gradients", "3"] if method == "trajectory" else []
    assert call([*line, "--weight", "8", "--strength", "1", "-o", "a.png", "--quiet"]) == 0
    (row,) = report(here / "a.json")["samples"]
    assert row["standard_deviations"]["after"] > row["standard_deviations"]["before"] + 0.02


def test_results_have_a_seed_each_and_strength_0_is_the_photo(here):
    line = [
        "image",
        "edit",
        "photo.png",
        "--label",
        "goldfish",
        "--method",
        "sdedit",
        "--steps",
        "4",
        "--quiet",
    ]
    assert call([*line, "-n", "2", "--seed", "5", "-o", "a.png"]) == 0
    assert call([*line, "--seed", "6", "-o", "b.png"]) == 0
    assert (pixels("a-1.png") == pixels("b.png")).all() and (pixels("a-0.png") != pixels("b.png")).any()
    assert [row["seed"] for row in report(here / "a.json")["samples"]] == [5, 6]
    assert call([*line, "--strength", "0", "-o", "c.png"]) == 0
    assert (pixels("c.png") == pixels("photo.png")).all()


def test_examples_light_and_dark_make_a_photo_lighter_or_darker(here):
    show_examples("light", (200, 250))
    show_examples("dark", (0, 30, 60))
    line = ["image", "edit", "photo.png", "--with", "light", "--without", "dark", "--steps", "4", "--quiet"]
    assert call([*line, "-o", "a.png"]) == 0
    assert call([*line, "--distance", "-10", "-o", "b.png"]) == 0
    assert call([*line, "--strength", "map.png", "-o", "c.png"]) == 0
    light, dark = (pixels(f"{name}.png").mean() - pixels("photo.png").mean() for name in "ab")
    assert light > 20 and dark < -5
    assert (pixels("c.png")[:, :30] == pixels("photo.png")[:, :30]).all()
    assert pixels("c.png")[:, 30:].mean() > pixels("photo.png")[:, 30:].mean() + 20
    r = report(here / "a.json")
    assert r["boundary"]["separated"] == 1.0 and r["boundary"]["reach"] > 1
    assert r["boundary"]["evaluations"] == 5 * 12 * 2  # midpoint steps of five examples
    assert r["settings"]["method"] == "boundary" and r["settings"]["with"] == "light"


def test_strength_0_spends_nothing_on_a_reward(here):
    line = ["image", "edit", "photo.png", "--reward", "brightness", "--strength", "0", "--quiet"]
    for method in ("reward", "trajectory", "h-edit"):
        assert call([*line, "--method", method, "-o", f"{method}.png"]) == 0
        (row,) = report(here / f"{method}.json")["samples"]
        assert row["gradients"] == row["evaluations"] == 0 and row["distance"] == 0
        assert row["rewards"]["before"] == row["rewards"]["after"] and "standard_deviations" not in row
        assert (pixels(f"{method}.png") == pixels("photo.png")).all()


def test_a_drawing_gets_another_text(here, capsys):
    Image.new("RGB", (128, 128), "white").save("white.png")
    line = ["image", "edit", "white.png", "--prompt", "red apple", "--steps", "3", "--strength", "0.9"]
    assert call(line) == 0
    (row,) = report(here / "white-edit.json")["samples"]
    assert row["distance"] > 0.01 and Image.open("white-edit.png").size == (128, 128)
    assert report(here / "white-edit.json")["settings"]["prompt"] == "red apple"


@pytest.mark.parametrize(
    "words, cure",
    [
        ("", "Give --prompt, --label, --reward or --with."),
        ("--method sdedit", "Give --prompt, --label, --reward or --with."),
        ("--reward brightness --method sdedit", "takes no --reward"),
        ("--label goldfish --method reward", "takes no --prompt or --label"),
        ("--label goldfish --reward brightness --method reward", "takes no --prompt or --label"),
        ("--label goldfish --weight 2", "takes no weight"),
        ("--label goldfish --strength 1.5", "Give 0 to 1"),
        ("--label goldfish --strength nan", "Give 0 to 1"),
        ("--label goldfish --strength missing.png", "missing.png"),
        ("--label goldfish --strength small.png", "Make it that size."),
        ("--label goldfish --strength black.png", "lets nothing change"),
        ("--label goldfish --source dog", "takes no --source"),
        ("--reward brightness --source dog", "takes no --source"),
        ("--reward brightness --guidance 3", "Give --prompt or --label."),
        ("--reward brightness --negative dog", "Give --prompt or --label."),
        ("--label goldfish --method h-edit --weight 2", "Give --reward"),
        ("--label goldfish --method inversion -n 2", "would be the same"),
        ("--reward brightness -n 2", "would be the same"),
        ("--reward flat.py", "Compute it with differentiable torch operations.\n"),
        ("--reward one.py", "Return one number per sample"),
        ("--with light", "Give --without FOLDER."),
        ("--without light", "Give --with FOLDER."),
        ("--with light --without missing", "no folder of images"),
        ("--with light --without empty", "no folder of images"),
        ("--with light --without light", "have the same mean"),
        ("--with light --without light -n 2", "would be the same"),
        ("--with light --without light --method sdedit", "takes no --with"),
        ("--with light --without light --reward brightness", "takes no --reward"),
        ("--method boundary", "or --with."),
        ("--label goldfish --distance 2", "takes no distance"),
        ("--label goldfish -o photo.png", "also an input"),
        ("--label goldfish --strength map.png -o map.png", "also an input"),
    ],
)
def test_refusals(here, words, cure, capsys):
    Image.new("L", (8, 8), 255).save("small.png")
    Image.new("L", (64, 64), 0).save("black.png")
    (here / "empty").mkdir()
    show_examples("light", (200, 250))
    (here / "flat.py").write_text("def reward(x):\n    return x.detach().mean((1, 2, 3))\n")
    (here / "one.py").write_text("def reward(x):\n    return x.mean()\n")
    assert call(["image", "edit", "photo.png", *words.split()]) == 2
    err = capsys.readouterr().err
    assert cure in err and two_sentences(err)
    assert not (here / "photo-edit.png").exists()


def test_the_names_are_those_of_the_methods():
    assert set(get_args(EditName)) == set(EDITS) == set(TAKES) == set(NUMBERS)
    for name, numbers in NUMBERS.items():
        plane = Boundary(torch.ones(2), 0.0, 0.4, 1.0) if name == "boundary" else None
        made = make_edit(name, plane, **{key: 3 for key in numbers})
        assert all(getattr(made, key) == 3 for key in numbers)
    assert {n for n, m in EDITS.items() if n not in DRAWLESS} == {
        "sdedit",
        "flowedit",
        "rf-inversion",
        "h-edit",
    }
    for target, reward in ((True, False), (False, True), (True, True)):
        takes = TAKES[choose_edit(target, reward)]
        assert ("target" in takes or not target) and ("reward" in takes or not reward)
    for bad in (
        lambda: make_edit("no-such"),
        lambda: make_edit("sdedit", gradients=3),
        lambda: choose_edit(False, False),
        lambda: make_edit("boundary"),
        lambda: make_edit("sdedit", Boundary(torch.ones(2), 0.0, 0.4, 1.0)),
    ):
        with pytest.raises(Misuse):
            bad()


def test_the_map_of_a_file(here):
    grey = np.array([[0, 51, 255]], np.uint8)
    Image.fromarray(grey).save("grey.png")
    assert read_strength("grey.png", (1, 3))[0, 0, 0].tolist() == pytest.approx([0, 0.2, 1], abs=1e-6)
    alpha = np.stack([grey, np.array([[255, 255, 0]], np.uint8)], -1)
    Image.fromarray(alpha, "LA").save("alpha.png")
    assert read_strength("alpha.png", (1, 3))[0, 0, 0].tolist() == pytest.approx([0, 0.2, 0], abs=1e-6)
    np.save("far.npy", np.array([[0.0, 2.0]]))
    with pytest.raises(Misuse, match="leaves"):
        read_strength("far.npy", (1, 2))


# Pictures of any size, on pixels and on latents


def double(z):
    return z.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_latents_are_as_free_as_their_freest_pixel_and_the_picture_is_cropped():
    flow, moved = (hw.Flow(lambda z, t, v=v: v + 0 * z, (3, 4, 4)) for v in (0.0, 0.5))
    model, target = (hw.LatentModel(f, double, lambda x: x[..., ::2, ::2]) for f in (flow, moved))
    level = torch.zeros(1, 1, 9, 8)
    level[0, 0, 1, 1] = 1.0
    found = edit_picture(FlowEdit(), model, torch.zeros(1, 3, 9, 8), [0, 1], target=target, strength=level)
    assert found.x.shape == (2, 3, 9, 8)
    assert found.x[0, 0, 1, 1] == 0.5 and found.x[0].abs().sum() == 1.5  # the other pixels are put back
    assert found.made[0, 0, 0, 0] == 0.5 and found.made[0, 0, 2:].abs().sum() == 0
    states = strength_of_states(level, (9, 8), (10, 8), model)
    assert states.shape == (1, 1, 5, 4) and states[0, 0, 0, 0] == 1 and states.sum() == 1


def test_a_reward_of_pictures_reaches_the_latents():
    law = hw.Gaussian(torch.zeros(3 * 4), torch.ones(3 * 4))
    flow = hw.Flow(lambda z, t: law.velocity(z.flatten(1), t).reshape(z.shape), (3, 2, 2))
    model = hw.LatentModel(flow, double, lambda x: x[..., ::2, ::2], range=(0.0, 1.0))
    x = torch.zeros(1, 3, 4, 4)
    found = edit_picture(
        HEdit(weight=1.0, steps=100), model, x, [0], reward=lambda p: p[:, 0].sum((1, 2)), strength=1.0
    )
    # A picture is 2 D(z) - 1: each latent of the first channel has a slope of 2 * 4, so it moves by 8.
    assert found.result.x1[0, 0].flatten().tolist() == pytest.approx([8.5] * 4, rel=0.05)
    assert found.result.x1[0, 1].flatten().tolist() == pytest.approx([0.5] * 4, abs=1e-4)
    for picture, seeds, strength in (
        (x, [0], torch.ones(1, 1, 3, 4)),
        (x[0], [0], 1.0),
        (x.expand(2, -1, -1, -1), [0, 1, 2], 1.0),
    ):
        with pytest.raises(Misuse):
            edit_picture(StochasticEdit(), model, picture, seeds, strength=strength)
