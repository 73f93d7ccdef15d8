"""Inversions that close: coupled steps to rounding, fixed points to a tolerance; and where they do not."""

import math

import pytest
import torch

import headwater as hw
from headwater.solvers import METHODS, Pair, Reversible, invert_dual_conditional, invert_fixed_point
from headwater.solvers.fixed_point import mix

F64 = torch.float64


@pytest.fixture(scope="module")
def rough():
    """A velocity that is far from linear, with steps far too long for it."""
    return hw.Flow(lambda x, t: torch.sin(5 * x) * 3 + x.roll(1, -1) - t, (3,))


@pytest.fixture(scope="module")
def law():
    means = torch.tensor([[-2.0, 0.0], [2.0, 1.0]])
    return hw.GaussianMixture([0.4, 0.6], means, torch.tensor([0.4, 0.7]))


def points(count, d, dtype=F64):
    return torch.randn(count, d, generator=torch.Generator().manual_seed(0), dtype=F64).to(dtype)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_a_reversible_solve_goes_back_to_rounding_on_any_velocity(rough, method):
    solver, x1 = Reversible(method, steps=5, coupling=0.9), points(4, 3)
    source = solver.invert(rough, x1)
    back = solver.solve(rough, source)
    assert (source.y - x1).abs().max() > 0.5  # it has gone somewhere
    torch.testing.assert_close(back.y, x1, rtol=0, atol=1e-8)
    torch.testing.assert_close(back.z, x1, rtol=0, atol=1e-8)
    forth = solver.invert(rough, solver.solve(rough, x1))
    torch.testing.assert_close(forth.y, x1, rtol=0, atol=1e-8)
    plain = hw.solve(rough, hw.invert(rough, x1, method=method, steps=5), method=method, steps=5)
    assert (plain - x1).abs().max() > 1e-2


def test_half_of_the_pair_does_not_close(rough):
    solver, x1 = Reversible(steps=5, coupling=0.9), points(4, 3)
    assert (solver.solve(rough, solver.invert(rough, x1).y).y - x1).abs().max() > 1e-3


def test_float32_closes_to_its_own_rounding(law):
    x1 = law.sample(range(8)).float()
    back = Reversible(steps=12).solve(law.flow, Reversible(steps=12).invert(law.flow, x1))
    assert back.y.dtype == torch.float32 and 0 < (back.y - x1).abs().max() < 1e-5


@pytest.mark.parametrize("method, order", [(hw.EULER, 1), (hw.MIDPOINT, 2), (hw.RK4, 4)])
def test_a_reversible_solve_has_the_order_of_its_method(method, order):
    law = hw.Gaussian(torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.5]))
    x0 = points(3, 2)
    steps = (8, 16, 32)
    errors = [
        (Reversible(method, n, 0.99).solve(law.flow, x0).y - law.endpoint(x0)).norm().item() for n in steps
    ]
    slope = (math.log(errors[0]) - math.log(errors[-1])) / math.log(4)
    assert order - 0.3 < slope < order + 1.6  # the midpoint rule gains one on this flow


def test_a_reversible_solve_differentiates_and_counts(law):
    calls = []
    flow = hw.Flow(lambda x, t: calls.append(1) or law.velocity(x, t), (2,))
    solver = Reversible(hw.HEUN, steps=[0.0, 0.2, 1.0])
    x0 = points(2, 2).requires_grad_()
    solver.solve(flow, x0).y.sum().backward()
    assert x0.grad.abs().min() > 0 and len(calls) == solver.evaluations == 8
    assert len(solver.trajectory(flow, points(1, 2))) == 3


@pytest.mark.parametrize("method", [hw.EULER, hw.MIDPOINT], ids=lambda m: m.name)
def test_a_fixed_point_inverts_the_very_solve(law, method):
    x0 = points(5, 2)
    x1 = hw.solve(law.flow, x0, method=method, steps=10)
    found = invert_fixed_point(law.flow, x1, method=method, steps=10, tolerance=1e-10, iterations=60)
    assert bool(found.converged.all())
    torch.testing.assert_close(found.y0, x0, rtol=0, atol=1e-7)
    plain = hw.invert(law.flow, x1, method=method, steps=10)
    assert (plain - x0).abs().max() > 1e-4
    torch.testing.assert_close(found.states[-1], x1)
    assert len(found.states) == 11


def test_on_a_diffusion_path_too():
    law = hw.Gaussian(torch.tensor([1.0]), torch.tensor([0.5]), hw.VP())
    x1 = law.sample(range(4))
    found = invert_fixed_point(law.flow, x1, steps=30, tolerance=1e-9, iterations=50)
    torch.testing.assert_close(hw.solve(law.flow, found.y0, method=hw.DDIM, steps=30), x1, atol=1e-5, rtol=0)


def test_it_says_where_it_does_not_converge_and_keeps_the_rest():
    # One Euler step is x' = x - 3 x^2, which is 1/12 at most: 1 has no state before it.
    flow = hw.Flow(lambda x, t: -3 * x.square(), (1,))
    found = invert_fixed_point(flow, torch.tensor([[1.0], [-1.0]], dtype=F64), method=hw.EULER, steps=1)
    assert found.converged.tolist() == [False, True] and found.residual[0] > 0.5
    assert bool(torch.isfinite(found.y0).all())
    alone = invert_fixed_point(flow, torch.tensor([[-1.0]], dtype=F64), method=hw.EULER, steps=1)
    torch.testing.assert_close(found.y0[1:], alone.y0, rtol=0, atol=0)
    assert found.evaluations[1] == alone.evaluations[0] < found.evaluations[0] == 20


def test_anderson_converges_where_the_plain_iteration_does_not():
    # h L = 1.5: the plain iteration x <- x1 - 1.5 x diverges; two differences solve a linear equation in 1-d at once.
    flow = hw.Flow(lambda x, t: 1.5 * x, (1,))
    x1 = torch.ones(1, 1, dtype=F64)
    plain = invert_fixed_point(flow, x1, method=hw.EULER, steps=1, memory=0)
    mixed = invert_fixed_point(flow, x1, method=hw.EULER, steps=1, tolerance=1e-9)
    assert not plain.converged[0] and mixed.converged[0]
    assert mixed.evaluations[0] <= 5 and mixed.y0.item() == pytest.approx(0.4, abs=1e-8)


def test_mixing_repeated_iterates_stays_finite():
    x = torch.ones(2, 3)
    assert bool(torch.isfinite(mix([(x, 0 * x), (x, 0 * x), (x, 0 * x)])).all())


def test_a_velocity_of_nan_is_not_called_converged():
    flow = hw.Flow(lambda x, t: x * torch.nan, (2,))
    found = invert_fixed_point(flow, torch.ones(1, 2))
    assert found.converged.tolist() == [False] and found.residual.tolist() == [math.inf]


def test_refusals(law):
    flow = law.flow
    for call in (
        lambda: Reversible(coupling=0.0),
        lambda: Reversible(coupling=float("nan")),
        lambda: Reversible(steps=[1.0, 0.0]),
        lambda: Reversible().invert(flow, torch.ones(1, 3)),
        lambda: Reversible().solve(flow, Pair(torch.ones(1, 2), torch.ones(1, 2).half())),
        lambda: invert_fixed_point(flow, torch.ones(2)),
        lambda: invert_fixed_point(flow, torch.ones(1, 2), iterations=0),
        lambda: invert_fixed_point(flow, torch.ones(1, 2), tolerance=0.0),
        lambda: invert_fixed_point(flow, torch.ones(1, 2), steps=0),
    ):
        with pytest.raises(hw.Misuse):
            call()


# Dual-conditional inversion


def test_without_a_pull_it_is_the_fixed_point_inversion(law):
    x1 = law.sample(range(4))
    settings = {"steps": 8, "iterations": 60, "tolerance": 1e-11}
    found, plain = (
        invert_dual_conditional(law.flow, x1, pull=0.0, **settings),
        invert_fixed_point(law.flow, x1, **settings),
    )
    assert bool(found.converged.all()) and found.residual.max() < 1e-10
    torch.testing.assert_close(found.y0, plain.y0, rtol=0, atol=1e-8)


def test_an_unlimited_pull_noises_x1_by_the_reference(law):
    flow = hw.GaussianMixture([0.4, 0.6], law.means, torch.tensor([0.4, 0.7]), hw.VP()).flow
    x1, r = law.sample(range(3)), points(3, 2)
    found = invert_dual_conditional(flow, x1, reference=r, pull=math.inf, steps=5)
    for state, t in zip(found.states, hw.uniform_grid(5), strict=True):
        time = torch.tensor(t, dtype=F64).clamp(*flow.path.span) if t < 1 else torch.tensor(1.0, dtype=F64)
        torch.testing.assert_close(state, flow.path.interpolate(r, x1, time), rtol=0, atol=1e-6)


def test_the_pulled_states_of_a_gaussian_in_closed_form_and_what_they_miss():
    mean, s, pull, n = 0.5, 0.75, 0.1, 6
    flow, x1 = hw.Gaussian(torch.tensor([mean]), torch.tensor([s])).flow, torch.tensor([[3.0]], dtype=F64)
    settings = {"pull": pull, "steps": n, "iterations": 60, "tolerance": 1e-12}
    found = invert_dual_conditional(flow, x1, reference=torch.full_like(x1, 50.0), **settings)
    x = 3.0  # far below the reference, as all the noise
    for k in reversed(range(n)):
        t, t_next = k / n, (k + 1) / n
        gain = (1 - t) / (t**2 * s**2 + (1 - t) ** 2)  # eps = gain (x - t m)
        if k:  # x = c x' + (1 - c) (gain (x - t m) + pull), and sigma - c sigma' = 1 - c
            c = t / t_next
            x = (c * x + (1 - c) * (pull - gain * t * mean)) / (1 - (1 - c) * gain)
        else:  # x' = x + h v(x, 0) = x + h (m - x)
            x = (x - mean / n) / (1 - 1 / n)
        assert found.states[k].item() == pytest.approx(x, abs=1e-9)
    assert found.residual.item() == pytest.approx(pull)  # pull / k at t = k / n
    assert bool(found.converged) and not invert_fixed_point(flow, x1, steps=n).residual > 1e-5


def test_a_dual_conditional_problem_does_not_know_its_batch(law):
    x1 = law.sample(range(3))
    every = invert_dual_conditional(law.flow, x1, pull=0.2, steps=6)
    alone = invert_dual_conditional(law.flow, x1[1:2], pull=0.2, steps=6)
    torch.testing.assert_close(every.y0[1:2], alone.y0, rtol=0, atol=1e-12)
    assert every.evaluations[1] == alone.evaluations[0] and every.residual[1] == pytest.approx(
        float(alone.residual)
    )


@pytest.mark.parametrize(
    "given",
    [{"pull": -0.1}, {"pull": math.nan}, {"reference": torch.zeros(1, 2)}, {"iterations": 0}, {"steps": 0}],
)
def test_a_dual_conditional_inversion_refuses(law, given):
    with pytest.raises(hw.Misuse):
        invert_dual_conditional(law.flow, law.sample(range(3)), **given)
