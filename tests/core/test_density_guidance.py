"""Guidance of the log density: its gain and its quantile on laws whose density is known."""

import math

import pytest
import torch
from core_laws import F64, MIXTURE, gaussian, normal, time
from scipy import stats
from torch.testing import assert_close

import headwater as hw
from headwater import CondOT, Gaussian
from headwater.flows.density import chi_square_quantile, guide_density, scale_to_quantile


def test_the_density_of_a_gaussian_rises_by_the_gain():
    law, _, _ = gaussian(4)
    x0, gain = normal(5, 4), torch.tensor([-2.0, -0.5, 0.0, 0.3, 0.6])
    plain = hw.solve(law.flow, x0, method=hw.RK4, steps=60)
    guided = hw.solve(guide_density(law.flow, gain=gain), x0, method=hw.RK4, steps=60)
    room = law.log_density(law.means).item() - law.log_density(plain)  # up to the mode
    assert (room > gain).all()
    assert_close(law.log_density(guided) - law.log_density(plain), gain.double(), atol=1e-2, rtol=0)


def test_the_density_of_a_gaussian_reaches_a_quantile_by_its_gain():
    """What is missing to the quantile of log p1 among draws is the gain."""
    law, _, s = gaussian(6, seed=3)
    x0 = hw.solve(law.flow, law.sample(range(4)), method=hw.RK4, steps=[1.0, 0.8, 0.6, 0.4, 0.2, 0.0])
    top = -0.5 * float(torch.logdet(2 * math.pi * s))
    target = top - 0.5 * stats.chi2.ppf(1 - 0.7, 6)
    now = law.log_density(hw.solve(law.flow, x0, method=hw.RK4, steps=80))
    guided = guide_density(law.flow, gain=target - now)
    reached = law.log_density(hw.solve(guided, x0, method=hw.RK4, steps=80))
    assert_close(reached, torch.full_like(reached, target), atol=2e-2, rtol=0)


@pytest.mark.parametrize("how", [{"gain": 1.5}, {"quantile": 0.8}])
def test_the_rate_of_the_log_density_on_a_mixture_is_the_formula(how):
    """d log p_t / dt along v' is -div v + b, by differences of the exact log-density in time and space."""
    x, t, h = normal(4, 3), 0.4, 1e-5
    guided = guide_density(MIXTURE.flow, **how)
    v = guided(x, time(t))
    ahead, behind = (MIXTURE.log_density(x + s * h * v, t + s * h) for s in (1, -1))
    from headwater.solvers.likelihood import divergence

    _, div = divergence(MIXTURE.flow, x, time(t), None, False)
    # On the straight path alpha'/alpha - sigma'/sigma = 1 / (t (1 - t)).
    b = 1.5 if "gain" in how else math.sqrt(6) * stats.norm.ppf(0.8) / (t * (1 - t))
    assert_close((ahead - behind) / (2 * h), b - div, atol=1e-5, rtol=1e-5)


def test_the_quantile_is_the_papers_scaling_of_the_score():
    x, t, q = normal(3, 3), time(0.7), 0.35
    v = MIXTURE.flow(x, t)
    eps = CondOT().eps_from_v(x, v, t)
    eta = 1 + math.sqrt(2 * 3) * stats.norm.ppf(q) / eps.square().sum(1, keepdim=True)
    assert_close(guide_density(MIXTURE.flow, quantile=q)(x, t), CondOT().v_from_eps(x, eta * eps, t))
    assert_close(guide_density(MIXTURE.flow, quantile=0.5)(x, t), v)
    assert_close(guide_density(MIXTURE.flow, quantile=q)(x, time(0.01)), MIXTURE.flow(x, time(0.01)))


def test_nothing_is_pushed_at_a_mode():
    flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    for how in ({"gain": 1.0}, {"quantile": 0.9}):
        assert_close(guide_density(flow, **how)(torch.zeros(1, 2), torch.tensor(0.5)), torch.zeros(1, 2))


def test_chi_square_quantiles_are_scipys():
    q, d = torch.tensor([1e-6, 0.1, 0.5, 0.9, 1 - 1e-9], dtype=F64), torch.tensor([1.0, 2, 30, 768, 12288])
    for degrees in d:
        assert_close(
            chi_square_quantile(q, degrees),
            torch.tensor(stats.chi2.ppf(q, float(degrees))),
            rtol=1e-6,
            atol=0,
        )


def test_quantiles_near_zero_keep_their_digits():
    """1 - 1e-20 is 1, so the upper tail has to be asked for itself."""
    q = torch.tensor([1e-300, 1e-20, 1e-3, 0.5, 1 - 1e-9], dtype=F64)
    square = scale_to_quantile(normal(5, 100), q).square().sum(1)
    assert_close(square, torch.tensor(stats.chi2.isf(q, 100)), rtol=1e-6, atol=0)


def test_prior_guidance_reaches_the_quantile_on_a_gaussian():
    law, _, s = gaussian(5)
    q = torch.tensor([0.1, 0.5, 0.95])
    x1 = law.endpoint(scale_to_quantile(normal(3, 5), q))
    top = -0.5 * float(torch.logdet(2 * math.pi * s))
    expected = top - 0.5 * torch.tensor(stats.chi2.ppf(1 - q.numpy(), 5))
    assert_close(law.log_density(x1), expected, atol=1e-4, rtol=0)
