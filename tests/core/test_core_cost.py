"""Costs and stops: their values, per problem, and what is refused."""

import math

import pytest
import torch
from core_laws import F64, normal
from torch.testing import assert_close

from headwater import Misfit, Misuse, NegativePSNR, Stop, WeightedSum, compose, discrepancy, target_psnr
from headwater.problem.batch import select, select_rows
from headwater.problem.cost import check_values

A = normal(2, 3, seed=7)


def forward(x):
    return x @ A.T


@pytest.mark.parametrize("sigma", [0.5, torch.tensor(0.5), torch.tensor([0.1, 0.5, 2.0], dtype=F64)])
def test_misfit_is_minus_the_gaussian_log_likelihood(sigma):
    """||A x - y||^2 / (2 sigma^2) = -log N(y; A x, sigma^2) + const, with one sigma or one per problem."""
    x, y = normal(3, 3), normal(3, 2, seed=1)
    s = torch.as_tensor(sigma, dtype=F64).reshape(-1, 1)
    log_p = torch.distributions.Normal(forward(x), s).log_prob(y).sum(1)
    constant = (s.log() + 0.5 * math.log(2 * math.pi)).expand(3, 2).sum(1)
    misfit = Misfit(forward, y, sigma)
    assert_close(misfit(x), -log_p - constant, rtol=1e-6, atol=1e-9)
    assert_close(misfit.rms(x), ((forward(x) - y) / s).square().mean(1).sqrt(), rtol=1e-6, atol=1e-9)


def test_misfit_gradient_is_the_adjoint_of_the_residual():
    """grad = A^T (A x - y) / sigma^2."""
    x, y = normal(3, 3).requires_grad_(), normal(3, 2, seed=1)
    (g,) = torch.autograd.grad(Misfit(forward, y, 0.5)(x).sum(), x)
    assert_close(g, (forward(x.detach()) - y) @ A / 0.25)


@pytest.mark.parametrize("shared", [True, False], ids=["shared y", "own y"])
def test_select_keeps_the_problems_data(shared):
    x, y = normal(4, 3), normal(1 if shared else 4, 2, seed=1)
    index = torch.tensor([3, 1])
    sigma = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
    misfit = Misfit(forward, y, sigma)
    psnr = NegativePSNR(misfit)
    both = WeightedSum(((1.0, misfit), (2.0, psnr)))
    decoded = compose(misfit, torch.tanh)
    for cost in (misfit, psnr, both, decoded, discrepancy(misfit).measure, target_psnr(misfit, 30.0).measure):
        assert_close(select(cost, index)(x[index]), cost(x)[index])


def test_operators_and_decoders_with_problems_follow():
    class Mask:
        def __init__(self, mask):
            self.mask = mask

        def __call__(self, x):
            return x * self.mask

        def select(self, index):
            return Mask(self.mask[index])

    x, y, index = normal(3, 2), normal(3, 2, seed=1), torch.tensor([2, 0])
    mask = Mask(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=F64))
    for cost in (Misfit(mask, y, 0.5), compose(Misfit(torch.sin, y, 0.5), mask)):
        assert_close(cost.select(index)(x[index]), cost(x)[index])


def test_residual_of_the_operator_is_used():
    class Phaseless:
        def residual(self, x, y):
            return x.abs() - y

    assert Misfit(Phaseless(), torch.ones(1, 2), 1.0)(torch.tensor([[-1.0, 3.0]])).item() == 2.0


def test_psnr_of_the_measurement():
    """An error of 0.02 on the range [-1, 1] is -40 dB; it does not depend on sigma_y."""
    y = normal(2, 5)
    x = y + torch.tensor([[0.02], [0.2]], dtype=F64)
    for sigma in (0.05, 3.0, torch.tensor([0.1, 2.0], dtype=F64)):
        value = NegativePSNR(Misfit(lambda z: z, y, sigma))(x)
        assert_close(value, torch.tensor([-40.0, -20.0], dtype=F64), rtol=1e-6, atol=1e-6)
    assert_close(NegativePSNR(Misfit(lambda z: z, y, 1.0), span=1.0)(x)[0].item(), 20 * math.log10(0.02))


def test_psnr_gradient_is_the_misfits_scaled():
    """grad 10 log10 mse = (20 / ln 10) r / |r|^2 for the residual r: parallel to the misfit's."""
    x, y = normal(2, 3).requires_grad_(), normal(2, 3, seed=1)
    misfit = Misfit(lambda z: z, y, 0.3)
    (g,), (h,) = (torch.autograd.grad(c(x).sum(), x) for c in (NegativePSNR(misfit), misfit))
    assert_close(torch.cosine_similarity(g, h), torch.ones(2, dtype=F64))
    assert_close(g.norm(dim=1), 20 / (math.log(10) * (x - y).norm(dim=1)).detach())


def test_exact_data_have_a_finite_psnr():
    x = torch.zeros(1, 3, requires_grad=True)
    value = NegativePSNR(Misfit(lambda z: z, torch.zeros(1, 3), 1.0))(x)
    assert bool(torch.isfinite(value).all() & torch.isfinite(torch.autograd.grad(value.sum(), x)[0]).all())


def test_weighted_sum():
    """sum w_i C_i; a term without data of its own promises to treat every problem alike."""
    x, misfit = normal(3, 3), Misfit(forward, normal(3, 2), 1.0)

    def total_variation(z):
        return z.diff(dim=1).abs().sum(1)

    mixed = WeightedSum(((2.0, misfit), (0.5, total_variation)))
    assert_close(mixed(x), 2 * misfit(x) + 0.5 * total_variation(x))
    index = torch.tensor([2, 0])
    assert_close(mixed.select(index)(x[index]), mixed(x)[index])


def test_discrepancy_is_one_at_the_noise_level():
    """E ((A x - y) / sigma)^2 = 1 at the truth, so the measure is 1 there, within 5 standard errors."""
    x, n, sigma = normal(1, 20_000), 20_000, 0.07
    stop = discrepancy(Misfit(lambda z: z, x + sigma * normal(1, n, seed=1), sigma), tau=1.05)
    assert stop.level == 1.05
    assert stop.measure(x).item() == pytest.approx(1, abs=5 / (2 * n) ** 0.5)
    assert isinstance(stop.select(torch.tensor([0])), Stop)


def test_target_psnr_stops_at_its_decibels():
    y = torch.zeros(1, 4, dtype=F64)
    stop = target_psnr(Misfit(lambda z: z, y, 1.0), 40.0)
    assert bool(stop.measure(y + 0.0199) <= stop.level) and not bool(stop.measure(y + 0.0201) <= stop.level)


def test_rows():
    value, index = normal(3, 2), torch.tensor([2])
    assert_close(select_rows(value, index), value[2:])
    assert_close(select_rows(value[:1], index), value[:1])
    assert select_rows(torch.tensor(3.0), index).item() == 3.0


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), torch.tensor([0.1, 0.0])])
def test_noise_level_must_be_positive(sigma):
    with pytest.raises(Misuse, match=r"not positive and finite\. Give"):
        Misfit(forward, torch.zeros(2, 2), sigma)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_measurement_must_be_finite(bad):
    with pytest.raises(Misuse, match="NaN or infinity"):
        Misfit(forward, torch.tensor([[1.0, bad]]), 1.0)


@pytest.mark.parametrize("tau", [0.0, -1.0])
def test_discrepancy_level_must_be_positive(tau):
    with pytest.raises(Misuse, match="Give tau"):
        discrepancy(Misfit(forward, torch.zeros(1, 2), 1.0), tau)


def test_target_psnr_must_be_finite():
    with pytest.raises(Misuse, match="Give decibels"):
        target_psnr(Misfit(forward, torch.zeros(1, 2), 1.0), math.inf)


@pytest.mark.parametrize(
    ("cost", "what"),
    [
        (lambda x: x.square().sum(), r"shape \(\)"),
        (lambda x: x.square(), r"shape \(2, 3\)"),
        (lambda x: x.square().sum(1, keepdim=True), r"shape \(2, 1\)"),
        (lambda x: 1.0, "float"),
        (lambda x: x.detach().sum(1), "does not carry a gradient"),
    ],
)
def test_costs_that_are_no_costs(cost, what):
    x = normal(2, 3).requires_grad_()
    with pytest.raises(Misuse, match=what):
        check_values(cost, cost(x), 2, x)


def test_a_measurement_of_another_shape_is_refused_not_broadcast():
    misfit = Misfit(lambda x: x, torch.zeros(2, 1), 0.1)
    with pytest.raises(Misuse, match=r"makes \(2, 5\) but the measurement is \(2, 1\)\. Give"):
        misfit(torch.zeros(2, 5))
    with pytest.raises(Misuse, match="not positive and finite"):
        Misfit(lambda x: x, torch.zeros(2, 5), float("inf"))


def test_one_measurement_serves_all_problems():
    misfit = Misfit(lambda x: x, torch.zeros(1, 5), 1.0)
    assert misfit(torch.ones(3, 5)).tolist() == [2.5, 2.5, 2.5]


@pytest.mark.parametrize("y", [torch.tensor(1.0), torch.zeros(3, 0), torch.zeros(0, 3)])
def test_a_measurement_holds_something(y):
    with pytest.raises(Misuse, match="Give y"):
        Misfit(lambda x: x, y, 0.1)
    with pytest.raises(Misuse, match="NaN"):
        Stop(lambda x: x, float("nan"))


def test_a_measurement_may_be_one_number_per_problem():
    """y `[batch]`: a scalar of each sample, such as a mean."""
    misfit = Misfit(lambda x: x.mean(1), torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.5]))
    x = torch.tensor([[1.0, 1.2], [2.0, 4.0]])
    assert_close(misfit(x), torch.tensor([0.5, 2.0]))
    assert_close(misfit.rms(x), torch.tensor([1.0, 2.0]))
    half = Misfit(lambda x: x.mean(1), torch.tensor([1.0, 2.0]), 0.1, measured=torch.tensor([True, True]))
    assert_close(half.rms(x), torch.tensor([1.0, 10.0]))
