"""The share of new noise inside holes, and what it does to an estimate."""

import pytest
import torch

import headwater as hw
from headwater.flows.cover import cover_damage
from headwater.image.canvas import cover_of
from headwater.image.inside_holes import InsideHoles
from headwater.recipes.fresh import unseen


def holed(*places, size=24):
    mask = torch.ones(size, size, dtype=torch.bool)
    for rows, columns in places:
        mask[rows, columns] = False
    return mask


def share(mask, flow=None, **settings):
    flow = flow or hw.Flow(lambda x, t: -x, (3, *mask.shape))
    misfit = hw.Misfit(hw.image.Inpaint(mask), torch.zeros(1, 3, *mask.shape), 0.1)
    return InsideHoles(**settings).share(flow, misfit, torch.zeros(2, *flow.shape))


def test_a_hole_keeps_noise_in_its_middle_alone():
    found = share(holed((slice(6, 18), slice(4, 20))), inside=0.3, depth=2)
    assert found.shape == (2, 1, 24, 24)
    middle = torch.zeros(24, 24, dtype=torch.bool)
    middle[8:16, 6:18] = True
    torch.testing.assert_close(found[0, 0], torch.where(middle, 0.3, 1.0))


def test_a_hole_goes_on_beyond_the_border():
    """The border of the picture is no known pixel."""
    assert share(holed((slice(0, 6), slice(0, 6))), depth=3)[0, 0, 0, 0] == InsideHoles().inside


def test_scattered_and_thin_damage_have_no_inside():
    mask = hw.image.random_mask(24, 24, missing=0.5, seed=0)[0, 0]
    mask[:, 12:14] = False
    assert bool((share(mask) == 1).all())


def test_masks_of_a_batch_have_their_own_insides():
    masks = torch.stack([holed((slice(0, 12), slice(None))), holed((slice(12, 24), slice(None)))])[:, None]
    misfit = hw.Misfit(hw.image.Inpaint(masks), torch.zeros(2, 3, 24, 24), 0.1)
    found = InsideHoles().share(hw.Flow(lambda x, t: -x, (3, 24, 24)), misfit, torch.zeros(2, 3, 24, 24))
    assert found[0, 0, 2, 2] < 1 == found[0, 0, 20, 2] and found[1, 0, 20, 2] < 1 == found[1, 0, 2, 2]


def test_the_pixels_of_a_cover_have_the_shares_of_the_picture():
    mask = holed((slice(10, 30), slice(20, 40)), size=64)
    model = hw.Flow(lambda x, t: -x, (3, 16, 16))
    flow = cover_damage(model, ~mask)
    cover = cover_of(flow)
    misfit = hw.Misfit(hw.image.Inpaint(cover.pack(mask[None, None])), torch.zeros(1, *flow.shape), 0.1)
    found = InsideHoles().share(flow, misfit, torch.zeros(1, *flow.shape))
    torch.testing.assert_close(cover.unpack(found, torch.ones(1, 1, 64, 64)), share(mask)[:1])


def test_what_sees_everything_or_has_no_adjoint_leaves_nothing_unseen():
    x = torch.zeros(1, 3, 8, 8)
    for operator in (hw.image.Blur(torch.ones(3, 3) / 9), hw.image.SuperResolution(2), torch.tanh):
        misfit = hw.Misfit(operator, torch.zeros_like(operator(x)), 0.1)
        assert not bool(unseen(misfit, x).any())


def test_a_hole_in_a_blurred_picture_is_found_in_spite_of_rounding():
    """y is the blurred picture with a hole: what lies deeper than the kernel reaches is unseen."""
    mask = holed((slice(4, 22), slice(2, 22)))
    operator = hw.image.chain(hw.image.Blur(torch.ones(3, 3) / 9), hw.image.Inpaint(mask))
    x = torch.zeros(1, 3, 24, 24)
    beyond = unseen(hw.Misfit(operator, operator(x), 0.1), x)[0, 0]
    deep = torch.zeros(24, 24, dtype=torch.bool)
    deep[5:21, 3:21] = True
    assert torch.equal(beyond, deep)


def test_the_default_answer_of_a_batch_is_that_of_each_alone_or_none():
    masks = torch.stack([holed((slice(4, 20), slice(4, 20))), holed((slice(4, 6), slice(None)))])[:, None]
    flow, y = hw.Flow(lambda x, t: -x, (3, 24, 24)), torch.zeros(2, 3, 24, 24)
    tasks = [
        hw.image.ImageTask(hw.image.Inpaint(m), y[: len(m)], 0.1, (24, 24))
        for m in (masks, masks[:1], masks[1:])
    ]
    kinds = [type(task.recipe().estimate).__name__ for task in tasks[1:]]
    assert kinds == ["Estimate", "Average"]
    with pytest.raises(hw.Misuse, match="different default answers"):
        hw.image.restore(tasks[0], flow, [0, 1])
    recipe = hw.Estimate(times=2)
    assert hw.image.restore(tasks[0], flow, [0, 1], recipe=recipe).images.shape == (2, 3, 24, 24)


@pytest.mark.parametrize("settings", [{"inside": 1.5}, {"inside": float("nan")}, {"depth": -1}])
def test_what_is_no_share_is_refused(settings):
    with pytest.raises(hw.Misuse, match="no share of noise"):
        InsideHoles(**settings)


@pytest.mark.parametrize("fresh", [-0.1, 1.5, float("nan")])
def test_an_estimate_refuses_what_is_no_share(fresh):
    with pytest.raises(hw.Misuse, match="no share of new noise"):
        hw.Estimate(fresh=fresh)


def test_old_noise_keeps_the_variance_of_what_was_not_measured():
    """On white pictures the posterior inside a hole is the prior, N(0, 1): new noise ends at its mean."""

    def velocity(x, t):
        return (2 * t - 1) / (t**2 + (1 - t) ** 2) * x

    flow = hw.Flow(velocity, (1, 16, 16))
    mask = holed((slice(2, 14), slice(2, 14)), size=16)
    misfit = hw.Misfit(hw.image.Inpaint(mask), torch.zeros(1, 1, 16, 16), 0.1)
    deep = (slice(None), slice(None), slice(5, 11), slice(5, 11))
    ends = {}
    for name, fresh in (("new", 1.0), ("old", InsideHoles(inside=0.0)), ("part", InsideHoles())):
        estimate = hw.Estimate(times=32, first=0.01, last=0.99, fresh=fresh)
        x1 = estimate.sample(flow, misfit, range(8), guess=torch.zeros(1, 1, 16, 16))
        ends[name] = float(x1[deep].std())
    assert ends["new"] < 0.7 < 0.8 < ends["part"] < ends["old"] < 1.1, ends
