"""Flows on a subspace per problem: the source, the solve, gradients, priors and likelihoods stay in it."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from headwater import Flow, Misuse, control, solve
from headwater.dflow.prior import ChiPrior
from headwater.solvers import log_likelihood

N = 6


@dataclass(frozen=True)
class Some:
    """The first `size[i]` entries of problem i, with zero mean."""

    size: Tensor

    @property
    def dimension(self):
        return self.size - 1

    def project(self, x):
        keep = torch.arange(N) < self.size[:, None]
        mean = (x * keep).sum(1, keepdim=True) / self.size[:, None]
        return (x - mean) * keep

    def select(self, index):
        return Some(self.size[index])


@dataclass(frozen=True)
class Pull:
    """A velocity per problem that ignores the support: rate_i x + 1."""

    rate: Tensor

    def __call__(self, x, t):
        return self.rate[:, None] * x + 1.0

    def select(self, index):
        return Pull(self.rate[index])


def flow_of(*sizes):
    sizes = torch.tensor(sizes)
    return Flow(Pull(0.1 * sizes.double()), (N,), support=Some(sizes))


def test_noise_is_the_projection_of_the_free_noise():
    flow, free = flow_of(3, 6), Flow(lambda x, t: x, (N,))
    x0 = flow.noise([4, 9])
    assert_close(x0, flow.project(free.noise([4, 9])))
    assert_close(flow.project(x0), x0)
    assert bool((x0[0, 3:] == 0).all())


def test_noise_in_the_support_has_unit_variance_per_dimension():
    flow = flow_of(*[4] * 4000)
    square = flow.noise(range(4000)).square().sum(1)
    assert abs(square.mean().item() - 3) < 0.15
    assert flow.source_dimension.tolist()[:2] == [3, 3]


def test_solve_stays_in_the_support_whatever_the_velocity_says():
    flow = flow_of(3, 5)
    x1 = solve(flow, flow.noise([0, 1], dtype=torch.float64), steps=7)
    assert x1.sum(1).abs().max() < 1e-12
    assert bool((x1[0, 3:] == 0).all()) and bool((x1[1, 5:] == 0).all())


def test_projection_of_the_wrong_number_of_problems_fails_loudly():
    with pytest.raises((Misuse, RuntimeError)):
        flow_of(3, 5).noise([0, 1, 2])


def test_batch_of_two_equals_two_of_one_under_control():
    target = torch.tensor([1.0, -2.0, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64)

    def run(*sizes, seeds):
        flow = flow_of(*sizes)
        x0 = flow.noise(seeds, dtype=torch.float64)
        return control(flow, lambda x1: (x1 - target).square().sum(1), x0, gradients=15, steps=4)

    both, first, second = run(3, 6, seeds=[0, 1]), run(3, seeds=[0]), run(6, seeds=[1])
    assert_close(both.x1, torch.cat([first.x1, second.x1]))
    assert both.x0.sum(1).abs().max() < 1e-12  # gradients have no component outside
    assert_close(both.x1[0, :3], (target[:3] - target[:3].mean()), atol=1e-5, rtol=0)


def test_chi_prior_of_a_support_has_its_shell_at_its_own_dimension():
    flow = flow_of(3, 6)
    prior = ChiPrior(1.0, flow.source_dimension)
    x0 = flow.noise([0, 1], dtype=torch.float64)
    shell = x0 / x0.norm(dim=1, keepdim=True) * (flow.source_dimension - 1).double().sqrt()[:, None]
    shell.requires_grad_()
    (g,) = torch.autograd.grad(prior(shell).sum(), shell)
    assert g.abs().max() < 1e-12
    assert_close(prior.select(torch.tensor([1]))(x0[1:]), prior(x0)[1:])


def test_likelihood_counts_only_the_dimensions_of_the_support():
    """x1 = e^(0.1 n) x0 on a subspace of dimension n - 1: log p1 = log N(x0) - (n - 1) 0.1 n."""
    flow = Flow(Pull(torch.tensor([0.3, 0.6], dtype=torch.float64)), (N,), support=Some(torch.tensor([3, 6])))
    x0 = flow.noise([0, 1], dtype=torch.float64)
    rate, d = torch.tensor([0.3, 0.6], dtype=torch.float64), torch.tensor([2, 5])
    logp, back = log_likelihood(flow, rate.exp()[:, None] * x0)
    want = -0.5 * (x0.square().sum(1) + d * math.log(2 * math.pi)) - d * rate
    assert_close(back, x0, atol=1e-6, rtol=0)
    assert_close(logp, want, atol=1e-5, rtol=0)


def test_select_follows_support_and_velocity():
    part = flow_of(3, 5, 6).select(torch.tensor([2, 0]))
    assert part.support.size.tolist() == [6, 3]
    assert_close(part.velocity.rate, torch.tensor([0.6, 0.3], dtype=torch.float64))
