"""The flow of small drawings that benchmarks check defaults on: its committed weights, its samples, its data."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import headwater as hw

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def drawings():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("drawings")
    sys.path.remove(str(BENCHMARKS))
    for name in ("drawings", "digits"):
        sys.modules.pop(name, None)


def test_the_weights_are_small_and_say_how_they_were_made(drawings):
    facts = importlib.import_module("digits").read_facts(drawings.WEIGHTS)
    assert drawings.WEIGHTS.stat().st_size < 2_000_000
    assert facts["command"].startswith("python benchmarks/drawings.py") and facts["flow"]["held_out"] < 0.25


def test_samples_are_drawings_on_white(drawings):
    flow = drawings.drawings_flow()
    x = hw.solve(flow, flow.noise(range(4)), steps=8)
    assert x.shape == (4, 3, 32, 32) and x.isfinite().all()
    assert (x[:, :, :2].mean(dim=(1, 2, 3)) > 0.8).all() and (x.amin(dim=(1, 2, 3)) < 0).all()


def test_a_noisy_square_comes_back_cleaner(drawings):
    flow, clean = drawings.drawings_flow(), torch.ones(1, 3, 32, 32)
    clean[:, :, 8:24, 8:24] = torch.tensor([0.9, -0.2, -0.6])[:, None, None]
    y = clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor(1 / 1.2)
    assert (flow.denoise(t * y, t) - clean).square().mean() < 0.2 * (y - clean).square().mean()


def test_drawings_are_averaged_and_batches_mirror_half(drawings):
    pixels = torch.arange(128, dtype=torch.uint8).repeat(1, 3, 128, 1)
    small = drawings.shrink(pixels)
    assert small.shape == (1, 3, 32, 32) and small[0, 0, 0, :3].tolist() == [2, 6, 10]
    torch.manual_seed(0)
    batch = next(drawings.batches_of(small, 200))
    rising = batch["x1"][:, 0, 0, 31] > batch["x1"][:, 0, 0, 0]
    assert 0.3 < rising.double().mean() < 0.7
    assert_close(batch["t"].sort().values, batch["t"].min() + torch.arange(200) / 200, rtol=0, atol=1e-5)
