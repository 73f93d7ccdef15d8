"""`PowerLaw`: its covariance against dense algebra, on covered pixels too, and the estimate that it makes exact."""

import pytest
import torch
from torch.testing import assert_close

from headwater import Estimate, Flow, Gaussian, Misfit
from headwater.flows.cover import Cover, cover_damage
from headwater.image.operators import Inpaint
from headwater.image.power_law import PowerLaw

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


def test_covered_pixels_have_the_covariance_of_the_picture_that_is_their_box():
    damaged = torch.zeros(20, 30, dtype=torch.bool)
    damaged[4, 6] = damaged[12, 20] = True
    cover = Cover.over(damaged, (8, 8)).cut_out()
    flow = cover_damage(Flow(lambda x, t: -x, (1, 8, 8)), damaged)
    whole = dense(PowerLaw(), (1, *cover.canvas), 0.4, 0.6)
    assert_close(
        dense(PowerLaw(), None, 0.4, 0.6, flow), whole[cover.index][:, cover.index], rtol=0, atol=1e-6
    )


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
