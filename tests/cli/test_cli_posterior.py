"""--posterior: what is written and said, with the exact flow of white noise, whose posterior is known."""

import json
import math
import re
import signal
from typing import get_args

import numpy as np
import pytest
import torch
from cli_tools import call, pixels, report, two_sentences
from PIL import Image

from headwater import Flow, PerturbAndMAP
from headwater.cli.image import posterior as job
from headwater.cli.shared import posterior as shared
from headwater.cli.shared.options import SamplerName
from headwater.cli.shared.progress import Watch
from headwater.image.model import models
from headwater.optimizers.status import Status

EVENT = """
import torch

def event(x):
    assert x.shape == (3, 16, 16), x.shape
    return x[0, 8, 8] > 0

def many(x):
    return x > 0

def word(x):
    return "yes"

def fails(x):
    raise ValueError("no such thing")

def other(x):
    return bool(x.mean() > 5)
"""
OUT = ["a.png", "a-sample.png", "a-std.png", "a-q05.png", "a-q95.png"]
LINE = "image inpaint photo.png --box 4,5,6,7 --steps 2 --quiet -o a.png --posterior"
OPTIMISED = LINE.replace("--posterior", "--sampler perturb-and-map --posterior")


class WhiteNoise:
    """The exact flow of N(0, 1 / 4) for every value; during evaluation `at` Ctrl-C is pressed."""

    def __init__(self, at=None):
        self.at, self.count = at, 0

    def __call__(self, x, t):
        self.count += 1
        if self.count == self.at:
            signal.raise_signal(signal.SIGINT)
        s = t if t.ndim == 0 else t.reshape(-1, *[1] * (x.ndim - 1))
        return (1.25 * s - 1) * x / ((s / 2) ** 2 + (1 - s) ** 2)


@pytest.fixture
def flow(monkeypatch):
    """Put the flow in place of every model; `flow(at)` presses Ctrl-C during an evaluation."""

    def put(at=None):
        velocity = WhiteNoise(at)
        model = Flow(velocity, (3, 16, 16), range=(-1, 1))
        monkeypatch.setattr(models, "flow", lambda *a, **k: model)
        return velocity

    put()
    return put


@pytest.fixture(autouse=True)
def begin_at_the_noise(request, monkeypatch):
    """Spare the estimates, which white noise does not need; one test has them."""
    if "estimate" not in request.fixturenames:
        monkeypatch.setattr(shared.Plan, "begin_at", lambda plan, estimate: plan)
        fast = lambda gradients=8: PerturbAndMAP(gradients)  # noqa: E731
        monkeypatch.setitem(shared.SAMPLERS, "perturb-and-map", fast)


@pytest.fixture
def no_sheet(monkeypatch):
    """Write the sheet without drawing it."""
    monkeypatch.setattr(job, "write_posterior_sheet", lambda path, *a, **k: path.write_bytes(b"sheet"))


@pytest.fixture
def here(tmp_path, monkeypatch, flow):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels(16, 16)).save("photo.png")
    (tmp_path / "event.py").write_text(EVENT, encoding="utf-8")
    return tmp_path


def read(name):
    return np.asarray(Image.open(name), dtype=float)


def test_mean_draw_spread_quantiles_and_event(here, capsys):
    long = LINE.replace("--steps 2", "--steps 24")
    assert call(f"{long} 32 --event event.py --reference photo.png") == 0
    assert sorted(p.name for p in here.iterdir() if p.name.startswith("a")) == sorted(
        [*OUT, "a.json", "a-sheet.png"]
    )
    r = report(here / "a.json")
    assert [row["file"] for row in r["samples"]] == OUT
    assert [row["what"] for row in r["samples"]] == ["mean", "sample", "std", "q05", "q95"]
    about = r["posterior"]
    assert (about["sampler"], about["chains"], about["draws"]) == ("daps", 4, 32)
    assert about["acceptance"] == 1 and about["r_hat"] < 1.5 and about["agree"] is None
    assert about["verdict"].startswith("32 independent draws; quantiles are rough. Each draw")
    assert (
        about["evaluations"] >= 32 * (24 + 24) and about["gradients"] == 0 and about["misfit_of_draws"] < 1.6
    )
    hole = np.zeros((16, 16), dtype=bool)
    hole[4:10, 5:12] = True
    photo, mean, std = read("photo.png"), read("a.png"), read("a-std.png")[..., 0]
    for name in ("a.png", "a-sample.png", "a-q05.png", "a-q95.png"):
        assert (read(name)[~hole] == photo[~hole]).all()  # known pixels are as they were
    white = r["samples"][2]["white"]
    assert (std[~hole] == 0).all() and abs(std[hole].mean() / 255 * white - 0.5) < 0.05
    assert abs((mean[hole] / 127.5 - 1).mean()) < 0.06  # 0 +- 0.5 / sqrt(32) each
    low, high = (read(f"a-{q}.png")[hole] / 127.5 - 1 for q in ("q05", "q95"))
    assert abs(low.mean() + 0.82) < 0.15 and abs(high.mean() - 0.82) < 0.15  # 1.645 / 2
    p = r["event"]
    assert p["file"] == "event.py" and abs(p["probability"] - 0.5) < 4 * p["error"] < 0.5
    assert 0.5 < r["inside"] <= 1 and r["samples"][0]["psnr"] > r["samples"][1]["psnr"]
    assert set(about) - {"sampler", "chains", "draws", "verdict"} <= set(r["definitions"])
    assert capsys.readouterr().out == ""


def test_what_is_said(here, no_sheet, capsys):
    assert call(LINE.replace("--quiet ", "") + " 16 --event event.py") == 0
    out = capsys.readouterr().out
    assert "16 draws in 4 chains: at most" in out and "gradients, about 0:0" in out
    assert "a.png: mean, misfit" in out and "a-std.png: std, white is" in out
    assert "event.py: probability 0." in out and "of 16 draws" in out


def test_a_run_that_was_ended_goes_on_as_if_it_had_not(here, no_sheet, flow):
    velocity = flow()
    assert call(f"{LINE} 16 --seed 3") == 0
    whole, spent = {name: read(name) for name in OUT}, velocity.count
    facts = report(here / "a.json")["posterior"]
    for name in here.glob("a*"):
        name.unlink()
    flow(at=spent // 2)
    assert call(f"{LINE} 16 --seed 3") == 130
    first = report(here / "a.json")
    assert 0 < first["posterior"]["draws"] < 16 and first["interrupted"]
    kept = here / "a-chains.safetensors"
    assert kept.is_file() and (here / "a.png").is_file()
    velocity = flow()
    assert call(f"{LINE} 16 --seed 3") == 0  # without --overwrite: these are its own files
    assert velocity.count < spent and not kept.exists()
    assert all((read(name) == image).all() for name, image in whole.items())
    again = report(here / "a.json")["posterior"]
    # the check of the flow's promises is repeated, and not counted
    assert {k: v for k, v in again.items() if k != "evaluations"} == {
        k: v for k, v in facts.items() if k != "evaluations"
    }


def test_chains_that_do_not_fit_into_memory_take_turns(here, no_sheet, flow, capsys):
    assert call(f"{OPTIMISED} 8 --seed 3") == 0
    whole = {name: read(name) for name in OUT}
    said = OPTIMISED.replace("--quiet ", "") + " 8 --seed 3 --overwrite --memory 250KB"
    flow(at=80)
    assert call(said) == 130
    assert re.search(r"8 draws in 4 chains, [123] at a time: at most", capsys.readouterr().out)
    flow()
    assert call(said.replace("--overwrite ", "")) == 0
    assert all(abs(read(name) - image).max() <= 1 for name, image in whole.items())


@pytest.mark.parametrize(
    "after, code, words", [(35, 2, "before the first draw"), (75, 1, "repeat the command")]
)
def test_time_that_is_up_is_said_and_the_next_run_goes_on(
    here, flow, no_sheet, monkeypatch, capsys, after, code, words
):
    velocity = flow()
    up = lambda watch: Status.SECONDS if velocity.count > after else None  # noqa: E731
    monkeypatch.setattr(Watch, "check", up)
    assert call(f"{LINE} 16") == code
    assert words in capsys.readouterr().err and (here / "a-chains.safetensors").is_file()
    assert (here / "a.png").is_file() is (code == 1)


def test_the_chains_of_another_run_are_not_taken(here, no_sheet, flow, capsys):
    flow(at=100)
    assert call(f"{OPTIMISED} 16 --seed 3") == 130
    flow()
    capsys.readouterr()
    own = f"{OPTIMISED} 16 --seed 3"
    for other in (
        f"{OPTIMISED} 16 --seed 4",
        f"{LINE} 16 --seed 3",
        f"{own} --gradients 5",
        f"{own} --noise 0.1",
    ):
        assert call(other) == 2
        err = capsys.readouterr().err
        assert "holds the draws of another run" in err and two_sentences(err.replace("a-chains.", ""))
    assert call(f"{OPTIMISED} 16 --seed 4 --overwrite") == 0
    assert not (here / "a-chains.safetensors").exists()


def test_a_damaged_file_of_chains_is_refused(here, flow, capsys):
    (here / "a-chains.safetensors").write_bytes(b"no tensors at all")
    assert call(f"{LINE} 16") == 2
    err = capsys.readouterr().err
    assert "is damaged. Remove it" in err


@pytest.mark.parametrize("sampler, draws", [("pcn", 8), ("mala", 8), ("hmc", 4), ("sgld", 8)])
def test_every_sampler_runs(here, no_sheet, monkeypatch, sampler, draws):
    short = {"pcn": (4, 1), "mala": (4, 1), "hmc": (2, 1), "sgld": (4, 1)}[sampler]
    made = shared.SAMPLERS[sampler]
    monkeypatch.setitem(shared.SAMPLERS, sampler, lambda: made(*short))
    assert call(f"{LINE} {draws} --sampler {sampler}") == 0
    about = report(here / "a.json")["posterior"]
    assert about["sampler"] == sampler and about["agree"] is False
    assert "too few draws to tell" in about["verdict"] or "do not agree" in about["verdict"]


def test_the_names_of_samplers_are_those_of_the_option():
    assert tuple(shared.SAMPLERS) == get_args(SamplerName)


@pytest.mark.parametrize(
    "more, what",
    [
        ("--posterior 3", "Give 4 to 10,000."),
        ("--sampler pcn", "Nothing is drawn, so --sampler has no effect. Give --posterior 16."),
        ("--event event.py", "Nothing is drawn, so --event has no effect."),
        ("--posterior 8 --samples 2", "Give one of them."),
        ("--posterior 8 --method map", "Give --sampler in place of --method."),
        ("--posterior 8 --sampler hmc --gradients 5", "The sampler hmc has no limit of gradients."),
        (
            "--posterior 8 --gradients 5",
            "daps has no limit of gradients. Leave out --gradients, or give --sampler",
        ),
        ("--posterior 8 --event no.py", "There is no file no.py."),
        ("--posterior 8 --event event.py:evnt", "Did you mean 'event'?"),
        ("--posterior 8 --event event.py:many", "answers [3, 16, 16] and not one bool."),
        ("--posterior 8 --event event.py:word", "answers str and not one bool."),
        ("--posterior 8 --event event.py:fails", "no such thing."),
    ],
)
def test_refusals(here, more, what, capsys):
    assert call(f"image inpaint photo.png --box 4,5,6,7 -o a.png --quiet {more}") == 2
    err = capsys.readouterr().err
    assert what in err and two_sentences(err.replace(".py", "")) and not list(here.glob("a*"))


def test_disagreeing_chains_and_draws_that_miss_are_said(here, monkeypatch, capsys):
    about = dict(sampler="hmc", agree=False, verdict="The chains do not agree yet.", misfit_of_draws=2.0)
    missed = "The draws miss the measurement by 2.0 times its noise: give"
    assert shared.doubts([about]) == [about["verdict"], f"{missed} another --sampler."]
    for sampler, more in {"daps": "--steps", "perturb-and-map": "--gradients"}.items():
        said = shared.doubts([{**about, "agree": None, "sampler": sampler}])
        assert said == [f"{missed} more {more}, or another --sampler."]
    assert shared.doubts([{**about, "agree": True, "misfit_of_draws": 1.0}]) == []
    assert shared.doubts([{**about, "misfit_of_draws": None}]) == ["The chains do not agree yet."]


@pytest.mark.parametrize(
    "line",
    ["denoise photo.png --noise 0.2", "deblur photo.png --gaussian 0.5 --noise 0.1", "upscale half.png"],
)
def test_other_damages(here, no_sheet, line):
    Image.fromarray(pixels(8, 8)).save("half.png")
    assert call(f"image {line} --posterior 8 --steps 2 -o a.png --quiet") == 0
    r = report(here / "a.json")
    assert r["posterior"]["misfit_of_draws"] < 1.6 and r["samples"][2]["mean"] > 0
    if line.startswith("denoise"):  # 1 / (1 / 0.5^2 + 1 / 0.2^2), squared
        assert r["samples"][2]["mean"] == pytest.approx(0.2 * 0.5 / math.hypot(0.2, 0.5), rel=0.2)


@pytest.fixture
def estimate():
    """With estimates."""


@pytest.mark.parametrize("sampler", ["daps", "perturb-and-map --gradients 1"])
def test_a_larger_photo_is_drawn_around_its_hole(here, no_sheet, estimate, sampler):
    Image.fromarray(pixels(40, 44)).save("large.png")
    line = (
        f"image inpaint large.png --box 9,9,5,5 --posterior 4 --steps 2 -o a.png --quiet --sampler {sampler}"
    )
    assert call(line) == 0
    changed = (read("a-q95.png") != read("large.png")).any(-1)
    assert changed[9:14, 9:14].any() and changed.sum() <= 25 and Image.open("a-std.png").size == (44, 40)
    assert json.loads((here / "a.json").read_text(encoding="utf-8"))["size"] == [40, 44]


def test_steps_are_the_times_of_an_annealing(here, no_sheet, flow):
    counts = {}
    for steps in (1, 5):
        assert call(f"{LINE.replace('--steps 2', f'--steps {steps}')} 4 --overwrite") == 0
        r = report(here / "a.json")
        assert r["settings"]["steps"] == steps
        counts[steps] = r["posterior"]["evaluations"]
    # in each of 4 chains one solve of 8 midpoint steps, and a draw of so many times with its reverse solve
    assert counts == {steps: 4 * (16 + steps + 24) for steps in (1, 5)}


def test_an_annealing_with_other_times_is_another_run(here, no_sheet, flow, capsys):
    flow(at=90)
    assert call(f"{LINE} 16") == 130
    flow()
    assert call(f"{LINE.replace('--steps 2', '--steps 3')} 16") == 2
    assert "holds the draws of another run" in capsys.readouterr().err
    assert call(f"{LINE} 16") == 0


def test_the_network_sees_the_same_numbers_in_a_batch_of_jobs(here):
    """A job of a batch with --posterior is done by itself."""
    from headwater.cli.batch.together import group_of

    own = {"command": "image inpaint", "samples": 1, "seconds": None}
    assert group_of({**own, "posterior": None}) and group_of({**own, "posterior": 16}) is None
    assert torch.get_num_threads() == 1
