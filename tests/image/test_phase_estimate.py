"""Phase retrieval: two estimates, twins that suit each other, amplitudes that were not measured."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from headwater import Estimate, Flow, Gaussian, Misfit, Status
from headwater.image import Colorize, PhaseRetrieval, chain
from headwater.image.phase_estimate import PhaseEstimate, choose_twins, retrieve_phases, twins
from headwater.recipes.estimate import EstimateWatch

torch.set_num_threads(1)
A, N = PhaseRetrieval(), 8
SHORT = PhaseEstimate(Estimate(times=8), Estimate(times=8, first=0.3), starts=2, iterations=150)


def picture(seed, channels=1):
    """A bright object off the centre, which no turn leaves as it is, `[1, channels, N, N]`."""
    g = torch.Generator().manual_seed(seed)
    x = 0.2 + 0.6 * torch.rand(1, 1, N, N, generator=g)
    x[..., : N // 2, :] -= 0.4
    return x.expand(1, channels, N, N) + 0.05 * torch.randn(1, channels, N, N, generator=g)


def flow_of(x, std=0.15):
    """A flow to pictures near x `[1, c, n, n]`."""
    plain = Gaussian(x.flatten(), torch.full((x.numel(),), std**2)).flow
    shape = tuple(x.shape[1:])
    return Flow(lambda z, t: plain(z.flatten(1), t).reshape(z.shape), shape, range=(-1, 1))


def nearest(found, x):
    """How far found is from the nearest twin of x."""
    return min(float((found - twin).abs().max()) for twin in twins(x))


def run(recipe, flow, misfit, seeds=(0,), callback=None):
    watch = EstimateWatch(misfit, callback)
    guess = torch.zeros(1, *flow.shape)
    return recipe.sample(flow, misfit, seeds, guess=guess, watch=watch), watch


def test_amplitudes_give_the_picture_without_a_network_but_for_its_twins():
    x = picture(0)
    found = retrieve_phases(Misfit(A, A(x), 0.01), [3], starts=4, iterations=600, bounds=(-1, 1))
    assert nearest(found, x) < 0.02


def test_amplitudes_that_were_not_measured_do_not_matter():
    x = picture(0)
    measured = torch.ones(1, 1, 2 * N, 2 * N, dtype=torch.bool)
    measured[..., 3, 2] = measured[..., -3, -2] = False  # the two of one frequency
    wrong = torch.where(measured, A(x), torch.tensor(9.0))

    def find(y, mask):
        return retrieve_phases(
            Misfit(A, y, 0.01, measured=mask), [3], starts=4, iterations=600, bounds=(-1, 1)
        )

    assert nearest(find(wrong, measured), x) < 0.05 < nearest(find(wrong, None), x)


@pytest.mark.parametrize("turned", range(4))
def test_twins_are_chosen_that_suit_the_flow_and_each_other(turned):
    x = picture(1, channels=3)
    mixed = torch.stack([twins(x[:, i])[(turned + i) % 4] for i in range(3)], 1)
    found, evaluations = choose_twins(flow_of(x), mixed, [5])
    assert_close(found, x)
    assert evaluations == 4**3
    grey, evaluations = choose_twins(flow_of(x[:, :1]), mixed[:, :1], [5])
    assert_close(grey, x[:, :1])
    assert evaluations == 4


def test_the_better_of_the_two_is_the_answer_for_every_problem():
    x = torch.cat([picture(2), picture(3)])
    flow, misfit = flow_of(x.mean(0, keepdim=True), 0.3), Misfit(A, A(x), 0.05)
    weak = replace(SHORT, from_noise=Estimate(times=1, iterations=1))  # so that the start is the better one
    for recipe in (SHORT, weak):
        both, watch = run(recipe, flow, misfit, (0, 1))
        noise, _ = run(recipe.from_noise, flow, misfit, (0, 1))
        assert (misfit(both) <= misfit(noise)).all()
        assert watch.evaluations == recipe.from_noise.times + 4 + 8
    assert (misfit(both) < misfit(noise)).all()
    one, _ = run(weak, flow, misfit.select(torch.tensor([1])), (1,))
    assert_close(both[1:], one, atol=1e-4, rtol=1e-4)


def test_another_operator_has_the_estimate_from_noise():
    x = picture(4, channels=3)
    operator = chain(Colorize("mean"), A)
    misfit, flow = Misfit(operator, operator(x), 0.05), flow_of(x)
    found, watch = run(SHORT, flow, misfit)
    assert_close(found, run(SHORT.from_noise, flow, misfit)[0])
    assert watch.evaluations == 8


@pytest.mark.parametrize("last", [3, 11])
def test_a_callback_ends_either_estimate(last):
    x = picture(5)
    flow, misfit, seen = flow_of(x), Misfit(A, A(x), 0.05), []

    def stop(event):
        seen.append(event)
        return Status.CANCELLED if len(seen) == last else None

    found, watch = run(SHORT, flow, misfit, callback=stop)
    assert watch.ended is Status.CANCELLED and len(seen) == last
    if last > 8:  # the first estimate was complete
        assert_close(found, run(SHORT.from_noise, flow, misfit)[0])
