"""`control`: stops, statuses, the best point, going on."""

import math

import pytest
import torch
from core_laws import F64, SmallNet, gaussian, mixture, normal
from problems import EXACT, Target, quadratic, same, several
from torch.testing import assert_close

from headwater import (
    LBFGS,
    Adam,
    Each,
    Flow,
    Misfit,
    Misuse,
    Status,
    Stop,
    control,
    deadline,
    discrepancy,
    solve,
)


def test_stop_at_the_noise_level():
    """REACHED: rms(A x1 - y) <= tau sigma_y, and x0, x1, cost and measure are of one evaluation."""
    law, _, _ = gaussian(6)
    a, sigma = normal(4, 6, seed=3), 0.1
    y = law.sample(range(4)) @ a.T + sigma * normal(4, 4, seed=8)
    misfit = Misfit(lambda x: x @ a.T, y, sigma)
    result = control(law.flow, misfit, law.flow.noise(range(4), dtype=F64), stop=discrepancy(misfit, 1.2))
    assert result.status == (Status.REACHED,) * 4
    assert float(result.measure.max()) <= 1.2
    x1 = solve(law.flow, result.x0)
    assert_close(result.x1, x1, rtol=1e-12, atol=1e-12)
    assert_close(result.cost, misfit(x1), rtol=1e-12, atol=1e-12)
    assert_close(result.measure, misfit.rms(x1), rtol=1e-12, atol=1e-12)
    before = result.trace[:, 1].nan_to_num(nan=math.inf)
    for i, n in enumerate(result.gradients.tolist()):
        assert bool((before[: n - 1, i] > 1.2).all()) and before[n - 1, i] <= 1.2


def test_a_start_within_the_noise_costs_one_gradient():
    law, x0 = mixture(2), normal(1, 2)
    misfit = Misfit(lambda x: x, solve(law.flow, x0), 0.1)
    result = control(law.flow, misfit, x0, stop=discrepancy(misfit))
    assert result.status == (Status.REACHED,) and result.gradients.item() == 1
    assert_close(result.x0, x0, **EXACT)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("optimizer", [LBFGS(), Adam(lr=1.0)], ids=["lbfgs", "adam"])
def test_the_best_point_is_kept_with_its_own_cost(limit, optimizer):
    """The cost returned is the least of the trace, and a fresh evaluation of x0 gives it exactly."""
    flow, cost, x0 = several()
    result = control(flow, cost, x0, optimizer=optimizer, gradients=limit)
    least = result.trace[:, 0].nan_to_num(nan=math.inf).min(0).values
    x1 = solve(flow, result.x0)
    assert_close(result.cost, least, **EXACT)
    assert_close(result.x1, x1, **EXACT)
    assert_close(result.cost, cost(x1), **EXACT)


def test_limit_of_evaluations():
    flow, cost, x0 = several()
    result = control(flow, cost, x0, gradients=3)
    assert result.status == (Status.EVALUATIONS,) * 5 and result.gradients.tolist() == [3] * 5
    assert result.trace.shape == (3, 2, 5)


def test_callback_cancels_and_keeps_the_best():
    flow, cost, x0 = several()
    seen = []

    def callback(event):
        seen.append(event)
        return Status.CANCELLED if event.round == 4 else None

    result = control(flow, cost, x0, callback=callback)
    assert result.status == (Status.CANCELLED,) * 5 and len(seen) == 4
    same_limit = control(flow, cost, x0, gradients=4)
    assert_close(result.x0, same_limit.x0, **EXACT)
    for event in seen:
        assert_close(event.cost, cost.select(event.active)(event.x1), **EXACT)
        expected = result.trace[: event.round, 0].nan_to_num(nan=math.inf).min(0).values
        assert_close(event.best, expected, **EXACT)


def test_cancelling_leaves_finished_problems_their_status():
    flow, cost, x0 = several()
    cost.target[0] = math.nan
    result = control(flow, cost, x0, callback=lambda e: Status.SECONDS if e.round == 2 else None)
    assert result.status == (Status.DIVERGED, *(Status.SECONDS,) * 4)


@pytest.mark.parametrize("optimizer", [LBFGS(), Adam(lr=0.1)], ids=["lbfgs", "adam"])
@pytest.mark.parametrize("first", [1, 4, 9])
def test_a_run_in_two_parts_is_one_run(optimizer, first):
    """From the state of the first part the second evaluates what the whole run would have evaluated."""
    flow, cost, x0 = several()
    whole = control(flow, cost, x0, optimizer=optimizer, gradients=14)
    part = control(flow, cost, x0, optimizer=optimizer, gradients=first)
    rest = control(flow, cost, x0, optimizer=optimizer, gradients=14 - first, state=part.state)
    assert_close(torch.cat([part.trace, rest.trace]), whole.trace[:14], equal_nan=True, **EXACT)
    assert_close(torch.minimum(part.cost, rest.cost), whole.cost, **EXACT)


def test_going_on_loses_nothing():
    """A problem that has ended before keeps its best point, cost, status and counts in the second part."""
    flow = Flow(lambda x, t: -x, (2,))
    cost = Target(torch.zeros(2, 2, dtype=F64), torch.tensor([[1.0], [1.0]], dtype=F64))
    x0 = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=F64)
    part = control(flow, cost, x0, gradients=1)
    assert part.status == (Status.CONVERGED, Status.EVALUATIONS)
    rest = control(flow, cost, x0, gradients=20, state=part)
    assert rest.status[0] is Status.CONVERGED and rest.gradients[0] == 1
    assert_close(rest.x1, torch.zeros(2, 2, dtype=F64), rtol=0, atol=1e-6)
    assert_close(rest.cost, torch.zeros(2, dtype=F64), rtol=0, atol=1e-9)


def test_a_problem_that_converges_above_its_stop_has_missed_it():
    """Without a stop it has converged; and it stays ended when the run goes on."""
    flow = Flow(lambda x, t: -x, (2,))
    x0, cost = torch.ones(1, 2, dtype=F64), lambda x: 1 + x.square().sum(1)
    assert control(flow, cost, x0).status == (Status.CONVERGED,)
    missed = control(flow, cost, x0, stop=Stop(cost, 0.5))
    assert missed.status == (Status.MISSED,) and not missed.status[0].ok
    assert control(flow, cost, x0, stop=Stop(cost, 0.5), state=missed).status == (Status.MISSED,)
    assert control(flow, cost, x0, stop=Stop(cost, 1.0)).status == (Status.REACHED,)


@pytest.mark.parametrize("first", [1, 4, 9])
def test_going_on_from_a_result_is_one_run(first):
    """Best points, statuses, counts and trace are those of the whole run; REACHED problems are left alone."""
    flow, cost, x0 = several()
    misfit = Misfit(lambda x: x, cost.target, 1e-2)
    options = {"stop": discrepancy(misfit)}
    whole = control(flow, cost, x0, gradients=14, **options)
    rest = control(
        flow, cost, x0, gradients=14, state=control(flow, cost, x0, gradients=first, **options), **options
    )
    assert Status.REACHED in whole.status
    assert_close(rest.trace, whole.trace, equal_nan=True, **EXACT)
    for i in range(5):
        same(rest, i, whole, i, **EXACT)


def test_parameters_are_untouched():
    net = SmallNet()
    control(Flow(net, (2, 3, 3)), lambda x1: x1.square().flatten(1).sum(1), normal(1, 2, 3, 3), gradients=3)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_it_works_under_no_grad():
    with torch.no_grad():
        result = control(mixture(2).flow, quadratic(normal(2)), normal(1, 2))
    assert float(result.cost) < 1e-6 and not result.x1.requires_grad


@pytest.mark.parametrize("shape", [(3,), (2, 2), (0, 3), (1, 3, 1)])
def test_a_start_of_another_shape_is_refused(shape):
    with pytest.raises(Misuse, match=r"flow\.noise"):
        control(gaussian(3)[0].flow, quadratic(0.0), normal(*shape))


@pytest.mark.parametrize("cost", [lambda x: x.sum(), lambda x: x.detach().sum(1), lambda x: x.square()])
def test_costs_that_are_no_costs_are_refused(cost):
    with pytest.raises(Misuse):
        control(gaussian(3)[0].flow, cost, normal(2, 3))


def test_labels_declared_with_each_survive_compaction():
    """A velocity and an operator whose data is declared give, in a batch that shrinks, what runs of one give."""
    labels = torch.tensor([[0.0], [1.0], [-1.0], [2.0]], dtype=torch.float64)
    masks = torch.tensor([[1.0, 1.0], [1.0, 0.03], [0.0, 1.0], [9.0, 0.2]], dtype=torch.float64)
    y = torch.tensor([[0.1, 0.2], [3.0, 0.0], [0.0, -2.0], [0.5, 0.5]], dtype=torch.float64)

    def run(rows):
        flow = Flow(Each(lambda x, t, label: label - 0.5 * x, label=labels[rows]), (2,))
        misfit = Misfit(Each(lambda x, mask: x * mask, mask=masks[rows]), y[rows], 0.01)
        x0 = Flow(lambda x, t: -x, (2,)).noise(rows, dtype=torch.float64)
        return control(flow, misfit, x0, stop=discrepancy(misfit), gradients=40)

    together = run([0, 1, 2, 3])
    assert (
        len(set(together.gradients.tolist())) > 1
    )  # they end at different times, so the batch was compacted
    for i in range(4):
        alone = run([i])
        assert torch.allclose(together.x1[i], alone.x1[0], atol=1e-10)
        assert together.status[i] is alone.status[0] and together.gradients[i] == alone.gradients[0]


def test_a_deadline_ends_what_is_running_and_keeps_the_best():
    """A deadline in the past ends the run after the first round; one far away changes nothing."""
    flow = gaussian(3)[0].flow
    x0 = flow.noise([0, 1], dtype=F64)

    def cost(x1):
        return (x1 - 1).square().sum(1)

    early, late = (control(flow, cost, x0, gradients=5, callback=deadline(s)) for s in (0.0, 1e6))
    assert early.status == (Status.SECONDS,) * 2 and early.gradients.tolist() == [1, 1]
    assert bool(torch.isfinite(early.x1).all())
    assert torch.equal(late.x1, control(flow, cost, x0, gradients=5).x1)


def test_a_run_does_not_go_on_with_another_solve_or_cost():
    """Its best points would be compared with what they are not."""
    flow, cost, x0 = several()
    before = control(flow, cost, x0, gradients=2)
    with pytest.raises(Misuse, match="earlier run took 12 evaluations, and one of this run takes 8"):
        control(flow, cost, x0, gradients=4, steps=4, state=before)
    with pytest.raises(Misuse, match="another cost"):
        control(flow, lambda x1: 2 * x1.square().sum(1) + 1, x0, gradients=4, state=before)
    with pytest.raises(Misuse, match="another cost"):
        control(flow, cost, x0, gradients=4, prior=lambda x: 1 + x.square().sum(1), state=before)
    fresh = control(flow, cost, x0, gradients=4, steps=4, state=before.state)
    assert len(fresh.trace) <= 4


def test_a_stop_may_be_a_method_of_a_misfit():
    misfit = Misfit(lambda x: x, torch.tensor([[1.0], [2.0]]), torch.tensor([0.1, 0.1]))
    flow = Flow(lambda x, t: -x, (1,))
    result = control(flow, misfit, torch.zeros(2, 1), stop=Stop(misfit.rms, 3.0))
    assert result.status == (Status.REACHED,) * 2
