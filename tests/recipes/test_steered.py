"""Steered Diffusion: exact linear conditions, the law of what is free, and the gradient of any other condition."""

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater import Misuse
from headwater.recipes.rivals.levels import ddpm_levels
from headwater.recipes.rivals.network import Network
from headwater.recipes.rivals.steered import SteeredDiffusion


class Sum:
    """The first number, and the sum of the two others."""

    def __call__(self, x):
        return torch.stack([x[:, 0], x[:, 1] + x[:, 2]], 1)

    def adjoint(self, y):
        return torch.stack([y[:, 0], y[:, 1], y[:, 1]], 1)


LAW = hw.Gaussian(torch.tensor([1.0, -1.0, 0.5]), torch.tensor([2.0, 0.7, 0.7]))


def test_a_linear_condition_holds_exactly_and_what_is_free_is_a_draw():
    """y says nothing of x[1] - x[2], whose law is N(-1.5, 2 * 0.49)."""
    y = torch.tensor([[3.0, 1.0]])
    misfit = hw.Misfit(Sum(), y.expand(300, -1), 0.1)
    x1 = SteeredDiffusion(steps=40)(LAW.flow, misfit, range(300), guess=torch.zeros(1, 3)).x1
    assert_close(Sum()(x1), y.expand(300, -1), atol=1e-3, rtol=0)
    free = x1[:, 1] - x1[:, 2]
    assert free.mean().item() == pytest.approx(-1.5, abs=0.2)
    assert free.std().item() == pytest.approx(0.98**0.5, rel=0.14)


def test_loops_let_the_rest_follow():
    """Of two numbers with a correlation of 0.9 the second should have the mean 1.8 and the deviation 0.44."""
    law = hw.Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]]))

    class First:
        def __call__(self, x):
            return x[:, :1]

        def adjoint(self, y):
            return torch.cat([y, torch.zeros_like(y)], 1)

    def error(loops):
        misfit = hw.Misfit(First(), torch.full((1, 1), 2.0), 0.01)
        x1 = SteeredDiffusion(40, loops)(law.flow, misfit, range(250), guess=torch.zeros(1, 2)).x1
        return abs(x1[:, 1].mean().item() - 1.8), x1[:, 1].std().item()

    one, four = error(1), error(4)
    assert four[0] < max(one[0], 0.1) and four[0] < 0.25
    assert 0.3 < four[1] < 0.7


def test_any_other_condition_is_a_gradient_through_the_network():
    misfit = hw.Misfit(lambda x: x[:, :1] ** 2, torch.tensor([[4.0]]), 0.5)
    now, then = ddpm_levels(LAW.flow.path, 10)[4:6]
    u = torch.tensor([[0.3, -0.2, 0.1]], requires_grad=True)
    xhat = LAW.flow.denoise(now.scale * u, now.t)
    cost = 0.5 * (xhat[:, :1] ** 2 - 4).square().sum()  # in the units of y: sigma_y does not enter
    expected = xhat - 0.7 * then.sigma * torch.autograd.grad(cost, u)[0]
    found = SteeredDiffusion(weight=0.7).steer(Network(LAW.flow), misfit, u.detach(), now, then)
    assert_close(found, expected.detach())


def test_a_problem_follows_its_own_seed_and_costs_are_counted():
    misfit = hw.Misfit(Sum(), torch.tensor([[3.0, 1.0], [0.0, 2.0]]), 0.1)
    recipe = SteeredDiffusion(steps=8, loops=2)
    both = recipe(LAW.flow, misfit, [4, 7], guess=torch.zeros(1, 3))
    alone = recipe(LAW.flow, misfit.select(torch.tensor([1])), [7], guess=torch.zeros(1, 3))
    assert_close(alone.x1, both.x1[1:])
    assert both.evaluations.tolist() == [16, 16] and both.gradients.tolist() == [0, 0]
    curved = hw.Misfit(lambda x: x**2, torch.ones(1, 3), 0.1)
    assert recipe(LAW.flow, curved, [0], guess=torch.zeros(1, 3)).gradients.tolist() == [16]


def test_what_is_refused():
    for bad in ({"steps": 0}, {"loops": 0}, {"weight": -1.0}, {"weight": float("nan")}, {"iterations": 0}):
        with pytest.raises(Misuse):
            SteeredDiffusion(**bad)
