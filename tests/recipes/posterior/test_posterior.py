"""What holds for all samplers: problems alone and together, runs with and without a break, failures, what is said."""

import sys

import pytest
import torch
from torch.testing import assert_close

from headwater import (
    EULER,
    PCN,
    SGLD,
    DecoupledAnnealing,
    Each,
    Estimate,
    Flow,
    Gaussian,
    Identity,
    InfinityHMC,
    InfinityMALA,
    Misfit,
    Misuse,
    PerturbAndMAP,
    Posterior,
    Preconditioned,
    RandomiseThenOptimise,
    Status,
    deadline,
    forecast_posterior,
    posterior,
    watch_flow,
)
from headwater.recipes.posterior.diagnostics import largest_r_hat, split_r_hat

torch.set_num_threads(1)
METHODS = {
    "pCN": PCN(burn_in=10, thin=2),
    "MALA": InfinityMALA(burn_in=10, thin=2),
    "HMC": InfinityHMC(burn_in=5, thin=2),
    "SGLD": SGLD(burn_in=10, thin=2),
    "perturb-and-MAP": PerturbAndMAP(gradients=8),
    "RTO": RandomiseThenOptimise(gradients=8),
    "preconditioned": Preconditioned(PCN(burn_in=10, thin=2)),
    "decoupled annealing": DecoupledAnnealing(Estimate(times=3)),
}
every = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
Y = torch.tensor([[0.5], [-1.0], [2.0]])
SCALE = torch.tensor([1.0, 1.5, 2.0])
SEEDS = [7, 8, 9]


def velocity(x, t, scale):
    return scale[:, None] * torch.sin(x)


FLOW = Flow(Each(velocity, scale=SCALE), (2,))
"""A flow with data of its own for each problem, and so a map x1 = x0 + scale sin(x0)."""
MISFIT = Misfit(lambda x: x.sum(1, keepdim=True), Y, torch.tensor([0.3, 0.5, 1.0]))


def draw(flow=FLOW, misfit=MISFIT, seeds=SEEDS, **options):
    options = {"chains": 2, "draws": 4} | options
    return posterior(flow, misfit, seeds, steps=1, solver=EULER, **options)


@every
def test_a_batch_gives_what_each_problem_gives_alone(method):
    together = draw(method=method)
    for i, seed in enumerate(SEEDS):
        one = torch.tensor([i])
        alone = draw(FLOW.select(one), MISFIT.select(one), [seed], method=method)
        for name in ("x0", "x1", "potential", "log_weights", "acceptance"):
            assert_close(getattr(alone, name)[0], getattr(together, name)[i], atol=1e-4, rtol=1e-4)
        assert alone.verdict() == together.verdict()[i : i + 1]


@every
def test_a_run_with_breaks_is_one_without(method):
    whole = draw(method=method)
    part = draw(method=method, draws=2)
    part = draw(method=method, draws=3, state=part.state)
    assert part.x0.shape[2] == 3
    rest = draw(method=method, state=part)
    for name in ("x0", "x1", "potential", "log_weights", "acceptance", "evaluations", "gradients"):
        assert torch.equal(getattr(rest, name), getattr(whole, name)), name
    assert all(torch.equal(rest.state[name], value) for name, value in whole.state.items())


@pytest.mark.parametrize("method", list(METHODS.values())[:5], ids=list(METHODS)[:5])
@pytest.mark.parametrize("after", [12, 25])
def test_a_run_that_a_watched_flow_ends_goes_on_where_it_was(method, after):
    calls = []

    def check():
        calls.append(1)
        return Status.SECONDS if len(calls) > after else None

    start = FLOW.noise(SEEDS)
    cut = draw(watch_flow(FLOW, check), method=method, start=start)
    assert all(s is Status.SECONDS for row in cut.status for s in row) and cut.x0.shape[2] < 6
    rest, whole = draw(method=method, state=cut), draw(method=method, start=start)
    assert torch.equal(rest.x0, whole.x0) and torch.equal(rest.gradients, whole.gradients)


def test_a_callback_sees_every_step_and_may_end_the_run_or_save_it():
    seen = []

    def callback(event):
        seen.append((event.round, event.steps, event.burn_in))
        if event.round == 13:
            saved.update(event.save())
        return None

    saved = {}
    whole = draw(method=METHODS["pCN"], callback=callback)
    assert seen == [(k, 18, k <= 10) for k in range(1, 19)]
    assert torch.equal(draw(method=METHODS["pCN"], state=saved).x0, whole.x0)
    ended = draw(method=METHODS["pCN"], callback=deadline(0.0))
    assert ended.x0.shape == (3, 2, 0, 2) and ended.status[0][0] is Status.SECONDS
    assert "No draw was kept" in ended.verdict()[0] and ended.acceptance.isnan().all()


@every
def test_a_chain_that_cannot_start_stays_out_and_the_others_are_what_they_were(method):
    def misfit_of(y):
        # No number beyond 30: log of a negative number.
        return Misfit(lambda x: x.sum(1, keepdim=True) + 0 * (30 - x[:, :1]).log(), y, 0.5)

    start = torch.zeros(3, 2, 2)
    start[1, 0] = 50.0
    lost = draw(misfit=misfit_of(Y), method=method, start=start)
    fine = draw(misfit=misfit_of(Y), method=method, start=torch.zeros(3, 2, 2))
    assert lost.status[1] == (Status.DIVERGED, Status.COMPUTED) and lost.status[0] == fine.status[0]
    assert lost.x1[1, 0].isnan().all() and (lost.log_weights[1, 0] == -torch.inf).all()
    keep = torch.tensor([[True, True], [False, True], [True, True]])
    assert_close(lost.x0[keep], fine.x0[keep], atol=1e-5, rtol=1e-5)
    assert lost.mean.isfinite().all() and lost.std.isfinite().all() and lost.nearest().isfinite().all()
    assert lost.quantile(0.9).isfinite().all() and lost.quantile(0.0).isfinite().all()
    assert "1 chain could not start" in lost.verdict()[1] and "could not" not in lost.verdict()[0]
    assert torch.equal(
        draw(misfit=misfit_of(Y), method=method, start=start, draws=6, state=lost).x0[keep][:, :4],
        lost.x0[keep],
    )


def test_a_problem_without_any_chain_does_not_end_the_batch():
    bad = Each(
        lambda x1, bad: torch.where(bad, torch.nan, x1.square().sum(1)),
        bad=torch.tensor([True, False, False]),
    )
    found = draw(misfit=bad, method=METHODS["pCN"])
    assert found.mean[0].isnan().all() and found.mean[1:].isfinite().all()
    assert found.status[0] == (Status.DIVERGED,) * 2 and len(found.verdict()) == 3
    found = draw(misfit=lambda x1: x1.sum(1) * torch.nan, method=METHODS["HMC"])
    assert found.x0.shape == (3, 2, 0, 2) and found.status[2] == (Status.DIVERGED,) * 2


@every
def test_what_is_counted_is_what_the_network_was_asked(method):
    calls = []
    counted = watch_flow(FLOW, lambda: calls.append(1))
    few, many = (draw(counted, method=method, draws=n, start=torch.zeros(3, 2)) for n in (1, 3))
    extra = (many.evaluations - few.evaluations).sum()
    solves, gradients, beside = method.calls_per_step()
    most = 2 * method.thin * (solves + gradients + beside)
    if isinstance(method, DecoupledAnnealing):  # an estimate of 3 and an inversion of 24
        assert extra == 6 * most == 6 * 2 * (3 + 24)
        return
    assert 0 < extra <= 6 * most + 6 * 2 * 1 * isinstance(method, RandomiseThenOptimise)
    assert (many.gradients <= many.evaluations).all()
    if isinstance(method, PCN):
        assert (many.gradients == 0).all() and (many.evaluations == 1 + 10 + 3 * 2).all()
        # One call serves all rows; the check of promises at the start is not counted.
        calls.clear()
        draw(counted, method=method, draws=3, state=few)
        assert len(calls) - 4 <= 4 + 4


FROM_ESTIMATE = PerturbAndMAP(gradients=1, estimate=Estimate(times=5, fresh=0.0))


@pytest.mark.parametrize(
    "method",
    [METHODS[name] for name in ("pCN", "MALA", "HMC", "SGLD", "decoupled annealing")] + [FROM_ESTIMATE],
    ids=lambda method: type(method).__name__,
)
@pytest.mark.parametrize("start", [Estimate(times=4), torch.zeros(3, 2)], ids=["estimate", "x0"])
def test_what_is_forecast_is_what_is_counted(method, start):
    options = {"method": method, "chains": 2, "draws": 3, "steps": 2, "start": start}
    said = forecast_posterior(FLOW, MISFIT, 3, **options)
    found = posterior(FLOW, MISFIT, SEEDS, **options)
    assert (found.evaluations.sum(1) == said.evaluations).all()
    assert (found.gradients.sum(1) == said.gradients).all()


def test_starts():
    """A given start is taken as it is; else chains begin apart, near the measurement if there are gradients."""
    at = []

    def note(event):
        at.append(event.x0.clone())
        return Status.CANCELLED

    still = PCN(step=1e-6, burn_in=5)
    draw(method=still, start=torch.full((3, 2), 0.25), callback=note)
    assert_close(at[0], torch.full((6, 2), 0.25), atol=1e-4, rtol=0)
    draw(method=still, callback=note)
    assert (at[1][0::2] - at[1][1::2]).abs().min() > 1e-3
    draw(misfit=lambda x1: x1.detach().square().sum(1), method=still, callback=note)
    assert_close(at[2], at[1], atol=1e-4, rtol=0)  # draws of the source: no gradient is asked for
    draw(method=SGLD(burn_in=5, step=1e-12), callback=note)
    assert (at[3] - at[1]).abs().amax(1).max() > 1e-2  # with gradients, near the measurement
    with pytest.raises(Misuse, match="start has the shape"):
        draw(start=torch.zeros(2, 2))


def test_statistics_of_known_draws():
    x = torch.arange(8.0).reshape(1, 2, 4, 1)
    w = torch.tensor([[[1.0, 1, 1, 1], [0, 0, 0, 4]]])
    done = ((Status.COMPUTED,) * 2,)
    zero = torch.zeros(1, 2)
    found = Posterior(x, x, x[..., 0].double(), w.double().log(), zero, done, zero, zero, {})
    assert_close(found.mean, torch.tensor([[(0 + 1 + 2 + 3 + 4 * 7) / 8]]))
    assert_close(
        found.std, ((torch.tensor([0.0, 1, 2, 3, 7, 7, 7, 7]) - 4.25).square().mean().sqrt())[None, None]
    )
    assert (
        found.quantile(0.5).item() == 3 and found.quantile(0.51).item() == 7 and found.quantile(0).item() == 0
    )
    assert found.nearest().item() == 3
    p, error = found.probability(lambda x1: x1[:, 0] > 5)
    assert p.item() == 0.5 and error.item() > 0
    assert found.probability(lambda x1: x1[:, 0] > 9)[1].item() > 0  # never seen, not impossible
    with pytest.raises(Misuse, match="one bool"):
        found.probability(lambda x1: x1[:, 0])
    with pytest.raises(Misuse, match="no quantile"):
        found.quantile(1.5)


def test_the_error_of_a_probability_covers_its_deviation():
    flow = Flow(lambda x, t: x, (1,))
    none = draw(flow, lambda x1: 0 * x1.sum(1), range(60), method=PCN(20, thin=1, step=0.5), draws=60)
    p, error = none.probability(lambda x1: x1[:, 0] > 1)
    z = (p - 0.3085) / error  # P(2 N > 1)
    assert 0.6 < float(z.std()) < 1.6 and abs(float(z.mean())) < 0.5


def test_independent_draws_agree_and_chains_apart_do_not():
    generator = torch.Generator().manual_seed(0)
    for draws in (16, 100):
        q = torch.randn(20, 4, draws, 34, generator=generator)
        false = sum(split_r_hat(one) > largest_r_hat(draws) for one in q)
        assert false <= 2
        apart = q[:3] + torch.tensor([0.0, 0, 0, 2.0])[:, None, None]
        assert all(split_r_hat(one) > largest_r_hat(draws) for one in apart)


def test_verdicts_say_what_happened():
    stuck = draw(method=PCN(burn_in=0, thin=1, step=1e-3), draws=20)
    assert all("do not agree yet" in s and "run longer" in s for s in stuck.verdict())
    well = draw(method=PerturbAndMAP(gradients=12), draws=40, chains=4)
    assert all(s.startswith("The chains agree: R-hat") and "effective draws" in s for s in well.verdict())


def test_without_arviz_draws_are_there_and_diagnostics_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz_stats.base", None)
    monkeypatch.setitem(sys.modules, "arviz_stats", None)
    found = draw(method=METHODS["pCN"])
    assert found.mean.isfinite().all()
    with pytest.raises(Misuse, match=r"headwater\[posterior\]"):
        found.verdict()


def test_misuse_is_refused():
    with pytest.raises(Misuse, match="make no sample"):
        draw(chains=0)
    with pytest.raises(Misuse, match="make no sample"):
        draw(draws=0)
    with pytest.raises(Misuse, match="y of the misfit has 3 rows, and there are 2 seeds"):
        draw(seeds=[1, 2])
    with pytest.raises(Misuse, match="seed"):
        draw(seeds=[1, 2, -1])
    state = draw(method=METHODS["pCN"])
    with pytest.raises(Misuse, match="another sampler"):
        draw(method=METHODS["SGLD"], state=state)
    with pytest.raises(Misuse, match="another number of chains"):
        draw(method=METHODS["pCN"], chains=3, state=state)
    with pytest.raises(Misuse, match="data of all problems"):
        draw(misfit=lambda x1: (x1.sum(1) - torch.arange(6.0)).square(), chains=2)


def test_a_complex_measurement_is_drawn_as_its_misfit_weighs_it():
    flow = Flow(lambda x, t: x, (2,))
    misfit = Misfit(
        lambda x: torch.complex(x[:, :1], x[:, 1:]), torch.zeros(1, 1, dtype=torch.complex64), 2.0
    )
    found = draw(flow, misfit, [0], method=PerturbAndMAP(), chains=100, draws=10)
    # Phi = |x1|^2 / 8 is that of N(0, 4 I), and so is the prior: the variance is 2.
    assert_close(found.std[0], torch.full((2,), 2**0.5), atol=0.15, rtol=0)


@pytest.mark.parametrize(
    "method",
    [DecoupledAnnealing(Estimate(times=3)), PerturbAndMAP(gradients=2, estimate=Estimate(times=3))],
)
@pytest.mark.parametrize("operator", [Identity(), lambda x: x], ids=["adjoint", "no adjoint"])
def test_a_measurement_of_more_digits_leaves_the_states_as_they_are(method, operator):
    law, y = Gaussian(torch.zeros(2), torch.ones(2)).flow, torch.ones(1, 2, dtype=torch.float64)
    for measured in (y, y.float()):
        found = posterior(law, Misfit(operator, measured, 0.5), [0], method=method, chains=2, draws=2)
        assert found.x1.dtype == found.x0.dtype == torch.float32


@pytest.mark.parametrize("method", [DecoupledAnnealing(Estimate(times=3)), PCN(burn_in=2, thin=1)])
def test_a_network_that_carries_no_gradient_serves_samplers_that_take_none(method):
    flow = Flow(torch.no_grad()(lambda x, t: -x), (2,))
    misfit = Misfit(Identity(), torch.ones(1, 2), 0.5)
    assert posterior(flow, misfit, [0], method=method, chains=2, draws=2).mean.isfinite().all()
