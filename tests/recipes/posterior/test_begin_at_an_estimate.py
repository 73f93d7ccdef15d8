"""Perturb-and-MAP that begins at an estimate has the same law, and counts what the estimate took."""

import torch

from headwater import EULER, Estimate, Flow, Misfit, PerturbAndMAP, posterior

FLOW = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
MISFIT = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 1.0)
METHOD = PerturbAndMAP(gradients=6, estimate=Estimate(times=2, fresh=0.0, iterations=2))


def draw(chains, draws):
    return posterior(FLOW, MISFIT, [0], method=METHOD, chains=chains, draws=draws, steps=1, solver=EULER)


def test_the_law_is_the_same_and_the_estimate_is_counted():
    found = draw(chains=100, draws=2)
    # x1 = 2 x0 + noise 1 was measured as 2: 8 / 5 +- 2 / sqrt(5)
    assert abs(found.mean.item() - 1.6) < 0.25 and abs(found.std.item() - 0.894) < 0.2
    # of each draw the gradients, a solve and 2 + 2 * 12 for the estimate and its inversion; one solve at the start
    assert (found.evaluations == found.gradients + 3 + 2 * 26).all()


def test_chains_do_not_depend_on_each_other():
    two, four = draw(2, 3), draw(4, 3)
    assert torch.allclose(two.x1, four.x1[:, :2], atol=1e-5)
    assert (four.x1.flatten(1, 2).diff(dim=1).abs() > 1e-4).all()
