"""Products by weighted particles, against Gaussians whose products are known."""

import math

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.optimizers.status import Status
from headwater.recipes.composition import AnnealedProduct, WeightedProduct

F64 = torch.float64
LAWS = [
    hw.Gaussian(torch.tensor(m), torch.tensor(s))
    for m, s in (([-1.0, 0.0], [1.0, 0.5]), ([1.0, 0.5], [0.4, 1.0]))
]
FLOWS = [law.flow for law in LAWS]
MANY = {"at_once": 10_000}


def product(weights):
    """Mean and std of prod p_i^w_i: precisions add up."""
    precision = [1 / law.eigenvalues[0] for law in LAWS]
    total = sum(w * p for w, p in zip(weights, precision, strict=True))
    mean = sum(w * p * law.means[0] for w, p, law in zip(weights, precision, LAWS, strict=True)) / total
    return mean, total.rsqrt()


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.5), (2.0, -0.1)], ids=str)
def test_weights_make_the_product_of_gaussians(weights):
    """And particles without their weights are far from it."""
    mean, std = product(weights)
    found = WeightedProduct(weights, particles=64, steps=100, **MANY)(FLOWS, range(30))
    share = torch.softmax(found.log_weights, 1)[..., None]
    x = found.particles.double()
    first = (share * x).sum(1).mean(0)
    second = (share * (x - first).square()).sum(1).mean(0)
    assert float(((first - mean).abs() / std).max()) < 0.12
    assert_close(second.sqrt(), std, rtol=0.12, atol=0)
    plain = WeightedProduct(weights, particles=64, steps=100, threshold=0.0, **MANY)(FLOWS, range(30))
    assert float(((plain.particles.double().mean((0, 1)) - mean).abs() / std).max()) > 0.5


def test_draws_by_weight_have_the_law():
    mean, std = product((1.0, 1.0))
    x1 = WeightedProduct((1.0, 1.0), particles=32, **MANY)(FLOWS, range(150)).x1.double()
    assert float(((x1.mean(0) - mean).abs() / std).max()) < 0.3
    assert_close(x1.std(0), std, rtol=0.2, atol=0)


def test_isotropic_gaussians_of_the_spread_are_exact_in_few_steps():
    """N(m, s^2) N(-m, s^2) is N(0, s^2 / 2), and all weights are equal."""
    flows = [hw.Gaussian(torch.full((40,), m), torch.full((40,), 0.8)).flow for m in (-1.0, 1.0)]
    found = WeightedProduct((1.0, 1.0), particles=2, spread=0.8, steps=5)(flows, range(40))
    assert float(found.particles.mean().abs()) < 0.04
    assert abs(float(found.particles.std()) / (0.8 / math.sqrt(2)) - 1) < 0.04
    assert_close(found.log_weights[:, 0], found.log_weights[:, 1], atol=1e-3, rtol=0)


def test_without_the_spread_few_steps_are_too_narrow_by_what_the_docstring_says():
    flows = [hw.Gaussian(torch.tensor([m]), torch.ones(1)).flow for m in (-1.0, 1.0)]
    for spread, variance in ((0.0, 0.42), (1.0, 0.5)):
        method = WeightedProduct((1.0, 1.0), particles=64, spread=spread, **MANY)
        found = method(flows, range(75))
        share = torch.softmax(found.log_weights, 1)
        second = (share * found.particles[..., 0].double().square()).sum(1).mean()
        assert float(second) == pytest.approx(variance, abs=0.02)


def test_a_particle_that_breaks_dies_and_the_weights_of_the_others_count():
    flows = [hw.Gaussian(torch.tensor([m]), torch.ones(1)).flow for m in (-1.0, 1.0)]
    broken = [hw.Flow(lambda x, t, f=flow: torch.where(x > 1.2, torch.nan, f(x, t)), (1,)) for flow in flows]
    found = WeightedProduct((1.0, 1.0), particles=8, threshold=0.0, steps=30)(broken, range(20))
    lost = found.particles[..., 0].isnan()
    assert bool(lost.any()) and not bool(lost.all(1).any())
    assert bool((found.log_weights[lost] == -math.inf).all() and found.log_weights[~lost].isfinite().all())
    assert bool(found.x1.isfinite().all())
    always = WeightedProduct((1.0, 1.0), particles=8, threshold=1.0, steps=30)(broken, range(20))
    assert bool(always.x1.isfinite().all())


def test_particles_of_which_few_count_are_told():
    """Independent coordinates: the log weights are sums over them, and their spread grows with the root of d."""
    ends = {}
    for d in (1, 1000):
        laws = [hw.Gaussian(torch.full((d,), m), torch.full((d,), s)) for m, s in ((-1.0, 1.0), (1.0, 0.4))]
        found = WeightedProduct((1.0, 1.0), steps=12, **MANY)([law.flow for law in laws], range(4))
        ends[d] = {status.name for status in found.status}
        few = found.effective < 4
        assert [s is Status.DEGENERATE for s in found.status] == few.tolist()
    assert ends == {1: {"COMPUTED"}, 1000: {"DEGENERATE"}}


def test_the_effective_number_is_that_before_resampling_and_a_dead_particle_does_not_count():
    always, never = (
        WeightedProduct((1.0, 1.0), particles=4, threshold=share, steps=8)(FLOWS, range(3))
        for share in (1.0, 0.0)
    )
    assert bool((always.log_weights == 0).all() and (always.effective < 4).all())
    share = torch.softmax(never.log_weights, 1)
    assert bool((never.effective <= 1 / share.square().sum(1) + 1e-9).all())
    gone = hw.Flow(lambda x, t: torch.where(x > 0, torch.nan, -x), (1,))
    lost = WeightedProduct((1.0,), particles=4, threshold=0.0, steps=8)([gone], range(20))
    alive = lost.particles[..., 0].isfinite().sum(1)
    assert_close(lost.effective[alive > 0], alive[alive > 0].double())
    ends = ["DIVERGED" if a == 0 else "DEGENERATE" if a == 1 else "COMPUTED" for a in alive.tolist()]
    assert [status.name for status in lost.status] == ends and len(set(ends)) > 1


@pytest.mark.parametrize("method", [WeightedProduct, AnnealedProduct])
def test_times_have_to_begin_at_the_source(method):
    with pytest.raises(hw.Misuse, match=r"begin at 0\.5"):
        method((1.0, 1.0), steps=[0.5, 0.8, 1.0])(FLOWS, [0])


def test_the_best_particle_is_that_of_the_largest_weight():
    found = WeightedProduct((1.0, 1.0), particles=4, threshold=0.0, pick="best", steps=8)(FLOWS, range(3))
    best = found.log_weights.argmax(1)
    assert_close(found.x1, found.particles[torch.arange(3), best])
    assert found.evaluations == 2 * 4 * 8


def test_a_batch_is_its_problems_in_calls_of_any_size():
    method = WeightedProduct((1.0, 1.0), particles=3, threshold=1.0, steps=6)
    together = method(FLOWS, [4, 7, 9])
    alone = WeightedProduct((1.0, 1.0), particles=3, threshold=1.0, steps=6, at_once=2)(FLOWS, [7])
    assert_close(alone.particles, together.particles[1:2])
    assert_close(alone.log_weights, together.log_weights[1:2])


def test_data_per_problem_reaches_its_particles_and_nan_stays_at_home():
    law = LAWS[1]
    rows = torch.tensor([1.0, math.nan, 1.0])
    broken = hw.Flow(hw.Each(lambda x, t, k: law.velocity(x, t) * k[:, None], k=rows), (2,))
    method = WeightedProduct((1.0, 1.0), particles=3, steps=6)
    together, alone = method([FLOWS[0], broken], [4, 7, 9]), method(FLOWS, [4, 9])
    assert_close(together.x1[[0, 2]], alone.x1)
    assert bool(together.x1[1].isnan().all())
    assert together.status[1] is Status.DIVERGED and together.status[::2] == alone.status
    assert_close(together.effective[[0, 2]], alone.effective)


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": (1.0, -1.0)},
        {"weights": (1.0,), "particles": 1},
        {"weights": (1.0,), "threshold": 1.5},
        {"weights": (1.0,), "spread": -1.0},
        {"weights": (1.0,), "pick": "worst"},
        {"weights": (1.0,), "at_once": 0},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(hw.Misuse):
        WeightedProduct(**settings)


def test_weights_for_other_flows_are_refused():
    with pytest.raises(hw.Misuse, match="2 weights for 1 flows"):
        WeightedProduct((1.0, 1.0))(FLOWS[:1], [0])
