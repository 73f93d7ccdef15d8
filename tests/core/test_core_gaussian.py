"""The closed-form flows against quadrature, finite differences and Proposition 4.1 of D-Flow."""

import pytest
import torch
from core_laws import F64, covariance, gaussian, jacobian, mixture, normal, root, time
from torch.testing import assert_close

from headwater import VP, BetaTable, CondOT, Cosine, Gaussian, GaussianMixture, Misuse

PATHS = [CondOT(), VP(), Cosine(), BetaTable.linear(1000)]
every_path = pytest.mark.parametrize("path", PATHS, ids=["condot", "vp", "cosine", "table"])
INNER = [0.1003, 0.5003, 0.9003]


@every_path
@pytest.mark.parametrize("t", INNER)
def test_velocity_is_the_slope_of_the_endpoint_map(path, t):
    """d/dt endpoint(x0, 0 -> t) = v(x_t, t)."""
    law, _, _ = gaussian(3, path)
    x0, h = normal(4, 3), 1e-5
    difference = (law.endpoint(x0, 0.0, t + h) - law.endpoint(x0, 0.0, t - h)) / (2 * h)
    assert_close(law.velocity(law.endpoint(x0, 0.0, t), time(t)), difference, rtol=1e-5, atol=1e-6)


def test_endpoint_is_the_root_of_the_covariance():
    """Cond-OT: x1 = m + S^(1/2) x0."""
    law, m, s = gaussian(4)
    x0 = normal(5, 4)
    assert_close(law.endpoint(x0), m + x0 @ root(s))


def test_endpoint_on_vp_carries_the_law_at_zero():
    """alpha_0 != 0: N(alpha_0 m, alpha_0^2 S + sigma_0^2) goes to N(m, S), so the map is not S^(1/2)."""
    law, m, s = gaussian(3, VP())
    a, b = VP().alpha(time(0.0)), VP().sigma(time(0.0))
    j = jacobian(law.endpoint, normal(1, 3))[0]
    assert_close(j @ (a**2 * s + b**2 * torch.eye(3, dtype=F64)) @ j.T, s)
    assert_close(law.endpoint((a * m)[None])[0], m)
    assert float((j - root(s)).abs().max()) > 1e-6


def test_endpoint_maps_compose_and_invert():
    law, _, _ = gaussian(3, Cosine())
    x0 = normal(2, 3)
    assert_close(law.endpoint(law.endpoint(x0, 0.0, 0.3), 0.3, 1.0), law.endpoint(x0))
    assert_close(law.endpoint(law.endpoint(x0), 1.0, 0.0), x0)


@every_path
@pytest.mark.parametrize("t", INNER)
def test_denoiser_is_the_posterior_mean(path, t):
    """E[x1 | x_t = x] by quadrature: integral x1 p1(x1) N(x; alpha x1, sigma^2) / integral of the same."""
    law = GaussianMixture(
        [0.6, 0.4], torch.tensor([[-1.0], [1.5]], dtype=F64), torch.tensor([0.3, 0.7]), path
    )
    x1 = torch.linspace(-12, 12, 200_001, dtype=F64)
    x = torch.tensor([[-1.2], [0.1], [2.0]], dtype=F64)
    a, b = path.alpha(time(t)), path.sigma(time(t))
    log_w = law.log_density(x1[:, None]) - 0.5 * ((x - a * x1) / b) ** 2
    w = torch.softmax(log_w, dim=1)
    mean = w @ x1
    assert_close(law.denoise(x, time(t))[:, 0], mean, rtol=1e-8, atol=1e-8)
    variance = w @ x1**2 - mean**2
    assert_close(law.posterior_covariance(x, time(t))[:, 0, 0], variance, rtol=1e-7, atol=1e-8)


@every_path
@pytest.mark.parametrize("t", [0.2003, 0.5003, 0.8003])
def test_proposition_4_1(path, t):
    """d xhat / dx = (alpha / sigma^2) Var[x1 | x_t = x], on three components with full covariances."""
    law, x = mixture(3, path), normal(5, 3, seed=4)
    a, b = path.alpha(time(t)), path.sigma(time(t))
    j = jacobian(lambda z: law.denoise(z, time(t)), x)
    assert_close(j, a / b**2 * law.posterior_covariance(x, time(t)), rtol=1e-9, atol=1e-9)


@every_path
@pytest.mark.parametrize("t", [0.2003, 0.8003])
def test_mixture_velocity_denoiser_and_score_agree(path, t):
    """v gives xhat, and -eps / sigma is the gradient of log p_t."""
    law, x, s = mixture(2, path), normal(5, 2, seed=4).requires_grad_(), time(t)
    v = law.velocity(x, s)
    score = torch.autograd.grad(law.log_density(x, t).sum(), x)[0]
    assert_close(path.xhat_from_v(x, v, s), law.denoise(x, s))
    assert_close(path.score_from_v(x, v, s).detach(), score, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_continuity_equation(t):
    """dp/dt + div(p v) = 0, that is d log p / dt = -div v - v . grad log p."""
    law, h = mixture(2), 1e-5
    x = normal(6, 2, seed=3).requires_grad_()
    times = (max(t - h, 0.0), min(t + h, 1.0))
    low, high = (law.log_density(x.detach(), s) for s in times)
    mid = sum(times) / 2
    v = law.velocity(x, time(mid))
    score = torch.autograd.grad(law.log_density(x, mid).sum(), x)[0]
    div = torch.diagonal(jacobian(lambda z: law.velocity(z, time(mid)), x), dim1=1, dim2=2).sum(1)
    assert_close(
        (high - low) / (times[1] - times[0]), (-div - (v * score).sum(1)).detach(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_density_integrates_to_one(t):
    law = GaussianMixture([2.0, 6.0], torch.tensor([[-1.0], [1.5]], dtype=F64), torch.tensor([0.2, 0.5]))
    x = torch.linspace(-12, 12, 40_001, dtype=F64)
    assert torch.trapezoid(law.log_density(x[:, None], t).exp(), x).item() == pytest.approx(1.0, abs=1e-10)


def test_density_is_torchs():
    law, m, s = gaussian(3)
    x = normal(5, 3)
    assert_close(law.log_density(x), torch.distributions.MultivariateNormal(m, s).log_prob(x))


def test_a_mixture_of_one_is_its_gaussian_and_spreads_agree():
    """Deviations [d] and the covariance diag(deviations^2) are the same law."""
    m, dev = normal(3), torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    a, b = Gaussian(m, dev), Gaussian(m, torch.diag(dev**2))
    x, t = normal(4, 3), time(0.37)
    assert_close(a.velocity(x, t), b.velocity(x, t))
    assert_close(a.posterior_covariance(x, t), b.posterior_covariance(x, t))


def test_samples_have_the_mean_and_covariance():
    """4000 samples: errors of the moments within 5 standard errors; each depends on its own seed only."""
    law = mixture(2)
    x = law.sample(range(4000))
    second = torch.einsum("kde,ke,kfe->kdf", law.basis, law.eigenvalues, law.basis)
    w = law.log_weights.exp()
    mean = w @ law.means
    cov = (w[:, None, None] * (second + law.means[:, :, None] * law.means[:, None, :])).sum(0)
    cov = cov - mean[:, None] * mean[None]
    assert float((x.mean(0) - mean).abs().max()) < 5 * float(cov.diagonal().max() / 4000) ** 0.5
    assert float((torch.cov(x.T) - cov).abs().max()) < 0.15 * float(cov.diagonal().max())
    assert_close(law.sample([3, 17])[1], law.sample([17])[0], rtol=0, atol=0)


def test_float32_in_float32_out():
    law, x = mixture(2), normal(3, 2)
    t = time(0.4)
    assert law.velocity(x.float(), t).dtype == torch.float32
    assert_close(law.velocity(x.float(), t).to(F64), law.velocity(x, t), rtol=1e-5, atol=1e-5)


def test_disagreeing_shapes_are_refused():
    with pytest.raises(Misuse, match="Give weights"):
        GaussianMixture([0.5, 0.5], normal(3, 2), torch.ones(3))
    with pytest.raises(Misuse):
        GaussianMixture([0.5, -0.5], normal(2, 2), covariance(2).expand(2, 2, 2))
