"""Walks in the coordinates of the Gauss-Newton approximation: thin posteriors, and exact wherever they are wrong."""

import pytest
import torch
from torch.testing import assert_close

from headwater import (
    EULER,
    PCN,
    SGLD,
    Flow,
    InfinityHMC,
    Misfit,
    Misuse,
    Preconditioned,
    posterior,
)

torch.set_num_threads(1)
WALKS = {
    "pCN": PCN(burn_in=100, thin=8),
    "HMC": InfinityHMC(burn_in=10, thin=1, leaps=5),
}
walks = pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
MIX = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.5, 1.5]])
A = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
SIGMA = 0.005


def flow_of(x1_of_x0, d):
    """A flow that a single step of Euler's method solves: x1 = x0 + v(x0, 0)."""
    return Flow(lambda x, t: x1_of_x0(x) - x, (d,))


def draw(flow, misfit, seeds, **options):
    return posterior(flow, misfit, seeds, steps=1, solver=EULER, **options)


@walks
def test_a_thin_posterior_is_that_of_algebra(walk):
    """The noise is 200 times smaller than the prior; the walk alone does not come around in as many steps."""
    y = torch.tensor([[0.5, 0.4]])
    flow, misfit = flow_of(lambda x: x @ MIX.T.to(x), 3), Misfit(lambda x: x @ A.T, y, SIGMA)
    found = draw(flow, misfit, [3], method=Preconditioned(walk), chains=30, draws=6)
    s = (MIX @ MIX.T).double()
    a = A.double()
    gain = s @ a.T @ torch.linalg.inv(a @ s @ a.T + SIGMA**2 * torch.eye(2))
    cov = s - gain @ a @ s
    std = cov.diagonal().sqrt()
    assert ((found.mean[0] - (y.double() @ gain.T)[0]) / std).abs().max() < 0.3
    assert_close(found.std[0].double() / std, torch.ones(3).double(), atol=0.15, rtol=0)
    assert float(found.r_hat) < 1.3 and (found.acceptance > 0.9).all()
    rms = misfit.rms(found.x1.flatten(0, 2)).square().mean().sqrt()
    assert 0.85 < float(rms) < 1.15
    alone = draw(flow, misfit, [3], method=walk, chains=30, draws=6)
    assert float(alone.r_hat) > 1.5


@walks
def test_the_truth_has_a_uniform_rank_where_the_linearisation_is_wrong(walk):
    flow, count = flow_of(lambda x: x + 0.5 * torch.sin(2 * x), 2), 150
    x0 = flow.noise(range(1000, 1000 + count))
    truth = x0 + flow(x0, torch.tensor(0.0))
    noise = torch.randn(count, 1, generator=torch.Generator().manual_seed(0))
    misfit = Misfit(lambda x: x.sum(1, keepdim=True), truth.sum(1, keepdim=True) + 0.5 * noise, 0.5)
    found = draw(flow, misfit, range(count), method=Preconditioned(walk), chains=3, draws=3)
    rows = torch.arange(count).repeat_interleave(9)
    phi = misfit.select(rows)(found.x1.flatten(0, 2))
    assert_close(found.potential.flatten(), phi.double(), atol=1e-3, rtol=1e-3)
    below = (found.x1 < truth[:, None, None]).to(torch.float64)
    ranks = (found.expect(below) * 9).round()  # 0 to 9
    for i in range(2):
        statistic = float((torch.histc(ranks[:, i].double(), 10, -0.5, 9.5) - 15).square().sum() / 15)
        assert statistic < 27.9  # chi-square with 9 degrees of freedom: exceeded once in a thousand


def test_what_has_no_dense_jacobian_is_refused():
    method = Preconditioned(PCN())
    with pytest.raises(Misuse, match="needs the Jacobian of the measurement, here of 1,001 columns"):
        large = Misfit(lambda x: x[:, :1], torch.zeros(1, 1), 1.0)
        draw(flow_of(lambda x: x, 1001), large, [0], method=method)
    with pytest.raises(Misuse, match="has none"):
        draw(flow_of(lambda x: x, 2), lambda x1: x1.square().sum(1), [0], method=method)
    with pytest.raises(Misuse, match="SGLD has no step length"):
        Preconditioned(SGLD())
