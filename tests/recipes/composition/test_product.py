"""Products and negations of flows against Gaussians and mixtures, whose products are known."""

import math

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.flows.composed import combine_flows
from headwater.optimizers.status import Status
from headwater.recipes.composition import AnnealedProduct
from headwater.recipes.composition.density import even_grid

F64 = torch.float64
LAWS = [
    hw.Gaussian(torch.tensor(m), torch.tensor(s))
    for m, s in (([-1.0, 0.0], [1.0, 0.5]), ([1.0, 0.5], [0.4, 1.0]))
]
FLOWS = [law.flow for law in LAWS]
SEEDS = range(160)


def product(weights):
    """Mean and std of prod p_i^w_i: precisions add up."""
    precision = [1 / law.eigenvalues[0] for law in LAWS]
    total = sum(w * p for w, p in zip(weights, precision, strict=True))
    mean = sum(w * p * law.means[0] for w, p, law in zip(weights, precision, LAWS, strict=True)) / total
    return mean, total.rsqrt()


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.5), (2.0, -0.1)], ids=str)
def test_corrections_make_the_product_of_gaussians_exact(weights):
    """And the plain sum of scores is far from it: three standard errors are 0.24 of a standard deviation here."""
    mean, std = product(weights)
    x1 = AnnealedProduct(weights, corrections=7, steps=16)(FLOWS, SEEDS, dtype=F64).x1
    plain = AnnealedProduct(weights, corrections=0, steps=24)(FLOWS, SEEDS, dtype=F64).x1
    error, bias = ((found.mean(0) - mean).abs() / std for found in (x1, plain))
    assert float(error.max()) < 0.27, (x1.mean(0), mean)
    assert float(bias.max()) > 0.6, (plain.mean(0), mean)
    assert_close(x1.std(0), std, rtol=0.2, atol=0.0)


def test_a_product_with_a_mixture_chooses_its_modes():
    """A Gaussian at the right takes weight from the left mode: a mixture again, whose weights are known."""
    mixture = hw.GaussianMixture([0.5, 0.5], torch.tensor([[-1.0], [1.0]]), torch.tensor([0.5, 0.5]))
    pull = hw.Gaussian(torch.tensor([0.5]), torch.tensor([1.0]))
    x1 = AnnealedProduct((1.0, 1.0), corrections=7, steps=16)([mixture.flow, pull.flow], SEEDS).x1[:, 0]
    grid = torch.linspace(-4, 4, 2001, dtype=F64)[:, None]
    density = torch.softmax(mixture.log_density(grid) + pull.log_density(grid), 0)
    assert abs(float((x1 > 0).double().mean()) - float(density[grid[:, 0] > 0].sum())) < 0.12
    assert abs(float(x1.mean()) - float((density * grid[:, 0]).sum())) < 0.2


def test_steps_that_are_never_refused_are_biased():
    """Unadjusted Langevin of N(0, 1/2) with a step of its size makes the variance too large or too small."""
    flow = hw.Gaussian(torch.zeros(1), torch.ones(1)).flow
    variance = {}
    for metropolis in (True, False):
        method = AnnealedProduct(
            (1.0, 1.0), corrections=6, step=0.45, metropolis=metropolis, steps=[0.0, 0.3]
        )
        x = method([flow, flow], range(800), dtype=F64).x1
        variance[metropolis] = float(x.var())
    exact = (0.3**2 + 0.7**2) / 2
    assert abs(variance[True] / exact - 1) < 0.12
    assert variance[False] / exact > 1.2


def test_without_corrections_and_weights_of_sum_one_it_is_the_flow_of_the_sum():
    flow = combine_flows(FLOWS, (1.5, -0.5))
    expected = hw.solve(flow, flow.noise(range(5), F64), method=hw.DDIM, steps=even_grid(10))
    found = AnnealedProduct((1.5, -0.5), corrections=0, steps=10)(FLOWS, range(5), dtype=F64)
    assert_close(found.x1, expected)
    assert found.evaluations == 20 and bool(found.acceptance.isnan().all())


def test_one_flow_with_weight_one_is_left_as_it_is():
    x1 = AnnealedProduct((1.0,), corrections=4, steps=16)(FLOWS[:1], SEEDS, dtype=F64).x1
    assert_close(x1.mean(0), LAWS[0].means[0], atol=0.25, rtol=0)
    assert_close(x1.std(0), torch.tensor([1.0, 0.5], dtype=F64), rtol=0.2, atol=0)


@pytest.mark.parametrize("path", [hw.Cosine(), hw.VP()], ids=lambda p: type(p).__name__)
def test_other_paths(path):
    flows = [
        hw.Gaussian(torch.tensor([m]), torch.tensor([s]), path).flow for m, s in ((-1.0, 1.0), (1.0, 0.5))
    ]
    times = 16 if isinstance(path, hw.Cosine) else [*torch.linspace(0, 0.9, 13).tolist(), 0.95, 0.98, 1.0]
    x1 = AnnealedProduct((1.0, 1.0), corrections=7, steps=times)(flows, SEEDS, dtype=F64).x1
    assert abs(float(x1.mean()) - 0.6) < 0.1 and abs(float(x1.std()) - math.sqrt(0.2)) < 0.09


def test_a_batch_is_its_problems():
    method = AnnealedProduct((1.0, 1.0), corrections=2, steps=6)
    together, alone = method(FLOWS, [4, 7, 9]), method(FLOWS, [7])
    for name in ("x1", "acceptance", "step_lengths"):
        assert_close(getattr(alone, name), getattr(together, name)[1:2])
    assert alone.status == together.status[1:2]


def test_a_problem_that_diverges_leaves_its_neighbours_alone():
    law = LAWS[1]
    broken = hw.Each(lambda x, t, k: law.velocity(x, t) * k[:, None], k=torch.tensor([1.0, math.nan, 1.0]))
    method = AnnealedProduct((1.0, 1.0), corrections=2, steps=6)
    together = method([FLOWS[0], hw.Flow(broken, (2,))], [4, 7, 9])
    assert_close(together.x1[[0, 2]], method(FLOWS, [4, 9]).x1)
    assert bool(together.x1[1].isnan().all())
    assert together.status[1] is Status.DIVERGED and together.status[0] is Status.COMPUTED


def test_a_quotient_that_is_no_law_is_told_and_laws_are_not_called_so():
    """N(0, 1)^2 / N(0, 1/4) has the precision 2 - 4; the other products are laws, two of them with several modes."""
    mixture = hw.GaussianMixture([0.5, 0.5], torch.tensor([[-1.0], [1.0]]), torch.tensor([0.3, 0.3]))
    wide, narrow = (hw.Gaussian(torch.zeros(1), torch.tensor([s])) for s in (1.0, 0.5))
    for laws, weights in (([wide, narrow], (2.0, -1.0)), ([wide, narrow], (1.2, -0.4))):
        found = AnnealedProduct(weights, steps=16)([law.flow for law in laws], range(40))
        assert found.status == (Status.IMPROPER,) * 40 and not found.status[0].ok
    for laws, weights in (
        ([wide, narrow], (2.0, -0.1)),
        ([mixture, wide], (1.0, 1.0)),
        ([mixture, wide], (1.5, -0.5)),
    ):
        found = AnnealedProduct(weights, steps=16)([law.flow for law in laws], range(40))
        assert found.status.count(Status.COMPUTED) >= 38, (weights, found.status)
    unseen = AnnealedProduct((2.0, -1.0), corrections=0, steps=16)([wide.flow, narrow.flow], range(2))
    assert unseen.status == (Status.COMPUTED,) * 2


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": ()},
        {"weights": (1.0, -1.0)},
        {"weights": (1.0, math.nan)},
        {"weights": (1.0, math.inf)},
        {"weights": (1.0,), "corrections": -1},
        {"weights": (1.0,), "step": 0.0},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(hw.Misuse):
        AnnealedProduct(**settings)


def test_weights_for_other_flows_are_refused():
    with pytest.raises(hw.Misuse, match="2 weights for 1 flows"):
        AnnealedProduct((1.0, 1.0))(FLOWS[:1], [0])
