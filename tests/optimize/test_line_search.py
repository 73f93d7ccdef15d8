"""The line search: the strong Wolfe conditions at every accepted step, the cubic, brackets and limits."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.optimizers import LBFGS, RUNNING, StrongWolfe
from headwater.optimizers.line_search import Point, Search, begin_search, cubic_minimum


def smooth(seed, d):
    """A random smooth function that is bounded from below, with many wiggles."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(d, d, dtype=torch.float64, generator=generator)
    w = 3 * torch.randn(4, d, dtype=torch.float64, generator=generator)
    scale = 10 ** (4 * torch.rand((), dtype=torch.float64, generator=generator) - 2)

    def f(x):
        return scale * (0.5 * (x @ a.T).pow(2).sum(-1) + (x @ w.T).sin().sum(-1) + 0.01 * x.pow(4).sum(-1))

    return f, torch.randn(4, d, dtype=torch.float64, generator=generator)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([(1e-4, 0.9), (1e-3, 0.3)]))
def test_every_accepted_step_satisfies_the_strong_wolfe_conditions(seed, d, constants):
    c1, c2 = constants
    f, x0 = smooth(seed, d)
    optimizer = LBFGS(tolerance=1e-6, wolfe=StrongWolfe(c1, c2, max_evaluations=60))
    state = optimizer.init(x0)
    for _ in range(60):
        x = state.trial.clone().requires_grad_()
        value = f(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        new = optimizer.step(state, value, gradient)
        for row in torch.nonzero(new.accepted & (state.code == RUNNING) & ~state.fresh)[:, 0]:
            s = new.x[row] - state.x[row]
            before, after = s @ state.gradient[row], s @ new.gradient[row]
            rounding = 1e-14 * state.value[row].abs()
            assert new.value[row] <= state.value[row] + c1 * before + rounding  # (3.7a)
            assert after.abs() <= -c2 * before * (1 + 1e-9) + 1e-15 * state.value[row].abs()  # (3.7b)
        state = new
    assert ((state.code != RUNNING) | (state.iterations > 3)).all()


def line(f, alpha):
    alpha = torch.as_tensor(alpha, dtype=torch.float64).requires_grad_()
    phi = f(alpha)
    (dphi,) = torch.autograd.grad(phi.sum(), alpha)
    return alpha.detach(), phi.detach(), dphi


def search(f, alpha, wolfe=None, longest=torch.inf, resolution=0.0):
    """The steps tried, and the last verdict."""
    wolfe = wolfe or StrongWolfe()
    _, phi, dphi = line(f, [0.0])
    packed = begin_search(phi, dphi, *(torch.full_like(phi, v) for v in (alpha, longest, resolution)))
    tried = []
    while True:
        step = Search.unpack(packed).step
        tried.append(step.item())
        verdict = wolfe.judge(packed, *line(f, step)[1:], noise=0.0)
        if verdict.accept or verdict.exhausted:
            return tried, verdict
        packed = verdict.search


def number(low, high):
    return st.floats(low, high, allow_subnormal=False)  # torch flushes them in these tests


@given(number(0.2, 3.0), number(-2.0, 2.0), number(0.0, 0.9), number(1.1, 2.0))
@settings(max_examples=50, deadline=None)
def test_the_cubic_is_exact_on_cubics(curvature, at, a, b):
    def f(x):  # the minimum is at `at`
        u = x - at
        return 0.5 * curvature * u**2 + 0.02 * curvature * u**3

    points = [Point(*line(f, [alpha])) for alpha in (a, b)]
    for p, q, begun, end in ((*points, a, b), (*points[::-1], b, a)):
        fraction = cubic_minimum(p, q)
        assert begun + fraction.item() * (end - begun) == pytest.approx(at, abs=1e-6)


def test_a_cubic_without_minimum_is_nan():
    p, q = (Point(*line(lambda x: -x - x**3, [a])) for a in (0.0, 1.0))
    assert torch.isnan(cubic_minimum(p, q)).all()


@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_a_step_of_any_length_leads_to_the_minimum(alpha):
    tried, verdict = search(lambda a: (a - 1) ** 2 + 0.1 * (a - 1) ** 4, alpha, StrongWolfe(c2=0.1))
    assert verdict.accept and abs(tried[-1] - 1) < 0.2 and len(tried) < 20


def test_extension_is_bounded_and_the_bracket_shrinks():
    tried, _ = search(lambda a: -a + 0 * a, 1.0, StrongWolfe(max_evaluations=8))  # no lower bound
    # A straight line satisfies the slope condition nowhere; an extension is 1 to 9 times the one before.
    extensions = [b - a for a, b in zip([0.0, *tried], tried, strict=False)]
    assert all(1 - 1e-9 <= b / a <= 9 + 1e-9 for a, b in itertools.pairwise(extensions))


def test_not_finite_means_too_long():
    for bad in (torch.nan, torch.inf, -torch.inf):

        def f(a, bad=bad):
            return torch.where(a < 0.01, (a - 0.009) ** 2, torch.full_like(a, bad))

        tried, verdict = search(f, 10.0)
        assert verdict.accept and tried[-1] < 0.01


def test_a_limit_is_accepted_where_the_cost_still_falls():
    tried, verdict = search(lambda a: (a - 10) ** 2, 0.1, StrongWolfe(c2=0.1), longest=0.5)
    assert verdict.accept and tried[-1] == 0.5


def test_exhausted_at_the_resolution_and_after_the_last_evaluation():
    def kink(a):  # no step satisfies the slope condition
        return (a - 0.3).abs()

    tried, verdict = search(kink, 1.0, StrongWolfe(max_evaluations=9))
    assert len(tried) == 9 and verdict.exhausted and not verdict.accept
    assert 0 < verdict.lo < 0.6 and verdict.phi_lo < 0.3
    tried, verdict = search(kink, 1.0, StrongWolfe(max_evaluations=50), resolution=1e-3)
    assert len(tried) < 30 and verdict.exhausted and abs(verdict.lo.item() - 0.3) < 2e-3


def test_settings_that_cannot_work_are_misuse():
    for bad in ({"c1": 0.0}, {"c2": 1.0}, {"c1": 0.5, "c2": 0.4}, {"max_evaluations": 1}):
        with pytest.raises(Misuse):
            StrongWolfe(**bad)
