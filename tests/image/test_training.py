"""Training the image prior in small: loss, batches, runs that go on, data and network."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from headwater.image.model import training_data
from headwater.image.model.network import UNet, UNetConfig
from headwater.image.model.train import (
    batches_of,
    denoised_psnr,
    held_out_figures,
    held_out_loss,
    loss_of,
    matching_loss,
    new_run,
    parse,
)
from headwater.image.model.training_data import (
    Mixture,
    Photographs,
    Pictures,
    load_images,
    load_photographs,
    to_grey,
)
from headwater.nn import training
from headwater.nn.time_features import fourier_features
from headwater.nn.training import train_network

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


def run_of(seed=0):
    torch.manual_seed(seed)
    return new_run(TINY, CPU)


def batches(batch=16, drop=0.0, pair=None):
    return batches_of(Pictures(*(pair or pictures())), batch, drop, TINY.classes)


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
    images, _ = pictures()
    run, source = run_of(), batches()
    before = held_out_loss(run.net, images, TINY.classes)
    for _ in range(120):
        assert np.isfinite(run.update(next(source), loss_of, 2e-3))
    # 0.49 to 0.60 for the weights of four seeds
    assert held_out_loss(run.net, images, TINY.classes) < 0.7 * before
    assert held_out_loss(run.ema, images, TINY.classes) < 0.8 * before
    assert (run.step, run.samples) == (120, 120 * 16)


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
    run = run_of()
    torch.manual_seed(1)
    want = torch.rand(1)
    torch.manual_seed(1)
    losses = [held_out_loss(run.net, images, TINY.classes) for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.rand(1) == want


def test_held_out_loss_of_the_zero_velocity_is_the_second_moment():
    """E |x1 - x0|^2 = E x1^2 + 1 per pixel, up to sampling: 16 * 192 numbers."""
    images, _ = pictures()

    class Still(torch.nn.Linear):
        def forward(self, x, t, label):
            return 0 * x

    loss = held_out_loss(Still(1, 1), images, 2)
    assert loss == pytest.approx((images / 127.5 - 1).square().mean().item() + 1, rel=0.1)


# ---- batches


def test_batches_are_flipped_pictures_with_noise_times_and_labels():
    """Each image is one of the pictures or its mirror image; times are stratified; labels go with their pictures."""
    images, labels = pictures()
    torch.manual_seed(0)
    b = next(batches(batch=64))
    known = images.float() / 127.5 - 1
    straight = [(x == known).flatten(1).all(1) for x in b["x1"]]
    mirrored = [(x.flip(-1) == known).flatten(1).all(1) for x in b["x1"]]
    assert all(bool((s | m).any()) for s, m in zip(straight, mirrored, strict=True))
    flips = sum(not bool(s.any()) for s in straight)
    assert 5 < flips < 32  # the half that runs across is no palindrome
    for s, m, label in zip(straight, mirrored, b["label"], strict=True):
        assert int(labels[int((s | m).nonzero()[0])]) == int(label)
    assert torch.equal((b["t"] * 64).long().sort().values, torch.arange(64))
    assert b["x0"].shape == b["x1"].shape and abs(float(b["x0"].std()) - 1) < 0.05
    assert not torch.equal(b["x0"], next(batches(batch=64))["x0"])


def test_labels_are_dropped_for_a_share_of_the_images():
    torch.manual_seed(0)
    assert (next(batches(batch=256, drop=0.25))["label"] == TINY.classes).float().mean() == pytest.approx(
        0.25, abs=0.1
    )
    assert (next(batches(drop=1.0))["label"] == TINY.classes).all()


def test_update_sees_null_and_real_labels():
    """Only the rows of labels that occur in a batch get a gradient."""
    run = run_of()
    table = run.net.label.weight
    before = table.detach().clone()
    for optimizer in run.optimizers:
        optimizer.param_groups[0]["weight_decay"] = 0.0
    run.update(next(batches(4)) | {"label": torch.tensor([0, 0, 2, 2])}, loss_of, 1e-3)  # 2 is the null label
    moved = (table.detach() - before).abs().amax(1) > 0
    assert moved.tolist() == [True, False, True]


# ---- runs


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_killed_while_saving_keeps_the_former_checkpoint(tmp_path, monkeypatch, moment):
    run, path = run_of(), tmp_path / "checkpoint.pt"
    run.save(path)
    former = path.read_bytes()
    run.update(next(batches()), loss_of, 1e-3)

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
    monkeypatch.undo()
    kept = run_of(1)
    kept.restore(path)
    assert kept.step == 0
    run.save(path)  # what the kill left behind is no obstacle
    kept.restore(path)
    assert kept.step == 1 and same(dict(kept.net.state_dict()), dict(run.net.state_dict()))


def test_a_run_ends_by_its_budget_and_goes_on(tmp_path, capsys):
    budget = ["--minutes", "0.02", "--sitting", "0.01", "--batch", "8", "--every", "0.2"]
    options = parse(["--data", "x.zip", "--validate", "y.zip", "--work", str(tmp_path), *budget])
    held_out = pictures()[0][:4]

    def validate(net):
        return {"held_out": held_out_loss(net, held_out, TINY.classes)}

    first, last = run_of(), run_of(1)
    train_network(first, batches(options.batch), loss_of, validate, options)
    assert 0.6 <= first.seconds < 10 and first.step >= 1
    last.restore(tmp_path / "checkpoint.pt")
    train_network(last, batches(options.batch), loss_of, validate, options)
    assert 1.2 <= last.seconds < 10
    steps = [entry["step"] for entry in last.log]
    assert steps == sorted(steps) and steps[-1] == last.step and last.log[-1]["samples"] == 8 * last.step
    assert last.log[-1]["held_out"] < last.log[0]["held_out"] + 0.2
    assert len(capsys.readouterr().out.splitlines()) == len(last.log)


def test_a_run_can_begin_with_trained_weights():
    """Both the weights and their average are the model's; counters and optimiser are fresh."""
    run, trained = run_of(0), run_of(1).net
    run.load_weights(trained.state_dict())
    assert same(dict(run.net.state_dict()), dict(trained.state_dict()))
    assert same(dict(run.ema.state_dict()), dict(trained.state_dict()))
    run.update(next(batches()), loss_of, 1e-3)
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

    monkeypatch.setattr(training_data.np, "savez", half)
    with pytest.raises(KeyboardInterrupt):
        load_images([a], tmp_path / "cache")
    monkeypatch.undo()
    assert load_images([a], tmp_path / "cache")[0].shape == (1, 3, 4, 6)


# ---- photographs


def photograph(width=20, height=16):
    """A photograph whose red says the column, green the row."""
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([column, row, 0 * row], axis=-1).astype(np.uint8))


def test_crops_lie_inside_the_photograph_from_native_size_to_the_whole_shorter_side():
    torch.manual_seed(0)
    crops, labels = Photographs([photograph()], 8, null=2).draw(400)
    assert crops.shape == (400, 3, 8, 8) and crops.dtype == torch.uint8
    assert (labels == 2).all()
    x = crops.double()
    span = x[:, 0, 0, -1] - x[:, 0, 0, 0]  # seven pixels apart: 7 at native size, near 14 if halved
    assert span.min() <= 7 and span.max() >= 13
    native = x[(span == 7) & (x[:, 1, -1, 0] - x[:, 1, 0, 0] == 7)]
    assert (native.diff(dim=-1)[:, 0] == 1).all()  # exact pixels, no interpolation
    assert x[:, 0].max() >= 19 and x[:, 0].min() == 0 and x[:, 1].max() >= 15  # also at the borders


def test_a_mixture_takes_its_share_of_the_second_source_and_of_grey():
    torch.manual_seed(0)
    red = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    red[:, 0] = 200
    blue = red.flip(1)
    first, second = (Pictures(x, torch.tensor([k])) for k, x in enumerate((red, blue)))
    images, labels = Mixture(first, second, share=0.25, grey=0.1).draw(2000)
    assert labels.double().mean() == pytest.approx(0.25, abs=0.03)
    grey = (images[:, 0] == images[:, 2]).flatten(1).all(1)
    assert grey.double().mean() == pytest.approx(0.1, abs=0.02)
    assert (images[labels == 0][:, 0].amax((1, 2)) >= 60).all()  # luma of red: 0.299 of 200
    assert set(images[grey & (labels == 1)][:, 0].flatten().tolist()) == {23}  # of blue: 0.114 of 200


def test_grey_is_luma():
    pixel = torch.tensor([10, 100, 200], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert (to_grey(pixel) == round(0.299 * 10 + 0.587 * 100 + 0.114 * 200)).all()


def test_the_last_photographs_are_held_out_and_small_ones_are_no_use(tmp_path):
    files = {f"c/{i}.png": np.full((12, 10 + i, 3), i, np.uint8) for i in range(4)}
    files["c/0.png"] = np.zeros((6, 30, 3), np.uint8)  # lower than the window
    train, crops = load_photographs([archive(tmp_path / "p.zip", files)], 8, 2)
    assert [image.size for image in train] == [(11, 12)]
    assert crops.shape == (2, 3, 8, 8) and crops.flatten(1).double().mean(1).tolist() == [2, 3]


# ---- one evaluation as a denoiser


class Nothing(torch.nn.Linear):
    """The velocity whose denoiser gives its input back: xhat = x_t / t needs v = x_t / t."""

    def forward(self, x, t, label):
        return x / t


@pytest.mark.parametrize("grey", [False, True])
def test_the_psnr_of_doing_nothing_is_that_of_the_noise(grey):
    """Averaging three channels whose mean is the measurement leaves its noise as it is."""
    mid = torch.full((8, 3, 32, 32), 128, dtype=torch.uint8)
    found = denoised_psnr(Nothing(1, 1), mid, 0.1, grey=grey)
    assert found == pytest.approx(20 * np.log10(2 / 0.1), abs=0.1)


def test_a_perfect_denoiser_of_a_constant_gives_it_back():
    """v = (xhat - x_t) / (1 - t) with xhat the constant."""

    class Constant(torch.nn.Linear):
        def forward(self, x, t, label):
            return (128 / 127.5 - 1 - x) / (1 - t)

    mid = torch.full((2, 3, 8, 8), 128, dtype=torch.uint8)
    assert denoised_psnr(Constant(1, 1), mid, 0.2) > 100


def test_figures_name_what_was_held_out():
    run, images = run_of(), pictures()[0]
    found = held_out_figures(run.net, TINY.classes, images, images[:4])
    assert found["held_out"] == pytest.approx(held_out_loss(run.net, images, TINY.classes), abs=1e-5)
    assert len(found) == 10 and all(np.isfinite(list(found.values())))
    assert set(held_out_figures(run.net, TINY.classes, images, None)) < set(found)


def test_a_run_can_begin_with_a_file_of_weights(tmp_path):
    from safetensors.torch import save_file

    trained, run = run_of(1).net, run_of(0)
    save_file({k: v.half().contiguous() for k, v in trained.state_dict().items()}, tmp_path / "w.safetensors")
    o = parse(
        [
            "--data",
            "x",
            "--validate",
            "y",
            "--work",
            str(tmp_path),
            "--begin",
            str(tmp_path / "w.safetensors"),
        ]
    )
    training.load_start(run, o, lambda name: pytest.fail("that is no shipped model"))
    assert_close(dict(run.net.state_dict()), dict(trained.state_dict()), atol=1e-3, rtol=1e-3)
    assert next(run.net.parameters()).dtype == torch.float32


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
