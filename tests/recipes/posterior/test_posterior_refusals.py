"""What a posterior refuses, and what it says of runs that went wrong."""

import math

import pytest
import torch

from headwater import (
    EULER,
    PCN,
    Each,
    Flow,
    InfinityHMC,
    Misfit,
    Misuse,
    PerturbAndMAP,
    RandomiseThenOptimise,
    Status,
    WeightedSum,
    deadline,
    posterior,
)
from headwater.flows.seeds import make_generators
from headwater.recipes.posterior.noise import seeds_of_chains, seeds_of_starts

torch.set_num_threads(1)
FLOW = Flow(lambda x, t: x, (2,))
MISFIT = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.5)
SHORT = PCN(burn_in=2, thin=1)


def draw(misfit=MISFIT, seeds=(7, 8), flow=FLOW, **options):
    options = {"method": SHORT, "chains": 2, "draws": 4} | options
    return posterior(flow, misfit, seeds, steps=1, solver=EULER, **options)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"method": PCN(burn_in=2, thin=1, step=0.3)}, "another sampler"),
        ({"method": PerturbAndMAP()}, "another sampler"),
        ({"seeds": (7, 9)}, "other seeds"),
        ({"seeds": (8, 7)}, "other seeds"),
        ({"seeds": (7,), "chains": 4}, "other seeds"),
    ],
)
def test_a_state_of_another_run_is_refused(other, what):
    """Its fields have the same shapes, so that it would go on, as a mixture of two runs."""
    with pytest.raises(Misuse, match=what):
        draw(state=draw(), **other)


def test_a_state_keeps_large_seeds_and_what_is_no_state_is_refused():
    seeds = (2**64 - 1, 2**63)
    whole = draw(seeds=seeds)
    assert torch.equal(draw(seeds=seeds, state=draw(seeds=seeds, draws=2)).x0, whole.x0)
    with pytest.raises(Misuse, match="another sampler"):
        draw(state={})


def test_fewer_draws_than_were_kept_are_the_first():
    whole = draw()
    few = draw(draws=3, state=whole)
    assert torch.equal(few.x0, whole.x0[:, :, :3]) and few.log_weights.shape == (2, 2, 3)
    assert torch.equal(draw(state=few).x0, whole.x0)  # nothing of the state is lost


def check_nothing_is_known(found, problem=0):
    p, error = found.probability(lambda x1: x1[:, 0] > 0)
    for value in (found.mean, found.std, found.quantile(0.5), found.nearest(), p, error):
        assert len(value) == 2 and value[problem].isnan().all()


def test_without_draws_nothing_is_known():
    lost = draw(lambda x1: x1.sum(1) * torch.nan)
    assert set(lost.status[0]) == {Status.DIVERGED}
    check_nothing_is_known(lost)
    assert lost.verdict() == ["No chain could start, as the misfit was not finite there."] * 2
    ended = draw(callback=deadline(0.0))
    check_nothing_is_known(ended, 1)
    assert "No draw was kept" in ended.verdict()[0]
    bad = Each(lambda x1, bad: torch.where(bad, torch.nan, x1.sum(1)), bad=torch.tensor([True, False]))
    half = draw(bad)
    check_nothing_is_known(half)
    assert half.nearest()[1].isfinite().all() and half.std[1].isfinite().all()
    assert "No chain could start" in half.verdict()[0] and "No chain" not in half.verdict()[1]


def test_one_draw_has_no_spread():
    one = draw(chains=1, draws=1)
    assert one.mean.isfinite().all() and one.std.isnan().all()


def test_optimisations_that_did_not_converge_are_counted():
    """Phi is far above the d / 2 = 25 of draws, and no two chains differ in that."""
    a = torch.logspace(0, -3, 50)
    misfit = Misfit(lambda x: a * x, (a * torch.randn(50, generator=make_generators([0])[0]))[None], 1e-3)
    flow = Flow(lambda x, t: x, (50,))
    found = draw(misfit, [0], flow, method=PerturbAndMAP(gradients=5))
    assert found.potential.mean() > 250
    said = found.verdict()[0]
    assert "8 of 8 optimisations stopped at 5 gradients, before they converged: give more" in said
    # the count is that of all runs
    rest = draw(misfit, [0], flow, method=PerturbAndMAP(gradients=5), draws=5, state=found)
    assert "10 of 10 optimisations" in rest.verdict()[0]
    assert "optimisations" not in draw(method=PerturbAndMAP(gradients=60)).verdict()[0]


def test_no_chain_draws_what_a_single_sample_draws():
    """The source of seed 0 would else be the first noise of its chain 0."""
    own = [0, 1, 5]
    plain = [draws_of(seed) for seed in own]
    others = [draws_of(seed) for seed in seeds_of_chains(own, 4) + seeds_of_starts(own, 4)]
    assert len(set(plain + others)) == 3 + 2 * 12


def draws_of(seed):
    return torch.rand((), generator=make_generators([seed])[0], dtype=torch.float64).item()


TWO = torch.ones(2, 1)


@pytest.mark.parametrize("rows", [3, 1 + 2 + 2])
def test_data_of_another_number_of_problems_is_refused(rows):
    """More rows were dropped without a word, fewer were an IndexError."""
    many = torch.ones(rows, 1)
    cost = Each(lambda x1, target: (x1 - target).square().sum(1), target=many)
    misfits = [
        cost,
        WeightedSum(((1.0, cost), (2.0, lambda x1: x1.sum(1)))),
        Misfit(lambda x: x[:, :1], many, 1.0),
        Misfit(lambda x: x[:, :1], torch.ones(1, 1), many[:, 0]),
        Misfit(lambda x: x[:, :1], torch.ones(1, 1), 1.0, measured=many > 0),
        Misfit(Each(lambda x, k: k * x[:, :1], k=many), torch.ones(1, 1), 1.0),
    ]
    for misfit in misfits:
        with pytest.raises(Misuse, match=f"has {rows} rows, and there are 2 seeds"):
            draw(misfit)
    with pytest.raises(Misuse, match="data 'k'"):
        draw(flow=Flow(Each(lambda x, t, k: k * x, k=many), (2,)))
    with pytest.raises(Misuse, match="data 'k'"):
        draw(Misfit(Each(lambda x, k: k * x[:, :1], k=TWO), torch.ones(1, 1), 1.0), seeds=(1, 2, 3))


def test_all_leaps_together_turn_by_a_quarter_at_most(monkeypatch):
    lengths = []

    def leap(state, v, s, kick, leaps, potential):
        lengths.append(s * leaps)
        return real(state, v, s, kick, leaps, potential)

    real = InfinityHMC.advance.__globals__["leapfrog"]
    monkeypatch.setitem(InfinityHMC.advance.__globals__, "leapfrog", leap)
    # nothing was measured, so every step is accepted, and s grows as far as it may
    draw(lambda x1: 0 * x1.sum(1), method=InfinityHMC(burn_in=30, thin=1, leaps=2), draws=20)
    assert math.pi / 2 * 0.9 < torch.stack(lengths).max() <= math.pi / 2 * (1 + 1e-9)


@pytest.mark.parametrize("chains", [1, 4])
def test_a_chain_that_never_moves_is_said_to(chains):
    start = torch.zeros(1, chains, 2)
    start[:, 0] = 0.5

    def misfit(x1):
        """A pit at x0 = 0.5, so deep and narrow that no step leaves it."""
        return torch.where((x1 - 1.0).abs().amax(1) < 1e-6, -1e6, x1.sum(1) * 0.0)

    found = draw(misfit, [3], method=PCN(burn_in=0, thin=1, step=0.1), chains=chains, draws=20, start=start)
    said = found.verdict()[0]
    assert said.startswith("No step was accepted:" if chains == 1 else "No step was accepted in 1 chain:")


@pytest.mark.parametrize("answer", [None, True, [True] * 16])
def test_an_event_that_answers_with_no_tensor_is_refused(answer):
    with pytest.raises(Misuse, match=f"answers {type(answer).__name__}"):
        draw().probability(lambda x1: answer)


def test_the_sum_of_weights_is_not_asked_of_draws_without_any():
    """Where no equation was solved, no draw of randomise-then-optimise has a weight."""
    found = draw(method=RandomiseThenOptimise(gradients=8))
    none = type(found)(**{**vars(found), "log_weights": torch.full_like(found.log_weights, -torch.inf)})
    check_nothing_is_known(none)
