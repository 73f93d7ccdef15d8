"""Training in small: the loss falls, a resumed run is the same run, schedule, average, data and checkpoints."""

import argparse
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from headwater.image import train as training
from headwater.image.network import UNet, UNetConfig, fourier_features
from headwater.image.train import Run, held_out_loss, learning_rate, load_images, matching_loss, parse, train

torch.set_num_threads(1)
CPU = torch.device("cpu")
TINY = UNetConfig(size=8, widths=(16, 32), blocks=(1, 1), classes=2, embedding=16, heads=2)


def pictures(n=16):
    """Two kinds of 8 x 8 pictures, ramps across and down in random colours: uint8 and labels."""
    g = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 255, 8)
    colour = torch.rand(n, 3, 1, 1, generator=g)
    label = torch.arange(n) % 2
    across = ramp.expand(n, 3, 8, 8)
    image = torch.where(label.reshape(-1, 1, 1, 1) == 0, across, across.mT)
    return (colour * image).to(torch.uint8), label


def new_run(seed=0):
    torch.manual_seed(seed)
    return Run(TINY, CPU)


def same(a, b):
    """Bitwise equality of nested states."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


# ---- the loss


def test_updates_lower_the_held_out_loss():
    images, labels = pictures()
    run = new_run()
    before = held_out_loss(run.net, images, CPU, TINY.classes)
    for _ in range(120):
        assert np.isfinite(run.update(images, labels, 2e-3))
    after = held_out_loss(run.net, images, CPU, TINY.classes)
    assert after < 0.5 * before
    assert held_out_loss(run.ema, images, CPU, TINY.classes) < 0.6 * before
    assert (run.step, run.images) == (120, 120 * 16)


def test_matching_loss_is_zero_for_the_true_velocity_only():
    """The Cond-OT target is x1 - x0, at x_t = (1 - t) x0 + t x1."""
    x1, x0, t = torch.randn(3, 3, 4, 4), torch.randn(3, 3, 4, 4), torch.tensor([0.0, 0.4, 1.0])
    calls = []

    def net(x, time, label):
        calls.append((x, time, label))
        return x1 - x0

    assert (matching_loss(net, x1, torch.zeros(3), t, x0) == 0).all()
    s = t.reshape(-1, 1, 1, 1)
    assert_close(calls[0][0], (1 - s) * x0 + s * x1)
    off = matching_loss(lambda x, t, label: x1 - x0 + 0.5, x1, torch.zeros(3), t, x0)
    assert_close(off, torch.full((3,), 0.25))


def test_held_out_loss_is_repeatable_and_leaves_the_generator_alone():
    images, _ = pictures()
    run = new_run()
    torch.manual_seed(1)
    want = torch.rand(1)
    torch.manual_seed(1)
    losses = [held_out_loss(run.net, images, CPU, TINY.classes) for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.rand(1) == want


def test_held_out_loss_of_the_zero_velocity_is_the_second_moment():
    """E |x1 - x0|^2 = E x1^2 + 1 per pixel, up to sampling: 16 * 192 numbers."""
    images, _ = pictures()
    loss = held_out_loss(lambda x, t, label: 0 * x, images, CPU, 2)
    assert loss == pytest.approx((images / 127.5 - 1).square().mean().item() + 1, rel=0.1)


# ---- schedule and average


def test_learning_rate_schedule():
    def rate(step, spent):
        return learning_rate(2.0, step, spent, 0.25)

    assert rate(0, 0.0) == pytest.approx(2 / 300)
    assert rate(149, 0.1) == pytest.approx(1.0)
    assert rate(299, 0.1) == rate(10**6, 0.75) == 2.0
    assert rate(10**6, 0.875) == pytest.approx(1.0)
    assert rate(10**6, 1.0) == rate(10**6, 1.5) == 0.0
    assert rate(29, 0.875) == pytest.approx(0.2)  # the smallest of both


def test_the_optimiser_gets_the_rate():
    images, labels = pictures()
    run = new_run()
    before = [p.clone() for p in run.net.parameters()]
    run.update(images, labels, 0.0)
    assert all(torch.equal(p, q) for p, q in zip(run.net.parameters(), before, strict=True))
    run.update(images, labels, 1e-3)
    assert {group["lr"] for group in run.optimizer.param_groups} == {1e-3}
    moved = max(
        float((p - q).detach().abs().max()) for p, q in zip(run.net.parameters(), before, strict=True)
    )
    assert 1e-4 < moved < 1.1e-2  # Adam moves a parameter by about the rate


def test_average_of_the_weights():
    """ema_n = ema_{n-1} + (net_n - ema_{n-1}) / (1 + n / 20), which follows a drift with a lag of n / 21."""
    images, labels = pictures()
    run = new_run()
    want = [p.detach().double().clone() for p in run.ema.parameters()]
    for n in range(1, 6):
        run.update(images, labels, 1e-2)
        for w, p in zip(want, run.net.parameters(), strict=True):
            w += (p.detach().double() - w) / (1 + 0.05 * n)
    for w, p in zip(want, run.ema.parameters(), strict=True):
        assert_close(p.detach().double(), w, rtol=1e-4, atol=1e-6)
    assert not all(torch.equal(p, q) for p, q in zip(run.net.parameters(), run.ema.parameters(), strict=True))


def test_update_sees_null_and_real_labels():
    """Only the rows of labels that occur in a batch get a gradient."""
    images, _labels = pictures(4)
    run = new_run()
    table = run.net.label.weight
    before = table.detach().clone()
    run.optimizer.param_groups[0]["weight_decay"] = 0.0
    run.update(images, torch.tensor([0, 0, 2, 2]), 1e-3)  # 2 is the null label
    moved = (table.detach() - before).abs().amax(1) > 0
    assert moved.tolist() == [True, False, True]


# ---- checkpoints


def test_a_resumed_run_is_the_same_run(tmp_path):
    images, labels = pictures()
    run = new_run()
    for _ in range(3):
        run.update(images, labels, 1e-3)
    run.seconds, run.log = 12.5, [{"step": 3.0}]
    run.save(tmp_path / "checkpoint.pt")
    resumed = Run.resume(tmp_path / "checkpoint.pt", CPU)
    assert resumed.config == TINY
    assert same(run.state(), resumed.state())
    for each in (run, resumed):  # and goes on alike
        torch.manual_seed(3)
        each.update(images, labels, 1e-3)
    assert same(run.state(), resumed.state())
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_killed_while_saving_keeps_the_former_checkpoint(tmp_path, monkeypatch, moment):
    images, labels = pictures()
    run, path = new_run(), tmp_path / "checkpoint.pt"
    run.save(path)
    former = path.read_bytes()
    run.update(images, labels, 1e-3)

    def half(state, file):
        file.write_bytes(former[: len(former) // 2])
        raise KeyboardInterrupt

    def killed(*_):
        raise KeyboardInterrupt

    if moment == "writing":
        monkeypatch.setattr(training.torch, "save", half)
    else:
        monkeypatch.setattr(training.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run.save(path)
    assert path.read_bytes() == former
    assert Run.resume(path, CPU).step == 0
    monkeypatch.undo()
    run.save(path)  # what the kill left behind is no obstacle
    assert Run.resume(path, CPU).step == 1


def test_train_ends_by_its_budget_and_goes_on(tmp_path, capsys):
    images, labels = pictures()
    budget = ["--minutes", "0.02", "--sitting", "0.01", "--batch", "8", "--every", "0.2"]
    options = parse(["--data", "x.zip", "--validate", "y.zip", "--work", str(tmp_path), *budget])
    assert isinstance(options, argparse.Namespace)
    torch.manual_seed(0)
    train(new_run(), images, labels, images[:4], options)
    first = Run.resume(tmp_path / "checkpoint.pt", CPU)
    assert 0.6 <= first.seconds < 10 and first.step >= 1
    train(first, images, labels, images[:4], options)
    last = Run.resume(tmp_path / "checkpoint.pt", CPU)
    assert 1.2 <= last.seconds < 10
    steps = [entry["step"] for entry in last.log]
    assert steps == sorted(steps) and steps[-1] == last.step and last.log[-1]["images"] == 8 * last.step
    assert last.log[-1]["held_out"] < last.log[0]["held_out"] + 0.2
    assert len(capsys.readouterr().out.splitlines()) == len(last.log)


def test_a_run_can_begin_with_trained_weights():
    """Both the weights and their average are the model's; counters and optimiser are fresh."""
    images, labels = pictures()
    run, trained = new_run(0), new_run(1).net
    run.begin_with(trained)
    assert same(dict(run.net.state_dict()), dict(trained.state_dict()))
    assert same(dict(run.ema.state_dict()), dict(trained.state_dict()))
    run.update(images, labels, 1e-3)
    assert run.step == 1 and not same(dict(run.net.state_dict()), dict(trained.state_dict()))


# ---- data


def archive(path, files):
    with zipfile.ZipFile(path, "w") as z:
        for name, pixels in files.items():
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            z.writestr(name, buffer.getvalue())
    return path


def shades(value, grey=False):
    shape = (4, 6) if grey else (4, 6, 3)
    return (np.arange(np.prod(shape)).reshape(shape) + value).astype(np.uint8)


def test_images_of_zip_files(tmp_path):
    a = archive(tmp_path / "a.zip", {"dog/2.png": shades(20), "cat/1.png": shades(10)})
    b = archive(tmp_path / "b.zip", {"cat/3.png": shades(30, grey=True)})
    x, y, classes = load_images([a, b], None)
    assert x.dtype == torch.uint8 and x.shape == (3, 3, 4, 6)
    assert classes == ["cat", "dog"] and y.tolist() == [0, 1, 0]
    assert np.array_equal(x[0].permute(1, 2, 0).numpy(), shades(10))
    assert np.array_equal(x[1].permute(1, 2, 0).numpy(), shades(20))
    assert all(np.array_equal(x[2, c].numpy(), shades(30, grey=True)) for c in range(3))


def test_images_are_decoded_once(tmp_path, monkeypatch):
    a = archive(tmp_path / "a.zip", {"dog/2.png": shades(20), "cat/1.png": shades(10)})
    cache = tmp_path / "deep" / "cache"
    first = load_images([a], cache)
    assert [p.suffix for p in cache.iterdir()] == [".npz"]
    monkeypatch.setattr(Image, "open", None)  # any decoding would fail
    second = load_images([a], cache)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1]) and first[2] == second[2]
    monkeypatch.undo()
    archive(a, {"cat/1.png": shades(10)})  # another file: decoded again
    assert len(load_images([a], cache)[0]) == 1


def test_killed_while_caching_leaves_no_broken_cache(tmp_path, monkeypatch):
    a = archive(tmp_path / "a.zip", {"cat/1.png": shades(10)})

    def half(file, **_):
        file.write_bytes(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(training.np, "savez", half)
    with pytest.raises(KeyboardInterrupt):
        load_images([a], tmp_path / "cache")
    monkeypatch.undo()
    assert load_images([a], tmp_path / "cache")[0].shape == (1, 3, 4, 6)


# ---- the network


def test_time_features_are_cosines_and_sines_of_geometric_frequencies():
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    f = fourier_features(t, 8)
    frequency = 1000 ** (torch.arange(4, dtype=torch.float64) / 3)
    assert_close(
        f,
        torch.cat([torch.cos(t[:, None] * frequency), torch.sin(t[:, None] * frequency)], 1),
        atol=1e-3,
        rtol=0,
    )


def test_network_takes_any_divisible_size_label_none_is_the_null_label():
    torch.manual_seed(0)
    net = UNet(TINY)
    x, t = torch.randn(2, 3, 12, 20), torch.tensor([0.2, 0.8])
    with torch.no_grad():
        v = net(x, t)
        assert v.shape == x.shape
        assert_close(v, net(x, t, torch.tensor([2, 2])))
        assert (v - net(x, t, torch.tensor([0, 1]))).abs().max() > 1e-3
        for k in range(2):
            assert_close(v[k : k + 1], net(x[k : k + 1], t[k]), rtol=1e-4, atol=1e-5)
