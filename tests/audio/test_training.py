"""The music flow's network and its training in small."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from headwater import Misuse, zoo
from headwater.audio.model import export, models, train
from headwater.audio.model.network import Plane, PlaneConfig, marginal_variance, matching_loss
from headwater.audio.model.space import Patches, Spectral

SMALL = PlaneConfig(bins=16, widths=(16, 32), blocks=(1, 1), embedding=32, heads=2)


def network(seed=0):
    torch.manual_seed(seed)
    return Plane(SMALL)


def shards(folder, seconds=6.0, seed=0):
    """Tones of random pitch, in the layout of the rendered recordings."""
    r = np.random.default_rng(seed)
    t = np.arange(round(seconds * 16_000)) / 16_000
    tracks = [8000 * np.sin(2 * np.pi * h * t) for h in r.uniform(200, 2000, 4)]
    for part in ("train", "validation"):
        np.savez(
            folder / f"{part}-000.npz",
            samples=np.concatenate(tracks).astype(np.int16),
            offsets=np.cumsum([0, *map(len, tracks)]),
        )


@pytest.fixture
def few_windows(monkeypatch):
    """At most 256 windows at once to find the scales of a space, where training takes 2,048; 16 to hold out."""
    windows = train.Recordings.windows

    def draw(self, count, length, r):
        return windows(self, {2048: 256, 256: 16}.get(count, count), length, r)

    monkeypatch.setattr(train.Recordings, "windows", draw)


def test_the_velocity_follows_from_the_preconditioned_output():
    """With F the loss' own target the velocity is x1 - x0."""
    net = network()
    x0, x1 = torch.randn(2, 3, 8, 16)
    t = torch.tensor([0.1, 0.5, 0.95])
    s = t[:, None, None]
    x = (1 - s) * x0 + s * x1
    d = marginal_variance(s)
    target = (x1 - x0 - (2 * s - 1) * x / d) * d.sqrt()
    net.inner = lambda *_: target
    assert_close(net(x, t), x1 - x0)
    assert_close(matching_loss(net, x0, x1, t), torch.zeros(3))


def test_the_target_has_unit_variance_at_every_time():
    net = network()
    net.inner = lambda x, t: torch.zeros_like(x)
    x0, x1 = torch.randn(2, 400, 8, 16, generator=torch.Generator().manual_seed(0))
    for t in (0.0, 0.3, 0.5, 0.9, 1.0):
        assert matching_loss(net, x0, x1, torch.full((400,), t)).mean().item() == pytest.approx(1, abs=0.03)


def test_patches_hold_neighbours_and_come_back():
    net = network()
    x = torch.arange(8 * 16.0).reshape(1, 8, 16)
    h = net.to_patches(x)
    assert h.shape == (1, 8, 4, 4)
    assert h[0, :, 1, 2].tolist() == x[0, 2:4, 8:12].flatten().tolist()
    assert_close(net.from_patches(h), x)


def test_a_shift_shifts_the_result_inside():
    """Along time always; along frequency but for the learned offsets of the bands."""
    net = network().double()
    net.attention = torch.nn.Identity()
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.GroupNorm)):  # it sees the whole plane
        norm.forward = lambda h: h / 2
    x, t = torch.randn(1, 96, 16, dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    a, b = net(x, t), net(x.roll(8, 1), t)
    assert_close(a[:, 40:48], b[:, 48:56])
    wide = Plane(dataclasses.replace(SMALL, bins=192)).double()
    wide.load_state_dict({k: v for k, v in net.state_dict().items() if k != "band"}, strict=False)
    wide.attention = torch.nn.Identity()
    for norm in (m for m in wide.modules() if isinstance(m, torch.nn.GroupNorm)):
        norm.forward = lambda h: h / 2
    x = torch.randn(1, 16, 192, dtype=torch.float64)
    a, b = wide(x, t), wide(x.roll(16, 2), t)
    assert_close(a[:, :, 80:96], b[:, :, 96:112])
    torch.nn.init.normal_(wide.band)
    assert (wide(x, t)[:, :, 80:96] - wide(x.roll(16, 2), t)[:, :, 96:112]).abs().max() > 1e-3


def test_problems_and_times_are_independent():
    net = network()
    x, t = torch.randn(4, 8, 16), torch.rand(4)
    together = net(x, t)
    assert_close(
        together, torch.cat([net(x[i : i + 1], t[i : i + 1]) for i in range(4)]), atol=1e-5, rtol=1e-4
    )
    assert_close(net(x, torch.tensor(0.5)), net(x, torch.full((4,), 0.5)))


@pytest.mark.usefixtures("few_windows")
@pytest.mark.parametrize("name", ["mdct", "companded", "patches"])
def test_states_have_unit_variance(tmp_path, name):
    r = np.random.default_rng(0)
    noise = [np.convolve(3000 * r.standard_normal(120_000), [1, 0.9, 0.5], "same")]
    np.savez(tmp_path / "train-000.npz", samples=noise[0].astype(np.int16), offsets=np.array([0, 120_000]))
    data = train.Recordings([tmp_path / "train-000.npz"])
    space = train.fit_space(name, 64, data)
    assert isinstance(space, Patches if name == "patches" else Spectral)
    z = train.encode_windows(space, data.windows(1000, 34 * 64, r))
    assert z.shape == (1000, 32, 64)
    assert z.square().mean().item() == pytest.approx(1, abs=0.08)


def test_colour_is_a_smooth_gain_that_keeps_the_loudness():
    x = torch.randn(64, 16_000, dtype=torch.float64)
    found = train.colour(x, np.random.default_rng(0))
    assert_close(found.square().mean(1), x.square().mean(1))
    gain = torch.fft.rfft(found) / torch.fft.rfft(x)
    assert gain.imag.abs().max() < 1e-9 and gain.real[:, 1:-1].min() > 0
    decibels = 20 * gain.real.log10()  # a bin is 1 Hz
    assert (
        decibels[:, 1000:8000].diff().abs().max() < 0.03 and (decibels[:, 4000] - decibels[:, 500]).std() > 3
    )


def test_bright_windows_do_not_rule_the_loss():
    net = network()
    net.inner = lambda x, t: torch.zeros_like(x)
    x1 = torch.randn(2, 8, 16) * torch.tensor([1.0, 10.0])[:, None, None]
    batch = {"x0": torch.zeros_like(x1), "x1": x1, "t": torch.full((2,), 0.5)}
    one, other = (
        train.weighted_loss(net, {k: v[i : i + 1] for k, v in batch.items()}).item() for i in range(2)
    )
    assert 1 < other / one < 3


@pytest.mark.usefixtures("few_windows")
def test_batches_are_stratified_in_time(tmp_path):
    shards(tmp_path)
    data = train.Recordings([tmp_path / "train-000.npz"])
    space = train.fit_space("mdct", 64, data)
    batch = next(train.draw_batches(data, space, 8, 16, np.random.default_rng(0)))
    assert batch["x1"].shape == batch["x0"].shape == (16, 8, 64)
    t = batch["t"].sort().values
    assert 0 <= t[0] < 0.25 and 0.75 < t[-1] <= 1 and (t.diff() > 0).all()


@pytest.mark.usefixtures("few_windows")
def test_training_from_the_command_line_goes_on_where_it_was(tmp_path, capsys):
    shards(tmp_path, seconds=4.5)
    words = ["--data", str(tmp_path), "--work", str(tmp_path / "run"), "--bins", "64", "--width", "16"]
    words += ["--batch", "4", "--minutes"]
    train.main([*words, "0.005"])
    first = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    longer = str(first["counters"][2] / 60 + 0.005)
    train.main([*words[:4], "--batch", "4", "--minutes", longer])  # the rest is the checkpoint's
    second = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert second["counters"][0] > first["counters"][0] > 0
    assert first["facts"]["space"] == "mdct" and len(first["facts"]["scale"]) == 64
    lines = [line for line in capsys.readouterr().out.splitlines() if "held_out" in line]
    assert lines and all(
        0 < float(line.split("held_out")[1].strip(' ":={},').split(",")[0]) < 2 for line in lines
    )


@pytest.mark.usefixtures("few_windows")
def test_an_exported_model_is_the_averaged_network(tmp_path, monkeypatch):
    shards(tmp_path, seconds=4.5)
    words = ["--data", str(tmp_path), "--work", str(tmp_path / "run"), "--bins", "64", "--width", "16"]
    train.main([*words, "--batch", "4", "--minutes", "0.005"])
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "weights")
    export.main(["--checkpoint", str(checkpoint), "--hours", "0.01", "--name", "toy", "--frechet", "0.5"])
    card = zoo.read_card("toy")
    assert card["kind"] == "music" and card["training"]["windows_seen"] > 0 and card["hours"] == 0.01
    assert card["frechet"]["distance"] == 0.5 and "CDPAM" in card["frechet"]["embedding"]
    prior = models.load_prior("toy")
    assert prior.rate == 16_000 and prior.flow.shape == (models.WINDOW // 64, 64)
    state = torch.load(checkpoint, weights_only=True)
    assert_close(prior.space.scale, torch.tensor(state["facts"]["scale"]), atol=1e-5, rtol=1e-4)
    net = Plane(PlaneConfig(**state["facts"]["config"]))
    net.load_state_dict(state["ema"])
    x, t = torch.randn(1, *prior.flow.shape), torch.tensor(0.3)
    assert_close(prior.flow.velocity(x, t), net(x, t), atol=5e-3, rtol=5e-3)
    again = tmp_path / "again"
    words = ["--data", str(tmp_path), "--work", str(again), "--batch", "4", "--minutes", "0.0001"]
    train.main([*words, "--begin", "toy"])
    begun = torch.load(again / "checkpoint.pt", weights_only=True)
    assert begun["counters"][0] == 1 and begun["facts"]["space"] == "mdct"
    assert begun["facts"]["scale"] == prior.space.scale.tolist()
    assert begun["facts"]["before"] == {k: card["training"][k] for k in ("minutes", "windows_seen")}
    assert state["facts"]["before"] == {} and "before" not in card["training"]
    train.main([*words[:4], "--batch", "4", "--minutes", "0.0002"])
    goes_on = torch.load(again / "checkpoint.pt", weights_only=True)
    assert goes_on["facts"]["before"] == begun["facts"]["before"]
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "further")
    export.main(["--checkpoint", str(again / "checkpoint.pt"), "--hours", "0.01", "--name", "toy"])
    assert zoo.read_card("toy")["training"]["before"] == begun["facts"]["before"]
    for k, v in net.state_dict().items():
        assert_close(begun["ema"][k], v, atol=2e-2, rtol=2e-2)
    assert_close(models.load_checkpoint(checkpoint).flow.velocity(x, t), net(x, t))
    models.load_prior.cache_clear()


def test_other_models_make_no_music():
    with pytest.raises(Misuse, match="makes no music"):
        models.load_prior("photo64")


@pytest.mark.usefixtures("few_windows")
def test_the_loss_falls(tmp_path):
    shards(tmp_path)
    data = train.Recordings([tmp_path / "train-000.npz"])
    space = train.fit_space("mdct", 16, data)
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    x1 = train.encode_windows(space, data.windows(64, 18 * 16, np.random.default_rng(5)))
    before = train.held_out_loss(net, x1)["held_out"]
    batches = train.draw_batches(data, space, 16, 16, np.random.default_rng(0))
    for batch in itertools.islice(batches, 60):
        optimizer.zero_grad()
        train.weighted_loss(net, batch).backward()
        optimizer.step()
    assert train.held_out_loss(net, x1)["held_out"] < 0.8 * before
