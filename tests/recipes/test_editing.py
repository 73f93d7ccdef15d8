"""Edits on laws whose answer is known: Gaussians carried to Gaussians, tilted laws, held parts, batches."""

import math

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater import Status
from headwater.recipes.editing import (
    Boundary,
    BoundaryEdit,
    FlowEdit,
    HEdit,
    InversionEdit,
    RewardEdit,
    RFInversion,
    StochasticEdit,
    TrajectoryEdit,
    find_boundary,
)

F64 = torch.float64
HERE = hw.Gaussian(torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.5]))
THERE = hw.Gaussian(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 1.0]))
SHORT = (
    StochasticEdit(steps=8),
    StochasticEdit(noise=1.0, steps=8),
    InversionEdit(steps=8),
    InversionEdit("fixed-point", steps=8),
    InversionEdit("plain", steps=8),
    InversionEdit("dual-conditional", steps=8, pull=0.1),
    FlowEdit(steps=8),
    FlowEdit(average=2, steps=8),
    RFInversion(steps=8),
    RFInversion(noise=0.5, steps=8),
    HEdit(steps=8),
    HEdit(steps=8, guidance=1.5, shift=0.2),
    RewardEdit(steps=8, gradients=4),
    TrajectoryEdit(steps=8, gradients=4),
    BoundaryEdit(Boundary(torch.tensor([1.0, 0.0]), 0.0, 0.3, 1.0), distance=2.0, steps=8),
)
EACH = pytest.mark.parametrize("method", SHORT, ids=lambda m: f"{type(m).__name__}-{SHORT.index(m)}")


def originals(count=4, dtype=F64):
    return HERE.sample(range(count)).to(dtype)


def first(x1):
    return x1[:, 0]


def ask(method, x1, seeds, strength, flow=HERE.flow, target=THERE.flow):
    if isinstance(method, BoundaryEdit):
        return method(flow, x1, seeds, strength=strength)
    if isinstance(method, RewardEdit | TrajectoryEdit):
        return method(flow, x1, seeds, reward=first, strength=strength)
    return method(flow, x1, seeds, target=target, strength=strength)


# What each is exact for


def test_sdedit_by_the_ode_ends_at_the_endpoint_of_the_noised_original():
    x1, t = originals(), 0.4
    xt = t * x1 + (1 - t) * HERE.flow.noise(range(4)).to(F64)
    found = StochasticEdit(steps=120)(HERE.flow, x1, range(4), target=THERE.flow, strength=0.6)
    assert_close(found.x1, THERE.endpoint(xt, start=t), atol=0.015, rtol=0)
    assert found.evaluations.tolist() == [72] * 4 and not found.on_flow


def test_sdedit_by_the_sde_draws_from_what_the_noised_original_leaves_open():
    n, t = 3000, 0.5
    x1 = torch.tensor([[6.0, 0.0]], dtype=F64).expand(
        n, 2
    )  # six standard deviations from the target's second
    edited = StochasticEdit(noise=1.0, steps=64)(HERE.flow, x1, range(n), target=THERE.flow, strength=0.5).x1
    time = torch.tensor(t)
    mean = THERE.denoise(t * x1[:1], time)[0]
    gain = t / (t * t + (1 - t) ** 2)  # d xhat / d x_t for unit variances
    left = (1 - t) ** 2 / (t * t + (1 - t) ** 2)  # the variance of x1 given x_t
    assert_close(edited.mean(0), mean, atol=0.06, rtol=0)
    assert_close(
        edited.std(0), torch.full((2,), math.sqrt(left + (gain * (1 - t)) ** 2), dtype=F64), atol=0.05, rtol=0
    )


def test_the_sde_forgets_an_unlikely_original_and_the_ode_does_not():
    x1 = torch.tensor([[13.0, 0.0]], dtype=F64).expand(200, 2)  # ten standard deviations
    off = [
        float(StochasticEdit(noise, 128)(THERE.flow, x1, range(200), strength=0.7).x1[:, 0].mean() - 3)
        for noise in (0.0, 1.0)
    ]
    # ODE: sqrt of the ratio of variances; SDE: the gain of the denoiser; both of x_t = 0.3 x1.
    m = 0.3**2 + 0.7**2
    assert off[0] == pytest.approx(0.3 * 10 / math.sqrt(m), rel=0.1)
    assert off[1] == pytest.approx(0.3 * 10 * 0.3 / m, rel=0.12)
    assert off[1] < 0.5 * off[0]


@pytest.mark.parametrize("inversion", ["reversible", "fixed-point", "plain"])
def test_inversion_carries_one_gaussian_to_the_other(inversion):
    x1 = originals()
    edit = InversionEdit(inversion, method=hw.MIDPOINT, steps=24)
    expected = THERE.means[0] + (x1 - HERE.means[0]) / torch.tensor([2.0, 0.5])
    assert_close(
        edit(HERE.flow, x1, range(4), target=THERE.flow, strength=1.0).x1, expected, atol=0.01, rtol=0
    )


def test_without_a_target_the_closing_inversions_return_the_original():
    x1 = originals()
    gaps = {
        name: float(InversionEdit(name, steps=6)(HERE.flow, x1, range(4), strength=1.0).distance.max())
        for name in ("reversible", "fixed-point", "plain")
    }
    assert gaps["reversible"] < 1e-12 and gaps["fixed-point"] < 1e-4 and gaps["plain"] > 1e-2


@pytest.mark.parametrize("steps", [1, 5])
def test_flow_edit_shifts_exactly_between_shifted_laws(steps):
    shifted = hw.Gaussian(HERE.means[0] + torch.tensor([2.0, -3.0]), torch.tensor([2.0, 0.5]))
    x1 = originals()
    found = FlowEdit(steps=steps)(HERE.flow, x1, range(4), target=shifted.flow, strength=1.0)
    assert_close(found.x1 - x1, torch.tensor([[2.0, -3.0]], dtype=F64).expand(4, 2))
    assert found.evaluations.tolist() == [2 * steps] * 4
    assert_close(FlowEdit()(HERE.flow, x1, range(4), strength=1.0).x1, x1)


def controlled_gaussian(eta, s, z0, d, t_end):
    """z at t_end of z' = (1 - eta) (M' / 2M) z + eta (d - z) / (1 - t), M = t^2 s^2 + (1 - t)^2, by quadrature."""
    m = lambda t: t**2 * s**2 + (1 - t) ** 2  # noqa: E731
    t = torch.linspace(0, t_end, 20001, dtype=F64)
    factor = lambda u: m(u) ** ((1 - eta) / 2) * (1 - u) ** eta  # noqa: E731
    drive = torch.trapezoid(eta * d / (1 - t) / factor(t), t)
    return factor(t[-1]) * (z0 + drive)


@pytest.mark.parametrize("eta", [0.3, 0.8])
def test_the_controlled_ode_has_the_closed_solution_of_a_gaussian(eta):
    s, mean, x1 = 0.7, 2.0, 3.5
    law = hw.Gaussian(torch.tensor([mean]), torch.tensor([s]))
    edit = RFInversion(gamma=1.0, eta=eta, steps=500)  # gamma 1: the source point is the draw
    z = law.flow.noise([5]).to(F64)
    found = edit(law.flow, torch.tensor([[x1]], dtype=F64), [5], strength=0.5)
    half = 0.5 * mean + controlled_gaussian(eta, s, z[0, 0], x1 - mean, 0.5)
    assert_close(found.x1, law.endpoint(half.reshape(1, 1), start=0.5), atol=0.015, rtol=0)


def test_the_controls_have_their_ends():
    x1 = originals()
    held = RFInversion(gamma=0.7, eta=1.0, steps=5)
    assert_close(held(HERE.flow, x1, range(4), target=THERE.flow, strength=0.0).x1, x1)
    free = RFInversion(gamma=0.0, eta=0.0, steps=24)
    plain = InversionEdit("plain", steps=24)
    there = plain(HERE.flow, x1, range(4), target=THERE.flow, strength=1.0).x1
    assert_close(free(HERE.flow, x1, range(4), target=THERE.flow, strength=0.3).x1, there)
    late = RFInversion(gamma=0.0, eta=lambda t: 1.0 if t < 0.5 else 0.0, steps=24)
    until = RFInversion(gamma=0.0, eta=1.0, steps=24)
    a = late(HERE.flow, x1, range(4), target=THERE.flow, strength=0.0).x1
    assert_close(a, until(HERE.flow, x1, range(4), target=THERE.flow, strength=0.5).x1)


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_replayed_noise_returns_the_original_in_any_number_of_steps(steps):
    law = hw.GaussianMixture([0.4, 0.6], torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), torch.tensor([0.4, 0.7]))
    x1 = law.sample(range(4))
    assert_close(HEdit(steps=steps)(law.flow, x1, range(4), strength=1.0).x1, x1)


def test_the_h_transform_tilts_a_gaussian_by_a_linear_reward():
    x1, a = originals(), torch.tensor([0.5, -1.0], dtype=F64)
    expected = 2.0 * a * torch.tensor([4.0, 0.25])  # lambda S a
    errors = []
    for steps in (50, 200):
        found = HEdit(weight=2.0, steps=steps)(HERE.flow, x1, range(4), reward=lambda x: x @ a, strength=1.0)
        errors.append(float((found.x1 - x1 - expected).abs().max()))
    assert errors[1] < 0.1 and errors[1] < 0.4 * errors[0]
    assert_close(found.reward, found.x1 @ a)


def test_the_source_point_of_a_real_sample_is_moved_by_the_tilt():
    x1, a = originals(), torch.tensor([0.5, -1.0], dtype=F64)
    edit = RewardEdit(weight=2.0, steps=24, method=hw.MIDPOINT, tolerance=1e-9, gradients=30)
    found = edit(HERE.flow, x1, range(4), reward=lambda x: x @ a, strength=1.0)
    assert_close(found.x1 - x1, (2.0 * a * torch.tensor([4.0, 0.25])).expand(4, 2), atol=0.02, rtol=0)
    assert_close(hw.solve(HERE.flow, found.x0, method=hw.MIDPOINT, steps=24), found.x1)
    assert found.on_flow and bool((found.evaluations > found.gradients * 48).all())
    assert bool((found.residual < 1e-9).all())


def test_what_is_kept_balances_the_reward():
    # min -w x + (x0 - y0)^2 / 2 + keep (x - x1)^2 / 2 with x = 2 x0: x - x1 = 4 w / (1 + 4 keep)
    law = hw.Gaussian(torch.zeros(2), torch.tensor([2.0, 2.0]))
    edit = RewardEdit(weight=1.0, keep=3.0, steps=24, method=hw.MIDPOINT, tolerance=1e-9, gradients=30)
    x1 = torch.tensor([[1.0, -2.0]], dtype=F64)
    found = edit(law.flow, x1, [0], reward=lambda x: x.sum(1), strength=torch.tensor([[1.0, 0.0]]))
    assert_close(found.x1 - x1, torch.tensor([[4.0, 4 / 13]], dtype=F64), atol=0.02, rtol=0)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_trajectory_control_is_that_of_the_linear_case(strength):
    s, a = 0.7, torch.tensor([0.5, -1.0], dtype=F64)
    law = hw.Gaussian(torch.tensor([1.0, 0.0]), torch.tensor([s, s]))
    edit = TrajectoryEdit(weight=2.0, steps=48, tolerance=1e-8)
    x1 = law.sample(range(2))
    found = edit(law.flow, x1, [0, 1], reward=lambda x: x @ a, strength=strength)
    t = torch.linspace(1 - strength, 1, 2001, dtype=F64)
    gain = torch.trapezoid(s**2 / (t**2 * s**2 + (1 - t) ** 2), t)
    assert_close(found.x1 - x1, (2.0 * gain * a).expand(2, 2), atol=0.07, rtol=0)
    assert bool((found.gradients <= 4).all()) and found.nfe_per_gradient == 48


def test_a_boundary_is_found_and_moves_a_gaussian_by_its_gain():
    s, t = 0.7, 0.4
    law = hw.Gaussian(torch.tensor([1.0, 0.0]), torch.tensor([s, s]))
    plane = Boundary(torch.tensor([0.6, 0.8], dtype=F64), 0.1, t, 1.0)
    x1 = law.sample(range(3))
    found = BoundaryEdit(plane, distance=1.5, steps=48)(law.flow, x1, range(3))
    xt = law.endpoint(hw.invert(law.flow, x1, steps=48), end=t)
    move = (1.5 - plane.distance(xt))[:, None] * plane.normal
    gain = s / math.sqrt(t**2 * s**2 + (1 - t) ** 2)
    assert_close(found.x1 - x1, gain * move, atol=2e-3, rtol=0)


def test_the_boundary_of_two_modes_is_that_of_fisher():
    spread = torch.diag(torch.tensor([0.2, 4.0]))
    centre = torch.tensor([1.0, 1.0])
    law = hw.GaussianMixture([0.5, 0.5], torch.stack([-centre, centre]), torch.stack([spread, spread]))
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 400, 2, generator=g, dtype=F64) * torch.tensor([0.2, 4.0]).sqrt()
    plane = find_boundary(law.flow, noise[0] + centre, noise[1] - centre, time=0.999, ridge=1e-9, steps=2)
    fisher = centre / torch.tensor([0.2, 4.0])  # S^-1 (m+ - m-)
    assert float(plane.normal @ (fisher / fisher.norm()).to(F64)) > 0.998
    assert plane.separated > 0.95 and plane.normal.norm() == pytest.approx(1)
    wide = find_boundary(law.flow, noise[0] + centre, noise[1] - centre, time=0.999, ridge=1e9, steps=2)
    mean = (noise[0].mean(0) - noise[1].mean(0)) + 2 * centre
    assert float(wide.normal @ (mean / mean.norm())) > 0.9999


def test_a_ridge_of_nothing_is_fisher_also_with_more_examples_than_entries():
    x = HERE.sample(range(60)).to(F64)
    found = [find_boundary(HERE.flow, x + 1, x, ridge=ridge).normal for ridge in (1e-9, 1e-300)]
    assert_close(found[1], found[0], atol=1e-6, rtol=0)


def test_a_boundary_takes_steps_or_times_and_a_few_examples_at_once():
    sizes = []
    flow = hw.Flow(lambda x, t: sizes.append(len(x)) or HERE.velocity(x, t), (2,))
    x, times = originals(7), hw.uniform_grid(5, 0.4, 1.0)
    planes = [find_boundary(flow, x + 2, x, steps=steps) for steps in (5, times, torch.tensor(times))]
    planes.append(find_boundary(flow, x + 2, x, steps=5, at_once=3))
    for plane in planes:
        assert_close(plane.normal, planes[0].normal, atol=1e-6, rtol=0)
        assert plane.offset == pytest.approx(planes[0].offset, abs=1e-6)
        assert plane.time == 0.4 and plane.evaluations == 14 * 5 * 2
    assert sum(sizes) == 4 * 140 and max(sizes[:30]) == 14 and max(sizes[30:]) == 3
    by_number, by_times = (BoundaryEdit(planes[0], steps=s)(HERE.flow, x, range(7)) for s in (5, times))
    assert_close(by_times.x1, by_number.x1)
    assert by_times.evaluations.tolist() == [20] * 7


def test_by_default_an_edit_goes_as_far_as_the_examples_lie():
    law = hw.Gaussian(torch.zeros(2), torch.ones(2))
    x = law.sample(range(40)).to(F64)
    plane = find_boundary(law.flow, x + 2, x, steps=48)
    found = BoundaryEdit(plane, steps=48)(law.flow, x, range(40))
    at = law.endpoint(hw.invert(law.flow, x + 2, steps=48), end=plane.time)
    assert plane.reach == pytest.approx(float(plane.distance(at).mean()), abs=1e-3)
    after = plane.distance(law.endpoint(hw.invert(law.flow, found.x1, steps=48), end=plane.time))
    assert_close(after, torch.full_like(after, plane.reach), atol=1e-2, rtol=0)


# What all promise


@EACH
def test_a_batch_is_what_its_problems_are_alone(method):
    x1, strength = originals(3), torch.tensor([[0.3, 0.9], [1.0, 1.0], [0.0, 0.5]], dtype=F64)
    every = ask(method, x1, [3, 1, 2], strength)
    for i, seed in enumerate([3, 1, 2]):
        alone = ask(method, x1[i : i + 1], [seed], strength[i : i + 1])
        assert_close(every.x1[i], alone.x1[0], rtol=1e-7, atol=1e-7)
        assert int(every.evaluations[i]) == int(alone.evaluations[0])
    assert_close(every.distance, (every.x1 - x1).square().mean(1).sqrt())


@EACH
def test_float32_stays_float32(method):
    found = ask(method, originals(2, torch.float32), [0, 1], 0.5)
    assert found.x1.dtype == torch.float32 and len(found.status) == 2


NEAR = RewardEdit | RFInversion | TrajectoryEdit | BoundaryEdit
PUT_BACK = [m for m in SHORT if not isinstance(m, NEAR)]


@pytest.mark.parametrize("method", PUT_BACK, ids=lambda m: f"{type(m).__name__}-{SHORT.index(m)}")
def test_a_part_of_strength_0_is_the_original_and_nothing_is_spent_on_a_held_problem(method):
    x1 = originals(2)
    found = ask(method, x1, [0, 1], torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    assert bool((found.x1[:, 0] == x1[:, 0]).all()) and bool((found.x1[1] == x1[1]).all())
    assert bool((found.x1[0, 1] - x1[0, 1]).abs() > 0.1)
    assert int(found.evaluations[1]) < int(found.evaluations[0])


HELD = [m for m in SHORT if not isinstance(m, RFInversion)]


@pytest.mark.parametrize("method", HELD, ids=lambda m: f"{type(m).__name__}-{SHORT.index(m)}")
def test_a_held_problem_is_its_original_and_nothing_is_evaluated_for_it(method):
    calls = []
    count = lambda law: hw.Flow(lambda x, t: calls.append(len(x)) or law.velocity(x, t), (2,))  # noqa: E731
    here, there, x1 = count(HERE), count(THERE), originals(3)
    found = ask(method, x1, [0, 1, 2], 0.0, here, there)
    assert calls == [] and bool((found.x1 == x1).all()) and found.evaluations.tolist() == [0, 0, 0]
    assert found.gradients.tolist() == [0, 0, 0] and set(found.status) == {Status.COMPUTED}
    mixed = ask(method, x1, [0, 1, 2], torch.tensor([[0.0], [0.9], [0.0]], dtype=F64), here, there)
    alone = ask(method, x1[1:2], [1], 0.9, here, there)
    assert mixed.evaluations.tolist() == [0, int(alone.evaluations[0]), 0]
    assert bool((mixed.x1[::2] == x1[::2]).all()) and max(calls) == 1
    assert_close(mixed.x1[1], alone.x1[0], rtol=1e-7, atol=1e-7)
    assert mixed.trace.shape[2] == 3 and mixed.status[1] is alone.status[0]
    assert not mixed.on_flow and mixed.x0[::2].isnan().all()


@pytest.mark.parametrize("method", [RewardEdit(steps=6, gradients=3), TrajectoryEdit(steps=6, gradients=3)])
def test_a_callback_is_told_the_numbers_of_the_whole_batch(method):
    events, x1 = [], originals(3)
    strength = torch.tensor([[1.0], [0.0], [1.0]], dtype=F64)
    method(HERE.flow, x1, range(3), reward=first, strength=strength, callback=lambda e: events.append(e))
    assert events[0].active.tolist() == [0, 2] and events[0].best.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("path", [hw.VP(), hw.Cosine()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("method", SHORT[:-1], ids=lambda m: f"{type(m).__name__}-{SHORT.index(m)}")
def test_it_works_on_other_paths(method, path):
    flow = hw.Gaussian(torch.zeros(1), torch.tensor([1.0]), path).flow
    target = hw.Gaussian(torch.tensor([2.0]), torch.tensor([1.0]), path).flow
    found = ask(method, torch.tensor([[0.3]], dtype=F64), [0], 1.0, flow, target)
    assert bool(torch.isfinite(found.x1).all()) and float(found.distance) > 0.3


def test_a_problem_that_breaks_is_a_status_and_the_original():
    target = hw.Flow(lambda x, t: torch.where(x[:, :1] > 2, torch.nan, 0.0) * x, (2,))
    x1 = torch.tensor([[9.0, 0.0], [0.0, 0.0]], dtype=F64)
    found = StochasticEdit(steps=8)(HERE.flow, x1, [0, 1], target=target, strength=0.3)
    assert found.status == (Status.DIVERGED, Status.COMPUTED) and found.x1[0].tolist() == [9.0, 0.0]


def test_a_control_that_diverges_returns_the_original_too():
    x1 = torch.tensor([[1e20, 0.0], [0.0, 0.0]], dtype=F64)
    flow = hw.Flow(lambda x, t: 1e200 * x.square(), (2,))
    for method in (RewardEdit(steps=4, gradients=2), TrajectoryEdit(steps=4, gradients=2)):
        found = method(flow, x1, [0, 1], reward=first, strength=1.0)
        assert found.status[0] is Status.DIVERGED and found.status[1] is not Status.DIVERGED
        assert found.x1[0].tolist() == [1e20, 0.0] and float(found.distance[0]) == 0
        assert float(found.reward[0]) == 1e20


def test_flow_edit_shifts_by_less_below_strength_1():
    shifted = hw.Gaussian(HERE.means[0] + 2.0, torch.tensor([2.0, 0.5]))
    x1 = originals()
    moved = [
        FlowEdit(steps=20)(HERE.flow, x1, range(4), target=shifted.flow, strength=s).x1 - x1
        for s in (0.5, 0.8)
    ]
    assert bool((moved[0] > 0.1).all() and (moved[0] < moved[1]).all() and (moved[1] < 2).all())


@EACH
def test_refusals(method):
    flow, x1 = HERE.flow, originals(2)
    for bad in (
        lambda: ask(method, x1, [0], 0.5),
        lambda: ask(method, x1 * torch.nan, [0, 1], 0.5),
        lambda: ask(method, x1.half(), [0, 1], 0.5),
        lambda: ask(method, x1[:0], [], 0.5),
        lambda: ask(method, x1, [0, 1], 1.5),
        lambda: ask(method, x1, [0, 1], -0.1),
        lambda: ask(method, x1, [0, 1], float("nan")),
        lambda: ask(method, x1, [0, 1], torch.ones(3, 2)),
        lambda: ask(method, x1, [0, 1], torch.ones(2)),
        lambda: method(flow, x1, [0, 1], target=hw.Flow(flow.velocity, (2,), hw.Cosine()), reward=first),
    ):
        with pytest.raises(hw.Misuse):
            bad()


def test_refusals_of_settings():
    for bad in (
        lambda: StochasticEdit(noise=1.5),
        lambda: StochasticEdit(steps=0),
        lambda: StochasticEdit(steps=[0.5, 0.8, 1.0]),
        lambda: FlowEdit(steps=[0.0, 0.4, 0.8]),
        lambda: HEdit(steps=[0.0, 0.4, 0.8]),
        lambda: InversionEdit(steps=[0.2, 1.0]),
        lambda: RFInversion(steps=[0.2, 1.0]),
        lambda: RewardEdit(steps=[0.2, 1.0]),
        lambda: TrajectoryEdit(steps=[0.0, 0.8]),
        lambda: InversionEdit("exact"),
        lambda: InversionEdit("dual-conditional", method=hw.MIDPOINT),
        lambda: InversionEdit("dual-conditional", pull=-1.0),
        lambda: InversionEdit(coupling=2.0),
        lambda: FlowEdit(average=0),
        lambda: RFInversion(gamma=-0.1),
        lambda: RFInversion(eta=1.2),
        lambda: RFInversion(eta=lambda t: 2 * t),
        lambda: HEdit(weight=0.0),
        lambda: HEdit(noise=0.0),
        lambda: RewardEdit(weight=float("inf")),
        lambda: RewardEdit(keep=-1.0),
        lambda: TrajectoryEdit(weight=-1.0),
        lambda: TrajectoryEdit()(HERE.flow, originals(1), [0]),
        lambda: find_boundary(HERE.flow, originals(2), originals(2)[:0]),
        lambda: find_boundary(HERE.flow, originals(2), originals(2)),
        lambda: find_boundary(HERE.flow, originals(2)[:, :1], originals(2)),
        lambda: find_boundary(HERE.flow, originals(2).numpy(), originals(2)),
        lambda: find_boundary(HERE.flow, originals(2)[0], originals(2)),
        lambda: find_boundary(HERE.flow, originals(2), originals(3) * math.nan),
        lambda: find_boundary(HERE.flow, originals(2).half(), originals(3)),
        lambda: find_boundary(HERE.flow, originals(1) * 0, originals(1) * 0),
        lambda: find_boundary(hw.Flow(lambda x, t: 1e300 * x**9, (2,)), originals(2), originals(3)),
        lambda: BoundaryEdit(Boundary(torch.ones(2), 0.0, 1.0, 1.0)),
        lambda: BoundaryEdit(Boundary(torch.ones(2), 0.0, 0.3, 1.0), distance=math.inf),
        lambda: find_boundary(HERE.flow, originals(2), originals(3), time=1.0),
        lambda: find_boundary(HERE.flow, originals(2), originals(3), steps=[0.0, 1.0]),
        lambda: find_boundary(HERE.flow, originals(2), originals(3), steps=[0.4, 0.9]),
        lambda: find_boundary(HERE.flow, originals(2), originals(3), steps=[1.0, 0.4]),
        lambda: find_boundary(HERE.flow, originals(2), originals(3), steps=2.5),
        lambda: find_boundary(HERE.flow, originals(2), originals(3), at_once=0),
        lambda: BoundaryEdit(Boundary(torch.ones(2), 0.0, 0.3, 1.0), steps=0),
        lambda: BoundaryEdit(Boundary(torch.ones(2), 0.0, 0.3, 1.0), steps=[0.0, 1.0]),
        lambda: BoundaryEdit(Boundary(torch.ones(3), 0.0, 0.3, 1.0))(HERE.flow, originals(1), [0]),
        lambda: RewardEdit()(HERE.flow, originals(1), [0]),
        lambda: HEdit(steps=4)(HERE.flow, originals(1), [0], reward=lambda x: x),
        lambda: StochasticEdit()(HERE.flow, originals(1), [0], reward=first),
    ):
        with pytest.raises(hw.Misuse):
            bad()


def h_move(guidance, shift, steps, s2):
    """How far a law shifted by 1 moves an original by noise maps, from the formulae of the ancestral step."""
    move = 0.0
    for k in range(steps):
        a, a_next = ((1 - shift) * j / steps for j in (k, k + 1))
        b, b_next = 1 - a, 1 - a_next
        noise = b_next * math.sqrt(1 - (a * b_next / (b * a_next)) ** 2)
        kept = math.sqrt(b_next**2 - noise**2)
        gain = a * s2 / (a * a * s2 + b * b)  # d xhat / d x_t; xhat = m + gain (x - a m)
        along = a_next * gain + kept * (1 - a * gain) / b
        mean = a_next * (1 - gain * a) - kept * a * (1 - gain * a) / b
        move = along * move + guidance * mean
    return move


@pytest.mark.parametrize(
    ("guidance", "shift", "steps"), [(1.0, 0.0, 4), (1.7, 0.0, 3), (1.0, 0.3, 4), (1.7, 0.3, 4)]
)
def test_turbo_edit_scales_the_move_and_takes_the_means_of_earlier_times(guidance, shift, steps):
    x1, d = originals(), torch.tensor([2.0, -3.0])
    shifted = hw.Gaussian(HERE.means[0] + d, torch.tensor([2.0, 0.5]))
    edit = HEdit(steps=steps, guidance=guidance, shift=shift)
    found = edit(HERE.flow, x1, range(4), target=shifted.flow, strength=1.0)
    expected = torch.tensor([h_move(guidance, shift, steps, s2) for s2 in (4.0, 0.25)]) * d
    assert_close(found.x1 - x1, expected.to(F64).expand(4, 2), atol=1e-5, rtol=1e-5)
    assert found.evaluations.tolist() == [(2 if guidance == 1 else 3) * steps] * 4
    same = edit(HERE.flow, x1, range(4), strength=1.0)
    assert_close(same.x1, x1)


@pytest.mark.parametrize(
    "given", [{"guidance": 0.0}, {"guidance": math.nan}, {"shift": 1.0}, {"shift": -0.1}]
)
def test_a_guidance_or_shift_out_of_range_is_refused(given):
    with pytest.raises(hw.Misuse, match="is no edit"):
        HEdit(**given)


@pytest.mark.parametrize("method", [RewardEdit(), TrajectoryEdit()], ids=lambda m: type(m).__name__)
def test_an_edit_that_only_a_reward_leads_needs_one_and_takes_no_target(method):
    with pytest.raises(hw.Misuse, match="has no reward"):
        method(HERE.flow, originals(1), [0])
    with pytest.raises(hw.Misuse, match="takes no target"):
        method(HERE.flow, originals(1), [0], reward=first, target=HERE.flow)
