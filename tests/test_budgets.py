"""The budgets of the comparison: what a recipe made for a number of calls does cost."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from budgets import BUDGETS, SPACES, make_recipe, propose
from headwater import Gaussian, LinearOperator, Misfit
from headwater.recipes.methods import METHODS

torch.set_num_threads(1)


class FirstHalf(LinearOperator):
    """The first half of the numbers of an event, put back in place."""

    kind = "half"

    def __call__(self, x):
        return x * (torch.arange(x.shape[1]) < x.shape[1] // 2)

    adjoint = __call__

    def known_pixels(self, shape):
        return (torch.arange(shape[1]) < shape[1] // 2)[None]


FLOW = Gaussian(torch.zeros(8), torch.ones(8)).flow
MISFIT = Misfit(FirstHalf(), torch.tensor([[1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]]), 0.1)


@pytest.mark.parametrize("budget", BUDGETS[:2])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "one-evaluation"])
def test_a_recipe_keeps_its_budget(name, budget):
    """Within a step of the budget, never above it by more than a tenth; or there is none."""
    recipe = make_recipe(name, budget, {})
    if recipe is None:
        assert name in ("map", "map-from-noise", "warm-start", "paper", "oc-flow", "dno", "reno")
        return
    result = recipe(FLOW, MISFIT, [0], guess=MISFIT.y)
    spent = int(result.evaluations[0]) + 2 * int(result.gradients[0]) * result.nfe_per_gradient
    early = name in (
        "warm-start",
        "map",
        "map-from-noise",
        "paper",
        "oc-flow",
    )  # a converged optimiser stops
    assert spent <= 1.1 * budget and (early or spent > 0.5 * budget)


def test_the_trials_are_as_many_for_all_and_begin_with_the_own_settings():
    for name in SPACES:
        trials = propose(name, 6)
        assert len(trials) == 6 and trials[0] == {}
        for settings in trials:
            make_recipe(name, 160, settings)
