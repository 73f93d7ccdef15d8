"""A restoration that is real but cheap: the identity flow, controlled as any other."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from headwater.cli import main
from headwater.control import control
from headwater.cost import Misfit, discrepancy
from headwater.flow import Flow
from headwater.image import restore as restoring
from headwater.image.restore import ROUNDING, Restoration
from headwater.solve import EULER

SIDE = 16


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def cheap(monkeypatch):
    """Put the cheap restoration in place of `restore`; the calls it got."""
    calls = []

    def restore(flow, operator, y, sigma_y, *, size, guess=None, seeds=(0,), preset="default", limits=None):
        calls.append(
            dict(operator=operator, y=y, sigma_y=sigma_y, size=size, seeds=list(seeds), limits=limits)
        )
        calls[-1] |= dict(guess=guess, preset=preset, flow=flow)
        identity = Flow(lambda x, t: 0 * x, (3, *size), range=(-1, 1))
        misfit = Misfit(operator, y, sigma_y or ROUNDING)
        result = control(
            identity,
            misfit,
            0.3 * identity.noise(seeds),
            stop=discrepancy(misfit),
            method=EULER,
            steps=limits.steps or 1,
            gradients=limits.gradients or 30,
            callback=limits.callback,
        )
        return Restoration(result.x1.clamp(-1, 1), result, identity, misfit)

    monkeypatch.setattr(restoring, "restore", restore)
    return calls


@pytest.fixture
def no_sheet(monkeypatch):
    """Write the sheet without drawing it."""
    from headwater.cli import run

    drawn = []

    def sheet(path, measurement, result, **more):
        drawn.append(dict(measurement=measurement, result=result, **more))
        path.write_bytes(b"sheet")

    monkeypatch.setattr(run, "sheet", sheet)
    return drawn


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with one photo, photo.png, 16 x 20 (height x width) RGB."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels(), "RGB").save("photo.png")
    return tmp_path


def pixels(height=SIDE, width=SIDE + 4, channels=3, dtype=np.uint8):
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(0.3 * rows + 0.2 * c * columns + c) for c in range(1, channels + 1)]
    white = np.iinfo(dtype).max
    return np.rint((np.stack(waves, -1) * 0.4 + 0.5) * white).astype(dtype)


def call(line):
    """Run a command line in this process."""
    return main(line.split() if isinstance(line, str) else [str(word) for word in line])


def report(path):
    return json.loads(path.read_text())


def two_sentences(text):
    """Whether a text is one line of exactly two sentences."""
    text = text.strip()
    return "\n" not in text and len(re.findall(r"[.?!](?= |$)", re.sub(r"\.\.\.", "", text))) == 2
