"""`control`: the optimum that it finds."""

import math

import pytest
import torch
from core_laws import F64, SmallNet, gaussian, normal
from problems import half_square, quadratic
from torch.testing import assert_close

from headwater import (
    LBFGS,
    RK4,
    Adam,
    Checkpoint,
    ChiPrior,
    Direct,
    Flow,
    GradientDescent,
    Misfit,
    Status,
    TargetLikelihood,
    control,
    shell,
    solve,
)


def test_map_of_a_linear_gaussian_problem_is_the_posterior_mean():
    """p1 = N(m, S), y = A x1 + noise: argmin |A x1(x0) - y|^2 / (2 s^2) + |x0|^2 / 2 has

    x1 = m + S A^T (A S A^T + s^2 I)^-1 (y - A m), because x1 = m + S^(1/2) x0.
    """
    law, m, s = gaussian(4)
    a, y, sigma = normal(2, 4, seed=3), normal(3, 2, seed=4), 0.3
    gain = s @ a.T @ torch.linalg.inv(a @ s @ a.T + sigma**2 * torch.eye(2, dtype=F64))
    result = control(
        law.flow,
        Misfit(lambda x: x @ a.T, y, sigma),
        law.flow.noise([0, 1, 2], dtype=F64),
        prior=half_square,
        method=RK4,
        steps=40,
    )
    assert_close(result.x1, m + (y - m @ a.T) @ gain.T, rtol=1e-5, atol=1e-5)
    assert all(s.ok or s is Status.STALLED for s in result.status)


def test_without_prior_the_start_decides_what_was_not_measured():
    """The iterates stay in x0 + range(S^(1/2) A^T): the projection of the start, not the posterior mean."""
    law, m, s = gaussian(4)
    a, y, x0 = normal(2, 4, seed=3), normal(3, 2, seed=4), normal(3, 4, seed=5)
    result = control(law.flow, Misfit(lambda x: x @ a.T, y, 1.0), x0, method=RK4, steps=40)
    half = torch.linalg.eigh(s)
    b = a @ half.eigenvectors @ torch.diag(half.eigenvalues.sqrt()) @ half.eigenvectors.T
    nearest = x0 + (y - m @ a.T - x0 @ b.T) @ torch.linalg.pinv(b).T
    assert_close(result.x0, nearest, rtol=1e-4, atol=1e-4)


def test_mode_of_the_target_likelihood_is_the_source_origin():
    """-log p1(x1(x0)) alone is least where x1 is the mean of a Gaussian, x0 = 0."""
    law, m, _ = gaussian(3)
    prior = TargetLikelihood(law.flow, probes=None, method=RK4, steps=12)
    result = control(law.flow, lambda x1: 0 * x1.sum(1), normal(2, 3), prior=prior, method=RK4, steps=12)
    assert_close(result.x1, m.expand(2, 3), rtol=1e-3, atol=1e-3)


def test_chi_prior_alone_ends_on_its_shell():
    result = control(gaussian(9)[0].flow, lambda x1: 0 * x1.sum(1), 3 * normal(2, 9), prior=ChiPrior())
    assert_close(result.x0.norm(dim=1), torch.full((2,), math.sqrt(8), dtype=F64), rtol=1e-6, atol=1e-6)


def test_shell_constraint_holds_throughout():
    """x0 has norm sqrt(d) in every result, and the gradient has no radial part at the optimum."""
    law, _, _ = gaussian(5)
    target = 3 * normal(5, seed=6)
    result = control(law.flow, quadratic(target), normal(3, 5), constraint=shell, method=RK4)
    assert_close(result.x0.norm(dim=1), torch.full((3,), math.sqrt(5), dtype=F64), rtol=1e-12, atol=0)
    x0 = result.x0.clone().requires_grad_()
    (g,) = torch.autograd.grad(quadratic(target)(solve(law.flow, x0, method=RK4)).sum(), x0)
    tangent = g - (g * result.x0).sum(1, keepdim=True) / 5 * result.x0
    assert float((tangent.norm(dim=1) / g.norm(dim=1)).max()) < 1e-4
    assert_close(solve(law.flow, result.x0, method=RK4), result.x1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "optimizer", [LBFGS(), Adam(lr=0.3), GradientDescent(lr=0.2, momentum=0.5)], ids=repr
)
def test_every_optimiser_finds_the_target(optimizer):
    law, target = gaussian(2)[0], normal(2, seed=6)
    result = control(law.flow, quadratic(target), normal(2, 2), optimizer=optimizer, gradients=250)
    assert_close(result.x1, target.expand(2, 2), rtol=0, atol=1e-3)


@pytest.mark.parametrize("strategy", [Direct(), Checkpoint(), Checkpoint(4), None], ids=repr)
def test_the_gradient_strategy_changes_nothing(strategy):
    flow, x0 = Flow(SmallNet(), (2, 3, 3)), normal(2, 2, 3, 3)
    cost = lambda x1: x1.square().flatten(1).sum(1)  # noqa: E731
    reference = control(flow, cost, x0, gradients=6, gradient=Direct())
    result = control(flow, cost, x0, gradients=6, gradient=strategy)
    assert_close(result.x0, reference.x0, rtol=1e-9, atol=1e-9)


def test_float32():
    law, _, _ = gaussian(3)
    target = normal(3, seed=6).float()
    result = control(law.flow, quadratic(target), law.flow.noise([0, 1]))
    assert result.x0.dtype == result.x1.dtype == torch.float32 and result.cost.dtype == F64
    assert_close(result.x1, target.expand(2, 3), rtol=0, atol=1e-3)
