"""The regressors' training: loss, jitter, batches, references."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from small import ALL, LINES, SIZES, SUMS, planted, run_of, same
from torch import nn

from headwater.molecule.model import train_regressor
from headwater.molecule.model.network import TrunkConfig
from headwater.molecule.model.regressor import EXTRA, PROPERTIES, Regressor, RegressorConfig
from headwater.molecule.model.train_regressor import BARS, batch_by_size, fit_references, mean_errors
from headwater.molecule.structure.elements import ELEMENTS


def test_the_regressors_errors_fall():
    """Properties with a part that grows with the molecule's radius: the errors fall by a fifth, at least."""
    m = planted()
    radius = torch.stack([p.norm(dim=-1).mean() for p in m.positions.split(m.counts.tolist())]).double()
    for name in (*LINES, "mu"):
        m.properties[name] += radius * (-1 if name == "homo" else 1)
    m.properties["gap"] += 2 * radius
    lines, spreads = fit_references(m, ALL)
    trunk = TrunkConfig(inputs=5, **SIZES, time=False, moves=0)
    run = run_of(lambda: Regressor(RegressorConfig(trunk, lines, spreads)))
    batches = [train_regressor.load_labels(m, i) for i in ALL.split(16)]
    before = mean_errors(run.net, m, ALL)
    for i in range(60):
        run.update(batches[i % 3], train_regressor.RegressorLoss(), 2e-2)
    after = mean_errors(run.net, m, ALL)
    assert sum(after[p] / BARS[p] for p in PROPERTIES) < 0.8 * sum(before[p] / BARS[p] for p in PROPERTIES)


def test_jitter_moves_atoms_by_what_it_says():
    """Padding stays zero, the centre stays, the scale differs between molecules and is the one asked for."""
    b = train_regressor.load_labels(planted(), ALL)
    moved = train_regressor.jitter_positions(b, torch.Generator().manual_seed(0), most=0.1)
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
    lines, spreads = fit_references(m, ALL)
    trunk = TrunkConfig(inputs=5, **SIZES, time=False, moves=0)
    run = run_of(lambda: Regressor(RegressorConfig(trunk, lines, spreads)))
    b, g = train_regressor.load_labels(m, ALL[:16]), torch.Generator().manual_seed(0)

    def unexplained(net):
        moved = train_regressor.jitter_positions(b, torch.Generator().manual_seed(1), most=0.5)
        with torch.no_grad():
            out = net(moved["positions"], moved["types"], moved["mask"])
        return float((out["shift"] - moved["shift"]).square().sum() / moved["shift"].square().sum())

    before = unexplained(run.net)
    for _ in range(200):
        run.update(train_regressor.jitter_positions(b, g, most=0.5), train_regressor.RegressorLoss(), 1e-2)
    assert unexplained(run.ema) < 0.9 < 0.99 < before
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g))[0]
    with torch.no_grad():
        here = run.ema(b["positions"], b["types"], b["mask"])["shift"]
        there = run.ema(b["positions"] @ turn, b["types"], b["mask"])["shift"]
    torch.testing.assert_close(there, here @ turn, rtol=1e-4, atol=1e-5)


def test_half_precision_ends_before_the_sums_over_atoms():
    """In half precision the trunk alone is rounded: the properties are those of the heads on what it gives."""
    m = planted()
    lines, spreads = fit_references(m, ALL)
    net = Regressor(RegressorConfig(TrunkConfig(inputs=5, **SIZES, time=False, moves=0), lines, spreads))
    b = train_regressor.load_labels(m, ALL[:8])
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
    got = mean_errors(Oracle(m, 0.02), m, torch.arange(37), batch=7)
    for name, value in got.items():
        assert value == pytest.approx(20.0 if name in ("gap", "homo", "lumo") else 0.02, rel=1e-3)
    assert tuple(got) == PROPERTIES


def test_the_regressors_loss_is_errors_over_bars():
    """(sum of 0.02 / bar + 2 sum of 0.02 / scale + 100 mean |partial|) / 50; the padding counts for nothing."""
    m = planted()
    loss = train_regressor.RegressorLoss()(Oracle(m, 0.02), train_regressor.load_labels(m, torch.arange(12)))
    wanted = (sum(0.02 / b for b in BARS.values()) + 2 * 3 * 0.02 / 2 + 100 * 0.1) / 50
    assert float(loss) == pytest.approx(wanted, rel=1e-3)


def epochs(index, batch, count, seed=0, chunk=2):
    m = planted()
    per = len(index) // batch
    batches = list(itertools.islice(batch_by_size(m, index, batch, seed, chunk), per * count))
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
    b = train_regressor.load_labels(m, index)
    for row, i in enumerate(index.tolist()):
        own = slice(int(m.offsets[i]), int(m.offsets[i + 1]))
        assert torch.equal(b["types"][row][b["mask"][row]].argmax(-1), m.types[own].long())
        assert torch.equal(b["positions"][row][b["mask"][row]], m.positions[own])
        for name in PROPERTIES:
            assert float(b[name][row]) == pytest.approx(float(m.properties[name][i]), rel=1e-6)
    assert torch.equal(b["types"].sum(-1), b["mask"].float())


def test_references_recover_a_planted_law():
    """Exactly, from the rows asked for only: the others are spoilt."""
    m = planted()
    for values in m.properties.values():
        values[:8] = 1e6
    lines, spreads = fit_references(m, torch.arange(8, 48).flip(0))
    assert set(lines) == set(LINES) == set(spreads)
    for name, line in LINES.items():
        assert lines[name] == pytest.approx(line, abs=1e-8)
        assert spreads[name] < 1e-8
    assert len(lines["u0"]) == 1 + len(ELEMENTS)


def test_spreads_are_those_of_what_is_left():
    """Noise of deviation 3 around the line, a quarter of it for sums over atoms."""
    m = planted(count=2000, noise=3.0)
    _, spreads = fit_references(m, torch.arange(2000))
    for name, spread in spreads.items():
        assert spread == pytest.approx(3.0 / (4 if name in SUMS else 1), rel=0.06)
