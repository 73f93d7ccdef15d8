"""The flow on damage alone: which windows and pixels, the velocity of the whole canvas, the same answer anywhere."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from headwater import Flow, Misuse
from headwater.flows.cover import Cover, cover_damage, find_groups
from headwater.flows.watched import watch_flow
from headwater.flows.windowed import WindowedVelocity
from headwater.image.operators import Inpaint
from headwater.image.restoration import restore
from headwater.image.task import ImageTask
from headwater.recipes.recipe import RecipeOptions

torch.set_num_threads(1)


def mixing(x, t):
    """A velocity that depends on the place in the window and on all of its pixels."""
    h, w = x.shape[-2:]
    place = torch.linspace(-1, 1, h * w).reshape(h, w).to(x)
    return (x.mean((-2, -1), keepdim=True) + t.reshape(-1, 1, 1, 1)) * place + torch.sin(x)


def marked(height, width, *pixels):
    damaged = torch.zeros(height, width, dtype=torch.bool)
    for i, j in pixels:
        damaged[i, j] = True
    return damaged


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("size", [(8, 40), (30, 57), (64, 64)])
def test_every_damaged_pixel_lies_well_inside_a_window_that_sees_it(size, share):
    damaged = torch.rand(*size, generator=torch.Generator().manual_seed(1)) < share
    damaged[0, 0] = damaged[-1, -1] = True
    cover = Cover.over(damaged, (8, 8))
    for i, j in damaged.nonzero().tolist():
        depth = [
            min(i - top, top + 7 - i, j - left, left + 7 - j)
            for top, left in cover.corners
            if top <= i < top + 8 and left <= j < left + 8
        ]
        border = min(i, j, size[0] - 1 - i, size[1] - 1 - j)
        assert max(depth) >= min(2, border)
    for top, left in cover.corners:
        assert 0 <= top <= size[0] - 8 and 0 <= left <= size[1] - 8
        assert bool(damaged[top : top + 8, left : left + 8].any())


def test_groups_are_the_boxes_of_neighbouring_damage():
    damaged = marked(40, 40, (2, 3), (5, 6), (30, 30), (33, 28))
    assert sorted(find_groups(damaged, (8, 8))) == [(2, 5, 3, 6), (30, 33, 28, 30)]
    with pytest.raises(Misuse, match="marks nothing"):
        Cover.over(marked(9, 9), (8, 8))


def test_packing_and_unpacking():
    cover = Cover.over(marked(20, 33, (17, 4), (3, 30)), (8, 8))
    x = normal(2, 3, 20, 33)
    packed = cover.pack(x)
    assert packed.shape == (2, 3, 1, 128)
    blank = cover.unpack(packed, torch.zeros(1, 3, 20, 33))
    covered = blank[0, 0] != 0
    assert covered.sum() == 128 and covered[17, 4] and covered[3, 30] and not covered[10, 20]
    assert torch.equal(blank[..., covered], x[..., covered])
    assert torch.equal(cover.unpack(packed, x), x)
    box = cover.cut_out()
    assert torch.equal(box.pack(x[..., *cover.box]), packed)
    assert box.canvas == tuple(side.stop - side.start for side in cover.box)


def test_the_velocity_is_that_of_the_same_windows_on_the_canvas():
    damaged = marked(30, 41, (3, 3), (9, 12), (12, 17), (25, 36))
    flow = cover_damage(Flow(mixing, (3, 8, 8)), damaged)
    cover = flow.velocity.covers[0]
    assert len(cover.corners) > 3 and flow.shape == (3, 1, len(cover.index))
    x, t = normal(2, 3, 30, 41), torch.tensor([0.2, 0.7])
    whole = WindowedVelocity(mixing, (8, 8), cover.corners)(x, t)
    assert_close(flow.velocity(cover.pack(x), t), cover.pack(whole), rtol=1e-5, atol=1e-6)


def test_a_hole_has_the_same_answer_in_a_picture_of_any_size():
    """The same pixels around it, the same seed: the same filling, wherever it lies and whatever else there is."""
    flow = Flow(mixing, (3, 16, 16), range=(-1, 1))
    patch, fillings = 0.3 * normal(1, 3, 40, 40), []
    for height, width, top, left in ((40, 40, 0, 0), (60, 90, 11, 37)):
        x = 0.3 * normal(1, 3, height, width, seed=5)
        x[..., top : top + 40, left : left + 40] = patch
        hole = torch.zeros(height, width, dtype=torch.bool)
        hole[top + 18 : top + 24, left + 15 : left + 25] = True
        options = RecipeOptions(gradients=3)
        done = restore(ImageTask(Inpaint(~hole), x, 0.05, (height, width)), flow, [4], options=options)
        fillings.append(done.images[..., hole])
        assert len(done.problem.flow.velocity.covers[0].corners) == 2
    assert_close(fillings[1], fillings[0])


def test_a_picture_narrower_than_a_window():
    flow = Flow(mixing, (3, 16, 16), range=(-1, 1))
    x = 0.2 * normal(2, 3, 9, 50)
    hole = marked(9, 50, (4, 20), (5, 21))
    options = RecipeOptions(gradients=2)
    done = restore(ImageTask(Inpaint(~hole), x, 0.0, (9, 50)), flow, [0, 1], options=options)
    assert done.images.shape == x.shape and torch.equal(done.images[..., ~hole], x.clamp(-1, 1)[..., ~hole])
    assert done.region[0] == slice(0, 9) and done.crop(done.result.x1).shape[-2:] == (9, 16)
    assert bool((done.rms(done.images) < 1e-6).all())


def a_hole(height=40, width=56):
    hole = torch.zeros(height, width, dtype=torch.bool)
    hole[18:24, 15:25] = True
    return hole


def test_a_transposed_picture_is_filled_too():
    """Its strides are those of its transpose, so that a flattened picture is a copy."""
    flow, hole, x = Flow(mixing, (3, 16, 16), range=(-1, 1)), a_hole(), 0.2 * normal(1, 3, 56, 40)
    options, images = RecipeOptions(gradients=2), []
    for y in (x.mT, x.mT.contiguous()):
        images.append(restore(ImageTask(Inpaint(~hole), y, 0.0, (40, 56)), flow, [0], options=options).images)
    assert torch.equal(*images) and not torch.equal(images[0][..., hole], x.mT[..., hole])


def test_each_sample_is_shown_in_its_own_picture():
    flow, hole, y = Flow(mixing, (3, 16, 16), range=(-1, 1)), a_hole(), 0.2 * normal(2, 3, 40, 56)
    options = RecipeOptions(gradients=2)
    done = restore(ImageTask(Inpaint(~hole), y, 0.0, (40, 56)), flow, [0, 1], options=options)
    rows, columns = done.region
    unsolved = torch.ones(40, 56, dtype=torch.bool).flatten()
    unsolved[done.problem.flow.velocity.covers[0].index] = False
    beside = unsolved.reshape(40, 56)[rows, columns]
    assert torch.equal(done.crop(done.result.x1)[..., beside], done.images[..., rows, columns][..., beside])


def test_different_masks_are_refused_where_they_would_disturb_each_other():
    flow, x = Flow(mixing, (3, 16, 16), range=(-1, 1)), 0.2 * normal(2, 3, 40, 56)
    masks = torch.stack([~a_hole(), ~a_hole().roll(9, 1)])[:, None]
    with pytest.raises(Misuse, match="one by one"):
        restore(ImageTask(Inpaint(masks), x, 0.0, (40, 56)), flow, [0, 1])
    same = Inpaint(masks[:1].expand(2, -1, -1, -1))
    options = RecipeOptions(gradients=2)
    together = restore(ImageTask(same, x, 0.0, (40, 56)), flow, [3, 7], options=options)
    alone = restore(ImageTask(Inpaint(masks[:1]), x[1:], 0.0, (40, 56)), flow, [7], options=options)
    assert_close(together.images[1:], alone.images, rtol=0, atol=1e-4)


def test_a_watched_flow_keeps_its_cover():
    flow, hole, y = Flow(mixing, (3, 16, 16), range=(-1, 1)), a_hole(), 0.2 * normal(1, 3, 40, 56)
    task = ImageTask(Inpaint(~hole), y, 0.0, (40, 56))
    problem = task.pose(flow)
    watched = replace(problem, flow=watch_flow(problem.flow, lambda: None))
    assert task.finish(watched.solve([0]).x1, watched).shape == y.shape


def test_all_of_a_large_picture_may_be_damaged():
    cover = Cover.over(torch.ones(400, 300, dtype=torch.bool), (64, 64))
    assert len(cover.index) == 400 * 300 and cover.box == (slice(0, 400), slice(0, 300))
