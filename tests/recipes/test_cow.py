"""Cyclic one-way diffusion on Gaussian laws: cycles keep the law of what is free; the bias elsewhere is pinned."""

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater import Misuse
from headwater.recipes.rivals.cow import CyclicOneWay


class First:
    """The first of two numbers."""

    def __call__(self, x):
        return x[:, :1]

    def adjoint(self, y):
        return torch.cat([y, torch.zeros_like(y)], 1)


FINE = CyclicOneWay(steps=60)


def run(recipe, law, y, count, guess=None):
    misfit = hw.Misfit(First(), torch.full((1, 1), y), 0.1)
    guess = torch.zeros(1, 2) if guess is None else guess
    return recipe(law.flow, misfit, range(count), guess=guess).x1


def test_independent_numbers_come_back_and_the_rest_is_a_draw():
    """The background is far out: the cycles forget it, as noise and denoising leave the law of the path as it is."""
    law = hw.Gaussian(torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.7]))
    x1 = run(FINE, law, 3.0, 300, guess=torch.tensor([[0.0, 2.0]]))
    assert_close(x1[:, 0], torch.full((300,), 3.0), atol=0.05, rtol=0)
    assert x1[:, 1].mean().item() == pytest.approx(-1.0, abs=0.15)
    assert x1[:, 1].std().item() == pytest.approx(0.7, rel=0.12)
    few = run(CyclicOneWay(steps=60, cycles=1), law, 3.0, 300, guess=torch.tensor([[0.0, 2.0]]))
    assert few[:, 1].mean() > x1[:, 1].mean() + 0.1  # one cycle has not forgotten it


def test_correlated_numbers_follow_the_background_too():
    """The bias that the docstring names; a posterior has 2 and 1.8 with the deviation 0.44 on any background."""
    law = hw.Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]]))
    for background, expected in [(0.0, [2.61, 1.96]), (2.0, [1.66, 1.13])]:
        x1 = run(CyclicOneWay(steps=40), law, 2.0, 500, guess=torch.tensor([[0.0, background]]))
        assert_close(x1.mean(0), torch.tensor(expected), atol=0.08, rtol=0)
    assert x1[:, 1].std() > 0.6
    near = run(CyclicOneWay(steps=40, cycles=1), law, 2.0, 500)
    assert near[:, 1].mean() < 1.2  # the cycles carry what was measured into the rest


def test_it_costs_what_it_says_and_follows_its_own_seed():
    law = hw.Gaussian(torch.zeros(2), torch.ones(2))
    misfit = hw.Misfit(First(), torch.tensor([[1.0], [2.0]]), 0.1)
    both = CyclicOneWay()(law.flow, misfit, [4, 7], guess=torch.zeros(1, 2))
    assert both.evaluations.tolist() == [32, 32] and both.gradients.tolist() == [0, 0]
    alone = CyclicOneWay()(law.flow, misfit.select(torch.tensor([1])), [7], guess=torch.zeros(1, 2))
    assert_close(alone.x1, both.x1[1:])


def test_other_paths_will_do():
    law = hw.Gaussian(torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.7]), hw.VP())
    x1 = run(FINE, law, 3.0, 200)
    assert x1[:, 0].mean().item() == pytest.approx(3.0, abs=0.1)
    assert x1[:, 1].std().item() == pytest.approx(0.7, rel=0.2)


def test_what_is_refused():
    for bad in ({"back": 0.6}, {"keep": 1.0}, {"back": 0.0}, {"steps": 0}, {"cycles": 0}):
        with pytest.raises(Misuse):
            CyclicOneWay(**bad)
    law = hw.Gaussian(torch.zeros(2), torch.ones(2))

    class Sum(First):
        def __call__(self, x):
            return x.sum(1, keepdim=True)

        def adjoint(self, y):
            return y.expand(-1, 2)

    with pytest.raises(Misuse, match="mask"):
        CyclicOneWay()(law.flow, hw.Misfit(Sum(), torch.ones(1, 1), 0.1), [0], guess=torch.zeros(1, 2))
