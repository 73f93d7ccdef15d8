"""A watched flow ends between any two evaluations of its network; what was done before is kept."""

import pytest
import torch

from headwater import Flow, Gaussian, Misfit, control, solve
from headwater.flows.watched import Ended, watch_flow
from headwater.flows.windowed import extend_to_canvas
from headwater.optimizers.status import Status
from headwater.recipes.estimate import Estimate
from headwater.recipes.paper import Paper
from headwater.recipes.warm_start import WarmStart
from headwater.solvers.differentiation import Checkpoint, Direct

FLOW = Gaussian(torch.zeros(4), torch.ones(4)).flow
SHORT = Estimate(times=8)


class Budget:
    """Allows `most` evaluations, and counts those that were asked for."""

    def __init__(self, most, status=Status.CANCELLED):
        self.most, self.status, self.asked = most, status, 0

    def __call__(self):
        self.asked += 1
        return self.status if self.asked > self.most else None


def misfit():
    return Misfit(lambda x: x[:, :2], torch.full((2, 2), 0.5), 1e-4)


def quartic(x1):
    """Far from quadratic, so that L-BFGS is not there at once."""
    return (x1 - 2).pow(4).sum(1)


@pytest.mark.parametrize("gradient", [Direct(), Checkpoint()])
@pytest.mark.parametrize("most", [60, 61, 75])
def test_control_keeps_the_best_of_what_was_complete(gradient, most):
    budget = Budget(most)
    x0 = FLOW.noise([0, 1])
    result = control(watch_flow(FLOW, budget), quartic, x0, gradient=gradient)
    assert budget.asked == most + 1  # not one more
    assert result.status == (Status.CANCELLED,) * 2 and bool((result.gradients >= 1).all())
    assert torch.allclose(solve(FLOW, result.x0), result.x1)
    assert bool((result.cost < quartic(solve(FLOW, x0))).all())


def test_control_without_one_evaluation_has_nothing_to_return():
    with pytest.raises(Ended) as caught:
        control(watch_flow(FLOW, Budget(5, Status.SECONDS)), misfit(), FLOW.noise([0, 1]))
    assert caught.value.status is Status.SECONDS


def test_a_canvas_ends_between_its_windows():
    """64 windows are two chunks of 32, of which the second is not evaluated."""
    window = Flow(lambda x, t: -x, (3, 8, 8))
    budget = Budget(1)
    canvas = extend_to_canvas(watch_flow(window, budget), (36, 36))
    with pytest.raises(Ended):
        canvas(torch.zeros(1, 3, 36, 36), torch.tensor(0.5))
    assert budget.asked == 2


@pytest.mark.parametrize("most", [0, 1, 7, 8, 36])
def test_a_stopped_warm_start_returns_its_estimate(most):
    """8 evaluations make the estimate, 24 its inversion, then come checks and the first gradient."""
    budget, recipe = Budget(most), WarmStart(SHORT)
    result = recipe(watch_flow(FLOW, budget), misfit(), [3, 4], guess=torch.zeros(1, 4))
    assert budget.asked == most + 1
    assert result.status == (Status.CANCELLED,) * 2 and not result.on_flow and result.state is None
    assert bool(result.x0.isnan().all()) and bool((result.gradients == 0).all())
    assert result.evaluations.tolist() == [min(most, 8)] * 2
    whole = SHORT.sample(FLOW, misfit(), [3, 4], guess=torch.zeros(1, 4))
    if most == 0:
        assert bool((result.x1 == 0).all())  # the guess
    assert (most >= 8) is torch.equal(result.x1, whole)
    assert torch.equal(result.measure, misfit().rms(result.x1).double())


def test_an_estimate_that_nobody_follows_raises():
    with pytest.raises(Ended):
        Estimate().sample(watch_flow(FLOW, Budget(3)), misfit(), [0, 1], guess=torch.zeros(1, 4))


def test_the_paper_returns_the_guess_before_its_first_gradient():
    guess = torch.full((1, 4), 0.25)
    result = Paper()(watch_flow(FLOW, Budget(7, Status.SECONDS)), misfit(), [0, 1], guess=guess)
    assert result.status == (Status.SECONDS,) * 2 and bool((result.x1 == 0.25).all())


def test_what_ends_nothing_changes_nothing():
    free = WarmStart(SHORT, gradients=3)(FLOW, misfit(), [0, 1], guess=torch.zeros(1, 4))
    watched = WarmStart(SHORT, gradients=3)(
        watch_flow(FLOW, lambda: None), misfit(), [0, 1], guess=torch.zeros(1, 4)
    )
    assert torch.equal(free.x1, watched.x1) and torch.equal(free.evaluations, watched.evaluations)
