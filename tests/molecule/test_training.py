"""Training in small: schedule, average, resumed runs, bad batches, falling losses, batches and references."""

import argparse
import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from core_laws import F64
from torch import nn
from torch.testing import assert_close

from headwater import training
from headwater.molecule import train_generator, train_regressor
from headwater.molecule.data import Molecules
from headwater.molecule.elements import ELEMENTS
from headwater.molecule.generator import Generator
from headwater.molecule.network import TrunkConfig
from headwater.molecule.regressor import EXTRA, PROPERTIES, Regressor, RegressorConfig
from headwater.molecule.state import project, rounded
from headwater.molecule.train_regressor import BARS, batches_of_like_size, errors, references
from headwater.training import Run, fit, learning_rate

CPU = torch.device("cpu")
SIZES = {"width": 16, "vectors": 8, "pairs": 8, "dots": 4, "heads": 4, "blocks": 2, "radial": 6}
SUMS = ("alpha", "cv", "zpve", "r2", "u0")
LINES = {
    n: [10.0 * i - 7, *(i + 1.5 * j - 3 for j in range(5))] for i, n in enumerate((*SUMS, "homo", "lumo"))
}


def planted(count=48, seed=0, noise=0.0):
    """Random molecules of 2 to 6 atoms; properties linear in the composition, plus noise of a given deviation."""
    g = torch.Generator().manual_seed(seed)
    counts = 2 + torch.arange(count) % 5
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    n = int(offsets[-1])
    types = torch.randint(0, 5, (n,), generator=g)
    composition = torch.stack([torch.bincount(t, minlength=5) for t in types.split(counts.tolist())]).to(F64)
    properties = {
        name: line[0] + composition @ torch.tensor(line[1:], dtype=F64) for name, line in LINES.items()
    }
    properties = {k: v + noise * torch.randn(count, generator=g, dtype=F64) for k, v in properties.items()}
    properties |= {
        "gap": properties["lumo"] - properties["homo"],
        "mu": torch.rand(count, generator=g, dtype=F64),
    }
    positions = torch.cat([p - p.mean(0) for p in torch.randn(n, 3, generator=g).split(counts.tolist())])
    return Molecules(
        offsets, positions, types.to(torch.uint8), torch.zeros(n, dtype=torch.int8), torch.zeros(n), properties,
        ["?"] * count,
    )  # fmt: skip


ALL = torch.arange(48)


# --- schedule ---------------------------------------------------------------------------------------------------


def test_learning_rate_warms_up_stays_and_falls_to_zero():
    assert [learning_rate(3.0, s, 0.1, 0.4) for s in (0, 149, 299, 5000)] == [0.01, 1.5, 3.0, 3.0]
    assert learning_rate(3.0, 5000, 0.6, 0.4) == pytest.approx(3.0)
    for spent, share in ((0.7, 0.75), (0.8, 0.5), (0.9, 0.25), (1.0, 0.0), (1.3, 0.0)):
        assert learning_rate(3.0, 5000, spent, 0.4) == pytest.approx(3 * share)
    assert learning_rate(3.0, 5000, 1.0, 0.0) == 3.0  # no decay asked for


# --- Run --------------------------------------------------------------------------------------------------------


class Line(nn.Module):
    """y = w x."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.5]]))


def square(net, batch):
    return (net.w * batch["x"] - 3.0).square().mean()


def tiny_generator():
    return Generator(TrunkConfig(inputs=6, **SIZES))


def run_of(build, seed=0):
    torch.manual_seed(seed)
    return Run(build, {"config": 1}, CPU)


def same(a, b):
    """Bitwise equality of nested states."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def state(run):
    return [
        run.net.state_dict(), run.ema.state_dict(), [o.state_dict() for o in run.optimizers],
        run.step, run.samples, run.seconds, run.log,
    ]  # fmt: skip


def generator_batches(count, seed=0):
    m, g = planted(), torch.Generator().manual_seed(seed)
    return [train_generator.batch_of(m, ALL[8 * i : 8 * i + 8], g) for i in range(count)]


def test_a_resumed_run_is_the_same_run(tmp_path):
    """4 steps = 2 steps, save, restore into a run with other weights, 2 steps: bitwise, optimiser and average too."""
    batches, rates = generator_batches(4), (1e-3, 2e-3, 2e-3, 1e-3)
    whole, first, second = run_of(tiny_generator), run_of(tiny_generator), run_of(tiny_generator, seed=7)
    for batch, lr in zip(batches, rates, strict=True):
        whole.update(batch, train_generator.loss_of, lr)
    for batch, lr in zip(batches[:2], rates[:2], strict=True):
        first.update(batch, train_generator.loss_of, lr)
    first.seconds, first.log = 12.5, [{"step": 2.0}]
    first.save(tmp_path / "checkpoint.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    second.restore(tmp_path / "checkpoint.pt")
    assert same(state(second), state(first))
    for batch, lr in zip(batches[2:], rates[2:], strict=True):
        second.update(batch, train_generator.loss_of, lr)
    assert (second.seconds, second.log) == (12.5, [{"step": 2.0}])
    whole.seconds, whole.log = second.seconds, second.log
    assert same(state(second), state(whole))
    assert second.step == 4 and second.samples == 32
    assert not same(second.net.state_dict(), first.net.state_dict())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_batch_does_not_spoil_the_weights(bad):
    """Weights and moments stay as they were, bit by bit, and the next batch trains."""
    run, batches = run_of(tiny_generator), generator_batches(3)
    run.update(batches[0], train_generator.loss_of, 1e-3)
    net = {k: v.clone() for k, v in run.net.state_dict().items()}
    moments = [{k: v.clone() for k, v in s.items()} for o in run.optimizers for s in o.state.values()]
    spoilt = batches[1] | {"x1": batches[1]["x1"] * bad}
    assert not math.isfinite(run.update(spoilt, train_generator.loss_of, 1e-3))
    assert same(run.net.state_dict(), net)
    assert same([s for o in run.optimizers for s in o.state.values()], moments)
    assert all(bool(v.isfinite().all()) for v in run.ema.state_dict().values())
    assert math.isfinite(run.update(batches[2], train_generator.loss_of, 1e-3))
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
    run.begin_with(trained)
    assert same(run.net.state_dict(), trained.state_dict()) and same(
        run.ema.state_dict(), trained.state_dict()
    )


# --- fit --------------------------------------------------------------------------------------------------------


def fitted(tmp_path, monkeypatch, run, minutes, sitting, validation=0.0):
    """`fit` by a clock on which every update takes one second and a validation takes `validation`."""
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
    fit(run, itertools.repeat({"x": torch.ones(2, 1)}), square, validate, options)
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


# --- losses -----------------------------------------------------------------------------------------------------


def test_the_generators_loss_falls():
    """Fifty steps on one batch: the loss in float32 falls by a third."""
    run, batch = run_of(tiny_generator), generator_batches(1)[0]
    with torch.no_grad():
        before = float(train_generator.loss_of(run.net, batch))
        for _ in range(50):
            with torch.enable_grad():
                run.update(batch, train_generator.loss_of, 5e-3)
        assert float(train_generator.loss_of(run.net, batch)) < 0.67 * before
        assert float(train_generator.loss_of(run.ema, batch)) < 0.8 * before


def test_the_regressors_errors_fall():
    """Properties with a part that grows with the molecule's radius: the errors fall by a fifth, at least."""
    m = planted()
    radius = torch.stack([p.norm(dim=-1).mean() for p in m.positions.split(m.counts.tolist())]).double()
    for name in (*LINES, "mu"):
        m.properties[name] += radius * (-1 if name == "homo" else 1)
    m.properties["gap"] += 2 * radius
    lines, spreads = references(m, ALL)
    trunk = TrunkConfig(inputs=5, **SIZES, time=False, moves=0)
    run = run_of(lambda: Regressor(RegressorConfig(trunk, lines, spreads)))
    batches = [train_regressor.batch_of(m, i) for i in ALL.split(16)]
    before = errors(run.net, m, ALL)
    for i in range(60):
        run.update(batches[i % 3], train_regressor.loss_of, 2e-2)
    after = errors(run.net, m, ALL)
    assert sum(after[p] / BARS[p] for p in PROPERTIES) < 0.8 * sum(before[p] / BARS[p] for p in PROPERTIES)


def test_jitter_moves_atoms_by_what_it_says():
    """Padding stays zero, the centre stays, the scale differs between molecules and is the one asked for."""
    b = train_regressor.batch_of(planted(), ALL)
    moved = train_regressor.jittered(b, torch.Generator().manual_seed(0), most=0.1)
    keep = b["mask"][..., None].float()
    torch.testing.assert_close(moved["positions"], b["positions"] + moved["shift"])
    assert (moved["shift"] * (1 - keep)).abs().max() == 0
    assert (moved["shift"].sum(1)).abs().max() < 1e-5
    size = 3 * (b["mask"].sum(1) - 1)
    spread = (moved["shift"].square().sum((1, 2)) / size).sqrt()  # uniform in [0, 0.1], about
    assert 0.04 < spread.mean() < 0.06 and spread.min() < 0.03 and 0.07 < spread.max() < 0.15
    assert all(torch.equal(moved[k], b[k]) for k in b if k != "positions")


def test_the_regressor_learns_by_how_much_atoms_moved():
    """The same molecules, moved anew each time: part of the shift is predictable, and it turns with the molecule."""
    m = planted()
    lines, spreads = references(m, ALL)
    trunk = TrunkConfig(inputs=5, **SIZES, time=False, moves=0)
    run = run_of(lambda: Regressor(RegressorConfig(trunk, lines, spreads)))
    b, g = train_regressor.batch_of(m, ALL[:16]), torch.Generator().manual_seed(0)

    def unexplained(net):
        moved = train_regressor.jittered(b, torch.Generator().manual_seed(1), most=0.5)
        with torch.no_grad():
            out = net(moved["positions"], moved["types"], moved["mask"])
        return float((out["shift"] - moved["shift"]).square().sum() / moved["shift"].square().sum())

    before = unexplained(run.net)
    for _ in range(200):
        run.update(train_regressor.jittered(b, g, most=0.5), train_regressor.loss_of, 1e-2)
    assert unexplained(run.ema) < 0.9 < 0.99 < before
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g))[0]
    with torch.no_grad():
        here = run.ema(b["positions"], b["types"], b["mask"])["shift"]
        there = run.ema(b["positions"] @ turn, b["types"], b["mask"])["shift"]
    torch.testing.assert_close(there, here @ turn, rtol=1e-4, atol=1e-5)


def test_half_precision_ends_before_the_sums_over_atoms():
    """In half precision the trunk alone is rounded: the properties are those of the heads on what it gives."""
    m = planted()
    lines, spreads = references(m, ALL)
    net = Regressor(RegressorConfig(TrunkConfig(inputs=5, **SIZES, time=False, moves=0), lines, spreads))
    b = train_regressor.batch_of(m, ALL[:8])
    inner = {}
    net.trunk.register_forward_hook(
        lambda module, inputs, out: inner.update(h=out[0].float(), V=out[1].float())
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = net(b["positions"], b["types"], b["mask"])
    keep = b["mask"][..., None].float()
    centred = (
        b["positions"] - (b["positions"] * keep).sum(1, keepdim=True) / keep.sum(1, keepdim=True)
    ) * keep
    with torch.no_grad():
        want = net.heads(inner["h"], inner["V"], b["types"], centred, keep)
        whole = net(b["positions"], b["types"], b["mask"])
    for name in PROPERTIES:
        assert out[name].dtype == torch.float32
        torch.testing.assert_close(out[name], want[name], rtol=1e-6, atol=1e-6)
    assert any(not torch.equal(out[name], whole[name]) for name in PROPERTIES)  # the trunk was rounded


class Oracle(nn.Module):
    """A regressor that is wrong by a known amount in every property, with alternating sign."""

    def __init__(self, molecules, wrong):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(scale=dict.fromkeys(EXTRA, 2.0))
        self.molecules, self.wrong = molecules, wrong

    def forward(self, positions, types, mask):
        """Finds each molecule by its positions."""
        m = self.molecules
        first = m.positions[m.offsets[:-1]]
        row = torch.cdist(positions[:, 0], first).argmin(1)
        sign = 1.0 - 2.0 * (torch.arange(len(row)) % 2)
        out = {n: m.properties[n][row].float() + sign * self.wrong for n in (*PROPERTIES, *EXTRA)}
        return out | {"partial": 0.1 * mask}


def test_errors_are_mean_absolute_errors_in_the_units_stated():
    m = planted()
    got = errors(Oracle(m, 0.02), m, torch.arange(37), batch=7)
    for name, value in got.items():
        assert value == pytest.approx(20.0 if name in ("gap", "homo", "lumo") else 0.02, rel=1e-3)
    assert tuple(got) == PROPERTIES


def test_the_regressors_loss_is_errors_over_bars():
    """(sum of 0.02 / bar + 2 sum of 0.02 / scale + 100 mean |partial|) / 50; the padding counts for nothing."""
    m = planted()
    loss = train_regressor.loss_of(Oracle(m, 0.02), train_regressor.batch_of(m, torch.arange(12)))
    wanted = (sum(0.02 / b for b in BARS.values()) + 2 * 3 * 0.02 / 2 + 100 * 0.1) / 50
    assert float(loss) == pytest.approx(wanted, rel=1e-3)


# --- batches ----------------------------------------------------------------------------------------------------


def epochs(index, batch, count, seed=0, chunk=2):
    m = planted()
    per = len(index) // batch
    batches = list(itertools.islice(batches_of_like_size(m, index, batch, seed, chunk), per * count))
    return [batches[i * per : (i + 1) * per] for i in range(count)], m


def test_batches_cover_each_molecule_once_an_epoch():
    index = torch.arange(48).flip(0)[:40]
    several, _ = epochs(index, batch=8, count=3)
    for epoch in several:
        assert [len(b) for b in epoch] == [8] * 5
        assert sorted(torch.cat(epoch).tolist()) == sorted(index.tolist())
    assert not torch.equal(torch.cat(several[0]), torch.cat(several[1]))


def test_molecules_left_over_wait_for_another_epoch():
    """45 molecules in batches of 8: 40 an epoch, none twice, and not always the same five left out."""
    several, _ = epochs(torch.arange(45), batch=8, count=12)
    for epoch in several:
        assert len(set(torch.cat(epoch).tolist())) == 40
    assert set(torch.cat([b for epoch in several for b in epoch]).tolist()) == set(range(45))


def test_batches_are_of_like_size_and_follow_the_seed():
    """The range of atom counts in a batch is 1 or 2 where random batches have 4; sizes do not come in order."""
    (epoch, *_), m = epochs(ALL, batch=8, count=1, chunk=6)
    assert max(int(m.counts[b].max() - m.counts[b].min()) for b in epoch) <= 1
    means = [float(m.counts[b].double().mean()) for b in epoch]
    assert means != sorted(means)
    assert same(epoch, epochs(ALL, batch=8, count=1, chunk=6)[0][0])
    assert not same(epoch, epochs(ALL, batch=8, count=1, chunk=6, seed=1)[0][0])


def test_labels_and_inputs_belong_to_the_molecules_asked_for():
    m, index = planted(), torch.tensor([7, 3, 30])
    b = train_regressor.batch_of(m, index)
    for row, i in enumerate(index.tolist()):
        own = slice(int(m.offsets[i]), int(m.offsets[i + 1]))
        assert torch.equal(b["types"][row][b["mask"][row]].argmax(-1), m.types[own].long())
        assert torch.equal(b["positions"][row][b["mask"][row]], m.positions[own])
        for name in PROPERTIES:
            assert float(b[name][row]) == pytest.approx(float(m.properties[name][i]), rel=1e-6)
    assert torch.equal(b["types"].sum(-1), b["mask"].float())


def test_pairs_of_noise_and_data():
    """x0 is a state, x1 rounds to the molecule with the same types, t^2 has one value in every n-th of [0, 1]."""
    m, index = planted(), torch.arange(16)
    b = train_generator.batch_of(m, index, torch.Generator().manual_seed(0))
    assert_close(project(b["x0"], b["mask"]), b["x0"], rtol=0, atol=1e-6)
    back = rounded(b["x1"], b["mask"])
    assert torch.equal(back.types, b["types"]) and torch.equal(back.charges, b["charges"])
    plain = m.padded(index)
    assert torch.equal(back.types.sort(1).values, plain["types"].sort(1).values)
    assert (16 * b["t"].square()).floor().sort().values.tolist() == list(range(16))
    apart = (b["x0"] - b["x1"])[..., :3].square().sum((1, 2))
    before = (b["x0"][..., :3] - plain["positions"]).square().sum((1, 2))
    assert bool((apart <= before + 1e-5).all())


# --- references -------------------------------------------------------------------------------------------------


def test_references_recover_a_planted_law():
    """Exactly, from the rows asked for only: the others are spoilt."""
    m = planted()
    for values in m.properties.values():
        values[:8] = 1e6
    lines, spreads = references(m, torch.arange(8, 48).flip(0))
    assert set(lines) == set(LINES) == set(spreads)
    for name, line in LINES.items():
        assert lines[name] == pytest.approx(line, abs=1e-8)
        assert spreads[name] < 1e-8
    assert len(lines["u0"]) == 1 + len(ELEMENTS)


def test_spreads_are_those_of_what_is_left():
    """Noise of deviation 3 around the line, a quarter of it for sums over atoms."""
    m = planted(count=2000, noise=3.0)
    _, spreads = references(m, torch.arange(2000))
    for name, spread in spreads.items():
        assert spread == pytest.approx(3.0 / (4 if name in SUMS else 1), rel=0.06)


def test_the_monitor_repeats_itself():
    """The same network, the same figures: noise and times are fixed; shares are shares."""
    monitor = train_generator.Monitor(planted(), ALL[:20], samples=4, steps=2)
    net = run_of(tiny_generator).net
    figures = monitor(net)
    assert figures == monitor(net)
    assert set(figures) == {"positions", "types", "charges", "atom_stable", "molecule_stable"}
    assert 0 <= figures["molecule_stable"] <= figures["atom_stable"] <= 1
    with torch.no_grad():
        net.classes.bias.add_(1.0 * torch.arange(8))
    assert monitor(net)["types"] != figures["types"]
