"""Layers that move: what a rendering shows, and the law of what is seen."""

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.flows.layers import Scene, arrange_layers

FORMS = torch.zeros(3, 4, 5, dtype=torch.bool)
FORMS[0] = True
FORMS[1, 1:3, 1:3] = True
FORMS[2, 0, 0] = True


def flow_of(mean, std=0.5):
    """N(mean, std^2) at every pixel of two channels."""
    law = hw.Gaussian(torch.full((1,), mean), torch.full((1,), std))
    return hw.Flow(lambda x, t: law.velocity(x.reshape(-1, 1), t).reshape(x.shape), (2, 4, 5))


def test_a_rendering_shows_the_topmost_layer_at_its_new_place():
    layers = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 5)
    picture = Scene(FORMS).render(layers, [(1, 2), (2, 3)])[0, 0]
    expected = torch.zeros(4, 5)
    expected[2:4, 3:5] = 1.0
    expected[2, 3] = 2.0  # the third lies before the second
    assert_close(picture, expected)


def test_pixels_move_with_their_layer_and_leave_at_the_edge():
    layers = torch.randn(2, 3, 2, 4, 5)
    picture = Scene(FORMS).render(layers, [(0, -2), (9, 0)])
    assert_close(picture[:, :, 1:3, 0], layers[:, 1, :, 1:3, 2])
    assert_close(picture[:, :, :, 1:], layers[:, 0, :, :, 1:])


def test_a_rendering_of_noise_is_noise():
    flow = arrange_layers(Scene(FORMS), [(flow_of(0.0), [(0, 0), (0, 0)])])
    layer, pixel = Scene(FORMS).shown([(1, 1), (2, 2)])
    assert len(torch.unique(layer * 20 + pixel)) == 20  # no pixel is shown twice
    assert flow.shape == (3, 2, 4, 5)


def test_the_velocity_is_the_mean_over_the_arrangements_that_show_a_pixel():
    """The background beneath the moved layer is seen once, the layer itself twice; what is unseen stands still."""
    one, two = flow_of(-1.0), flow_of(3.0)
    scene, t = Scene(FORMS[:2]), torch.tensor(0.4)
    flow = arrange_layers(scene, [(one, [(0, 0)]), (two, [(0, 2)])])
    x = torch.randn(2, 2, 2, 4, 5)
    v = flow(x, t)
    a, b = one(x[:, 1], t), two(x[:, 1], t)  # the laws are those of single pixels, wherever they are
    assert_close(v[:, 1, :, 1:3, 1:3], ((a + b) / 2)[..., 1:3, 1:3])
    assert_close(v[:, 1, :, 0], torch.zeros_like(v[:, 1, :, 0]))
    assert_close(v[:, 0, :, 1:3, 1:3], two(x[:, 0], t)[..., 1:3, 1:3])
    assert_close(v[:, 0, :, 0], ((one(x[:, 0], t) + two(x[:, 0], t)) / 2)[..., 0, :])


def test_samples_have_the_law_of_the_flow_in_any_arrangement():
    scene = Scene(FORMS[:2])
    flow = arrange_layers(scene, [(flow_of(2.0), [(0, 0)]), (flow_of(2.0), [(0, 2)])])
    x1 = hw.solve(flow, flow.noise(range(60)), steps=16)
    picture = scene.render(x1, [(0, 1)])  # an arrangement that was not given
    assert abs(float(picture.mean()) - 2) < 0.05 and abs(float(picture.std()) - 0.5) < 0.05


def test_a_pixel_that_was_never_shown_is_noise():
    """The background beneath a layer that never moved."""
    scene = Scene(FORMS[:2])
    flow = arrange_layers(scene, [(flow_of(2.0), [(0, 0)])])
    x0 = flow.noise([0])
    x1 = hw.solve(flow, x0, steps=8)
    assert_close(scene.render(x1, [(0, 2)])[..., 1:3, 1:3], x0[:, 0, :, 1:3, 1:3])


def test_data_per_problem_and_misuse():
    each = hw.Flow(hw.Each(lambda x, t, k: k[:, None, None, None] * x, k=torch.arange(3.0)), (2, 4, 5))
    flow = arrange_layers(Scene(FORMS[:2]), [(each, [(0, 1)])])
    x, t, index = torch.randn(3, 2, 2, 4, 5), torch.tensor(0.5), torch.tensor([2, 0])
    assert_close(flow.select(index)(x[index], t), flow(x, t)[index])
    for make, words in (
        (lambda: Scene(FORMS[1:]), "has holes"),
        (lambda: Scene(FORMS.float()), "float32"),
        (lambda: Scene(FORMS).shown([(0, 0)]), "1 offsets for 3 layers"),
        (lambda: arrange_layers(Scene(FORMS), []), "No arrangement"),
        (
            lambda: arrange_layers(Scene(FORMS), [(hw.Flow(lambda x, t: -x, (2, 4, 4)), [(0, 0)] * 2)]),
            "events",
        ),
    ):
        with pytest.raises(hw.Misuse, match=words):
            make()
