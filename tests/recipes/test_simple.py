"""The simplest answers as recipes: estimate, average, MAP, on Gaussian laws whose posterior is known."""

import pytest
import torch
from torch.testing import assert_close

from headwater import Gaussian, Misfit, Status
from headwater.flows.watched import watch_flow
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate
from headwater.recipes.map import MAP
from headwater.recipes.map_from_noise import MAPFromNoise
from headwater.recipes.recipe import RecipeOptions

torch.set_num_threads(1)
STD = torch.tensor([0.3, 1.0, 2.0])
FLOW = Gaussian(torch.tensor([0.2, -0.1, 0.0]), STD).flow
Y = torch.tensor([[0.5, 0.4], [-0.3, 1.2], [0.2, -0.4]])
SIGMA = 0.2
SEEDS = [3, 4, 5]
GUESS = torch.zeros(1, 3)


class Half:
    """The first two of three numbers."""

    def __call__(self, x):
        return x[:, :2]

    def adjoint(self, y):
        return torch.cat([y, torch.zeros_like(y[:, :1])], 1)


def misfit():
    return Misfit(Half(), Y, SIGMA)


def posterior_mean():
    gain = STD[:2] ** 2 / (STD[:2] ** 2 + SIGMA**2)
    known = FLOW_MEAN[:2] + gain * (Y - FLOW_MEAN[:2])
    return torch.cat([known, FLOW_MEAN[2].expand(3, 1)], 1)


FLOW_MEAN = torch.tensor([0.2, -0.1, 0.0])
every = pytest.mark.parametrize("recipe", [Estimate(), Average(), MAP()], ids=["estimate", "average", "MAP"])


def test_map_is_the_posterior_mean_of_a_gaussian_law():
    found = MAP(gradients=60, steps=24)(FLOW, misfit(), SEEDS, guess=GUESS)
    assert_close(found.x1, posterior_mean(), atol=5e-3, rtol=0)
    assert found.on_flow and all(s is Status.REACHED for s in found.status)


def length(x):
    return x.square().sum(1, keepdim=True)


def test_from_noise_a_few_numbers_are_met_up_to_their_noise_and_no_further():
    y = torch.tensor([[4.0], [1.0], [2.0]])
    cost = Misfit(length, y, 0.1)
    found = MAPFromNoise()(FLOW, cost, SEEDS, guess=GUESS)
    assert all(s is Status.REACHED for s in found.status)
    assert bool((found.measure <= 1.05).all()) and bool((found.gradients < 80).all())
    assert found.nfe_per_gradient == 3 and found.on_flow
    alone = MAPFromNoise()(FLOW, Misfit(length, y[1:2], 0.1), SEEDS[1:2], guess=GUESS)
    assert_close(found.x1[1:2], alone.x1, atol=1e-5, rtol=0)


def test_from_noise_an_impossible_number_is_missed():
    found = MAPFromNoise(gradients=5)(FLOW, Misfit(length, torch.tensor([[-9.0]]), 0.1), [0], guess=GUESS)
    assert found.status[0] is not Status.REACHED


def test_the_average_is_nearer_to_the_posterior_mean_than_an_estimate():
    mean = posterior_mean()
    many = range(200)
    wide = Misfit(Half(), Y[:1].expand(200, 2), SIGMA)
    one, four = (recipe(FLOW, wide, many, guess=GUESS).x1 for recipe in (Estimate(), Average()))
    errors = [(x - mean[0])[:, :2].square().mean().sqrt() for x in (one, four)]
    assert errors[1] < 0.7 * errors[0]


def test_the_steps_of_the_options_are_the_times_of_an_estimate():
    few = RecipeOptions(steps=8)
    for recipe, calls in ((Estimate(), 8), (Average(), 32)):
        assert recipe(FLOW, misfit(), SEEDS, guess=GUESS, options=few).evaluations.tolist() == [calls] * 3


def test_an_average_of_one_is_the_estimate():
    one = Average(count=1)(FLOW, misfit(), SEEDS, guess=GUESS)
    assert_close(one.x1, Estimate()(FLOW, misfit(), SEEDS, guess=GUESS).x1, atol=0, rtol=0)


@every
def test_a_batch_gives_what_each_problem_gives_alone(recipe):
    together = recipe(FLOW, misfit(), SEEDS, guess=GUESS).x1
    alone = [
        recipe(FLOW, misfit().select(torch.tensor([i])), [s], guess=GUESS).x1 for i, s in enumerate(SEEDS)
    ]
    assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@every
def test_what_is_counted_is_what_the_network_was_asked(recipe):
    calls = []
    counted = watch_flow(FLOW, lambda: calls.append(1))
    result = recipe(counted, misfit(), SEEDS, guess=GUESS)
    expected = {Estimate: 32, Average: 128, MAP: 128 + 24}[type(recipe)]
    assert result.preparation == expected if isinstance(result.preparation, int) else False
    if type(recipe) is not MAP:  # the control checks its promises as well
        assert len(calls) == expected and result.x0.isnan().all() and not result.on_flow


@every
@pytest.mark.parametrize("after", [0, 5, 40])
def test_a_watched_flow_ends_it_between_two_evaluations(recipe, after):
    calls = []

    def check():
        calls.append(1)
        return Status.SECONDS if len(calls) > after else None

    result = recipe(watch_flow(FLOW, check), misfit(), SEEDS, guess=GUESS)
    done = after >= 32 and isinstance(recipe, Estimate)
    assert all((s is not Status.SECONDS) == done for s in result.status) and result.x1.isfinite().all()


@every
def test_a_callback_sees_every_estimate_and_may_end_it(recipe):
    seen = []

    def callback(event):
        seen.append(event.round)
        return Status.CANCELLED if len(seen) == 3 else None

    result = recipe(FLOW, misfit(), SEEDS, guess=GUESS, options=RecipeOptions(callback=callback))
    assert (
        seen == [0, 0, 0]
        and set(result.status) == {Status.CANCELLED}
        and result.evaluations.tolist() == [3] * 3
    )


def test_a_goal_that_is_out_of_reach_is_missed():
    narrow = Gaussian(torch.zeros(3), torch.full((3,), 0.01)).flow
    found = MAP(gradients=5)(narrow, Misfit(Half(), Y + 3, 0.05), SEEDS, guess=GUESS)
    assert set(found.status) <= {Status.MISSED, Status.DIVERGED}
