"""The fixed-grid solve: orders of accuracy, grids, discretisation, inversion, Theorem 4.2, torchdiffeq."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from core_laws import F64, Counted, gaussian, jacobian, mixture, normal, slope, time
from torch.testing import assert_close
from torchdiffeq import odeint

from headwater import (
    DDIM,
    EULER,
    HEUN,
    MIDPOINT,
    RK4,
    VP,
    BetaTable,
    Cosine,
    Flow,
    Gaussian,
    Misuse,
    invert,
    solve,
    solve_adaptive,
    uniform_grid,
)
from headwater.solvers import DOPRI5, METHODS, reverse_grid

ORDERS = [
    (EULER, 1, (20, 40, 80)),
    (MIDPOINT, 2, (20, 40, 80)),
    (HEUN, 2, (20, 40, 80)),
    (RK4, 4, (8, 16, 32)),
    (DDIM, 1, (20, 40, 80)),
]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)


@pytest.mark.parametrize(("method", "order", "counts"), ORDERS, ids=lambda m: getattr(m, "name", ""))
def test_order_on_a_gaussian(method, order, counts):
    """Regression slope of log error on the VP path from t = 0.3 to 0.9, inside, where it is smooth.

    (On Cond-OT the midpoint rule is of order 3 for Gaussians: there |x - t m|^2 is a quadratic of t.)
    """
    assert method.order == order
    law, _, _ = gaussian(3, VP())
    x = normal(4, 3)
    exact = law.endpoint(x, 0.3, 0.9)
    errors = [
        float((solve(law.flow, x, method=method, steps=uniform_grid(n, 0.3, 0.9)) - exact).norm())
        for n in counts
    ]
    assert slope(counts, errors) == pytest.approx(order, abs=0.2)


def test_order_of_dormand_prince():
    """dx/dt = 3 x: the pair is of orders 5 and 4; its nodes integrate t^k, k < order; last stage FSAL."""
    flow, x = Flow(lambda x, t: 3 * x, (1,)), torch.ones(1, 1, dtype=F64)
    exact, counts = time(3.0).exp(), (16, 32, 64, 128)
    hat = replace(DOPRI5, b=tuple(b - e for b, e in zip(DOPRI5.b, DOPRI5.b_error, strict=True)))
    for method, order in ((DOPRI5, 5), (hat, 4)):
        errors = [abs(float(solve(flow, x, method=method, steps=n) - exact)) for n in counts]
        assert slope(counts, errors) == pytest.approx(order, abs=0.2)
        for k in range(order):
            moment = sum(b * c**k for b, c in zip(method.b, method.c, strict=True))
            assert moment == pytest.approx(1 / (k + 1), abs=1e-14)
    assert DOPRI5.a[-1] == DOPRI5.b[:-1] and DOPRI5.c[-1] == pytest.approx(1, abs=1e-14)


@cache
def backwards():
    """A mixture, states at t = 0.9, and where they come from at 0.05."""
    law, x = mixture(2), normal(4, 2)
    return law, x, solve_adaptive(law.flow, x, start=0.9, end=0.05, rtol=1e-12, atol=1e-12).x


@pytest.mark.parametrize(("method", "order", "counts"), ORDERS, ids=lambda m: getattr(m, "name", ""))
def test_order_on_a_mixture_backwards(method, order, counts):
    """The same slopes for a non-linear flow from t = 0.9 to 0.05, against a fine adaptive solve."""
    law, x, exact = backwards()
    counts = [2 * n for n in counts]
    errors = [
        float((solve(law.flow, x, method=method, steps=uniform_grid(n, 0.9, 0.05)) - exact).norm())
        for n in counts
    ]
    assert slope(counts, errors) == pytest.approx(order, abs=0.2)


@every_method
def test_a_method_calls_the_field_as_often_as_it_says(method):
    law, _, _ = gaussian(2, Cosine())
    counted = Counted(law.velocity)
    solve(Flow(counted, (2,), Cosine()), normal(3, 2), method=method, steps=(0.0, 0.3, 0.5, 0.65, 0.8, 0.9))
    assert counted.sizes == [3] * (5 * method.evaluations)


@every_method
def test_times_per_problem_step_like_scalar_times(method):
    law, _, _ = gaussian(2)
    x, t, t_next = (
        normal(3, 2),
        torch.tensor([0.1, 0.3, 0.8], dtype=F64),
        torch.tensor([0.2, 0.1, 0.9], dtype=F64),
    )
    together = method.step(law.flow, law.path, x, t, t_next)
    alone = [method.step(law.flow, law.path, x[i : i + 1], t[i], t_next[i]) for i in range(3)]
    assert_close(together, torch.cat(alone), rtol=1e-14, atol=1e-14)


# dflow.md section 2: numeric / exact map of N(0, s^2) under the midpoint rule.
TABLE = {0.5: (0.993, 0.998, 0.999, 1.0), 0.1: (0.67, 0.88, 0.93, 1.0), 0.05: (0.38, 0.60, 0.69, 0.999)}


@pytest.mark.parametrize("s", TABLE)
def test_discretisation_of_narrow_gaussians(s):
    flow = Gaussian(torch.zeros(1), torch.tensor([s])).flow
    for steps, expected in zip((3, 5, 6, 50), TABLE[s], strict=True):
        ratio = solve(flow, torch.ones(1, 1, dtype=F64), steps=steps).item() / s
        assert ratio == pytest.approx(expected, abs=0.005 if s < 0.5 else 0.0006)


@pytest.mark.parametrize("path", [VP(), BetaTable.linear(1000)], ids=["vp", "table"])
def test_ddim_reaches_the_data_where_the_velocity_is_infinite(path):
    """sigma' is infinite at t = 1; DDIM does not evaluate there and converges to the endpoint map."""
    law, _, _ = gaussian(3, path)
    x0 = normal(4, 3)
    exact = law.endpoint(x0)
    errors = [float((solve(law.flow, x0, method=DDIM, steps=n) - exact).abs().max()) for n in (50, 100, 200)]
    assert errors[2] < 0.05
    assert slope((50, 100, 200), errors) == pytest.approx(1, abs=0.2)


def test_ddim_is_exact_for_a_point_mass():
    """p1 = delta(m): xhat is constant, so one exponential step is the whole flow."""
    m = normal(3)
    flow = Flow.from_denoiser(lambda x, t: m + 0 * x, (3,), VP())
    x0 = normal(2, 3, seed=1)
    assert_close(solve(flow, x0, method=DDIM, steps=1), m.expand(2, 3))
    middle = solve(flow, x0, method=DDIM, steps=[0.0, 0.6])
    a, b = VP().alpha(torch.tensor([0.0, 0.6], dtype=F64)), VP().sigma(torch.tensor([0.0, 0.6], dtype=F64))
    assert_close(middle, a[1] * m + b[1] * (x0 - a[0] * m) / b[0])


@every_method
def test_a_grid_is_the_sequence_of_its_pieces(method):
    law, x = mixture(2), normal(3, 2)
    whole = solve(law.flow, x, method=method, steps=[0.0, 0.1, 0.35, 0.4, 0.95])
    for piece in ([0.0, 0.1], [0.1, 0.35, 0.4], [0.4, 0.95]):
        x = solve(law.flow, x, method=method, steps=piece)
    assert_close(whole, x, rtol=0, atol=0)


def test_grids():
    assert uniform_grid(4) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert uniform_grid(3, 0.9, 0.3)[-1] == 0.3
    assert reverse_grid((0.0, 0.2, 1.0)) == (1.0, 0.2, 0.0)
    x = normal(2, 2)
    assert_close(
        solve(mixture(2).flow, x, steps=6), solve(mixture(2).flow, x, steps=uniform_grid(6)), rtol=0, atol=0
    )


@pytest.mark.parametrize(
    "steps",
    [0, -3, [], [0.5], [0.0, 0.0, 1.0], [0.0, 0.6, 0.5, 1.0], [0.0, math.nan, 1.0], [0.0, 1.5], [-0.1, 1.0]],
)  # fmt: skip
def test_bad_grids_are_refused(steps):
    with pytest.raises(Misuse, match=r"\. Give"):
        solve(mixture(2).flow, normal(1, 2), steps=steps)


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 2, 1)])
def test_x0_of_another_shape_is_refused(shape):
    with pytest.raises(Misuse, match="first axis is the problem"):
        solve(mixture(2).flow, normal(*shape))


def test_inversion_round_trip():
    """solve after invert is the identity up to the method's error, which falls with its order."""
    law, x1 = mixture(2), mixture(2).sample(range(4))
    errors = [
        float((solve(law.flow, invert(law.flow, x1, steps=n), steps=n) - x1).norm()) for n in (16, 32, 64)
    ]
    assert errors[-1] < 0.02 and slope((16, 32, 64), errors) > 1.8
    y0 = solve_adaptive(law.flow, x1, start=1.0, end=0.0, rtol=1e-10, atol=1e-10).x
    back = solve_adaptive(law.flow, y0, rtol=1e-10, atol=1e-10).x
    assert_close(back, x1, rtol=1e-7, atol=1e-7)


def test_inversion_of_a_gaussian_is_the_inverse_root():
    law, _, _ = gaussian(3)
    x0 = normal(4, 3)
    assert_close(invert(law.flow, law.endpoint(x0), method=RK4, steps=64), x0, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("ours", "theirs"), [(EULER, "euler"), (MIDPOINT, "midpoint"), (HEUN, "heun2")])
def test_fixed_steps_are_those_of_torchdiffeq(ours, theirs):
    law, x = mixture(2), normal(3, 2)
    grid = torch.linspace(0, 1, 7, dtype=F64)
    expected = odeint(lambda t, z: law.velocity(z, t), x, grid, method=theirs)[-1]
    assert_close(solve(law.flow, x, method=ours, steps=grid.tolist()), expected, rtol=1e-12, atol=1e-12)


def test_theorem_4_2():
    """d x1 / d x0 = sigma_1 T-exp integral (1/2) snr' Var[x1 | x_t] dt, in the limit t -> 1.

    Cond-OT up to T = 0.9: snr' / 2 = t / (1 - t)^3, and D_T = (sigma_T / sigma_0) P, P being the product of
    the exponentials of the integrand over 400 intervals (second order in their length): agreement to 1e-3.
    """
    law, x, end, n = mixture(2), normal(3, 2), 0.9, 400
    direct = jacobian(lambda z: solve(law.flow, z, method=RK4, steps=uniform_grid(100, 0.0, end)), x)
    h = end / n
    product = torch.eye(2, dtype=F64).expand(3, 2, 2)
    state = x
    for i in range(n):
        t, middle = time(i * h), time((i + 0.5) * h)
        state = MIDPOINT.step(law.flow, law.path, state, t, middle)
        half_slope = middle / (1 - middle) ** 3
        product = torch.matrix_exp(h * half_slope * law.posterior_covariance(state, middle)) @ product
        state = MIDPOINT.step(law.flow, law.path, state, middle, time((i + 1) * h))
    assert_close((1 - end) * product, direct, rtol=1e-3, atol=1e-3)


def test_theorem_4_2_limit_for_a_gaussian():
    """In the limit t -> 1 the product is S^(1/2): sigma_t (1 + s^2 t^2 / (1 - t)^2)^(1/2) -> s."""
    s = 0.3
    t = torch.linspace(0, 0.9999, 1_000_001, dtype=F64)
    variance = s**2 * (1 - t) ** 2 / (t**2 * s**2 + (1 - t) ** 2)
    integral = torch.trapezoid(t / (1 - t) ** 3 * variance, t)
    assert float((1 - t[-1]) * integral.exp()) == pytest.approx(s, rel=1e-4)
