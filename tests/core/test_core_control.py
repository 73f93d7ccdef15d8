"""`control`: the optimum it finds, the independence of problems, statuses, stops, going on."""

import math

import pytest
import torch
from core_laws import F64, Counted, SmallNet, gaussian, mixture, normal
from torch.testing import assert_close

from headwater import (
    LBFGS,
    RK4,
    Adam,
    Checkpoint,
    ChiPrior,
    Direct,
    Flow,
    GradientDescent,
    Misfit,
    Misuse,
    Status,
    Stop,
    TargetLikelihood,
    control,
    deadline,
    discrepancy,
    shell,
    solve,
)

EXACT = {"rtol": 0, "atol": 0}


def half_square(x0):
    """-log N(x0; 0, I) + const: the prior that makes the minimiser a MAP estimate."""
    return 0.5 * x0.flatten(1).square().sum(1)


def quadratic(target):
    """|x1 - target|^2 / 2 of a shared target."""
    return lambda x1: 0.5 * (x1 - target).square().sum(1)


class Target:
    """|w (x1 - target)|^2 / 2 with data per problem, which follow the active ones."""

    def __init__(self, target, weight):
        self.target, self.weight = target, weight

    def __call__(self, x1):
        return 0.5 * (self.weight * (x1 - self.target)).square().sum(1)

    def select(self, index):
        return Target(self.target[index], self.weight[index])


# ---- what the optimum is


def test_map_of_a_linear_gaussian_problem_is_the_posterior_mean():
    """p1 = N(m, S), y = A x1 + noise: argmin |A x1(x0) - y|^2 / (2 s^2) + |x0|^2 / 2 has

    x1 = m + S A^T (A S A^T + s^2 I)^-1 (y - A m), because x1 = m + S^(1/2) x0.
    """
    law, m, s = gaussian(4)
    a, y, sigma = normal(2, 4, seed=3), normal(3, 2, seed=4), 0.3
    gain = s @ a.T @ torch.linalg.inv(a @ s @ a.T + sigma**2 * torch.eye(2, dtype=F64))
    result = control(
        law.flow,
        Misfit(lambda x: x @ a.T, y, sigma),
        law.flow.noise([0, 1, 2], dtype=F64),
        prior=half_square,
        method=RK4,
        steps=40,
    )
    assert_close(result.x1, m + (y - m @ a.T) @ gain.T, rtol=1e-5, atol=1e-5)
    assert all(s.ok or s is Status.STALLED for s in result.status)


def test_without_prior_the_start_decides_what_was_not_measured():
    """The iterates stay in x0 + range(S^(1/2) A^T): the projection of the start, not the posterior mean."""
    law, m, s = gaussian(4)
    a, y, x0 = normal(2, 4, seed=3), normal(3, 2, seed=4), normal(3, 4, seed=5)
    result = control(law.flow, Misfit(lambda x: x @ a.T, y, 1.0), x0, method=RK4, steps=40)
    half = torch.linalg.eigh(s)
    b = a @ half.eigenvectors @ torch.diag(half.eigenvalues.sqrt()) @ half.eigenvectors.T
    nearest = x0 + (y - m @ a.T - x0 @ b.T) @ torch.linalg.pinv(b).T
    assert_close(result.x0, nearest, rtol=1e-4, atol=1e-4)


def test_mode_of_the_target_likelihood_is_the_source_origin():
    """-log p1(x1(x0)) alone is least where x1 is the mean of a Gaussian, x0 = 0."""
    law, m, _ = gaussian(3)
    prior = TargetLikelihood(law.flow, probes=None, method=RK4, steps=12)
    result = control(law.flow, lambda x1: 0 * x1.sum(1), normal(2, 3), prior=prior, method=RK4, steps=12)
    assert_close(result.x1, m.expand(2, 3), rtol=1e-3, atol=1e-3)


def test_chi_prior_alone_ends_on_its_shell():
    result = control(gaussian(9)[0].flow, lambda x1: 0 * x1.sum(1), 3 * normal(2, 9), prior=ChiPrior())
    assert_close(result.x0.norm(dim=1), torch.full((2,), math.sqrt(8), dtype=F64), rtol=1e-6, atol=1e-6)


def test_shell_constraint_holds_throughout():
    """x0 has norm sqrt(d) in every result, and the gradient has no radial part at the optimum."""
    law, _, _ = gaussian(5)
    target = 3 * normal(5, seed=6)
    result = control(law.flow, quadratic(target), normal(3, 5), constraint=shell, method=RK4)
    assert_close(result.x0.norm(dim=1), torch.full((3,), math.sqrt(5), dtype=F64), rtol=1e-12, atol=0)
    x0 = result.x0.clone().requires_grad_()
    (g,) = torch.autograd.grad(quadratic(target)(solve(law.flow, x0, method=RK4)).sum(), x0)
    tangent = g - (g * result.x0).sum(1, keepdim=True) / 5 * result.x0
    assert float((tangent.norm(dim=1) / g.norm(dim=1)).max()) < 1e-4
    assert_close(solve(law.flow, result.x0, method=RK4), result.x1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "optimizer", [LBFGS(), Adam(lr=0.3), GradientDescent(lr=0.2, momentum=0.5)], ids=repr
)
def test_every_optimiser_finds_the_target(optimizer):
    law, target = gaussian(2)[0], normal(2, seed=6)
    result = control(law.flow, quadratic(target), normal(2, 2), optimizer=optimizer, gradients=250)
    assert_close(result.x1, target.expand(2, 2), rtol=0, atol=1e-3)


@pytest.mark.parametrize("strategy", [Direct(), Checkpoint(), Checkpoint(4), None], ids=repr)
def test_the_gradient_strategy_changes_nothing(strategy):
    flow, x0 = Flow(SmallNet(), (2, 3, 3)), normal(2, 2, 3, 3)
    cost = lambda x1: x1.square().flatten(1).sum(1)  # noqa: E731
    reference = control(flow, cost, x0, gradients=6, gradient=Direct())
    result = control(flow, cost, x0, gradients=6, gradient=strategy)
    assert_close(result.x0, reference.x0, rtol=1e-9, atol=1e-9)


def test_float32():
    law, _, _ = gaussian(3)
    target = normal(3, seed=6).float()
    result = control(law.flow, quadratic(target), law.flow.noise([0, 1]))
    assert result.x0.dtype == result.x1.dtype == torch.float32 and result.cost.dtype == F64
    assert_close(result.x1, target.expand(2, 3), rtol=0, atol=1e-3)


# ---- problems are independent


def several(k=5, d=3, seed=0):
    """k problems of different difficulty: weights from 1 to 1000."""
    weight = torch.logspace(0, 3, k, dtype=F64)[:, None] * (0.5 + normal(k, d, seed=seed + 1).abs())
    return mixture(d).flow, Target(normal(k, d, seed=seed), weight), normal(k, d, seed=seed + 2)


def same(result, i, other, j, **tolerance):
    """Problem i of one result is problem j of another."""
    assert result.status[i] is other.status[j]
    assert result.gradients[i] == other.gradients[j]
    for name in ("x0", "x1", "cost", "measure"):
        assert_close(getattr(result, name)[i], getattr(other, name)[j], equal_nan=True, **tolerance)


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
    """The network sees each problem exactly nfe_per_gradient x gradients times."""
    flow, cost, x0 = several()
    counted = Counted(flow.velocity)
    result = control(Flow(counted, (3,)), cost, x0, gradients=25, gradient=Direct())
    assert result.nfe_per_gradient == 12
    assert sum(counted.sizes) == int(result.evaluations.sum()) == 12 * int(result.gradients.sum())
    assert sorted(counted.sizes, reverse=True) == counted.sizes and counted.sizes[-1] < 5


def test_labels_of_the_flow_follow_their_problems():
    class Rate:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, x, t):
            return self.rate[:, None] * x

        def select(self, index):
            return Rate(self.rate[index])

    rate, target = torch.tensor([-1.0, 0.5, 2.0], dtype=F64), normal(1, 2)
    cost = Target(target.expand(3, 2), torch.tensor([[1.0], [30.0], [0.1]], dtype=F64))
    result = control(Flow(Rate(rate), (2,)), cost, normal(3, 2), method=RK4, steps=20)
    assert_close(result.x1, target.expand(3, 2), rtol=0, atol=1e-4)
    assert_close(result.x0, target * torch.exp(-rate)[:, None], rtol=1e-3, atol=1e-3)


def test_costs_and_stops_without_select_still_see_their_problems():
    """Closures over per-problem data are called with the full batch, and give what selectable ones give."""
    flow, cost, x0 = several()

    class Distance:
        def __init__(self, target):
            self.target = target

        def __call__(self, x1):
            return (x1 - self.target).square().mean(1).sqrt()

        def select(self, index):
            return Distance(self.target[index])

    level = 1e-2
    selectable = control(flow, cost, x0, stop=Stop(Distance(cost.target), level), gradients=30)
    closure = control(
        flow,
        lambda x1: 0.5 * (cost.weight * (x1 - cost.target)).square().sum(1),
        x0,
        stop=Stop(lambda x1: (x1 - cost.target).square().mean(1).sqrt(), level),
        gradients=30,
    )
    assert len(set(closure.gradients.tolist())) > 1
    for i in range(5):
        same(selectable, i, closure, i, rtol=1e-9, atol=1e-9)


# ---- stops, statuses, the best point


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


def test_labels_bound_in_a_plain_function_survive_compaction():
    """A velocity and an operator that hold data of all problems, without select, give what runs of one give."""
    labels = torch.tensor([[0.0], [1.0], [-1.0], [2.0]], dtype=torch.float64)
    masks = torch.tensor([[1.0, 1.0], [1.0, 0.03], [0.0, 1.0], [9.0, 0.2]], dtype=torch.float64)
    y = torch.tensor([[0.1, 0.2], [3.0, 0.0], [0.0, -2.0], [0.5, 0.5]], dtype=torch.float64)

    def run(rows):
        flow = Flow(lambda x, t: labels[rows] - 0.5 * x, (2,))
        misfit = Misfit(lambda x: x * masks[rows], y[rows], 0.01)
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
