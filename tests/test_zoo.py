"""The shipped models: their cards, their size, and the export."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from headwater import zoo
from headwater.errors import Misuse
from headwater.image.model import models
from headwater.image.model.network import UNet, UNetConfig
from headwater.zoo import export as exporting

torch.set_num_threads(1)
HALF = torch.tensor(0.5)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- the card and the files


@pytest.mark.parametrize("name", zoo.list_models("image"))
def test_card_says_what_the_model_is(name):
    card = zoo.read_card(name)
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


@pytest.mark.parametrize("name", [n for n in zoo.list_models() if n.startswith("qm9-")])
def test_the_docs_say_of_molecule_models_what_their_cards_say(name):
    """Minutes, molecules seen and test errors in the table of docs/molecules.md, digit by digit."""
    card, docs = zoo.read_card(name), Path(__file__).parents[1] / "docs" / "molecules.md"
    row = next(line for line in docs.read_text().splitlines() if line.startswith(f"| `{name}`"))
    training = card["training"]
    assert f"{training['molecules_seen'] / 1e6:.2f} M" in row
    assert f"{training['minutes']:.0f} minutes" in row
    errors = card.get("test_mae", {})
    digits = {"alpha": 3, "gap": 1, "homo": 1, "lumo": 1, "mu": 4, "cv": 4}
    assert all(f"{errors[k]:.{n}f}" in row for k, n in digits.items() if errors)


def test_the_page_of_photo64_says_what_its_card_and_the_benchmark_say():
    """Minutes, images and losses of the card; every PSNR of the committed table, none of it a placeholder."""
    root = Path(__file__).parents[1]
    page, training = (root / "docs" / "photo64.md").read_text(), zoo.read_card("photo64")["training"]
    assert (
        f"then {training['minutes']:.0f} minutes" in page and f"({training['images_seen']:,} images)" in page
    )
    assert f"{training['log'][-1]['held_out']:.4f} (505" in page
    assert f"{training['log'][-1]['held_out_crops']:.4f} (40" in page
    rows = json.loads((root / "benchmarks" / "results" / "one_evaluation.json").read_text())["rows"]
    lines = {
        "crops of photographs, one evaluation": ("photo64", "crops"),
        "the same, `denoise`": ("denoise", "crops"),
        "the same, BM3D": ("BM3D", "crops"),
        "shrunk pictures, one evaluation": ("photo64", "pictures"),
    }
    for name, (network, images) in lines.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        found = [r for r in rows if r["network"] == network and r["images"] == images]
        wanted = [f"{r[f'PSNR, noise {k}']:.2f}" for k in ("0.1", "0.2") for r in found]
        assert line.replace("*", "").split("|")[2:-1] == [f" {value} " for value in wanted]


def test_the_docs_say_of_targets_what_the_benchmark_found():
    """The rows of docs/molecules.md that are ours, rounded, are those of molecule_table.json."""
    root = Path(__file__).parents[1]
    table = json.loads((root / "benchmarks" / "results" / "molecule_table.json").read_text())["rows"]
    docs = (root / "docs" / "molecules.md").read_text().splitlines()
    named = {"number of atoms": "number of atoms alone", "Headwater": "search then control"} | {
        "lower bound": "the evaluator on data, the lower bound"
    }
    for ours, theirs in named.items():
        row = next(r for r in table if r["row"].startswith(ours))
        line = next(line for line in docs if line.startswith(f"| {theirs} "))
        shown = [cell.strip() for cell in line.strip("|").split("|")][1:]
        for name, text in zip(("alpha", "gap", "homo", "lumo", "mu", "cv"), shown, strict=True):
            digits = len(text.partition(".")[2])
            assert float(text) == pytest.approx(row[name], abs=0.5001 * 10.0**-digits), (ours, name)


@pytest.mark.parametrize("name", zoo.list_models())
def test_files_exist_and_are_small(name):
    sizes = [(zoo.FOLDER / file).stat().st_size for file in zoo.read_card(name)["files"]]
    assert sizes and all(size < 16 * 2**20 for size in sizes)
    assert sum(sizes) <= 24e6


def test_all_that_ships_is_on_a_card():
    listed = {file for name in zoo.list_models() for file in zoo.read_card(name)["files"]}
    assert {file.name for file in zoo.FOLDER.glob("*.safetensors")} == listed


def test_every_card_says_its_kind():
    kinds = {"image", "latent image", "captions", "music", "molecule generator", "molecule regressor"}
    assert {zoo.read_card(name)["kind"] for name in zoo.list_models()} == kinds
    assert sorted(name for kind in kinds for name in zoo.list_models(kind)) == zoo.list_models()


# ---- export


def test_shards_split_under_the_limit_in_order():
    weights = {
        f"w{k}": torch.zeros(n, dtype=torch.float16) for k, n in enumerate((30, 20, 50, 60, 1, 200, 3))
    }
    parts = exporting.split_weights(weights, limit=120)
    assert [list(p) for p in parts] == [["w0", "w1"], ["w2"], ["w3"], ["w4"], ["w5"], ["w6"]]
    assert all(len(p) == 1 or sum(v.nbytes for v in p.values()) <= 120 for p in parts)
    assert len(exporting.split_weights(weights, limit=10**6)) == 1


@pytest.mark.parametrize("limit", [None, 20_000])
def test_export_round_trips_through_load(tmp_path, monkeypatch, limit):
    config = UNetConfig(size=8, widths=(16, 32), blocks=(1, 1), classes=2, embedding=16, heads=2)
    torch.manual_seed(0)
    net, ema = UNet(config), UNet(config)
    log = [{"held_out": 0.5}, {"held_out": 0.25}]
    state = {"facts": {"config": vars(config)}, "net": net.state_dict(), "ema": ema.state_dict()}
    torch.save(state | {"counters": [12, 48, 90.0], "log": log}, tmp_path / "checkpoint.pt")
    (tmp_path / "facts.json").write_text(
        json.dumps({"kind": "image", "data": "noise", "classes": [["a", "ant"], ["b", "bee"]]})
    )
    if limit:
        shards = exporting.split_weights
        monkeypatch.setattr(exporting, "split_weights", lambda weights: shards(weights, limit))
    folder = tmp_path / "weights"
    source = ["--checkpoint", str(tmp_path / "checkpoint.pt"), "--facts", str(tmp_path / "facts.json")]
    exporting.main([*source, "--name", "toy-model", "--folder", str(folder)])
    monkeypatch.setattr(zoo, "FOLDER", folder)
    card = zoo.read_card("toy-model")
    assert zoo.list_models("image") == ["toy-model"] and card["data"] == "noise"
    assert card["training"]["held_out_loss"] == 0.25 and card["training"]["steps"] == 12
    assert card["training"]["minutes"] == 1.5
    assert (len(card["files"]) > 1) == bool(limit)
    assert {v.dtype for file in card["files"] for v in load_file(folder / file).values()} == {torch.float16}
    flow, x = models.flow("toy-model", label="bee"), noise(2, 3, 8, 8)
    rounded = UNet(config)
    rounded.load_state_dict({k: v.half().float() for k, v in ema.state_dict().items()})
    with torch.no_grad():
        assert_close(flow(x, HALF), rounded(x, HALF, torch.tensor([1, 1])), rtol=1e-4, atol=1e-5)
        assert_close(flow(x, HALF), ema(x, HALF, torch.tensor([1, 1])), rtol=0.02, atol=0.02)
        assert (flow(x, HALF) - net(x, HALF, torch.tensor([1, 1]))).abs().max() > 0.05  # the average ships


def test_facts_name_the_kind(tmp_path):
    torch.save({"ema": {}, "counters": [1, 1, 1.0]}, tmp_path / "checkpoint.pt")
    (tmp_path / "facts.json").write_text('{"data": "noise"}', encoding="utf-8")
    with pytest.raises(Misuse, match="no kind"):
        exporting.export_model(
            tmp_path / "checkpoint.pt", tmp_path / "facts.json", "toy", tmp_path / "weights"
        )


def test_a_model_is_a_name_and_no_path(tmp_path, capsys):
    """A JSON file that happens to lie somewhere is no card."""
    (tmp_path / "secret.json").write_text('{"kind": "secret"}', encoding="utf-8")
    for name in (tmp_path / "secret", zoo.FOLDER / "photo64", "../weights/photo64", "./photo64", "a" * 5000):
        with pytest.raises(Misuse, match="There is no model named") as caught:
            zoo.read_card(str(name))
        assert "secret'" not in str(caught.value).split("named")[0] and len(str(caught.value)) < 500
