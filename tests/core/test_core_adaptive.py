"""Dormand-Prince with steps per problem: tolerance, independence, rejection, failure, torchdiffeq."""

import pytest
import torch
from core_laws import F64, Counted, Rates, gaussian, jacobian, mixture, normal
from torch.testing import assert_close
from torchdiffeq import odeint

from headwater import EULER, Flow, GaussianMixture, Misuse, solve_adaptive

STIFF = GaussianMixture([0.5, 0.5], torch.tensor([[-1.0], [1.0]], dtype=F64), torch.tensor([0.03, 0.03]))


def test_error_is_proportional_to_the_tolerance():
    """Two decades of tolerance are two decades of error, within a factor of 5; error < 10 tolerance."""
    law, _, _ = gaussian(3)
    x = normal(4, 3)
    tolerances = [1e-4, 1e-6, 1e-8, 1e-10]
    errors = [
        float((solve_adaptive(law.flow, x, rtol=r, atol=r).x - law.endpoint(x)).abs().max())
        for r in tolerances
    ]
    for r, e, e_next in zip(tolerances, errors, [*errors[1:], None], strict=True):
        assert e < 10 * r
        assert e_next is None or 20 < e / e_next < 500


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0), (0.2, 0.7), (0.7, 0.2)])
def test_both_directions_reach_the_endpoint_map(start, end):
    law, _, _ = gaussian(3)
    x = normal(4, 3)
    out = solve_adaptive(law.flow, x, start=start, end=end, rtol=1e-9, atol=1e-9)
    assert bool(out.reached.all())
    assert_close(out.x, law.endpoint(x, start, end), rtol=1e-7, atol=1e-7)


def test_nothing_to_do_costs_one_evaluation():
    x = normal(2, 3)
    out = solve_adaptive(gaussian(3)[0].flow, x, start=0.4, end=0.4)
    assert_close(out.x, x, rtol=0, atol=0)
    assert out.evaluations.tolist() == [1, 1] and bool(out.reached.all())


def problems():
    """Starts from easy (far in one mode) to hard (on the ridge between two narrow modes)."""
    return torch.tensor([[3.0], [0.001], [-0.4], [-1e-5]], dtype=F64)


@pytest.mark.parametrize("end", [1.0, 0.0])
def test_a_batch_of_k_is_k_runs_of_one(end):
    """Same evaluations, steps and states: no problem sees another's step size."""
    x, start = problems(), 1.0 - end
    together = solve_adaptive(STIFF.flow, x, start=start, end=end, rtol=1e-5, atol=1e-5)
    for i in range(len(x)):
        alone = solve_adaptive(STIFF.flow, x[i : i + 1], start=start, end=end, rtol=1e-5, atol=1e-5)
        assert_close(together.x[i], alone.x[0], rtol=1e-10, atol=1e-10)
        for name in ("evaluations", "accepted", "rejected", "reached"):
            assert getattr(together, name)[i] == getattr(alone, name)[0]
    assert len(set(together.evaluations.tolist())) > 1


def test_rejected_steps_occur_and_are_paid_for():
    """1 + 6 evaluations per attempt, of the active problems alone, after the check of two."""
    counted = Counted(STIFF.velocity)
    out = solve_adaptive(Flow(counted, (1,)), problems(), rtol=1e-6, atol=1e-6)
    assert int(out.rejected.sum()) > 0
    assert_close(out.evaluations, 1 + 6 * (out.accepted + out.rejected))
    assert sum(counted.sizes[2:]) == int(out.evaluations.sum())
    assert counted.sizes[-1] < 4


def test_order_of_problems_does_not_matter():
    x, p = problems(), torch.tensor([2, 0, 3, 1])
    a, b = solve_adaptive(STIFF.flow, x), solve_adaptive(STIFF.flow, x[p])
    assert_close(a.x[p], b.x, rtol=1e-12, atol=1e-12)
    assert_close(a.evaluations[p], b.evaluations)


@pytest.mark.parametrize("when", [0.0, 0.5], ids=["from the start", "on the way"])
def test_a_failing_problem_leaves_the_others_alone(when):
    law, x = mixture(2), normal(3, 2)
    x[1] = 50.0

    def velocity(z, t):
        bad = (z[:, :1].abs() > 20) & (t.reshape(-1, 1) >= when)
        return torch.where(bad, torch.nan, law.velocity(z, t))

    out, free = solve_adaptive(Flow(velocity, (2,)), x), solve_adaptive(law.flow, x)
    assert out.reached.tolist() == [True, False, True]
    assert_close(out.x[[0, 2]], free.x[[0, 2]], rtol=1e-12, atol=1e-12)
    assert_close(out.evaluations[[0, 2]], free.evaluations[[0, 2]])
    assert int(out.evaluations[1]) < 1000 and bool(torch.isfinite(out.x[1]).all())


def test_the_limit_of_steps_is_a_value():
    out = solve_adaptive(STIFF.flow, problems(), rtol=1e-8, atol=1e-8, max_steps=3)
    assert not bool(out.reached.any()) and (out.accepted + out.rejected).tolist() == [3] * 4


def test_labels_follow_their_problems():
    """A velocity with one rate per problem is restricted to the problems that still run."""

    rate = torch.tensor([-0.1, 3.0, -8.0], dtype=F64)
    out = solve_adaptive(Flow(Rates(rate), (1,)), torch.ones(3, 1, dtype=F64), rtol=1e-9, atol=1e-12)
    assert_close(out.x[:, 0], rate.exp(), rtol=1e-6, atol=1e-9)


def test_agrees_with_torchdiffeq_dopri5():
    law, x = mixture(2), normal(4, 2)
    expected = odeint(
        lambda t, z: law.velocity(z, t),
        x,
        torch.tensor([0.0, 1.0], dtype=F64),
        method="dopri5",
        rtol=1e-9,
        atol=1e-9,
    )[-1]
    assert_close(solve_adaptive(law.flow, x, rtol=1e-9, atol=1e-9).x, expected, rtol=1e-6, atol=1e-6)


def test_gradients_pass_accepted_steps():
    """d x1 / d x0 = S^(1/2), although steps were chosen without gradients."""
    law, _, _ = gaussian(3)
    j = jacobian(lambda z: solve_adaptive(law.flow, z, rtol=1e-9, atol=1e-9).x, normal(2, 3))
    assert_close(j, jacobian(law.endpoint, normal(2, 3)), rtol=1e-6, atol=1e-6)


def test_float32():
    law, _, _ = gaussian(3)
    x = normal(4, 3).float()
    out = solve_adaptive(law.flow, x)
    assert out.x.dtype == torch.float32
    assert_close(out.x, law.endpoint(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"rtol": 0.0}, {"atol": -1.0}, {"method": EULER}, {"rtol": float("nan")}])
def test_misuse_is_refused(wrong):
    with pytest.raises(Misuse, match="embedded pair"):
        solve_adaptive(STIFF.flow, problems(), **wrong)
