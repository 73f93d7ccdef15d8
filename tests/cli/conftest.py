"""A restoration that is real but cheap: the identity flow, controlled as any other."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from headwater.dflow.control import control
from headwater.flows.flow import Flow
from headwater.image import restoration as restoring
from headwater.image.restoration import Restoration
from headwater.problem.cost import Misfit, discrepancy
from headwater.recipes.problem import Problem
from headwater.solvers import EULER

sys.path.insert(0, str(Path(__file__).parent))  # for cli_tools, in any import mode of pytest


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def cheap(monkeypatch):
    """Put the cheap restoration in place of `restore`; the calls it got."""
    calls = []

    def restore(task, model, seeds=(0,), *, recipe=None, options, solver=None):
        calls.append(dict(task=task, model=model, seeds=list(seeds), recipe=recipe, options=options))
        identity = Flow(lambda x, t: 0 * x, (3, *task.size), range=(-1, 1))
        y = task.y.expand(len(seeds), *task.y.shape[1:])
        misfit = Misfit(task.operator, y, max(task.noise, task.resolution))
        result = control(
            identity,
            misfit,
            0.3 * identity.noise(seeds),
            stop=discrepancy(misfit),
            method=EULER,
            steps=options.steps or 1,
            gradients=options.gradients or 30,
            callback=options.callback,
        )
        problem = Problem(identity, misfit, torch.zeros(1, 3, *task.size))
        return Restoration(result.x1.clamp(-1, 1), result, task, problem)

    monkeypatch.setattr(restoring, "restore", restore)
    return calls


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch, request):
    """Write sheets without drawing them, most of the seconds of a small job, but for tests marked so."""
    if "pictures" in request.fixturenames:
        return
    from headwater.cli.audio import repair
    from headwater.cli.image import restoration

    for module in (repair, restoration):
        monkeypatch.setattr(module, "write_sheet", lambda path, *given, **more: path.write_bytes(b"picture"))


@pytest.fixture
def pictures():
    """For tests that draw."""


@pytest.fixture
def no_sheet(monkeypatch):
    """Write the sheet without drawing it; what it was given."""
    from headwater.cli.image import restoration

    drawn = []

    def sheet(path, measurement, result, **more):
        drawn.append(dict(measurement=measurement, result=result, **more))
        path.write_bytes(b"sheet")

    monkeypatch.setattr(restoration, "write_sheet", sheet)
    return drawn


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with one photo, photo.png, 16 x 20 (height x width) RGB."""
    from cli_tools import pixels

    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels(), "RGB").save("photo.png")
    return tmp_path
