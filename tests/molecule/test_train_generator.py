"""The generator's training: its loss, pairs of noise and data, the monitor."""

import torch
from small import ALL, generator_batches, planted, run_of, tiny_generator
from torch.testing import assert_close

from headwater.molecule.model import train_generator
from headwater.molecule.structure.state import project, round_state


def test_the_generators_loss_falls():
    """Fifty steps on one batch: the loss in float32 falls by a third."""
    run, batch = run_of(tiny_generator), generator_batches(1)[0]
    with torch.no_grad():
        before = float(train_generator.GeneratorLoss()(run.net, batch))
        for _ in range(50):
            with torch.enable_grad():
                run.update(batch, train_generator.GeneratorLoss(), 5e-3)
        assert float(train_generator.GeneratorLoss()(run.net, batch)) < 0.67 * before
        assert float(train_generator.GeneratorLoss()(run.ema, batch)) < 0.8 * before


def test_pairs_of_noise_and_data():
    """x0 is a state, x1 rounds to the molecule with the same types, t^2 has one value in every n-th of [0, 1]."""
    m, index = planted(), torch.arange(16)
    b = train_generator.pair_with_noise(m, index, torch.Generator().manual_seed(0))
    assert_close(project(b["x0"], b["mask"]), b["x0"], rtol=0, atol=1e-6)
    back = round_state(b["x1"], b["mask"])
    assert torch.equal(back.types, b["types"]) and torch.equal(back.charges, b["charges"])
    plain = m.pad(index)
    assert torch.equal(back.types.sort(1).values, plain["types"].sort(1).values)
    assert (16 * b["t"].square()).floor().sort().values.tolist() == list(range(16))
    apart = (b["x0"] - b["x1"])[..., :3].square().sum((1, 2))
    before = (b["x0"][..., :3] - plain["positions"]).square().sum((1, 2))
    assert bool((apart <= before + 1e-5).all())


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
