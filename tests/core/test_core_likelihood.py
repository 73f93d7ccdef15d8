"""log p1 by the change of variables, against closed forms; Hutchinson's estimate; bits per dimension."""

import math

import pytest
import torch
from core_laws import F64, gaussian, mixture, normal
from torch.testing import assert_close

from headwater import Flow, Gaussian, GaussianMixture, Misuse, TargetLikelihood, log_likelihood, uniform_grid
from headwater.solvers import bits_per_dimension
from headwater.solvers.likelihood import divergence


def test_gaussian_with_full_covariance():
    law, m, s = gaussian(4)
    x1 = law.sample(range(5))
    logp, x0 = log_likelihood(law.flow, x1, steps=40)
    assert_close(logp, torch.distributions.MultivariateNormal(m, s).log_prob(x1), rtol=1e-5, atol=1e-5)
    assert_close(x0, law.endpoint(x1, 1.0, 0.0), rtol=1e-5, atol=1e-5)


def test_mixture():
    law = mixture(2)
    x1 = torch.cat([law.sample(range(6)), 2 * normal(2, 2)])
    logp, _ = log_likelihood(law.flow, x1, steps=80)
    assert_close(logp, law.log_density(x1), rtol=1e-4, atol=1e-4)


def test_it_integrates_to_one():
    law = GaussianMixture([0.4, 0.6], torch.tensor([[-1.0], [1.0]], dtype=F64), torch.tensor([0.4, 0.3]))
    x = torch.linspace(-6, 6, 601, dtype=F64)
    logp, _ = log_likelihood(law.flow, x[:, None], steps=48)
    assert torch.trapezoid(logp.exp(), x).item() == pytest.approx(1, abs=1e-4)


def test_hutchinson_is_exact_for_diagonal_jacobians():
    """z^T D z = trace D for signs z: one probe is as good as all products."""
    law = Gaussian(normal(6), torch.tensor([0.3, 0.5, 0.7, 1.0, 1.5, 2.0], dtype=F64))
    x1 = law.sample(range(3))
    assert_close(log_likelihood(law.flow, x1, probes=1)[0], log_likelihood(law.flow, x1)[0])


def test_hutchinson_is_unbiased():
    """The mean over 400 probes is the exact divergence within 5 standard errors, and one probe is not."""
    law, x, t = mixture(5), normal(2, 5), torch.tensor(0.7, dtype=F64)
    z = torch.randint(0, 2, (400, 1, 5), generator=torch.Generator().manual_seed(0)).to(F64) * 2 - 1
    z = z.expand(-1, 2, -1)
    exact = divergence(law.flow, x, t, None, graph=False)[1]
    estimates = torch.stack([divergence(law.flow, x, t, p[None], graph=False)[1] for p in z])
    error = (estimates.mean(0) - exact).abs() / (estimates.std(0) / 20)
    assert float(error.max()) < 5 and float(estimates.std(0).min()) > 0.01
    many = divergence(law.flow, x, t, z, graph=False)[1]
    assert_close(many, estimates.mean(0))


def test_probes_depend_on_the_seed_only():
    """A batch of k gives what k runs of one give, with Hutchinson too."""
    law, x1 = mixture(5), normal(3, 5)
    together = log_likelihood(law.flow, x1, probes=2, seed=3)[0]
    alone = torch.cat([log_likelihood(law.flow, x1[i : i + 1], probes=2, seed=3)[0] for i in range(3)])
    assert_close(together, alone, rtol=1e-10, atol=1e-10)
    assert float((together - log_likelihood(law.flow, x1, probes=2, seed=4)[0]).abs().min()) > 1e-4


@pytest.mark.parametrize("probes", [None, 3])
def test_gradient_is_the_score(probes):
    """grad log p1 = -S^-1 (x - m); the divergence of a linear flow has none."""
    law, m, s = gaussian(3)
    x1 = law.sample(range(3)).requires_grad_()
    logp, _ = log_likelihood(law.flow, x1, probes=probes, steps=40)
    (score,) = torch.autograd.grad(logp.sum(), x1)
    assert_close(score, -(x1.detach() - m) @ torch.linalg.inv(s), rtol=1e-4, atol=1e-4)
    assert not log_likelihood(law.flow, x1.detach(), probes=probes)[0].requires_grad


def test_gradient_is_the_score_of_a_mixture():
    law = mixture(2)
    x1 = law.sample(range(4)).requires_grad_()
    (score,) = torch.autograd.grad(log_likelihood(law.flow, x1, steps=60)[0].sum(), x1)
    (exact,) = torch.autograd.grad(law.log_density(x1).sum(), x1)
    assert_close(score, exact, rtol=2e-3, atol=2e-3)


def test_partial_grid_gives_the_density_of_x_t():
    """From t = 0.6 back to 0 the same integral is log p_0.6."""
    law, x = mixture(2), normal(4, 2)
    logp, _ = log_likelihood(law.flow, x, steps=uniform_grid(40, 0.0, 0.6))
    assert_close(logp, law.log_density(x, 0.6), rtol=1e-5, atol=1e-5)


def test_image_shapes():
    """v = -x on [2, 2, 2]: x0 = e x1, log p1 = log N(e x1) + 8."""
    x1 = normal(3, 2, 2, 2)
    logp, x0 = log_likelihood(Flow(lambda x, t: -x, (2, 2, 2)), x1)
    flat = math.e * x1.flatten(1)
    assert_close(x0, math.e * x1, rtol=1e-6, atol=1e-6)
    expected = -0.5 * (flat.square().sum(1) + 8 * math.log(2 * math.pi)) + 8
    assert_close(logp, expected, rtol=1e-5, atol=1e-5)


def test_bits_per_dimension():
    """Uniform on [-1, 1] (density 2^-d) cut into 256 bins of 2/256: 8 bits; a narrower law needs fewer."""
    d = 12
    log_p = torch.tensor(-d * math.log(2.0), dtype=F64)
    assert bits_per_dimension(log_p, d, bin_width=2 / 256).item() == pytest.approx(8)
    assert bits_per_dimension(log_p, d).item() == pytest.approx(math.log2(255))
    assert bits_per_dimension(log_p + d * math.log(2.0), d, bin_width=2 / 256).item() == pytest.approx(7)


def test_an_exact_divergence_in_many_dimensions_is_refused():
    with pytest.raises(Misuse, match="Give a number of Hutchinson probes"):
        log_likelihood(Flow(lambda x, t: -x, (1000,)), normal(1, 1000))


def test_the_likelihood_of_a_network_with_attention_can_be_differentiated():
    """Fused attention has no second derivative, and a shipped image model has attention."""

    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(16, 48)

        def forward(self, x, t):
            q, k, v = self.line(x).unflatten(-1, (3, 1, 16)).permute(2, 0, 3, 1, 4)
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)[:, 0] - x

    torch.manual_seed(0)
    flow = Flow(Attention().eval(), (64, 16))
    x0 = flow.noise([0]).requires_grad_()
    (slope,) = torch.autograd.grad(TargetLikelihood(flow, steps=1)(x0).sum(), x0)
    assert bool(slope.isfinite().all()) and float(slope.norm()) > 0
