"""FOCUS on laws whose answer is known: two subjects at two places, Gaussians that differ by a shift."""

import math

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.optimizers.status import Status
from headwater.recipes.composition import FOCUS
from headwater.recipes.composition.focus import change_map, measure_overlap, overlap_gradient

F64 = torch.float64
LEFT, RIGHT, NONE = (3.0, 0.0), (0.0, 3.0), (0.0, 0.0)


def law(*means, calls=None):
    """A flow of events [2 subjects, 2 places]: narrow modes at these means, each of both subjects."""
    n = len(means)
    mixture = hw.GaussianMixture([1 / n] * n, torch.tensor(means), torch.full((n,), 0.3))

    def velocity(x, t):
        if calls is not None:
            calls.append(len(x))
        return mixture.velocity(x.flatten(1), t).reshape(x.shape)

    return hw.Flow(velocity, (2, 2))


BASE, ONE, TWO = law(NONE + NONE), law(LEFT + NONE, RIGHT + NONE), law(NONE + LEFT, NONE + RIGHT)
SCENE = law(LEFT + LEFT, LEFT + RIGHT, RIGHT + LEFT, RIGHT + RIGHT)


def draw(weight, count=300, steps=30, **more):
    return FOCUS(weight, steps=steps, **more)([ONE, TWO], range(count), base=BASE, scene=SCENE)


def test_subjects_that_share_a_place_half_of_the_time_are_kept_apart_and_nothing_else_changes():
    shares = {}
    for weight in (0.0, 5.0, 40.0):
        x1 = draw(weight).x1
        places = x1.argmax(2)
        shares[weight] = float((places[:, 0] == places[:, 1]).double().mean())
        # Each subject is still at either place half of the time, within three standard errors.
        assert_close(
            places.double().mean(0), torch.full((2,), 0.5, dtype=F64), atol=3 * 0.5 / math.sqrt(300), rtol=0
        )
    assert abs(shares[0.0] - 0.5) < 0.09 and 0.1 < shares[5.0] < 0.35 and shares[40.0] < 0.08
    modes = torch.tensor([LEFT + RIGHT, RIGHT + LEFT]).reshape(2, 2, 2)
    near = (x1[:, None] - modes).flatten(2).norm(dim=2).amin(1)
    assert near.median() < 1.0  # the samples are still at the modes of the scene: their own spread is 0.6


def test_the_control_lowers_the_cost_that_it_is_to_minimise():
    weight, steps = 5.0, 60

    def total(found):
        return found.energy + weight * found.overlap.mean(0)

    plain = FOCUS(1e-12, until=1.0, steps=steps)([ONE, TWO], range(200), base=BASE, scene=SCENE)
    controlled = draw(weight, 200, steps, until=1.0)
    assert plain.energy.max() < 1e-20
    gain = total(plain) - total(controlled)
    assert gain.mean() > 4 * gain.std() / math.sqrt(200) and gain.mean() > 0.2


def test_a_step_is_that_of_the_velocity_less_the_gradient_of_the_overlap():
    weight, t = 3.0, 0.3
    x = SCENE.noise(range(3)).to(F64)
    f, slope = overlap_gradient([ONE, TWO], BASE, x, torch.tensor(t, dtype=F64))

    def overlap(x):
        base = BASE(x, torch.tensor(t))
        p = [((flow(x, torch.tensor(t)) - base) ** 2).sum(1) for flow in (ONE, TWO)]
        p = [q / q.sum(1, keepdim=True) for q in p]
        middle = (p[0] + p[1]) / 2
        jsd = sum((q * (q / middle).log()).sum(1) for q in p) / 2
        return 1 - jsd / math.log(2)

    assert_close(f, overlap(x), atol=1e-4, rtol=0)  # the floor of a map is a millionth
    h = 1e-5
    for i in range(4):
        e = torch.zeros(4, dtype=F64).scatter(0, torch.tensor(i), h).reshape(1, 2, 2)
        assert_close(
            slope.flatten(1)[:, i], (overlap(x + e) - overlap(x - e)) / (2 * h), atol=2e-4, rtol=1e-3
        )
    # One step from t = 0 to 1: x0 + v(x0, 0) - weight grad f(x0, 0).
    found = FOCUS(weight, steps=[0.0, 1.0])([ONE, TWO], range(3), base=BASE, scene=SCENE, dtype=F64)
    slope = overlap_gradient([ONE, TWO], BASE, x, torch.tensor(0.0, dtype=F64))[1]
    assert_close(found.x1, x + SCENE(x, torch.tensor(0.0)) - weight * slope)
    assert_close(found.energy, (weight * slope).flatten(1).square().sum(1) / 2)


def test_a_shift_of_a_gaussian_has_the_same_places_everywhere_and_so_no_control():
    spread = torch.full((3,), 0.7)
    base, one, two = (
        hw.Gaussian(torch.tensor(m), spread).flow for m in ([0.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 2.0])
    )
    scene = hw.Gaussian(torch.ones(3), spread)
    found = FOCUS(50.0, until=1.0, steps=20)([one, two], range(4), base=base, scene=scene.flow, dtype=F64)
    p = torch.tensor([[[0.8, 0.2, 0.0], [0.0, 0.2, 0.8]]], dtype=F64)  # 2^2, 1 and 0 of 5
    assert_close(found.overlap, measure_overlap(p).expand(20, 4), atol=1e-4, rtol=0)
    assert measure_overlap(p).item() == pytest.approx(0.2)
    assert found.energy.max() < 1e-6
    assert_close(found.x1, hw.solve(scene.flow, scene.flow.noise(range(4)).to(F64), method=hw.DDIM, steps=20))


def test_subjects_that_lie_apart_or_are_the_same_are_left_as_they_are():
    plain = hw.solve(SCENE, SCENE.noise(range(5)), method=hw.DDIM, steps=12)
    left, right = law(LEFT + NONE), law(NONE + RIGHT)
    for flows, overlap in (([left, right], 0.0), ([ONE, ONE], 1.0), ([BASE, BASE], 1.0)):
        found = FOCUS(40.0, steps=12)(flows, range(5), base=BASE, scene=SCENE)
        assert_close(found.x1, plain, atol=2e-3, rtol=0)
        assert_close(found.overlap[0], torch.full((5,), overlap, dtype=F64), atol=1e-4, rtol=0)
    assert bool((draw(0.0, 5, 12).x1 == plain).all())


def test_a_map_sums_over_channels_and_needs_none():
    change = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
    assert_close(change_map(change), torch.tensor([[10 / 14, 4 / 14]], dtype=F64), atol=1e-5, rtol=0)
    assert_close(change_map(change[:, 0]), torch.tensor([[0.2, 0.8]], dtype=F64), atol=1e-5, rtol=0)


def test_a_problem_does_not_know_its_batch_and_its_calls_are_counted():
    calls = {name: [] for name in ("base", "one", "two", "scene")}
    base, one = law(NONE + NONE, calls=calls["base"]), law(LEFT + NONE, RIGHT + NONE, calls=calls["one"])
    two = law(NONE + LEFT, NONE + RIGHT, calls=calls["two"])
    scene = law(LEFT + LEFT, RIGHT + RIGHT, calls=calls["scene"])
    every = FOCUS(steps=10)([one, two], [5, 6, 7], base=base, scene=scene)
    assert {name: len(found) for name, found in calls.items()} == {"base": 5, "one": 5, "two": 5, "scene": 10}
    assert every.evaluations == 25 and every.gradients == 15
    alone = FOCUS(steps=10)([one, two], [6], base=base, scene=scene)
    assert_close(alone.x1[0], every.x1[1])
    assert_close(alone.energy[0], every.energy[1])
    assert every.overlap.isnan().all(1).tolist() == [False] * 5 + [True] * 5
    assert every.x1.dtype == torch.float32 and not every.x1.requires_grad


def test_a_sample_that_breaks_is_told_and_the_others_go_on():
    broken = SCENE.noise([6])[0, 0, 0]

    def velocity(x, t):
        v = SCENE(x, t)
        return torch.where((x[:, :1, :1] == broken), torch.nan, v) if float(t) == 0 else v

    found = FOCUS(steps=6)([ONE, TWO], [5, 6, 7], base=BASE, scene=hw.Flow(velocity, (2, 2)))
    assert found.status == (Status.COMPUTED, Status.DIVERGED, Status.COMPUTED)
    plain = FOCUS(steps=6)([ONE, TWO], [5, 6, 7], base=BASE, scene=SCENE)
    assert_close(found.x1[::2], plain.x1[::2])


class FirstPlace:
    """Events [2, 2] that are 0 at the second place."""

    def project(self, x):
        return x * torch.tensor([1.0, 0.0]).to(x)

    def select(self, index):
        return self


def test_the_control_keeps_to_the_support_of_the_scene():
    scene = hw.Flow(lambda x, t: 0 * x, (2, 2), support=FirstPlace())
    found = FOCUS(40.0, steps=8)([ONE, TWO], range(4), base=BASE, scene=scene, dtype=F64)
    x0 = scene.noise(range(4)).to(F64)
    slope = overlap_gradient([ONE, TWO], BASE, x0, torch.tensor(0.25, dtype=F64))[1]
    assert slope[..., 1].abs().max() > 1e-3  # the gradient itself leaves it
    assert bool((found.x1[..., 1] == 0).all()) and (found.x1 - x0).abs().max() > 0.1


@pytest.mark.parametrize(
    "given",
    [
        {"weight": -1.0},
        {"weight": math.nan},
        {"until": 0.0},
        {"until": 1.1},
        {"steps": 0},
        {"steps": [0.2, 1.0]},
        {"steps": [0.0, 0.8]},
    ],
)
def test_refusals_of_settings(given):
    with pytest.raises(hw.Misuse):
        FOCUS(**given)


def test_refusals():
    other = hw.Gaussian(torch.zeros(2), torch.ones(2)).flow
    for flows, base in (([ONE], BASE), ([ONE, other], BASE), ([ONE, TWO], other)):
        with pytest.raises(hw.Misuse):
            FOCUS(steps=4)(flows, [0], base=base, scene=SCENE)
