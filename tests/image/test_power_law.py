"""`PowerLaw`: its covariance against dense algebra, on covered pixels too, and the estimate that it makes exact."""

import math

import pytest
import torch
from torch.testing import assert_close

from headwater import Estimate, Flow, Gaussian, Misfit, Misuse
from headwater.flows.cover import cover_damage
from headwater.image.operators import Inpaint, SuperResolution
from headwater.image.power_law import PowerLaw
from headwater.image.task import ImageTask

torch.set_num_threads(1)


def dense(law, shape, alpha, sigma, flow=None):
    """R R' of events of the shape as a matrix."""
    flow = flow or Flow(lambda x, t: -x, shape)
    root = law.root(flow, alpha, sigma)
    unit = torch.eye(flow.event_size).reshape(-1, *flow.shape)
    return root(root.adjoint(unit)).flatten(1)


def test_covariance_is_that_of_a_gaussian_law_with_the_spectrum():
    """With x_t = noise alone it is S; then S s^2 (a^2 S + s^2)^-1 at every other level."""
    law, shape = PowerLaw(), (3, 6, 5)
    s = dense(law, shape, 0.0, 1.0)
    assert_close(s, s.T, rtol=0, atol=1e-5)
    assert torch.linalg.eigvalsh(s).min() > 0
    for alpha, sigma in ((0.3, 0.7), (0.9, 0.1)):
        expected = sigma**2 * s @ torch.linalg.inv(alpha**2 * s + sigma**2 * torch.eye(len(s)))
        assert_close(dense(law, shape, alpha, sigma), expected, rtol=0, atol=1e-5)


def test_a_window_of_64_pixels_has_the_deviation():
    root = PowerLaw(deviation=0.4).root(Flow(lambda x, t: -x, (3, 64, 64)), 0.0, 1.0)
    draws = root(torch.randn(200, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert draws.std() == pytest.approx(0.4, rel=0.05)


def test_covered_pixels_have_the_variance_and_neighbours_of_one_window():
    """A cover of one window is that window; of several, pixels keep their variance and far groups share nothing."""
    one, window = torch.zeros(8, 8, dtype=torch.bool), Flow(lambda x, t: -x, (1, 8, 8))
    one[4, 4] = True
    alone = dense(PowerLaw(), (1, 8, 8), 0.4, 0.6)
    assert_close(dense(PowerLaw(), None, 0.4, 0.6, cover_damage(window, one)), alone, rtol=0, atol=1e-6)

    damaged = torch.zeros(40, 200, dtype=torch.bool)
    damaged[4:20, 6:12] = damaged[20, 180] = True
    flow = cover_damage(window, damaged)
    found = dense(PowerLaw(), None, 0.4, 0.6, flow)
    assert 0.9 * alone.diag().min() < found.diag().min() and found.diag().max() < 1.1 * alone.diag().max()
    column = flow.velocity.covers[0].index % 200
    assert found[column < 100][:, column > 100].abs().max() == 0
    root = PowerLaw().root(flow, 0.4, 0.6)
    z, x = torch.randn(1, 1, *root.weight.shape), torch.randn(1, *flow.shape)
    assert_close((root(z) * x).sum(), (z * root.adjoint(x)).sum())


def test_far_marks_in_a_large_picture_cost_what_they_cost():
    damaged = torch.zeros(900, 1200, dtype=torch.bool)
    damaged[10, 10] = damaged[880, 1180] = True
    root = PowerLaw().root(cover_damage(Flow(lambda x, t: -x, (3, 64, 64)), damaged), 0.4, 0.6)
    assert root.adjoint(torch.zeros(1, 3, 1, 2 * 64 * 64)).numel() == 2 * 3 * 64 * 64


def test_what_is_no_covariance_is_refused():
    for wrong in ({"deviation": 0.0}, {"deviation": math.nan}, {"spread": -1.0}, {"correlation": 1.0}):
        with pytest.raises(Misuse, match="no covariance"):
            PowerLaw(**wrong)
    with pytest.raises(Misuse, match="one of pictures"):
        PowerLaw().root(Flow(lambda x, t: -x, (5,)), 0.5, 0.5)


def test_a_grey_picture_is_measured_once():
    """Its three channels have the same noise: told as three measurements, the estimate would fit it."""
    flow = Flow(lambda x, t: -x / (1 + t), (3, 16, 16), range=(-1, 1))
    noise = 0.1 * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = (0.2 + noise).expand(1, 3, 8, 8)
    posed = ImageTask(SuperResolution(2), y, 0.1, (16, 16)).pose(flow)
    assert posed.misfit.y.shape == (1, 1, 8, 8)
    assert posed.solve([0]).x1.shape == (1, 3, 16, 16)


def test_few_times_find_the_posterior_mean_of_a_law_with_that_spectrum():
    """Half of the pixels of pictures of the law: white errors are off by more than three times as much."""
    shape, law = (1, 8, 8), PowerLaw()
    s = dense(law, shape, 0.0, 1.0).double()
    gaussian = Gaussian(torch.zeros(64, dtype=torch.float64), s)
    flow = Flow(lambda x, t: gaussian.flow.velocity(x.flatten(1), t).reshape(x.shape), shape)
    measured = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5)[0]
    truth = torch.linalg.cholesky(s) @ torch.randn(
        64, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    y = Inpaint(measured)(truth.reshape(1, *shape))
    a = torch.eye(64, dtype=torch.float64)[measured.flatten()]
    mean = s @ a.T @ torch.linalg.solve(a @ s @ a.T + 0.05**2 * torch.eye(len(a)), a @ truth)
    errors = []
    for covariance in ({}, {"covariance": law}):
        x = Estimate(times=8, **covariance).sample(
            flow, Misfit(Inpaint(measured), y, 0.05), range(50), guess=torch.zeros_like(y)
        )
        errors.append(float((x.mean(0).flatten() - mean).norm()))
    assert errors[1] < errors[0] / 3
