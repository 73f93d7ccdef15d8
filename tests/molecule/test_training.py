"""Training in small: schedule, average, resumed runs, bad batches, sittings."""

import argparse
import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small import generator_batches, run_of, same, tiny_generator
from torch import nn

from headwater.molecule.model import train_generator
from headwater.nn import training
from headwater.nn.training import Run, learning_rate, train_network


def test_learning_rate_warms_up_stays_and_falls_to_zero():
    assert [learning_rate(3.0, s, 0.1, 0.4) for s in (0, 149, 299, 5000)] == [0.01, 1.5, 3.0, 3.0]
    assert learning_rate(3.0, 5000, 0.6, 0.4) == pytest.approx(3.0)
    for spent, share in ((0.7, 0.75), (0.8, 0.5), (0.9, 0.25), (1.0, 0.0), (1.3, 0.0)):
        assert learning_rate(3.0, 5000, spent, 0.4) == pytest.approx(3 * share)
    assert learning_rate(3.0, 5000, 1.0, 0.0) == 3.0  # no decay asked for


class Line(nn.Module):
    """y = w x."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.5]]))


def square(net, batch):
    return (net.w * batch["x"] - 3.0).square().mean()


def state(run):
    return [
        run.net.state_dict(), run.ema.state_dict(), [o.state_dict() for o in run.optimizers],
        run.step, run.samples, run.seconds, run.log,
    ]  # fmt: skip


def test_a_resumed_run_is_the_same_run(tmp_path):
    """4 steps = 2 steps, save, restore into a run with other weights, 2 steps: bitwise, optimiser and average too."""
    batches, rates = generator_batches(4), (1e-3, 2e-3, 2e-3, 1e-3)
    whole, first, second = run_of(tiny_generator), run_of(tiny_generator), run_of(tiny_generator, seed=7)
    for batch, lr in zip(batches, rates, strict=True):
        whole.update(batch, train_generator.GeneratorLoss(), lr)
    for batch, lr in zip(batches[:2], rates[:2], strict=True):
        first.update(batch, train_generator.GeneratorLoss(), lr)
    first.seconds, first.log = 12.5, [{"step": 2.0}]
    first.save(tmp_path / "checkpoint.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    second.restore(tmp_path / "checkpoint.pt")
    assert same(state(second), state(first))
    for batch, lr in zip(batches[2:], rates[2:], strict=True):
        second.update(batch, train_generator.GeneratorLoss(), lr)
    assert (second.seconds, second.log) == (12.5, [{"step": 2.0}])
    whole.seconds, whole.log = second.seconds, second.log
    assert same(state(second), state(whole))
    assert second.step == 4 and second.samples == 32
    assert not same(second.net.state_dict(), first.net.state_dict())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_batch_does_not_spoil_the_weights(bad):
    """Weights and moments stay as they were, bit by bit, and the next batch trains."""
    run, batches = run_of(tiny_generator), generator_batches(3)
    run.update(batches[0], train_generator.GeneratorLoss(), 1e-3)
    net = {k: v.clone() for k, v in run.net.state_dict().items()}
    moments = [{k: v.clone() for k, v in s.items()} for o in run.optimizers for s in o.state.values()]
    spoilt = batches[1] | {"x1": batches[1]["x1"] * bad}
    assert not math.isfinite(run.update(spoilt, train_generator.GeneratorLoss(), 1e-3))
    assert same(run.net.state_dict(), net)
    assert same([s for o in run.optimizers for s in o.state.values()], moments)
    assert all(bool(v.isfinite().all()) for v in run.ema.state_dict().values())
    assert math.isfinite(run.update(batches[2], train_generator.GeneratorLoss(), 1e-3))
    assert not same(run.net.state_dict(), net)
    assert all(bool(v.isfinite().all()) for v in run.net.state_dict().values())


def test_steps_are_clipped_and_use_the_given_rate():
    """AdamW's first step moves by the rate whatever the gradient; a rate of zero moves nothing."""
    for scale in (1.0, 1e4):
        run = run_of(Line)
        run.update({"x": torch.full((4, 1), scale)}, square, 0.01)
        assert run.net.w.item() == pytest.approx(
            0.5 - math.copysign(0.01, 0.5 * scale - 3) - 0.01 * 0.01 * 0.5, rel=1e-4
        )
    run = run_of(Line)
    run.update({"x": torch.ones(4, 1)}, square, 0.0)
    assert run.net.w.item() == 0.5 and (run.step, run.samples) == (1, 4)


class Square(nn.Module):
    """y = W x, a matrix that Muon takes."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.eye(8))


def test_matrices_use_the_given_rate_too():
    """Muon's step is proportional to the rate, whatever the gradient's size; a rate of zero moves nothing."""
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    moved = []
    for scale, lr in ((1.0, 0.01), (1e4, 0.01), (1.0, 0.02), (1.0, 0.0)):
        run = run_of(Square)
        run.update({"x": scale * x}, lambda net, batch: (batch["x"] @ net.w).square().mean(), lr)
        assert [type(o).__name__ for o in run.optimizers] == ["Muon"]
        moved.append(float((run.net.w - torch.eye(8)).detach().square().mean().sqrt()))
    assert moved[1] == pytest.approx(moved[0], rel=0.1) and moved[2] == pytest.approx(2 * moved[0], rel=0.02)
    assert 0.001 < moved[0] < 0.01 and moved[3] == 0


@pytest.mark.parametrize("build", [tiny_generator, Square, Line])
def test_every_parameter_has_one_optimiser(build):
    run = run_of(build)
    held = [id(p) for o in run.optimizers for g in o.param_groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in run.net.parameters())


def test_the_average_covers_the_last_twentieth_of_the_steps():
    """Weights that count the steps: their average lags by about 5 % of the run, at any length."""
    run = run_of(Line)
    for step in range(1, 1201):
        with torch.no_grad():
            run.net.w.fill_(float(step))
        run.update({"x": torch.zeros(1, 1)}, square, 0.0)
        if step in (300, 1200):
            assert 0.03 * step < step - run.ema.w.item() < 0.06 * step


def test_a_run_begins_with_trained_weights():
    run, trained = run_of(tiny_generator), run_of(tiny_generator, seed=5).net
    assert not same(run.net.state_dict(), trained.state_dict())
    run.load_weights(trained.state_dict())
    assert same(run.net.state_dict(), trained.state_dict()) and same(
        run.ema.state_dict(), trained.state_dict()
    )


def fitted(tmp_path, monkeypatch, run, minutes, sitting, validation=0.0):
    """`train_network` by a clock on which every update takes one second and a validation takes `validation`."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    rates = []

    def update(batch, loss_of, lr):
        clock.now += 1.0
        rates.append(lr)
        return Run.update(run, batch, loss_of, lr)

    def validate(net):
        assert net is run.ema
        clock.now += validation
        return {"error": 0.25}

    monkeypatch.setattr(run, "update", update)
    options = argparse.Namespace(
        work=tmp_path, minutes=minutes, sitting=sitting, lr=0.1, decay=0.5, every=20.5
    )
    train_network(run, itertools.repeat({"x": torch.ones(2, 1)}), square, validate, options)
    return rates


def test_a_run_ends_with_its_budget_and_validation_is_not_counted(tmp_path, monkeypatch, capsys):
    """Two minutes, 1 s a step: 120 steps whatever validation takes; entries every 21 s; the rate falls to zero."""
    run = run_of(Line)
    rates = fitted(tmp_path, monkeypatch, run, minutes=2, sitting=math.inf, validation=1000.0)
    assert (run.step, run.seconds, len(rates)) == (120, 120.0, 120)
    assert [e["step"] for e in run.log] == [21, 42, 63, 84, 105, 120]
    assert all(e["error"] == 0.25 and math.isfinite(e["loss"]) for e in run.log)
    assert capsys.readouterr().out.count("\n") == 6
    assert rates == [learning_rate(0.1, s, s / 120, 0.5) for s in range(120)]
    assert rates[-1] < 0.1 / 50


def test_two_sittings_are_one_run(tmp_path, monkeypatch):
    """A minute a sitting: the second goes on from the checkpoint, with the rate of the whole budget, and ends it."""
    first, second = run_of(Line), run_of(Line)
    rates = fitted(tmp_path, monkeypatch, first, minutes=2, sitting=1)
    assert first.step == 60
    second.restore(Path(tmp_path) / "checkpoint.pt")
    assert same(state(second), state(first))
    rates += fitted(tmp_path, monkeypatch, second, minutes=2, sitting=10)
    assert second.step == 120
    assert rates == [learning_rate(0.1, s, s / 120, 0.5) for s in range(120)]
