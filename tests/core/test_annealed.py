"""A condition that is noisy at first (CADS), on a law that is linear in its condition."""

import math

import torch
from core_laws import F64, time
from torch.testing import assert_close

import headwater as hw
from headwater import Guided
from headwater.flows.annealed import AnnealedCondition


def conditional(x, t, y):
    """The exact velocity for x1 | y ~ N(y, 0.5^2), whatever y is."""
    m = t.reshape(-1, 1) ** 2 * 0.25 + (1 - t.reshape(-1, 1)) ** 2
    z = x - t.reshape(-1, 1) * y
    return y + t.reshape(-1, 1) * 0.25 * z / m - (1 - t.reshape(-1, 1)) * z / m


Y = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=F64)


def test_the_noise_of_a_condition_is_that_of_the_paper():
    velocity = AnnealedCondition(
        Guided(lambda x, t, y: y, {"y": Y}), range(2000), tau1=0.2, tau2=0.8, mixing=0.0
    )
    x, t = torch.zeros(2000, 4, dtype=F64), time(0.5)  # gamma = 1/2
    y = velocity(x, t)
    assert_close(y.mean(0), math.sqrt(0.5) * Y[0], atol=0.03, rtol=0)
    assert_close(y.std(0), torch.full((4,), 0.25 * math.sqrt(0.5), dtype=F64), atol=0, rtol=0.06)
    rescaled = AnnealedCondition(velocity.guided, range(5), tau1=0.2, tau2=0.8)(x[:5], t)
    assert_close(rescaled.mean(1), Y.mean(1).expand(5))
    assert_close(rescaled.std(1), Y.std(1).expand(5))
    half = AnnealedCondition(velocity.guided, range(5), tau1=0.2, tau2=0.8, mixing=0.5)(x[:5], t)
    assert_close(half, 0.5 * (rescaled + y[:5]))


def test_annealing_ends_and_begins_where_the_paper_says():
    velocity = AnnealedCondition(Guided(lambda x, t, y: y, {"y": Y}), [3], tau1=0.2, tau2=0.8, mixing=0.0)
    x = torch.zeros(1, 4, dtype=F64)
    for t in (0.81, 0.9, 1.0):  # T = 1 - t below tau1
        assert_close(velocity(x, time(t)), Y)
    early = velocity(x, time(0.1))
    assert (early.abs() < 0.25 * 5).all()
    other = velocity(x, time(0.15))
    assert (early - other).abs().max() > 1e-3  # a new draw at a new time
    assert_close(velocity(x, time(0.1)), early)  # the same at the same
    held = AnnealedCondition(velocity.guided, [3], tau1=0.2, tau2=0.8, mixing=0.0, fresh=False)
    assert_close(held(x, time(0.1)), held(x, time(0.15)))


def test_annealing_widens_the_samples_of_a_conditional_law_by_the_known_amount():
    """The flow is linear in y: with one draw per path x1 = m(y) + noise, and the gain is an integral of gamma."""
    flow = hw.Flow(
        AnnealedCondition(Guided(conditional, {"y": Y}), range(400), scale=3.0, mixing=0.0, fresh=False), (4,)
    )
    grid = [i / 40 for i in range(41)]
    x0 = torch.zeros(400, 4, dtype=F64)
    x1 = hw.solve(flow, x0, method=hw.RK4, steps=grid)

    def response(weight):
        """x1 of the flow whose condition is weight(t), from x0 = 0."""
        drive = hw.Flow(lambda x, t: conditional(x, t, weight(t)), (1,))
        return hw.solve(drive, torch.zeros(1, 1, dtype=F64), method=hw.RK4, steps=grid).item()

    def gamma(t):
        return ((0.9 - (1 - t)) / 0.3).clamp(0, 1)

    assert_close(x1.mean(0), response(lambda t: gamma(t).sqrt()) * Y[0], atol=0.15, rtol=0)
    spread = 3.0 * response(lambda t: (1 - gamma(t)).sqrt())
    assert spread > 0.1
    assert_close(x1.std(0), torch.full((4,), spread, dtype=F64), atol=0, rtol=0.12)
