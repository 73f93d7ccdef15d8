"""Source laws: the leak of a Gaussian path that ends early is known, and whitening leaves the recipes as they are."""

from dataclasses import dataclass

import pytest
import torch
from core_laws import F64, normal
from torch.testing import assert_close

import headwater as hw
from headwater import CondOT, Gaussian, Misuse
from headwater.dflow.source_law import SourceLaw, whiten_source
from headwater.flows.frequency import from_frequencies
from headwater.recipes.blackbox import BestOf

LEFT = 0.4


@dataclass(frozen=True)
class Cut(CondOT):
    """A straight path that begins at t = LEFT of Cond-OT: its source has 0.4 of the data."""

    def alpha(self, t):
        return LEFT + (1 - LEFT) * t

    def sigma(self, t):
        return (1 - LEFT) * (1 - t)

    def dalpha(self, t):
        return (1 - LEFT) * torch.ones_like(t)

    def dsigma(self, t):
        return -(1 - LEFT) * torch.ones_like(t)


MEAN, STD = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([1.5, 0.3, 1.0])


@pytest.fixture(scope="module")
def law():
    return Gaussian(MEAN, STD, Cut())


@pytest.fixture(scope="module")
def leak():
    """The exact law of alpha_0 x1 + sigma_0 eps."""
    return SourceLaw(LEFT * MEAN, (LEFT**2 * STD**2 + (1 - LEFT) ** 2).sqrt())


def test_a_path_that_ends_early_refuses_plain_noise_and_takes_the_law(law, leak):
    with pytest.raises(Misuse, match=r"0\.40 of the data"):
        law.flow.noise([0])
    assert whiten_source(law.flow, leak).noise([0, 1]).shape == (2, 3)


def test_the_whitened_flow_carries_normal_draws_to_the_law(law, leak):
    """x1 = m + S^(1/2) z exactly: the whole map is known."""
    z = normal(5, 3)
    x1 = hw.solve(whiten_source(law.flow, leak), z, method=hw.RK4, steps=40)
    assert_close(x1, MEAN + STD * z, atol=1e-5, rtol=0)
    assert_close(x1, law.endpoint(leak.color(z)), atol=1e-5, rtol=0)  # and it is the flow's own of color(z)


def test_the_likelihood_is_that_of_the_data(law, leak):
    x1 = law.sample(range(4))
    found, z = hw.log_likelihood(whiten_source(law.flow, leak), x1, steps=40)
    assert_close(found, law.log_density(x1), atol=1e-4, rtol=0)
    assert_close(leak.whiten(law.endpoint(x1, 1.0, 0.0)), z, atol=1e-4, rtol=0)


def test_the_map_of_a_measurement_is_the_posterior_mean(law, leak):
    """For Gaussian data and a linear measurement; with N(0, I) for the prior of x0 it is another point."""
    y, sigma = torch.tensor([[1.0]], dtype=F64), 0.5
    misfit = hw.Misfit(lambda x: x.sum(1, keepdim=True), y, sigma)
    gain = STD.double() ** 2 / (STD.double().square().sum() + sigma**2)
    mean = MEAN + gain * (1.0 - MEAN.sum())
    start = torch.zeros(1, 3, dtype=F64)
    how = {"prior": hw.GaussianPrior(), "method": hw.RK4, "steps": 12}
    found = hw.control(whiten_source(law.flow, leak), misfit, start, **how)
    assert_close(found.x1[0], mean, atol=1e-3, rtol=0)
    plain = hw.control(law.flow, misfit, start, **how)
    assert (plain.x1[0] - mean).abs().max() > 0.3


def test_recipes_of_the_source_take_it_and_those_of_the_path_refuse(law, leak):
    flow = whiten_source(law.flow, leak)
    result = BestOf(draws=4, steps=6)(flow, lambda x1: x1[:, 0], [0])
    assert_close(hw.solve(flow, result.x0, method=hw.DDIM, steps=6), result.x1)
    misfit = hw.Misfit(hw.Identity(), torch.zeros(1, 3), 0.1)
    for recipe in (hw.Estimate(), hw.OneEvaluation()):
        with pytest.raises(Misuse, match="Gaussian path"):
            recipe(flow, misfit, [0], guess=torch.zeros(1, 3))


def test_a_fit_finds_the_law_in_the_frequencies():
    """Source points with a known spectrum; the error of a deviation from n points is about 1 / sqrt(2 n)."""
    shape, n = (1, 4, 6), 4000
    spectrum = 0.2 + torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    mean = normal(*shape, seed=2)
    x0 = mean + from_frequencies(spectrum * normal(n, *shape, seed=3), (-2, -1))
    law = SourceLaw.fit(x0)
    assert ((law.deviation / spectrum - 1).abs() < 5 / (2 * n) ** 0.5).all()
    assert ((law.mean - mean).abs() < 5 * 1.2 / n**0.5).all()
    z = law.whiten(x0)
    assert_close(law.color(z), x0)
    assert_close(torch.cov(z.flatten(1).T).diagonal(), torch.ones(24, dtype=F64), atol=0.2, rtol=0)


def test_a_fit_of_channels_pools_their_pixels():
    x0 = torch.stack([1 + 2 * normal(50, 8, 8, seed=4), -3 + 0.5 * normal(50, 8, 8, seed=5)], 1)
    law = SourceLaw.fit(x0, axes=(), pool=(-2, -1))
    assert_close(law.deviation[:, 0, 0], torch.tensor([2.0, 0.5], dtype=F64), atol=0, rtol=0.05)
    assert_close(law.deviation[0], law.deviation[0, :1, :1].expand(8, 8))
    exact = (x0 - x0.mean((0, 2, 3), keepdim=True)).square().sum((0, 2, 3)) / (50 * 64 - 1)
    assert_close(law.deviation[:, 3, 4] ** 2, exact)


def test_the_law_of_a_leak_needs_the_data_alone(law, leak):
    found = SourceLaw.of_leak(Cut(), law.sample(range(4000)), axes=())
    assert_close(found.mean, leak.mean.double(), atol=0.05, rtol=0)
    assert_close(found.deviation, leak.deviation.double(), atol=0, rtol=0.05)


def test_brightness_that_plain_noise_loses_comes_back(law, leak):
    """The paper's finding on a Gaussian: from N(0, I) the spread of the data is lost, with the leak it is there."""
    z = torch.cat([hw.flows.seeds.draw_normal((3,), hw.flows.seeds.make_generators(range(1000)))]).double()
    with_leak = hw.solve(whiten_source(law.flow, leak), z, steps=24)
    without = law.endpoint(z)
    assert_close(with_leak.std(0), STD.double(), atol=0, rtol=0.1)
    assert (without.std(0) / STD - 1).abs().max() > 0.15
    assert (without.mean(0) - MEAN).abs().max() > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_is_its_problems_and_keeps_its_dtype(law, leak, dtype):
    flow, z = whiten_source(law.flow, leak), normal(3, 3).to(dtype)
    together = hw.solve(flow, z, steps=6)
    assert together.dtype == dtype
    for i in range(3):
        assert_close(hw.solve(flow.select(torch.tensor([i])), z[i : i + 1], steps=6), together[i : i + 1])
    assert_close(leak.sample([3, 5])[1:], leak.sample([5]))


def test_what_is_refused(law):
    good = torch.ones(3)
    for mean, deviation in [(good, 0 * good), (good, good[:2]), (good, good * torch.nan), (good[0], good[0])]:
        with pytest.raises(Misuse):
            SourceLaw(mean, deviation)
    with pytest.raises(Misuse, match="axes"):
        SourceLaw(good, good, (-2,))
    lost = torch.eye(3).index_fill(0, torch.tensor([1]), torch.nan)
    for points, why in (
        (torch.ones(1, 3), "1 source point"),
        (torch.ones(4, 3), "alike"),
        (torch.ones(0, 3), "0 source points"),
        (lost, "not finite"),
    ):
        with pytest.raises(Misuse, match=why):
            SourceLaw.fit(points, axes=())
    with pytest.raises(Misuse, match="events"):
        whiten_source(law.flow, SourceLaw(good[:2], good[:2]))
