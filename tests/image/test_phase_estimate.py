"""Phase retrieval: two estimates, twins that suit each other, amplitudes that were not measured."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from headwater import Estimate, Flow, Gaussian, Misfit, Status, watch_flow
from headwater.image import Colorize, PhaseRetrieval, chain
from headwater.image.phase_estimate import (
    PhaseEstimate,
    average_mirrored,
    choose_twins,
    retrieve_phases,
    twins,
)
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


@pytest.mark.parametrize("half", [slice(1, N), slice(N + 1, None)])
def test_either_half_of_the_spectrum_tells_the_other(half):
    x = picture(0)
    measured = torch.ones(1, 1, 2 * N, 2 * N, dtype=torch.bool)
    measured[..., half] = False
    y = torch.where(measured, A(x), torch.nan)
    misfit = Misfit(A, y, 0.01, measured=measured)
    assert nearest(retrieve_phases(misfit, [3], starts=4, iterations=600, bounds=(-1, 1)), x) < 0.02


def test_a_frequency_has_the_mean_of_its_two_measurements():
    x = picture(0)
    g = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(1, 1, 2 * N, 2 * N, generator=g)
    opposite = torch.where(torch.arange(2 * N) > N, -noise.flip((-2, -1)).roll((1, 1), (-2, -1)), noise)
    opposite[..., 0] = opposite[..., N] = 0  # these hold both frequencies of their pairs
    found, known = average_mirrored(Misfit(A, A(x) + opposite, 0.05), 2)
    assert known.all()
    assert_close(found, A(x).expand(2, 1, 2 * N, 2 * N), atol=2e-4, rtol=1e-4)


def test_of_starts_the_nearest_is_taken_where_what_was_not_measured_is_nan():
    x = picture(6)
    measured = torch.ones(1, 1, 2 * N, 2 * N, dtype=torch.bool)
    measured[..., 3, 2] = measured[..., -3, -2] = False

    def find(unknown):
        misfit = Misfit(A, torch.where(measured, A(x), unknown), 0.01, measured=measured)
        return [retrieve_phases(misfit, [seed], starts=3, iterations=20, bounds=(-1, 1)) for seed in range(4)]

    assert_close(find(torch.nan), find(0.0))


def test_a_large_eps_is_taken_from_the_amplitudes():
    x, operator = picture(0), PhaseRetrieval(eps=0.5)
    found = retrieve_phases(
        Misfit(operator, operator(x), 0.01), [3], starts=4, iterations=600, bounds=(-1, 1)
    )
    assert nearest(found, x) < 0.02


def test_more_than_three_channels_are_chosen_one_after_another():
    x = picture(1, channels=5)
    mixed = torch.stack([twins(x[:, i])[i % 4] for i in range(5)], 1)
    found, evaluations = choose_twins(flow_of(x), mixed, [5])
    assert_close(found, x)
    assert evaluations == 2 * 5 * 4


def test_twins_of_which_the_network_makes_nan_are_not_chosen():
    x = picture(1)
    good = flow_of(x)

    def velocity(z, t):
        """NaN for two of the four twins."""
        upper = z[..., : N // 2, :].flatten(1).mean(1) > z[..., N // 2 :, :].flatten(1).mean(1)
        return torch.where(upper[:, None, None, None], torch.nan, good.velocity(z, t))

    found, _ = choose_twins(replace(good, velocity=velocity), twins(x)[1], [5])
    assert_close(found, x)


def test_an_estimate_of_nan_is_replaced_by_the_other():
    x = picture(5)
    good = flow_of(x)

    def velocity(z, t):
        """NaN at early times, where only the estimate from noise is."""
        return good.velocity(z, t) if t > 0.25 else torch.full_like(z, torch.nan)

    misfit = Misfit(A, A(x), 0.05)
    found, _ = run(SHORT, replace(good, velocity=velocity), misfit)
    assert misfit.rms(found) < 2


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


@pytest.mark.parametrize("last", [3, 10, 26, 32])
def test_a_callback_ends_either_estimate_and_what_is_between_them(last):
    """Of 8 evaluations, 17 questions in 165 iterations, 4 evaluations that choose, and 8."""
    x = picture(5)
    flow, misfit, seen = flow_of(x), Misfit(A, A(x), 0.05), []

    def stop(event):
        seen.append(event)
        return Status.CANCELLED if len(seen) == last else None

    found, watch = run(SHORT, flow, misfit, callback=stop)
    assert watch.ended is Status.CANCELLED and len(seen) == last
    assert watch.evaluations == {3: 3, 10: 8, 26: 9, 32: 15}[last]
    if last > 8:  # the first estimate was complete
        assert_close(found, run(SHORT.from_noise, flow, misfit)[0])


@pytest.mark.parametrize("left", [5, 10, 14])
def test_a_watched_flow_ends_either_estimate_and_the_choice(left):
    x = picture(5)
    flow, misfit, more = flow_of(x), Misfit(A, A(x), 0.05), iter(range(left))
    watched = watch_flow(flow, lambda: None if next(more, None) is not None else Status.SECONDS)
    found, watch = run(SHORT, watched, misfit)
    assert watch.ended is Status.SECONDS and watch.evaluations == left
    if left > 8:
        assert_close(found, run(SHORT.from_noise, flow, misfit)[0])


def test_a_start_is_the_same_alone_and_in_a_batch_bit_by_bit():
    """So many iterations would make much of a difference of rounding."""
    x = torch.cat([picture(seed, channels=3) for seed in range(3)])
    y = A(x) + 0.05 * torch.randn(3, 3, 2 * N, 2 * N, generator=torch.Generator().manual_seed(0))
    misfit, bounds = Misfit(A, y, 0.05), (-1.0, 1.0)
    both = retrieve_phases(misfit, [4, 5, 6], 2, 300, bounds)
    alone = retrieve_phases(misfit.select(torch.tensor([1])), [5], 2, 300, bounds)
    assert torch.equal(both[1:2], alone)
