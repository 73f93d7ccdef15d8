"""Adam and gradient descent: closed forms, torch.optim as the reference, rows against themselves alone."""

import math
from dataclasses import fields

import pytest
import torch

from headwater.errors import Misuse
from headwater.optimizers import (
    CONVERGED,
    DIVERGED,
    RUNNING,
    Adam,
    GradientDescent,
    Polyak,
    put_rows,
    take_rows,
)


def evaluate(x):
    scale = torch.arange(1.0, 1.0 + x[0].numel(), dtype=x.dtype).reshape(x.shape[1:])
    flat = (scale * x**2 / 2 + x.cos()).reshape(len(x), -1)
    return flat.sum(-1), scale * x - x.sin()


def run(optimizer, state, steps):
    for _ in range(steps):
        state = optimizer.step(state, *evaluate(state.trial))
    return state


def start(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


def same(a, b):
    for f in fields(a):
        assert torch.equal(getattr(a, f.name), getattr(b, f.name)), f.name


ALL = [
    GradientDescent(lr=0.05),
    GradientDescent(lr=0.05, momentum=0.8, clip=0.5),
    Adam(lr=0.1),
    Adam(lr=0.1, normalized=True),
    Polyak(max_step=0.2, least=-20.0),
]


def test_gradient_descent_on_a_quadratic_is_geometric():
    optimizer, state = GradientDescent(lr=0.25), GradientDescent(lr=0.25).init(torch.full((1, 2), 8.0))
    for k in range(6):
        assert torch.equal(state.trial, torch.full((1, 2), 8.0 * 0.75**k))
        state = optimizer.step(state, (state.trial**2).sum(-1) / 2, state.trial)
    assert state.iterations.item() == 5 and state.evaluations.item() == 6 and state.accepted.all()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (GradientDescent(lr=0.05, momentum=0.8), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8)),
        (Adam(lr=0.1, betas=(0.8, 0.95)), lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.95))),
    ],
)
def test_the_path_is_that_of_torch(ours, theirs):
    x0 = start(3, 4)
    parameter = x0.clone().requires_grad_()
    reference = theirs([parameter])
    state = ours.init(x0)
    for _ in range(20):
        torch.testing.assert_close(state.trial, parameter.detach())
        state = ours.step(state, *evaluate(state.trial))
        parameter.grad = evaluate(parameter.detach())[1]
        reference.step()


def test_the_value_belongs_to_x_and_the_trial_is_next():
    for optimizer in ALL:
        state = run(optimizer, optimizer.init(start(3, 4)), 5)
        value, gradient = evaluate(state.x)
        assert torch.equal(state.value, value) and torch.equal(state.gradient, gradient)
        assert not torch.equal(state.trial, state.x)


def test_normalized_adam_does_not_see_the_scale_of_the_cost():
    optimizer, x0 = Adam(lr=0.1, normalized=True), start(1, 5).expand(2, -1)
    scale, state = torch.tensor([1.0, 2.0**40]).double(), Adam(lr=0.1).init(x0)
    for _ in range(10):
        value, gradient = evaluate(state.trial)
        state = optimizer.step(state, scale * value, scale[:, None] * gradient)
    assert torch.equal(state.trial[0], state.trial[1])


def test_clip_bounds_the_step():
    optimizer = GradientDescent(lr=1.0, clip=0.5)
    x0 = torch.tensor([[30.0, 40.0], [0.0, 0.1]]).double()
    state = optimizer.step(optimizer.init(x0), torch.zeros(2), x0)
    torch.testing.assert_close(state.trial - x0, torch.tensor([[-0.3, -0.4], [0.0, -0.1]]).double())


def test_polyak_solves_a_squared_linear_misfit_in_one_step():
    """C = (a.x - b)^2 / 2 from any start; then it has converged, and a larger relaxation is refused."""
    a, x0 = start(1, 6), start(4, 6) + 2
    optimizer = Polyak(max_step=1e9)
    state = optimizer.init(x0)
    for _ in range(2):
        misfit = (state.trial * a).sum(1) - 3.0
        state = optimizer.step(state, misfit.square() / 2, misfit[:, None] * a)
    torch.testing.assert_close((state.x * a).sum(1), torch.full((4,), 3.0).double())
    assert bool((state.value < 1e-25).all())
    at_least = optimizer.step(optimizer.init(x0), torch.zeros(4), x0)
    assert at_least.code.tolist() == [CONVERGED] * 4 and torch.equal(at_least.trial, x0)


def test_polyak_takes_no_step_longer_than_its_limit():
    """rms 0.2 of 4 coordinates is a length of 0.4, along the negative gradient; a short step is not stretched.

    Coordinates that do not move, such as padding, do not count: here there are five of them.
    """
    optimizer, x0 = Polyak(max_step=0.2, least=1.0), torch.zeros(2, 9).double()
    gradient = torch.zeros(2, 9).double()
    gradient[:, 2:6] = torch.tensor([[3.0, 4.0, 1e-9, 1e-9], [1e-9, 1e-9, 1e-9, 2.0]])
    state = optimizer.step(optimizer.init(x0), torch.tensor([100.0, 1.1]), gradient)
    want = torch.tensor([[-0.24, -0.32, 0.0, 0.0], [0.0, 0.0, 0.0, -0.1]]).double()
    torch.testing.assert_close(state.trial[:, 2:6], want, atol=1e-7, rtol=1e-6)
    assert bool((state.trial[:, :2] == 0).all() and (state.trial[:, 6:] == 0).all())


@pytest.mark.parametrize("optimizer", ALL)
@pytest.mark.parametrize("event", [(5,), (2, 3), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_do_not_depend_on_each_other_and_states_continue(optimizer, event, dtype):
    x0 = start(5, *event, dtype=dtype)
    middle = run(optimizer, optimizer.init(x0), 4)
    end = run(optimizer, middle, 5)
    same(run(optimizer, optimizer.init(x0), 9), end)
    for row in range(5):
        index = torch.tensor([row])
        same(run(optimizer, optimizer.init(x0[index]), 9), take_rows(end, index))
        middle = put_rows(middle, index, run(optimizer, take_rows(middle, index), 5))
    same(middle, end)


@pytest.mark.parametrize("optimizer", ALL)
def test_ends(optimizer):
    x0 = torch.stack((torch.zeros(3), torch.ones(3), torch.ones(3))).double()
    value, gradient = evaluate(x0)
    gradient[1, 0] = math.nan
    state = optimizer.step(optimizer.init(x0), value, gradient)
    assert state.code.tolist() == [CONVERGED, DIVERGED, RUNNING]
    after = optimizer.step(state, *evaluate(state.trial + 1))
    same(take_rows(after, torch.tensor([0, 1])), take_rows(state, torch.tensor([0, 1])))
    assert torch.equal(state.trial[:2], x0[:2])
    last = optimizer.step(after, torch.full((3,), math.nan), gradient * 0)
    assert last.code[2] == DIVERGED and torch.equal(last.x, after.x) and torch.isfinite(last.x).all()


def test_settings_that_cannot_work_are_misuse():
    for make in (
        lambda: GradientDescent(lr=0.0),
        lambda: GradientDescent(lr=1.0, momentum=1.0),
        lambda: GradientDescent(lr=1.0, clip=-1.0),
        lambda: Adam(lr=math.inf),
        lambda: Adam(lr=0.1, betas=(0.9, 1.0)),
        lambda: Adam(lr=0.1, eps=0.0),
        lambda: Polyak(max_step=0.0),
        lambda: Polyak(max_step=1.0, relaxation=0.0),
        lambda: Polyak(max_step=1.0, relaxation=2.5),
    ):
        with pytest.raises(Misuse):
            make()
