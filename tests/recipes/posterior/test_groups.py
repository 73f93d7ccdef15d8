"""Chains in groups that fit into memory: the draws of one batch, also across breaks."""

import pytest
import torch
from torch.testing import assert_close

from headwater import (
    EULER,
    PCN,
    Auto,
    DecoupledAnnealing,
    Direct,
    Each,
    Estimate,
    Flow,
    Gaussian,
    InfinityHMC,
    Misfit,
    Misuse,
    PerturbAndMAP,
    Preconditioned,
    RandomiseThenOptimise,
    Status,
    forecast_posterior,
    posterior,
    watch_flow,
)
from headwater.recipes.posterior import groups, run
from headwater.recipes.posterior.forecast import time_evaluation
from headwater.solvers.memory import PeakMemory

torch.set_num_threads(1)
METHODS = {
    "pCN": PCN(burn_in=4, thin=2),
    "HMC": InfinityHMC(burn_in=2, thin=2, leaps=3),
    "perturb-and-MAP": PerturbAndMAP(gradients=5),
    "RTO": RandomiseThenOptimise(gradients=4),
    "preconditioned": Preconditioned(PCN(burn_in=4, thin=2)),
    "decoupled annealing": DecoupledAnnealing(Estimate(times=3)),
}
every = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
FLOW = Flow(
    Each(lambda x, t, scale: scale[:, None] * torch.sin(x), scale=torch.tensor([1.0, 1.5, 2.0])), (2,)
)
"""A flow with data of its own for each problem."""
MISFIT = Misfit(
    lambda x: x.sum(1, keepdim=True), torch.tensor([[0.5], [-1.0], [2.0]]), torch.tensor([0.3, 0.5, 1.0])
)
FIGURES = ("x0", "x1", "potential", "log_weights", "acceptance", "evaluations", "gradients")


def draw(flow=FLOW, misfit=MISFIT, seeds=(7, 8, 9), **options):
    options = {"chains": 3, "draws": 3} | options
    return posterior(flow, misfit, seeds, steps=1, solver=EULER, **options)


@pytest.fixture
def at_once(monkeypatch):
    """`at_once(4)`: no more than four chains fit into memory."""

    def put(most):
        monkeypatch.setattr(run, "fit_chains", lambda objective, x0, *a: (most, objective.solver["gradient"]))

    return put


@every
def test_groups_give_the_draws_of_one_batch(at_once, method):
    whole = draw(method=method)
    seen = []
    at_once(4)  # nine chains in groups of three, which are no problems
    parts = draw(watch_flow(FLOW, lambda: None), method=method, callback=lambda event: seen.append(event))
    for name in FIGURES:
        assert_close(getattr(parts, name), getattr(whole, name), atol=1e-4, rtol=1e-4)
    assert parts.status == whole.status and parts.notes == whole.notes
    assert [event.round for event in seen] == list(range(1, method.burn_in + 3 * method.thin + 1))
    assert all(event.x1.shape == (9, 2) and len(event.active) == 9 for event in seen)
    at_once(2)  # a run goes on in groups of other sizes
    rest = draw(method=method, state=seen[-2].save(), draws=3)
    for name in FIGURES:
        assert_close(getattr(rest, name), getattr(whole, name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("share", [0.4, 0.85])
def test_a_run_that_ends_between_groups_goes_on_with_the_next_one(at_once, name, share):
    at_once(2)
    method = METHODS[name]
    start, calls, first = torch.zeros(3, 2), [], []
    counted = watch_flow(FLOW, lambda: calls.append(1))
    whole = draw(counted, method=method, start=start, callback=lambda event: first.append(len(calls)))
    last = first[0] + int(share * (len(calls) - first[0]))  # a run that ends where it begins has no state
    calls.clear()

    def check():
        calls.append(1)
        return Status.SECONDS if len(calls) > last else None

    cut = draw(watch_flow(FLOW, check), method=method, start=start)
    assert {s for row in cut.status for s in row} == {Status.SECONDS} and cut.x0.shape[2] < 3
    made = cut.state["done"] * 9 + cut.state["ahead"]
    assert made > 0 and (cut.acceptance.isnan() | (cut.acceptance <= 1)).all()
    rest = draw(method=method, state=cut)
    for name in FIGURES:
        assert_close(getattr(rest, name), getattr(whole, name), atol=1e-5, rtol=1e-5)


def test_a_chain_that_cannot_start_leaves_the_groups_of_the_others(at_once):
    misfit = Misfit(lambda x: x.sum(1, keepdim=True) + 0 * (30 - x[:, :1]).log(), MISFIT.y, 0.5)
    start = torch.zeros(3, 3, 2)
    start[0, 1] = 50.0
    whole = draw(misfit=misfit, method=METHODS["pCN"], start=start)
    at_once(3)
    parts = draw(misfit=misfit, method=METHODS["pCN"], start=start)
    assert parts.status == whole.status and parts.status[0][1] is Status.DIVERGED
    assert_close(parts.x0, whole.x0, equal_nan=True)


def test_chains_begin_at_estimates_of_their_measurement():
    law = Gaussian(torch.zeros(2), torch.ones(2)).flow
    misfit = Misfit(lambda x: x, torch.tensor([[3.0, -3.0]]), 0.1)
    seen = []

    def note(event):
        seen.append(event.x1.clone())
        return Status.CANCELLED

    still = PCN(burn_in=5, step=1e-6)
    found = posterior(law, misfit, [0], method=still, start=Estimate(times=8, fresh=0.0), callback=note)
    assert (seen[0] - misfit.y).abs().max() < 1  # draws of the source are 3 away
    assert (found.evaluations == 8 + 24 + 2 * 12).all() and (found.gradients == 0).all()
    with pytest.raises(Misuse, match="and function has none"):
        posterior(law, lambda x1: x1.square().sum(1), [0], method=still, start=Estimate(times=8))


WIDE = Flow(lambda x, t: torch.tanh(x) + torch.sin(x) - x.cos().square(), (6_000,))
"""A flow whose gradient takes much more memory than its states."""


def need(memory, method=InfinityHMC(burn_in=0, thin=1, leaps=2), chains=8):  # noqa: B008
    y = Misfit(lambda x: x[:, ::2], torch.zeros(1, 3_000), 1.0)
    options = {"method": method, "chains": chains, "draws": 1, "gradient": Auto(memory)}
    said = forecast_posterior(WIDE, y, 1, **options)
    with PeakMemory() as found:
        drawn = posterior(WIDE, y, [3], start=WIDE.noise([3]), **options)
    return said, found.peak, drawn


def test_more_chains_than_fit_take_no_more_memory_than_there_is():
    (all_said, all_took, whole), (said, took, parts) = need(1e12), need(6e6)
    assert all_said.at_once == 8 and 1 <= said.at_once < 8
    assert all_took > 6e6 > took
    assert took <= said.bytes <= 6e6 and all_took <= all_said.bytes < 2 * all_took
    assert_close(parts.x0, whole.x0, atol=1e-4, rtol=1e-4)


def test_one_chain_that_fits_only_by_recomputing_is_recomputed():
    (_, all_took, whole), (said, took, parts) = need(1e12, chains=2), need(1.5e6, chains=2)
    assert said.at_once == 1
    assert_close(parts.x0, whole.x0, atol=1e-4, rtol=1e-4)
    assert took < 0.7 * all_took


def test_a_sampler_without_gradients_needs_a_solve():
    gradient, solve = need(6e6)[0].at_once, need(6e6, PCN(burn_in=0, thin=1))[0].at_once
    assert solve > gradient


def test_an_annealing_without_an_adjoint_has_room_for_the_gradients_of_its_operator():
    def decode(x):  # keeps far more than the flow needs
        for _ in range(60):
            x = torch.tanh(x) + x.cos()
        return x[:, :3_000]

    flow, y = Flow(lambda x, t: -x, (6_000,)), Misfit(decode, torch.zeros(1, 3_000), 1.0)
    method = DecoupledAnnealing(Estimate(times=2, iterations=8))

    def need(memory):
        options = {"method": method, "chains": 8, "draws": 1, "gradient": Auto(memory)}
        said = forecast_posterior(flow, y, 1, **options)
        with PeakMemory() as found:
            drawn = posterior(flow, y, [3], **options)
        return said, found.peak, drawn

    (all_said, all_took, whole), (said, took, parts) = need(1e12), need(2e7)
    assert all_said.at_once == 8 and 1 <= said.at_once < 8
    assert took <= said.bytes <= 2e7 < all_took <= all_said.bytes
    assert_close(parts.x1, whole.x1, atol=1e-3, rtol=1e-3)


def test_a_walk_that_needs_a_jacobian_to_begin_has_room_for_it():
    """`Preconditioned(PCN())` takes solves alone once it runs, and gradients before."""
    flow = Flow(lambda x, t: torch.tanh(x) + torch.sin(x), (400,))
    y = Misfit(lambda x: x[:, :1], torch.zeros(1, 1), 1.0)
    walk = PCN(burn_in=0, thin=1)
    methods = (walk, Preconditioned(walk))

    def need(memory):
        options = {"chains": 8, "draws": 1, "gradient": Auto(memory)}
        return [forecast_posterior(flow, y, 1, method=method, **options) for method in methods]

    (alone, both), (all_alone, all_both) = need(3e5), need(1e12)
    assert 1 <= both.at_once < alone.at_once and all_alone.at_once == all_both.at_once == 8
    assert all_alone.bytes < all_both.bytes
    assert (alone.gradients, both.gradients) == (0, 8 * 120)


def test_a_cost_that_knows_nothing_of_gradients_serves_samplers_that_take_none():
    def outside(x1):
        return torch.from_numpy(x1.numpy()).square().sum(1)

    found = draw(misfit=outside, method=METHODS["pCN"])
    assert_close(found.x0, draw(misfit=lambda x1: x1.square().sum(1), method=METHODS["pCN"]).x0)
    assert_close(draw(misfit=outside, method=METHODS["pCN"], gradient=Auto(0.0)).x0, found.x0)


@pytest.mark.parametrize("method", [PCN(), DecoupledAnnealing(Estimate(times=4))])
def test_what_takes_no_gradient_is_forecast_without_one(method):
    """The network is no function of torch's, as one that runs elsewhere."""
    flow = Flow(lambda x, t: torch.from_numpy(-x.numpy()), (2,))
    assert forecast_posterior(flow, MISFIT, 3, method=method, chains=2, draws=1).gradients == 0


def test_seconds_count_what_is_forecast(monkeypatch):
    """With a second for anything: solves and estimates, proximal steps, gradients, and all of it once a group."""
    ticks = iter(range(10_000))
    monkeypatch.setattr("headwater.dflow.forecast._now", lambda device: float(next(ticks)))
    options = {"chains": 3, "draws": 3, "steps": 2, "solver": EULER}

    def seconds(method, **more):
        return forecast_posterior(FLOW, MISFIT, 1, method=method, **options, **more).seconds

    assert seconds(PCN(burn_in=4, thin=5)) == 2 * (1 + 4 + 3 * 5)
    assert seconds(PCN(burn_in=4, thin=5), gradient=Auto(0.0)) == 3 * 2 * (1 + 4 + 3 * 5)
    annealing = DecoupledAnnealing(Estimate(times=4))
    assert seconds(annealing) == 2 + 3 * (4 + 24 + 4)
    walk, gradient = InfinityHMC(burn_in=0, thin=1, leaps=2), 2 * 2 + 1
    start = 4 + 24 + 4  # an estimate and its inversion
    assert seconds(walk, gradient=Direct(), start=Estimate(times=4)) == start + gradient * (1 + 3 * 2)


def test_a_busy_moment_does_not_make_a_quick_network_slow(monkeypatch):
    ticks = iter(
        [0.0, 0.05, 1.0, 1.001, 2.0, 2.002, 3.0, 3.001, 4.0, 4.001]
    )  # the first takes 50 times as long
    monkeypatch.setattr("headwater.dflow.forecast._now", lambda device: next(ticks))
    assert abs(time_evaluation(FLOW, torch.zeros(3, 2)) - 0.001) < 1e-9


@every
def test_no_memory_at_all_means_one_chain_at_a_time(method):
    whole, one = draw(method=method, draws=1), draw(method=method, draws=1, gradient=Auto(0.0))
    assert_close(one.x0, whole.x0, atol=1e-4, rtol=1e-4)
    assert one.status == whole.status


@every
def test_a_network_that_overflows_starts_no_chain_in_any_group(method):
    nan = Flow(lambda x, t: x * torch.nan, (2,))
    for gradient in (None, Auto(0.0)):
        found = draw(nan, method=method, gradient=gradient)
        assert {status for row in found.status for status in row} == {Status.DIVERGED}
        assert found.mean.isnan().all() and all("No chain could start" in s for s in found.verdict())
        again = draw(nan, method=method, gradient=gradient, state=found)
        assert again.status == found.status


@every
def test_the_calls_that_are_forecast_are_the_most_that_are_taken(method):
    """But for the Jacobians, which take a gradient for each measurement: one where it begins, one a draw."""
    options = {"method": method, "chains": 3, "draws": 3, "steps": 1, "solver": EULER}
    said, found = forecast_posterior(FLOW, MISFIT, 3, **options), draw(method=method)
    jacobians = {"RTO": 4, "preconditioned": 1}.get(next(k for k, v in METHODS.items() if v is method), 0)
    assert (found.gradients <= said.gradients // 3 + jacobians).all()
    assert (found.evaluations <= said.evaluations // 3 + jacobians).all()
    if method in (METHODS["pCN"],):
        assert (found.evaluations == said.evaluations // 3).all()


def test_a_state_of_another_version_is_refused():
    state = dict(draw(method=METHODS["pCN"]).state)
    del state["ahead"]
    with pytest.raises(Misuse, match="has no 'ahead', so another version"):
        draw(method=METHODS["pCN"], state=state)


def test_data_of_all_chains_is_refused_in_groups_too():
    with pytest.raises(Misuse, match="data of all problems"):
        draw(
            misfit=lambda x1: (x1.sum(1) - torch.arange(9.0)).square(),
            gradient=Auto(1.0),
            method=InfinityHMC(),
        )


def test_groups_are_alike():
    class Part:
        def select(self, rows):
            return rows

    found = [rows for rows, _ in groups.split(Part(), 0, 10, 4)]
    assert found == [slice(0, 4), slice(4, 7), slice(7, 10)]
    assert [rows for rows, _ in groups.split(Part(), 9, 10, 4)] == [slice(9, 10)]
