"""The flow of digits that benchmarks use: its committed weights, its samples, and the parts of the data."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

import headwater as hw

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def digits():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("digits")
    sys.path.remove(str(BENCHMARKS))
    sys.modules.pop("digits", None)


@pytest.fixture(scope="module")
def samples(digits):
    flow = digits.digits_flow()
    return hw.solve(flow, flow.noise(range(4)), steps=8)


def test_the_weights_are_small_and_say_how_they_were_made(digits):
    facts = digits.read_facts()
    assert digits.MODEL.stat().st_size < 2_000_000
    assert facts["classifier"]["accuracy"] > 0.96 and facts["flow"]["held_out"] < 0.2
    assert facts["command"].startswith("python benchmarks/digits.py") and facts["flow"]["minutes"] < 20


def test_samples_are_digits_in_range(digits, samples):
    assert samples.shape == (4, 1, 32, 32) and samples.isfinite().all()
    assert (samples.abs() < 1.2).double().mean() > 0.98
    assert (samples[:, :, 0] < -0.5).all(), "the first row is background"
    assert digits.digit_classifier()(samples.clamp(-1, 1)).softmax(1).amax(1).mean() > 0.7


def test_features_are_one_row_a_picture_and_do_not_depend_on_the_batch(digits, samples):
    found = digits.digit_features(samples)
    assert found.shape == (4, 64)
    torch.testing.assert_close(found.square().mean(1), torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[2:3], digits.digit_features(samples[2:3]))


@pytest.mark.parametrize("count", [1, 10, 200, 297])
def test_held_out_and_tuning_parts_do_not_overlap(digits, count):
    held_out, tuning = (set(digits.numbers(count, held_out=part)) for part in (True, False))
    assert len(held_out) == len(tuning) == count and not held_out & tuning
    assert max(tuning) < 1500 <= min(held_out) and max(held_out) < 1797


def test_more_digits_than_there_are_is_misuse(digits):
    with pytest.raises(hw.Misuse, match="297"):
        digits.numbers(298, held_out=True)


def test_a_digit_keeps_its_pose_and_stays_inside_the_picture(digits):
    pytest.importorskip("sklearn")
    x, more = digits.held_out_digits(8), digits.held_out_digits(297)
    assert x.shape == (8, 1, 32, 32) and x.min() == -1 and 0.9 < x.max() <= 1
    assert torch.equal(x[0], more[0]) and not torch.equal(x[0], digits.tuning_digits(1)[0])
    assert (torch.cat([more[..., 0, :], more[..., -1, :]]) < 0).all()


def test_training_draws_from_the_training_part_alone(digits, monkeypatch):
    ink = torch.zeros(digits.COUNT, 1, 8, 8)
    ink[1500:] = 1
    monkeypatch.setattr(digits, "load_ink", lambda: (ink, torch.zeros(digits.COUNT, dtype=torch.long)))
    torch.manual_seed(0)
    batches = digits.batches_of(200)
    assert all((next(batches)["x1"] == -1).all() for _ in range(10))
