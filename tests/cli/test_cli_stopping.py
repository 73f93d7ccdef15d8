"""Ctrl-C and SIGTERM end every command before the next evaluation of a network, and the best so far is written."""

import signal
import sys

import numpy as np
import pytest
import soundfile
import torch
from cli_tools import call, pixels, report
from PIL import Image

from headwater import Flow
from headwater.audio.model import models as audio_models
from headwater.audio.model.space import Spectral
from headwater.audio.prior import Prior
from headwater.cli.shared.progress import Watch
from headwater.image.model import models as image_models
from headwater.molecule.model.models import Networks

torch.set_num_threads(1)


class Pressed:
    """The exact flow of white noise; while evaluation number `at` runs, a signal arrives."""

    def __init__(self, at, number):
        self.at, self.number, self.count = at, number, 0

    def note(self):
        self.count += 1
        if self.count == self.at:
            signal.raise_signal(self.number)

    def __call__(self, x, t):
        self.note()
        s = t if t.ndim == 0 else t.reshape(-1, *[1] * (x.ndim - 1))
        return (2 * s - 1) * x / (s**2 + (1 - s) ** 2)


@pytest.fixture
def press(monkeypatch):
    """Press Ctrl-C, or send another signal, during an evaluation of any model; what counts the evaluations."""

    def press(at, number=signal.SIGINT):
        velocity = Pressed(at, number)
        image = Flow(velocity, (3, 16, 16), range=(-1, 1))
        sound = Prior(Flow(velocity, (32, 64)), Spectral(torch.full((64,), 0.7)), 4000)
        monkeypatch.setattr(image_models, "flow", lambda *a, **k: image)
        monkeypatch.setattr(audio_models, "load_prior", lambda: sound)
        return velocity

    return press


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels(40, 44)).save("photo.png")
    t = np.arange(12000) / 4000
    glide = 0.3 * np.sin(2 * np.pi * 220 * t * (1 + 0.1 * t)) + 0.01 * np.random.default_rng(
        1
    ).standard_normal(12000)
    soundfile.write("take.wav", glide, 4000, subtype="PCM_16")
    return tmp_path


IMAGE = [
    "inpaint photo.png --box 9,9,5,5",
    "deblur photo.png --gaussian 1 --noise 0.001",
    "upscale photo.png",
]
AUDIO = ["inpaint take.wav --gap 1.2-1.5", "extend take.wav --by 300ms", "restore take.wav --cutoff 1kHz"]


@pytest.mark.parametrize("at", [1, 40, 70])
@pytest.mark.parametrize(
    "line", [*(f"image {w} -o x.png" for w in IMAGE), *(f"audio {w} -o x.wav" for w in AUDIO)]
)
def test_the_evaluation_that_runs_is_the_last(files, press, capsys, line, at):
    """In the estimate, the inversion, and a gradient."""
    velocity = press(at)
    assert call(f"{line} --method warm-start") == 130
    assert velocity.count == at
    found = report(files / "x.json")
    rows = found["samples"] if line.startswith("image") else found["stretches"]
    status = rows[0]["status"]
    assert found["interrupted"] and "CANCELLED" in ([status] if isinstance(status, str) else status)
    assert (files / line.split()[-1]).exists()
    err = capsys.readouterr().err
    assert "stopping, the best so far is kept" in err and "What was done is written." in err


def test_sigterm_is_the_same(files, press):
    velocity = press(20, signal.SIGTERM)
    assert call("image upscale photo.png -o x.png") == 130 and velocity.count == 20


@pytest.mark.parametrize("method", ["default", "paper"])
@pytest.mark.parametrize(
    "line", ["image inpaint photo.png --box 9,9,5,5 -o x.png", "audio extend take.wav -o x.wav"]
)
def test_the_time_limit_is_heard_at_once_and_is_a_missed_goal(files, press, line, method):
    velocity = press(0)
    assert call(f"{line} --method {method} --seconds 0.001 --quiet") == 1
    assert velocity.count == 0 and report(files / "x.json")[{"i": "samples", "a": "stretches"}[line[0]]]


def test_samples_that_are_drawn_stay(files, press, capsys):
    velocity = press(50)
    assert call("image generate -n 40 --steps 10 -o x.png") == 130
    assert velocity.count == 50 and (files / "x-31.png").exists() and not (files / "x-32.png").exists()
    assert len(report(files / "x.json")["samples"]) == 32


@pytest.mark.parametrize(
    "line", ["image generate", "image invert photo.png", "image likelihood photo.png", "audio generate"]
)
def test_before_anything_is_done_nothing_is_written(files, press, capsys, line):
    velocity, before = press(2), sorted(files.iterdir())
    assert call(line) == 130 and velocity.count == 2
    assert sorted(files.iterdir()) == before and "Nothing was done yet." in capsys.readouterr().err


def test_images_that_are_judged_stay(files, press, capsys):
    Image.fromarray(pixels(20, 20)).save("small.png")
    velocity = press(30)  # each takes 24 evaluations
    assert call("image likelihood small.png photo.png --steps 12 -o x.json") == 130
    assert velocity.count == 30 and [row["file"] for row in report(files / "x.json")["images"]] == [
        "small.png"
    ]


@pytest.mark.parametrize("at", [3, 30])
def test_molecules_end_between_evaluations(files, monkeypatch, at, capsys):
    """In the first draw, before which there is no molecule, and later."""
    pytest.importorskip("rdkit")
    generator, pressed = Networks.load().generator, Pressed(at, signal.SIGINT)
    hook = generator.register_forward_pre_hook(lambda *_: pressed.note())
    try:
        line = "molecule target --gap 13eV --atoms 9 -n 2 --steps 6 --check none -o x.sdf"
        assert call(line) == 130
    finally:
        hook.remove()
    assert pressed.count == at and (files / "x.sdf").exists() is (at == 30)
    if at == 30:
        assert [m["status"] for m in report(files / "x.json")["molecules"]] == ["CANCELLED"] * 2


def test_a_signal_is_answered_while_nothing_is_evaluated(files):
    """In a process of its own: the word comes at once, in the middle of a long evaluation."""
    import subprocess

    program = (
        "import signal, sys, time\n"
        "from headwater.cli.shared.progress import Watch\n"
        "with Watch('x', quiet=True).running() as watch:\n"
        "    print('on', flush=True)\n"
        "    while not watch.over: time.sleep(0.01)\n"
        "    time.sleep(1)\n"
    )
    work = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert work.stdout.readline() == "on\n"
    work.send_signal(signal.SIGTERM)
    assert work.stderr.readline().startswith("stopping")
    assert work.poll() is None and work.wait() == 0


def test_what_was_not_begun_is_a_missed_goal(files, press, monkeypatch):
    """The time is up after the first gap, which linear prediction fills."""
    press(0)
    monkeypatch.setattr(Watch, "over", property(lambda watch: bool(watch.turned > watch.start)))
    line = "audio inpaint take.wav --gap 0.5-0.51 --gap 1.5-1.51 --gap 2.5-2.51 -o x.wav --quiet"
    assert call(line) == 1
    assert report(files / "x.json")["not_begun"] == 2


def test_molecules_in_a_file_are_scored_until_a_signal(files, capsys):
    pytest.importorskip("rdkit")
    water = "3\n\nO 0 0 0.12\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n"
    (files / "many.xyz").write_text(200 * water)
    evaluator, pressed = Networks.load().evaluator, Pressed(1, signal.SIGINT)
    hook = evaluator.register_forward_pre_hook(lambda *_: pressed.note())
    try:
        assert call("molecule score many.xyz") == 130  # 4 batches of molecules, each of 4 evaluations
    finally:
        hook.remove()
    assert pressed.count == 4 and "Nothing was done yet." in capsys.readouterr().err
