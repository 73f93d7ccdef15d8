"""The shared seed: a restorer whose samples are known, and tables whose shared part is known."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater import Misuse
from headwater.recipes.shared_seed import SharedSeed, find_shared_seed

LAW = hw.Gaussian(torch.zeros(3), torch.tensor([2.0, 1.0, 0.5]))


def posterior_draw(flow, misfit, seeds, *, guess, options=None):
    """The posterior mean and a draw about it, both known: N(m, S / 2) for sigma_y^2 = S."""
    assert guess is not None
    z = flow.noise(seeds, dtype=torch.float64)
    return hw.recipes.recipe.result_without_control(
        misfit, 0.5 * misfit.y + z * torch.tensor([2.0, 1.0, 0.5]) / 2**0.5, hw.Status.COMPUTED, 0
    )


def test_the_best_source_is_the_one_nearest_to_the_posterior_mean():
    """The mean of |m_i + R z - x_i|^2 over many problems is const + |R z|^2, as the errors of m_i have mean zero."""
    truth = LAW.sample(range(400))
    truth = torch.cat([truth, -truth])  # so that the errors of the means add up to zero exactly
    noise = torch.tensor([2.0, 1.0, 0.5]) * torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    y = truth + torch.cat([noise, -noise])
    misfit = hw.Misfit(hw.Identity(), y, 1.0)
    choice = find_shared_seed(posterior_draw, LAW.flow, misfit, truth, range(20), guess=y)
    size = (LAW.flow.noise(range(20)).double() * torch.tensor([2.0, 1.0, 0.5])).square().sum(1) / 2
    assert choice.seed == int(size.argmin())
    base = (0.5 * y - truth).square().mean()
    assert_close(choice.mean, base + size / 3)


def test_the_shared_part_is_the_intraclass_correlation():
    g = torch.Generator().manual_seed(0)
    seeds, problems = torch.randn(400, 1, generator=g), torch.randn(1, 300, generator=g)
    rest = torch.randn(400, 300, generator=g)
    for a, expected in [(0.0, 0.0), (1.0, 0.5), (3.0, 0.9)]:
        table = a * seeds + 5 * problems + rest
        assert SharedSeed(0, (0,), table).shared == pytest.approx(expected, abs=0.04)
    assert SharedSeed(0, (0,), rest[:1]).shared != SharedSeed(0, (0,), rest[:1]).shared  # NaN


def test_it_serves_a_real_recipe_and_another_distance():
    truth = LAW.sample(range(6)).float()
    misfit = hw.Misfit(hw.Identity(), truth + 0.1, 0.5)
    recipe = replace(hw.Estimate(), times=4, fresh=0.0)
    last = find_shared_seed(
        recipe, LAW.flow, misfit, truth, [5, 9, 2], guess=truth, distance=lambda x, z: (x - z)[:, 2].abs()
    )
    for seed, row in zip(last.candidates, last.distance, strict=True):
        x1 = recipe(LAW.flow, misfit, [seed] * 6, guess=truth).x1
        assert_close(row, (x1 - truth)[:, 2].abs().double())
    assert last.seed == last.candidates[int(last.distance.mean(1).argmin())]


def test_a_seed_that_fails_is_never_chosen():
    truth = LAW.sample(range(2))
    misfit = hw.Misfit(hw.Identity(), truth, 1.0)

    def broken(x1, z):
        return torch.where(x1[:, 0] > 0, torch.nan, (x1 - z)[:, 0] ** 2)

    choice = find_shared_seed(
        posterior_draw, LAW.flow, misfit, truth, range(12), guess=truth, distance=broken
    )
    assert choice.mean.isinf().any() and choice.mean[choice.candidates.index(choice.seed)].isfinite()


def test_a_seed_with_which_a_problem_diverges_is_lost_although_its_last_point_is_finite():
    truth = LAW.sample(range(3))
    misfit = hw.Misfit(hw.Identity(), truth, 1.0)

    def unstable(flow, misfit, seeds, *, guess, options=None):
        result = posterior_draw(flow, misfit, seeds, guess=guess)
        bad = seeds[0] != 5
        return replace(
            result,
            x1=truth if bad else truth + 1,  # the nearer one, if it were asked for the distance alone
            status=tuple(hw.Status.DIVERGED if bad and i == 1 else s for i, s in enumerate(result.status)),
        )

    choice = find_shared_seed(unstable, LAW.flow, misfit, truth, [4, 5, 6], guess=truth)
    assert choice.seed == 5 and choice.distance.isinf().nonzero().tolist() == [[0, 1], [2, 1]]
    with pytest.raises(Misuse, match="None of 2 seeds"):
        find_shared_seed(unstable, LAW.flow, misfit, truth, [4, 6], guess=truth)


def test_what_is_refused():
    truth = LAW.sample(range(2))
    misfit = hw.Misfit(hw.Identity(), truth, 1.0)
    for candidates, true, distance in [
        ([], truth, None),
        ([0], truth[:0], None),
        ([0], truth, lambda x, z: (x - z).square().mean()),
    ]:
        how = {} if distance is None else {"distance": distance}
        with pytest.raises(Misuse):
            find_shared_seed(posterior_draw, LAW.flow, misfit, true, candidates, guess=truth, **how)
