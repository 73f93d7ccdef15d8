"""Starts and priors of x0: blend, shell, inversion diagnostics, chi^d norm, target likelihood."""

import math

import pytest
import torch
from core_laws import F64, gaussian, mixture, normal, root
from torch.testing import assert_close

from headwater import RK4, ChiPrior, Gaussian, Misuse, TargetLikelihood, blend, inversion, shell, solve


def test_blend_limits_and_variance():
    """sqrt(a) y0 + sqrt(1 - a) z: z at a = 0, y0 at a = 1, and a + (1 - a) = 1 keeps unit variance."""
    y0, z = normal(3, 4), normal(3, 4, seed=1)
    assert_close(blend(y0, z, 0.0), z, rtol=0, atol=0)
    assert_close(blend(y0, z, 1.0), y0, rtol=0, atol=0)
    assert_close(blend(y0, z, 0.1), 0.1**0.5 * y0 + 0.9**0.5 * z)
    u, w = normal(1, 100_000), normal(1, 100_000, seed=1)
    assert float(blend(u, w, 0.3).var()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("a", [-0.1, 1.1, float("nan")])
def test_bad_blend_is_refused(a):
    with pytest.raises(Misuse, match="Give 0"):
        blend(normal(1, 2), normal(1, 2), a)


def test_shell():
    """|x0| = sqrt(d) in the same direction; zero stays finite; the Jacobian has no radial part."""
    x = normal(4, 3, 5)
    y = shell(x)
    assert_close(y.flatten(1).norm(dim=1), torch.full((4,), math.sqrt(15), dtype=F64))
    assert_close(torch.cosine_similarity(x.flatten(1), y.flatten(1)), torch.ones(4, dtype=F64))
    assert bool(torch.isfinite(shell(torch.zeros(1, 3))).all())
    assert torch.autograd.gradcheck(shell, normal(2, 3).requires_grad_())
    x = normal(1, 5).requires_grad_()
    (g,) = torch.autograd.grad((shell(x) * normal(1, 5, seed=2)).sum(), x)
    assert float((g * x.detach()).sum()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_chi_prior_is_minus_the_log_density_of_the_norm(weight):
    """|x0|^2 / 2 - (d - 1) ln |x0| + const = -log chi_d(|x0|)."""
    d = 7
    x = normal(5, d)
    r = x.norm(dim=1)
    log_chi = (d - 1) * r.log() - r**2 / 2 - (d / 2 - 1) * math.log(2) - math.lgamma(d / 2)
    constant = (d / 2 - 1) * math.log(2) + math.lgamma(d / 2)
    assert_close(ChiPrior(weight)(x), weight * (-log_chi - constant))


def test_chi_prior_has_its_minimum_at_the_shell():
    """The gradient is x (1 - (d - 1) / |x|^2): inwards outside the shell, outwards inside, zero on it."""
    direction = normal(1, 10)
    direction /= direction.norm()
    x = torch.cat([direction * r for r in (2.0, 3.0, 4.0)]).requires_grad_()
    value = ChiPrior()(x)
    (g,) = torch.autograd.grad(value.sum(), x)
    radial = (g @ direction.T)[:, 0]
    assert_close(radial, torch.tensor([2 - 9 / 2, 0.0, 4 - 9 / 4], dtype=F64), rtol=1e-12, atol=1e-12)
    assert value[1] < value[0] and value[1] < value[2]


def test_chi_prior_on_images_counts_all_axes():
    x = normal(2, 3, 4, 5)
    assert_close(ChiPrior()(x), ChiPrior()(x.flatten(1)), rtol=0, atol=0)


def test_inversion_of_a_draw_is_a_draw():
    """A Gaussian sample inverts to S^(-1/2) (x1 - m); its radius is |y0| / sqrt(d)."""
    law, m, s = gaussian(4)
    x1 = law.sample(range(6))
    found = inversion(law.flow, x1, method=RK4, steps=40)
    exact = (x1 - m) @ torch.linalg.inv(root(s))
    assert_close(found.y0, exact, rtol=1e-4, atol=1e-4)
    assert_close(found.radius, exact.norm(dim=1) / 2, rtol=1e-4, atol=1e-4)
    assert float(found.round_trip.max()) < 1e-4


def test_inversion_tells_what_the_flow_finds_implausible():
    """Ten standard deviations away the radius is 10; few steps show in the round trip."""
    law = Gaussian(torch.zeros(4), torch.full((4,), 0.1))
    found = inversion(law.flow, torch.ones(1, 4, dtype=F64), method=RK4, steps=100)
    assert found.radius.item() == pytest.approx(10, rel=1e-3)
    x1 = mixture(2).sample(range(3))
    trips = [float(inversion(mixture(2).flow, x1, steps=n).round_trip.max()) for n in (3, 24)]
    assert trips[0] > 10 * trips[1]


@pytest.mark.parametrize("probes", [None, 2])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_target_likelihood_of_a_gaussian(probes, weight):
    """-log p1(x1(x0)) = |x0|^2 / 2 + (1/2) log det (2 pi S), and its gradient is x0.

    Deviations on the axes make the Jacobian diagonal, for which one Rademacher probe is exact.
    """
    deviations = torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    prior = TargetLikelihood(Gaussian(normal(3), deviations).flow, weight, probes, method=RK4, steps=30)
    x0 = normal(4, 3, seed=1).requires_grad_()
    value = prior(x0)
    expected = 0.5 * x0.square().sum(1) + deviations.log().sum() + 1.5 * math.log(2 * math.pi)
    assert_close(value, weight * expected, rtol=1e-4, atol=1e-4)
    assert_close(torch.autograd.grad(value.sum(), x0)[0], weight * x0.detach(), rtol=1e-4, atol=1e-4)


def test_target_likelihood_of_a_mixture():
    """Value and gradient of -log p1(x1(x0)), the gradient against finite differences of the closed form."""
    law, x0 = mixture(2), normal(3, 2).requires_grad_()
    prior = TargetLikelihood(law.flow, probes=None, method=RK4, steps=60)
    exact = -law.log_density(solve(law.flow, x0, method=RK4, steps=60))
    assert_close(prior(x0), exact, rtol=2e-4, atol=2e-4)
    (g,), (g_exact,) = (torch.autograd.grad(c.sum(), x0) for c in (prior(x0), exact))
    assert_close(g, g_exact, rtol=1e-2, atol=1e-2)


def test_target_likelihood_does_not_depend_on_the_batch():
    prior, x0 = TargetLikelihood(mixture(4).flow, probes=1), normal(3, 4)
    alone = torch.cat([prior(x0[i : i + 1]) for i in range(3)])
    assert_close(prior(x0), alone, rtol=1e-10, atol=1e-10)
