"""The shipped model: its card, size, cost, labels and guidance, what it knows of a photo; and the export."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from headwater import Misuse, zoo
from headwater.image.io import photos
from headwater.image.io.files import read_image
from headwater.image.model.network import UNet, UNetConfig
from headwater.zoo import export as exporting

torch.set_num_threads(1)
HALF = torch.tensor(0.5)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- the card and the files


@pytest.mark.parametrize("name", zoo.names("image"))
def test_card_says_what_the_model_is(name):
    card = zoo.card(name)
    assert card["name"] == name
    for field in ("what", "data", "data_licence", "weights_licence"):
        assert isinstance(card[field], str) and len(card[field]) > 5, field
    training = card["training"]
    assert training["steps"] > 1000 and training["images_seen"] > training["steps"]
    assert training["minutes"] > 0 and training["script"] == "headwater.image.model.train"
    assert (
        0.05 < training["held_out_loss"] < 0.5
        and training["held_out_loss"] == training["log"][-1]["held_out"]
    )
    assert card["range"] == [-1, 1]
    assert len(card["classes"]) == card["architecture"]["classes"]
    assert len({wnid for wnid, _ in card["classes"]}) == len(card["classes"])
    UNetConfig(**card["architecture"])


@pytest.mark.parametrize("name", [n for n in zoo.names() if n.startswith("qm9-")])
def test_the_docs_say_of_molecule_models_what_their_cards_say(name):
    """Minutes, molecules seen and test errors in the table of docs/molecules.md, digit by digit."""
    card, docs = zoo.card(name), Path(__file__).parents[1] / "docs" / "molecules.md"
    row = next(line for line in docs.read_text().splitlines() if line.startswith(f"| `{name}`"))
    training = card["training"]
    assert f"{training['molecules_seen'] / 1e6:.2f} M" in row
    assert f"{training['minutes']:.0f} minutes" in row
    errors = card.get("test_mae", {})
    digits = {"alpha": 3, "gap": 1, "homo": 1, "lumo": 1, "mu": 4, "cv": 4}
    assert all(f"{errors[k]:.{n}f}" in row for k, n in digits.items() if errors)


def test_the_docs_say_of_targets_what_the_benchmark_found():
    """The rows of docs/molecules.md that are ours, rounded, are those of molecule_table.json."""
    root = Path(__file__).parents[1]
    table = json.loads((root / "benchmarks" / "results" / "molecule_table.json").read_text())["rows"]
    docs = (root / "docs" / "molecules.md").read_text().splitlines()
    named = {"number of atoms": "number of atoms alone", "Headwater": "Headwater `target`"} | {
        "lower bound": "the evaluator on data, the lower bound"
    }
    for ours, theirs in named.items():
        row = next(r for r in table if r["row"].startswith(ours))
        line = next(line for line in docs if line.startswith(f"| {theirs} "))
        shown = [cell.strip() for cell in line.strip("|").split("|")][1:]
        for name, text in zip(("alpha", "gap", "homo", "lumo", "mu", "cv"), shown, strict=True):
            digits = len(text.partition(".")[2])
            assert float(text) == pytest.approx(row[name], abs=0.5001 * 10.0**-digits), (ours, name)


@pytest.mark.parametrize("name", zoo.names())
def test_files_exist_and_are_small(name):
    sizes = [(zoo.FOLDER / file).stat().st_size for file in zoo.card(name)["files"]]
    assert sizes and all(size < 16 * 2**20 for size in sizes)
    assert sum(sizes) <= 24e6


def test_all_that_ships_is_on_a_card():
    listed = {file for name in zoo.names() for file in zoo.card(name)["files"]}
    assert {file.name for file in zoo.FOLDER.glob("*.safetensors")} == listed


def test_unknown_model():
    with pytest.raises(Misuse, match=r"no model named 'tiny46'\. Did you mean 'tiny64'\?"):
        zoo.flow("tiny46")


# ---- the cost


def test_a_forward_call_costs_at_most_3_gflop_mostly_at_32_pixels_and_below():
    net = zoo.network("tiny64", "cpu")
    by_resolution: dict[int, float] = {}

    def count(module, inputs, output):
        macs = module.weight.numel() * output[0, 0].numel()
        by_resolution[output.shape[-1]] = by_resolution.get(output.shape[-1], 0) + 2 * macs

    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    handles = [m.register_forward_hook(count) for m in convolutions]
    with FlopCounterMode(display=False) as counter:
        zoo.flow("tiny64")(noise(1, 3, 64, 64), HALF)
    for handle in handles:
        handle.remove()
    total = counter.get_total_flops()
    assert 0.1e9 < total <= 3e9
    assert sum(f for size, f in by_resolution.items() if size <= 32) > 0.9 * total


# ---- labels and guidance


def test_label_by_name_wnid_and_number():
    classes = zoo.card("tiny64")["classes"]
    number = next(k for k, (_, words) in enumerate(classes) if words.startswith("goldfish"))
    content = zoo.card("tiny64")
    for label in ("goldfish", "Goldfish", "Carassius auratus", classes[number][0], number, str(number)):
        assert zoo.class_number(content, label) == number
    x = noise(2, 3, 64, 64)
    want = zoo.network("tiny64", "cpu")(x, HALF, torch.tensor([number, number]))
    assert_close(zoo.flow("tiny64", label="goldfish")(x, HALF), want)
    assert (want - zoo.flow("tiny64")(x, HALF)).square().mean().sqrt() > 1e-3  # the label matters


@pytest.mark.parametrize(
    "label, message",
    [
        ("goldfsh", r"no class named 'goldfsh'\. Did you mean 'goldfish'\?"),
        ("n99999999", r"no class named 'n99999999'\. "),
        ("²", r"no class named '²'\. "),
        (202, r"no class number 202\. Give 0 to 201\."),
        (-1, r"no class number -1\. Give 0 to 201\."),
        ("202", r"no class number 202\. "),
    ],
)
def test_unknown_label(label, message):
    with pytest.raises(Misuse, match=message):
        zoo.flow("tiny64", label=label)


def test_guidance_is_the_formula():
    """1 is the label's velocity, 0 the null velocity, w the line through both; without a label none."""
    x = noise(2, 3, 64, 64)
    null, one, zero, three = (
        zoo.flow("tiny64", label=label, guidance=w)(x, HALF)
        for label, w in ((None, 1.0), (5, 1.0), (5, 0.0), (5, 3.0))
    )
    with torch.no_grad():
        assert_close(one, zoo.network("tiny64", "cpu")(x, HALF, torch.tensor([5, 5])))
        assert_close(null, zoo.network("tiny64", "cpu")(x, HALF, None))
    assert_close(zero, null)
    assert_close(three, null + 3 * (one - null), rtol=1e-4, atol=1e-4)
    assert_close(zoo.flow("tiny64", guidance=3.0)(x, HALF), null)


def test_a_problem_does_not_see_the_batch_and_gradients_reach_x():
    flow, x = zoo.flow("tiny64"), noise(3, 3, 64, 64)
    t = torch.tensor([0.1, 0.5, 0.9])
    assert flow.shape == (3, 64, 64) and flow.range == (-1, 1)
    batch = flow(x, t)
    for k in range(3):
        assert_close(batch[k : k + 1], flow(x[k : k + 1], t[k]), rtol=1e-4, atol=1e-4)
    z = x[:1].requires_grad_()
    (gradient,) = torch.autograd.grad(flow(z, HALF).square().sum(), z)
    assert gradient.abs().max() > 0
    assert not any(p.requires_grad for p in zoo.network("tiny64", "cpu").parameters())


# ---- what it knows


@pytest.mark.parametrize("t, gain", [(0.5, 5.0), (0.7, 3.0)])
def test_denoiser_cleans_a_photo(t, gain):
    """PSNR of E[x1 | x_t] against that of x_t / alpha, on a photo that is not in the training data."""
    photo = read_image(photos.path("cat"))[0]
    side = min(photo.shape[-2:])
    x1 = nn.functional.interpolate(photo[..., :side, :side], size=(64, 64), mode="area")
    flow, time = zoo.flow("tiny64"), torch.tensor(t)
    xt = flow.path.interpolate(noise(1, 3, 64, 64), x1, time)

    def decibel(x):
        return -10 * (x - x1).square().mean().log10()

    assert decibel(flow.denoise(xt, time)) > decibel(xt / t) + gain


# ---- export


def test_shards_split_under_the_limit_in_order():
    weights = {
        f"w{k}": torch.zeros(n, dtype=torch.float16) for k, n in enumerate((30, 20, 50, 60, 1, 200, 3))
    }
    parts = exporting.shards(weights, limit=120)
    assert [list(p) for p in parts] == [["w0", "w1"], ["w2"], ["w3"], ["w4"], ["w5"], ["w6"]]
    assert all(len(p) == 1 or sum(v.nbytes for v in p.values()) <= 120 for p in parts)
    assert len(exporting.shards(weights, limit=10**6)) == 1


@pytest.mark.parametrize("limit", [None, 20_000])
def test_export_round_trips_through_load(tmp_path, monkeypatch, limit):
    config = UNetConfig(size=8, widths=(16, 32), blocks=(1, 1), classes=2, embedding=16, heads=2)
    torch.manual_seed(0)
    net, ema = UNet(config), UNet(config)
    log = [{"held_out": 0.5}, {"held_out": 0.25}]
    state = {"facts": {"config": vars(config)}, "net": net.state_dict(), "ema": ema.state_dict()}
    torch.save(state | {"counters": [12, 48, 90.0], "log": log}, tmp_path / "checkpoint.pt")
    (tmp_path / "facts.json").write_text(
        json.dumps({"data": "noise", "classes": [["a", "ant"], ["b", "bee"]]})
    )
    if limit:
        shards = exporting.shards
        monkeypatch.setattr(exporting, "shards", lambda weights: shards(weights, limit))
    folder = tmp_path / "weights"
    source = ["--checkpoint", str(tmp_path / "checkpoint.pt"), "--facts", str(tmp_path / "facts.json")]
    exporting.main([*source, "--name", "toy-model", "--folder", str(folder)])
    monkeypatch.setattr(zoo, "FOLDER", folder)
    card = zoo.card("toy-model")
    assert zoo.names() == ["toy-model"] and card["data"] == "noise"
    assert card["training"]["held_out_loss"] == 0.25 and card["training"]["steps"] == 12
    assert card["training"]["minutes"] == 1.5
    assert (len(card["files"]) > 1) == bool(limit)
    assert {v.dtype for file in card["files"] for v in load_file(folder / file).values()} == {torch.float16}
    flow, x = zoo.flow("toy-model", label="bee"), noise(2, 3, 8, 8)
    rounded = UNet(config)
    rounded.load_state_dict({k: v.half().float() for k, v in ema.state_dict().items()})
    with torch.no_grad():
        assert_close(flow(x, HALF), rounded(x, HALF, torch.tensor([1, 1])), rtol=1e-4, atol=1e-5)
        assert_close(flow(x, HALF), ema(x, HALF, torch.tensor([1, 1])), rtol=0.02, atol=0.02)
        assert (flow(x, HALF) - net(x, HALF, torch.tensor([1, 1]))).abs().max() > 0.05  # the average ships
