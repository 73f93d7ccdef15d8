"""`control`: a batch of problems is as many runs of one."""

import math

import pytest
import torch
from core_laws import F64, Counted, Rates, normal
from problems import EXACT, Target, same, several
from torch.testing import assert_close

from headwater import (
    RK4,
    Direct,
    Flow,
    Status,
    control,
)


def test_a_batch_of_k_is_k_runs_of_one():
    """Bitwise, on a flow that treats its rows alike: no line search, memory or stop is shared."""
    _, cost, x0 = several()
    shape = torch.tensor([0.3, 1.0, 2.0], dtype=F64)
    flow = Flow(lambda x, t: shape * torch.sin(x) - t * x, (3,))
    together = control(flow, cost, x0, gradients=40)
    for i in range(5):
        alone = control(flow, cost.select(torch.tensor([i])), x0[i : i + 1], gradients=40)
        same(together, i, alone, 0, **EXACT)
    assert len(set(together.gradients.tolist())) > 1


def test_order_of_problems_does_not_matter():
    flow, cost, x0 = several()
    p = torch.tensor([4, 2, 0, 1, 3])
    a, b = control(flow, cost, x0, gradients=15), control(flow, cost.select(p), x0[p], gradients=15)
    for i, j in enumerate(p.tolist()):
        same(a, j, b, i, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ill", ["nan start", "nan cost", "infinite cost", "hard"])
def test_an_ill_problem_changes_nothing_for_the_others(ill):
    """A NaN or a problem a million times steeper is the business of one row."""
    _, cost, x0 = several()
    flow = Flow(lambda x, t: torch.sin(x) - t * x, (3,))
    bad_x0, bad = x0.clone(), Target(cost.target.clone(), cost.weight.clone())
    if ill == "nan start":
        bad_x0[2] = math.nan
    elif ill == "hard":
        bad.weight[2] *= 1e6
    else:
        bad.target[2] = math.nan if ill == "nan cost" else math.inf
    a, b = control(flow, cost, x0, gradients=30), control(flow, bad, bad_x0, gradients=30)
    for i in (0, 1, 3, 4):
        same(a, i, b, i, **EXACT)
    if ill != "hard":
        assert b.status[2] is Status.DIVERGED and b.gradients[2] == 1
        assert math.isinf(float(b.cost[2])) and not b.status[2].ok


def test_finished_problems_are_evaluated_no_more():
    """After the check the network sees each problem exactly nfe_per_gradient x gradients times."""
    flow, cost, x0 = several()
    counted = Counted(flow.velocity)
    result = control(Flow(counted, (3,)), cost, x0, gradients=25, gradient=Direct())
    check, run = counted.sizes[:7], counted.sizes[7:]
    assert check == [
        5,
        5,
        5,
        1,
        1,
        1,
        1,
    ]  # twice for the batch, once turned by one place, once for each of four
    assert result.nfe_per_gradient == 12
    assert sum(run) == int(result.evaluations.sum()) == 12 * int(result.gradients.sum())
    assert sorted(run, reverse=True) == run and run[-1] < 5


def test_labels_of_the_flow_follow_their_problems():
    rate, target = torch.tensor([-1.0, 0.5, 2.0], dtype=F64), normal(1, 2)
    cost = Target(target.expand(3, 2), torch.tensor([[1.0], [30.0], [0.1]], dtype=F64))
    result = control(Flow(Rates(rate), (2,)), cost, normal(3, 2), method=RK4, steps=20)
    assert_close(result.x1, target.expand(3, 2), rtol=0, atol=1e-4)
    assert_close(result.x0, target * torch.exp(-rate)[:, None], rtol=1e-3, atol=1e-3)
