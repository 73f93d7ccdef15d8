"""Both stages of training in small, on made-up drawings: losses, latents, resuming, the judge, the export."""

import argparse
import json

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from headwater import solve, zoo
from headwater.errors import Misuse
from headwater.image.pictograms import export, models, prompts, train_autoencoder, train_flow
from headwater.image.pictograms.autoencoder import AutoencoderConfig
from headwater.image.pictograms.captions import Captions
from headwater.image.pictograms.data import Pictograms
from headwater.image.pictograms.judge import candidate_labels, fit_judge, ridge
from headwater.image.pictograms.network import PictogramConfig
from headwater.image.pictograms.train_autoencoder import Weights, held_out_figures, moment_penalty
from headwater.nn.training import train_network

torch.set_num_threads(1)
torch.set_flush_denormal(True)
CPU = torch.device("cpu")
SMALL = AutoencoderConfig(size=16, narrow=16, middle=16, wide=16, blocks=1)
TINY = PictogramConfig(side=2, widths=(16, 32), blocks=(1, 1), embedding=32, heads=2)
NO_FEATURES = Weights(perceptual=0.0)


def discs(n=32, size=16):
    """Discs of random place, radius and colour on white, uint8 `[n, 3, size, size]`."""
    g = torch.Generator().manual_seed(0)
    place, radius = torch.rand(n, 2, 1, 1, generator=g), 0.2 + 0.2 * torch.rand(n, 1, 1, generator=g)
    line = torch.linspace(0, 1, size)
    inside = (line - place[:, 0]).square() + (line[:, None] - place[:, 1]).square() < radius.square()
    colour = torch.rand(n, 3, 1, 1, generator=g) * 200
    return torch.where(inside[:, None], colour, torch.tensor(255.0)).to(torch.uint8)


def two_kinds(n=64):
    """Latents near +1 with text 0, near -1 with text 1; style 0."""
    kind = torch.arange(n) % 2
    x = (1.0 - 2.0 * kind)[:, None, None, None] + 0.05 * torch.randn(
        n, 4, 2, 2, generator=torch.Generator().manual_seed(0)
    )
    texts = F.normalize(torch.randn(2, 384, generator=torch.Generator().manual_seed(1)))
    captions = Captions(("up", "down"), kind[:, None].expand(n, 4))
    return train_flow.Latents(x, torch.zeros(n, dtype=torch.long), captions, texts)


def trained_flow(steps=120):
    torch.manual_seed(0)
    run = train_flow.new_run(TINY, {"mean": [0.0] * 4, "std": [1.0] * 4}, CPU)
    batches = train_flow.batches_of(two_kinds(), 32)
    for step in range(steps):
        run.update(next(batches), train_flow.loss_of, 4e-3 * min(1, (step + 1) / 10))
    return run


# ---- the autoencoder


def test_moments_are_those_of_a_unit_normal_at_their_best():
    z = torch.randn(64, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert moment_penalty(z) < 1e-3
    # mean 1, variance 4: 1 + 9 for each of four channels
    assert_close(moment_penalty(2 * z + 1), torch.tensor(40.0), atol=0.5, rtol=0)


def test_training_lowers_the_error_of_the_autoencoder_and_shapes_its_latents():
    torch.manual_seed(0)
    pixels = discs()
    run = train_autoencoder.new_run(SMALL, CPU)
    batches = train_autoencoder.batches_of(pixels, 16, SMALL)
    before = held_out_figures(run.net, pixels)
    loss_of = lambda net, batch: train_autoencoder.loss_of(net, batch, NO_FEATURES)  # noqa: E731
    for step in range(80):
        run.update(next(batches), loss_of, 4e-3 * min(1, (step + 1) / 10))
    after = held_out_figures(run.net, pixels)
    assert after["psnr"] > before["psnr"] + 5 and after["held_out"] < 0.6 * before["held_out"]
    assert after["psnr_noise_0.2"] > after["psnr"] - 3
    mean, std = train_flow.moments(train_flow.encode_all(run.net, pixels))
    assert mean.abs().max() < 0.5 and (std - 1).abs().max() < 0.5


def test_noise_enters_the_decoder_and_not_the_encoder():
    torch.manual_seed(0)
    net = train_autoencoder.new_run(SMALL, CPU).net
    x, noise = torch.randn(2, 3, 16, 16), torch.randn(2, 4, 2, 2)
    z, y = net(x, noise)
    assert torch.equal(z, net.encode(x)) and torch.equal(y, net.decode(z + noise))


def test_the_features_of_equal_pictures_are_equal_and_their_distance_has_a_gradient():
    x = train_autoencoder.to_range(discs(2, 32))
    y = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    assert train_autoencoder.feature_distance(x, x) == 0
    train_autoencoder.feature_distance(y, x).backward()
    assert y.grad.abs().sum() > 0


# ---- the flow


def test_training_teaches_the_flow_its_texts():
    run, data = trained_flow(), two_kinds()
    told, untold = (train_flow.held_out_loss(run.net, data, told=given) for given in (True, False))
    assert told < 0.75 * untold  # untold, x1 = +-1 cannot be known from early x_t
    model = models.make_model(
        models.Parts(run.net.eval(), autoencoder(), *torch.ones(2, 1, 4, 1, 1), {}),
        data.embeddings[[0, 1]],
        torch.tensor([0]),
        1.0,
    )
    with torch.no_grad():
        x1 = solve(model.flow, model.flow.noise([0, 1]), steps=8)
    up, down = x1.mean((1, 2, 3))
    assert up > 0.5 and down < -0.5


def autoencoder():
    torch.manual_seed(0)
    return train_autoencoder.new_run(SMALL, CPU).net.eval()


def test_texts_and_styles_are_dropped_independently_and_as_often_as_said():
    batch = next(train_flow.batches_of(two_kinds(), 4000))
    no_text, no_style = (batch["text"] == 0).all(1), batch["style"] == len(train_flow.SETS)
    for dropped, chance in (
        (no_text, train_flow.NO_TEXT),
        (no_style, train_flow.NO_STYLE),
        (no_text & no_style, train_flow.NO_TEXT * train_flow.NO_STYLE),
    ):
        assert abs(float(dropped.float().mean()) - chance) < 0.03
    # logit-normal: a sixth of the times is beyond one std of their logit
    assert abs(float((batch["t"].logit() > 1).float().mean()) - 0.1587) < 0.01


def test_scaled_latents_have_mean_zero_and_variance_one():
    z = 3 * torch.randn(8, 4, 2, 2) + 1
    mean, std = train_flow.moments(z)
    scaled = (z - mean) / std
    assert_close(scaled.mean((0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    assert_close(scaled.std((0, 2, 3)), torch.ones(4))


def test_thin_data_is_spread_over_all():
    few = train_flow.thin(two_kinds(), 16)
    assert len(few.x) == 16 and torch.equal(few.x, two_kinds().x[::4])
    assert torch.equal(few.label_texts(), two_kinds().label_texts()[::4])


# ---- checkpoints of both stages, and the model that they become


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    for stage, run in (("autoencoder", train_autoencoder.new_run(SMALL, CPU)), ("flow", trained_flow(2))):
        (folder / stage).mkdir()
        options = argparse.Namespace(
            work=folder / stage, minutes=0.001, sitting=1.0, lr=0.0, decay=0.0, every=9.0
        )
        batches, loss_of = {
            "autoencoder": (
                train_autoencoder.batches_of(discs(), 4, SMALL),
                lambda net, batch: train_autoencoder.loss_of(net, batch, NO_FEATURES),
            ),
            "flow": (train_flow.batches_of(two_kinds(), 4), train_flow.loss_of),
        }[stage]
        train_network(run, batches, loss_of, lambda net: {"held_out": 0.5, "psnr": 9.0}, options)
    return folder


def test_a_stage_is_found_again_in_its_folder(work, tmp_path):
    found = train_flow.load_checkpoints(work)
    state = torch.load(work / "flow" / "checkpoint.pt", weights_only=True)
    assert all(torch.equal(v, state["ema"][k]) for k, v in found.flow.state_dict().items())
    assert found.mean.shape == found.std.shape == (1, 4, 1, 1)
    with pytest.raises(
        Misuse, match=r"There is no autoencoder .*\. Train it first, with --stage autoencoder\."
    ):
        train_flow.load_checkpoints(tmp_path)


def test_what_is_exported_is_the_model_of_the_checkpoints(work, tmp_path, monkeypatch):
    states = [torch.load(work / s / "checkpoint.pt", weights_only=True) for s in ("autoencoder", "flow")]
    captions = prompts.pack_captions(["up", "down"], two_kinds().embeddings)
    torch.save(export.join_stages(*states, captions), tmp_path / "joined.pt")
    facts = {"kind": models.KIND, "styles": ["noto"], "guidance": 2.0, "data": "discs"}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    export.export_model(tmp_path / "joined.pt", tmp_path / "facts.json", "toy", tmp_path)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert zoo.read_card("toy")["kind"] == "latent image"
    assert export.stage_of(states[0])["psnr"] == 9.0
    mine, shipped = train_flow.load_checkpoints(work), models.load_parts("toy")
    x, t, text = torch.randn(2, 4, 2, 2), torch.tensor(0.5), two_kinds().embeddings
    assert_close(shipped.flow(x, t, text), mine.flow(x, t, text), atol=5e-3, rtol=0)
    model = models.latent_model(["Up", "down"], name="toy", style="noto")
    assert model.flow.velocity.guidance == 2.0
    assert model.decode(model.flow.noise([0, 1])).shape == (2, 3, 16, 16)
    with pytest.raises(Misuse, match=r"A guidance of 2\.0 needs a prompt to guide to\. Give `prompt`\."):
        models.latent_model(name="toy", guidance=2.0)
    with pytest.raises(Misuse, match="makes no pictures from words"):
        (tmp_path / "other.json").write_text('{"kind": "image"}')
        models.latent_model("up", name="other")


# ---- the judge


def test_ridge_without_penalty_is_least_squares():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 5, generator=g), torch.randn(20, 3, generator=g)
    assert_close(ridge(x, y, 0.0), torch.linalg.lstsq(x, y).solution, atol=1e-5, rtol=1e-4)
    w = ridge(x, y, 2.0)  # the gradient of |x W - y|^2 + 2 |W|^2 vanishes
    assert_close(x.T @ (x @ w - y) + 2.0 * w, torch.zeros(5, 3), atol=1e-5, rtol=0)


def test_a_judge_of_linear_features_ranks_the_truth_first():
    g = torch.Generator().manual_seed(0)
    texts = F.normalize(torch.randn(40, 16, generator=g))
    shown = torch.arange(40).repeat(5)
    features = texts[shown] @ torch.randn(16, 64, generator=g) + 0.02 * torch.randn(200, 64, generator=g)
    judge = fit_judge(features, texts[shown], [str(i) for i in shown.tolist()])
    assert judge.ranks(features, shown, texts).max() == 0
    wrong = judge.ranks(features, (shown + 1) % 40, texts)
    assert wrong.float().mean() > 10


def test_candidates_hold_every_held_out_label_and_no_other_flag():
    labels = ("cat", "dog", "flag of Chad", "sun", "moon")
    parts = ("held-out", "train", "train", "train", "judge")
    data = Pictograms(torch.zeros(5, 3, 1, 1), labels, labels, labels, labels, ((),) * 5, parts)
    found = candidate_labels(data, 3)
    assert found[0] == "cat" and len(found) == 3 and set(found[1:]) < {"dog", "sun", "moon"}
