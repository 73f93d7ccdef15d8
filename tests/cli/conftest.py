"""A restoration that is real but cheap: the identity flow, controlled as any other."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from headwater.dflow.control import control
from headwater.flows.flow import Flow
from headwater.image import restore as restoring
from headwater.image.restore import RESOLUTION, Restoration
from headwater.problem.cost import Misfit, discrepancy
from headwater.solvers import EULER

sys.path.insert(0, str(Path(__file__).parent))  # for cli_tools, in any import mode of pytest


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def cheap(monkeypatch):
    """Put the cheap restoration in place of `restore`; the calls it got."""
    calls = []

    def restore(
        flow, operator, y, sigma_y, *, size, guess=None, seeds=(0,), preset="default", limits=None, **_
    ):
        calls.append(
            dict(operator=operator, y=y, sigma_y=sigma_y, size=size, seeds=list(seeds), limits=limits)
        )
        calls[-1] |= dict(guess=guess, preset=preset, flow=flow)
        identity = Flow(lambda x, t: 0 * x, (3, *size), range=(-1, 1))
        misfit = Misfit(operator, y, max(sigma_y, RESOLUTION))
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
    from headwater.cli.image import run

    drawn = []

    def sheet(path, measurement, result, **more):
        drawn.append(dict(measurement=measurement, result=result, **more))
        path.write_bytes(b"sheet")

    monkeypatch.setattr(run, "sheet", sheet)
    return drawn


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with one photo, photo.png, 16 x 20 (height x width) RGB."""
    from cli_tools import pixels

    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels(), "RGB").save("photo.png")
    return tmp_path
