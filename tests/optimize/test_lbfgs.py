"""L-BFGS: its direction against dense BFGS, its minima against SciPy's, its rows against themselves alone."""

import itertools
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.optimize
import torch

from headwater.errors import Misuse
from headwater.optimizers import (
    CONVERGED,
    DIVERGED,
    LBFGS,
    RUNNING,
    STALLED,
    STATUS,
    StrongWolfe,
    put_rows,
    take_rows,
)
from headwater.optimizers.pairs import Memory, apply_two_loop, push_pair


def rosenbrock(x):
    a, b = x[..., :-1], x[..., 1:]
    return (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum(-1)


def beale(x):
    a, b = x.unbind(-1)
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def powell(x):
    a, b, c, d = x.unbind(-1)
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def ill_conditioned(x):
    return 0.5 * (torch.logspace(0, 5, x.shape[-1], dtype=x.dtype) * (x - 1) ** 2).sum(-1)


def evaluate(f, x):
    x = x.clone().requires_grad_()
    value = f(x)
    return value.detach(), torch.autograd.grad(value.sum(), x)[0]


def run(optimizer, f, x0, limit=400, state=None):
    """All states from the first on, until every problem has ended."""
    states = [optimizer.init(x0) if state is None else state]
    while len(states) <= limit and bool((states[-1].code == RUNNING).any()):
        states.append(optimizer.step(states[-1], *evaluate(f, states[-1].trial)))
    return states


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def same(a, b):
    for f in fields(a):
        assert torch.equal(getattr(a, f.name), getattr(b, f.name)), f.name


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def dense(pairs, gamma, d):
    """The BFGS inverse Hessian, Nocedal & Wright (6.17), as a matrix."""
    h = gamma * torch.eye(d, dtype=torch.float64)
    for s, y in pairs:
        rho = 1 / (s @ y)
        v = torch.eye(d, dtype=torch.float64) - rho * torch.outer(y, s)
        h = v.T @ h @ v + rho * torch.outer(s, s)
    return h


@pytest.mark.parametrize("event", [(6,), (2, 3)])
@pytest.mark.parametrize("length", [65536, 0])  # the ring in one piece, and pair by pair
def test_two_loop_is_the_dense_inverse_hessian(event, length, monkeypatch):
    monkeypatch.setattr("headwater.optimizers.pairs._LONG", length)
    batch, m, d = 3, 4, 6
    empty = LBFGS(memory=m).init(torch.zeros(batch, *event, dtype=torch.float64))
    memory = Memory(empty.s, empty.y, empty.sy, empty.yy, empty.head, empty.count)
    root = randn(d, d)
    hessian = root @ root.T + torch.eye(d, dtype=torch.float64)
    pairs = [[] for _ in range(batch)]
    for k in range(2 * m + 1):
        s, g = randn(batch, d, seed=k + 1), randn(batch, d, seed=100 + k)
        y = s @ hessian + 0.1 * s * s.abs()
        keep = torch.tensor([True, k % 2 == 0, k % 3 != 1]) & ((s * y).sum(-1) > 0)
        memory = push_pair(memory, s.reshape(batch, *event), y.reshape(batch, *event), keep)
        r = apply_two_loop(memory, g.reshape(batch, *event)).reshape(batch, d)
        for row in range(batch):
            if keep[row]:
                pairs[row] = [*pairs[row], (s[row], y[row])][-m:]
            if pairs[row]:
                s_, y_ = pairs[row][-1]
                expected = dense(pairs[row], (s_ @ y_) / (y_ @ y_), d) @ g[row]
                torch.testing.assert_close(r[row], expected, rtol=1e-10, atol=1e-10)
            else:
                assert not r[row].any()


def test_the_direction_of_a_run_is_that_of_its_last_pairs():
    m, x0 = 3, randn(4, 5)
    states = run(LBFGS(memory=m, tolerance=1e-6), rosenbrock, x0)
    for row in range(4):
        pairs = []
        for old, new in itertools.pairwise(states[1:]):
            if not (old.code[row] == RUNNING and new.accepted[row]):
                continue
            s, y = new.x[row] - old.x[row], new.gradient[row] - old.gradient[row]
            pairs = [*pairs, (s, y)][-m:]
            if new.code[row] == RUNNING and new.count[row] > 0:
                p = -dense(pairs, (s @ y) / (y @ y), 5) @ new.gradient[row]
                torch.testing.assert_close(new.direction[row], p, rtol=1e-6, atol=1e-9)


PROBLEMS = {
    "rosenbrock": (rosenbrock, randn(4, 6, seed=1)),
    "beale": (beale, torch.tensor([[1.0, 1.0], [0.5, -0.5], [2.0, 0.2]], dtype=torch.float64)),
    "powell": (powell, torch.tensor([[3.0, -1.0, 0.0, 1.0], [1.0, 1.0, -1.0, 2.0]], dtype=torch.float64)),
    "ill-conditioned": (ill_conditioned, randn(4, 8, seed=2)),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_reaches_what_scipy_reaches_alone(name):
    f, x0 = PROBLEMS[name]
    end = run(LBFGS(tolerance=1e-8), f, x0, limit=1000)[-1]
    for row, start in enumerate(x0):

        def numpy(x):
            value, gradient = evaluate(f, torch.from_numpy(np.array(x))[None])
            return value.item(), gradient[0].numpy()

        options = {"maxiter": 2000, "ftol": 1e-16, "gtol": 1e-8}
        alone = scipy.optimize.minimize(numpy, start.numpy(), jac=True, method="L-BFGS-B", options=options)
        assert end.value[row] <= alone.fun + 1e-9
        assert end.code[row] == CONVERGED


def test_64_rosenbrock_starts_in_one_batch():
    states = run(LBFGS(tolerance=1e-7), rosenbrock, randn(64, 10), limit=300)
    end = states[-1]
    assert (end.code == CONVERGED).all() and (end.gradient.abs().amax(1) <= 1e-7).all()
    # 0 is the global minimum; from 4 dimensions on there is one other, near (-1, 1, ..., 1), of about 3.98.
    lowest = end.value < 1e-10
    assert lowest.sum() > 40 and (end.value[~lowest] - 3.98).abs().max() < 0.02
    assert torch.equal(end.evaluations.max(), torch.tensor(len(states) - 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("event", [(10,), (3, 5), (1,), ()])
def test_a_batch_of_k_is_k_runs_of_one_bitwise(dtype, event):
    def f(x):
        x = x.reshape(len(x), -1) + 0.5  # no powers: float32 x**4 depends on x's place in the tensor
        chain, well = x[:, 1:] - x[:, :-1] * x[:, :-1], (1 - x) * (1 - x)
        return (chain * chain * 10).sum(-1) + (well * well).sum(-1)

    optimizer, x0 = LBFGS(memory=4, tolerance=1e-5, max_step=1.0), randn(7, *event, dtype=dtype)
    end = run(optimizer, f, x0, limit=30)[-1]
    for row in range(7):
        alone = run(optimizer, f, x0[row : row + 1], limit=30)[-1]
        same(alone, take_rows(end, torch.tensor([row])))


def test_the_order_of_the_problems_does_not_matter():
    x0, order = randn(9, 6), torch.randperm(9, generator=torch.Generator().manual_seed(3))
    optimizer = LBFGS(memory=3, tolerance=1e-6)
    same(run(optimizer, rosenbrock, x0[order])[-1], take_rows(run(optimizer, rosenbrock, x0)[-1], order))


def test_a_state_can_be_continued_exactly_and_is_not_modified():
    optimizer = LBFGS(memory=3)
    states = run(optimizer, rosenbrock, randn(5, 6), limit=40)
    for k in (0, 1, 7, 20):  # only now, when all later steps have been made
        copy = replace(states[k], **{f.name: getattr(states[k], f.name).clone() for f in fields(states[k])})
        same(run(optimizer, rosenbrock, None, limit=40 - k, state=copy)[-1], states[-1])
        same(run(optimizer, rosenbrock, None, limit=40 - k, state=states[k])[-1], states[-1])


def test_compaction_changes_nothing():
    optimizer, x0 = LBFGS(memory=5, tolerance=1e-3), randn(12, 5, seed=5)
    whole = run(optimizer, rosenbrock, x0)[-1]
    state = optimizer.init(x0)
    while (active := (state.code == RUNNING)).any():
        index = active.nonzero()[:, 0]
        part = take_rows(state, index)
        state = put_rows(state, index, optimizer.step(part, *evaluate(rosenbrock, part.trial)))
    same(state, whole)
    again = put_rows(whole, torch.arange(12) >= 5, take_rows(whole, torch.arange(12) >= 5))
    same(put_rows(again, torch.arange(5), take_rows(whole, torch.arange(5))), whole)


def test_ended_rows_stay_whatever_they_are_told():
    optimizer = LBFGS(tolerance=1e-8)
    x0 = torch.stack((torch.ones(4), torch.zeros(4))).double()  # the first is the minimum
    state = optimizer.step(optimizer.init(x0), *evaluate(rosenbrock, x0))
    assert state.code.tolist() == [CONVERGED, RUNNING]
    after = state
    for told in (math.nan, -5.0, math.inf):
        value, gradient = evaluate(rosenbrock, after.trial)
        value[0], gradient[0] = told, told
        after = optimizer.step(after, value, gradient)
    same(take_rows(after, torch.tensor([0])), take_rows(state, torch.tensor([0])))
    assert torch.equal(after.trial[0], after.x[0])


def test_regions_of_nan_are_survived():
    def barrier(x):  # NaN outside of the positive orthant
        return (x - 0.01 * x.log()).sum(-1)

    x0 = torch.full((3, 4), 1.0, dtype=torch.float64) * torch.tensor([[0.5], [1.0], [30.0]]).double()
    states = run(LBFGS(first_step=50.0, tolerance=1e-7), barrier, x0)
    assert any(torch.isnan(evaluate(barrier, s.trial)[0]).any() for s in states)
    assert (states[-1].code == CONVERGED).all()
    torch.testing.assert_close(states[-1].x, torch.full_like(x0, 0.01))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_a_diverging_start(bad, where):
    optimizer, x0 = LBFGS(), randn(2, 3)
    value, gradient = evaluate(rosenbrock, x0)
    if where == "value":
        value[1] = bad
    else:
        gradient[1, 0] = bad
    state = optimizer.step(optimizer.init(x0), value, gradient)
    assert state.code.tolist() == [RUNNING, DIVERGED] and not STATUS[int(state.code[1])].ok
    assert torch.equal(state.x, x0) and state.accepted.tolist() == [True, False]


def test_a_scaled_problem_does_not_disturb_its_neighbour():
    scale, x0 = torch.tensor([1.0, 1e6, 1e-3]).double(), randn(1, 6).expand(3, -1)
    end = run(LBFGS(tolerance=1e-9), lambda x: scale * rosenbrock(x), x0, limit=1000)[-1]
    alone = run(LBFGS(tolerance=1e-9), rosenbrock, x0[:1])[-1]
    same(take_rows(end, torch.tensor([0])), alone)
    torch.testing.assert_close(end.x, torch.ones_like(end.x), rtol=1e-4, atol=0)


def test_float32_ends_near_the_optimum():
    x0 = randn(16, 10, dtype=torch.float32)
    end = run(LBFGS(tolerance=0.0), lambda x: 3 + rosenbrock(x), x0, limit=500)[-1]
    assert (end.code != RUNNING).all() and ((end.code == STALLED) | (end.code == CONVERGED)).all()
    assert (end.gradient.abs().amax(1) < 0.1).all() and ((end.value < 3.001) | (end.value > 6.9)).all()


def test_a_cost_that_lies_about_its_gradient_stalls():
    optimizer, x = LBFGS(wolfe=StrongWolfe(max_evaluations=6)), randn(1, 3)
    state = optimizer.init(x)
    while state.code[0] == RUNNING:
        state = optimizer.step(state, (state.trial**2).sum(-1), -2 * state.trial)
    assert state.code[0] == STALLED and torch.equal(state.x, x) and state.evaluations[0] <= 7


def test_failure_with_memory_drops_it_once_and_then_stalls():
    optimizer, x0 = LBFGS(memory=3, wolfe=StrongWolfe(max_evaluations=5)), randn(1, 4)
    state = run(optimizer, rosenbrock, x0, limit=10)[-1]
    while state.iterations[0] < 5 or not state.accepted[0]:
        state = optimizer.step(state, *evaluate(rosenbrock, state.trial))
    value, counts = state.value, []
    while state.code[0] == RUNNING:  # from now on, every other point is worse
        state = optimizer.step(state, value + 1, state.gradient)
        counts.append(int(state.count[0]))
    assert counts == [3] * 4 + [0] * 6 and state.code[0] == STALLED and torch.equal(state.value, value)


def test_the_first_and_the_longest_step_are_lengths_per_coordinate():
    x0 = 10 + randn(3, 400)
    scale = torch.tensor([1e-8, 1.0, 1e8]).double()

    def f(x):
        return scale * (x**2).sum(-1)

    states = run(LBFGS(first_step=0.2, max_step=0.5), f, x0, limit=12)
    first = (states[1].trial - x0).pow(2).mean(1).sqrt()
    torch.testing.assert_close(first, torch.full_like(first, 0.2))
    for new in states[1:]:
        assert ((new.trial - new.x).pow(2).mean(1).sqrt() <= 0.5 + 1e-9).all()
    assert (states[-1].value < states[1].value * 0.5).all()


def test_an_empty_batch_and_no_graph():
    optimizer = LBFGS()
    state = optimizer.init(torch.zeros(0, 3))
    assert optimizer.step(state, torch.zeros(0), torch.zeros(0, 3)).x.shape == (0, 3)
    x0 = torch.ones(2, 3, requires_grad=True)
    state = optimizer.init(x0)
    value = (state.trial.requires_grad_() ** 2).sum(-1)
    state = optimizer.step(state, value, 2 * state.trial)
    assert not any(getattr(state, f.name).requires_grad for f in fields(state))
    assert state.value.dtype == torch.float64 and state.trial.dtype == torch.float32


@pytest.mark.parametrize(
    "settings",
    [{"memory": 0}, {"patience": 0}, {"first_step": 0.0}, {"max_step": -1.0}, {"tolerance": -1.0}],
)
def test_settings_that_cannot_work_are_misuse(settings):
    with pytest.raises(Misuse, match=next(iter(settings))):
        LBFGS(**settings)


def test_shapes_that_cannot_be_are_misuse():
    optimizer = LBFGS()
    with pytest.raises(Misuse, match="x0"):
        optimizer.init(torch.zeros(3, dtype=torch.int64))
    state = optimizer.init(torch.zeros(3, 2))
    with pytest.raises(Misuse, match="one evaluation per problem"):
        optimizer.step(state, torch.zeros(()), torch.zeros(3, 2))
