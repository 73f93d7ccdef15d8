"""Frequencies: the cosine transform against scipy's, low passes, bands and guidance by them."""

import pytest
import torch
from core_laws import F64, normal, time
from torch.testing import assert_close

from headwater import Guided
from headwater.flows.frequency import (
    BandGuidance,
    LowPass,
    ScaleBands,
    cosine_matrix,
    frequency_radius,
    from_frequencies,
    to_frequencies,
)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_cosine_transform_is_scipys(n):
    from scipy.fft import dct

    x = normal(3, n)
    assert_close(to_frequencies(x, (-1,)), torch.tensor(dct(x.numpy(), norm="ortho")))
    assert_close(cosine_matrix(n) @ cosine_matrix(n).T, torch.eye(n, dtype=F64))


def test_frequencies_that_were_first_asked_for_in_inference_mode_have_gradients():
    cosine_matrix.cache_clear()
    with torch.inference_mode():
        LowPass(0.3, axes=(-1,))(normal(1, 3))
    x = normal(1, 3).requires_grad_()
    assert_close(torch.autograd.grad(LowPass(0.01, axes=(-1,))(x).sum(), x)[0], torch.ones(1, 3, dtype=F64))


def test_a_low_pass_is_a_projection_and_a_soft_one_a_symmetric_blur():
    x, y = normal(2, 3, 8, 6), normal(2, 3, 8, 6, seed=1)
    sharp, soft = LowPass(0.3), LowPass(0.3, soft=True)
    assert_close(sharp(sharp(x)), sharp(x))
    for component in (sharp, soft):
        assert_close((component(x) * y).sum(), (x * component(y)).sum())
        assert_close(component(x).mean((-2, -1)), x.mean((-2, -1)))  # frequency 0 passes
    assert 0 < sharp(x).norm() < x.norm()


def test_bands_are_scaled():
    x, low = normal(2, 3, 8, 6), LowPass(0.4)
    assert_close(ScaleBands(2.0, 0.5, 0.4)(x), 2 * low(x) + 0.5 * (x - low(x)))
    assert_close(ScaleBands(1.0, 1.0)(x), x)


def test_the_energy_cutoff_is_the_least_radius_with_this_share():
    bands = ScaleBands(1.0, 0.0, energy=0.7)
    x = from_frequencies(normal(4, 1, 8, 8) / (0.1 + frequency_radius((1, 8, 8), (-2, -1))), (-2, -1))
    c, r = to_frequencies(x, bands.axes), frequency_radius((1, 8, 8), (-2, -1))
    cut = bands.energy_radius(c, r)
    for i in range(4):
        kept = c[i].square()[r <= cut[i]].sum() / c[i].square().sum()
        less = c[i].square()[r < cut[i]].sum() / c[i].square().sum()
        assert kept >= 0.7 > less
    assert_close(bands(x)[2:3], bands(x[2:3]))  # a problem does not see its neighbours
    assert_close(
        bands(x).square().sum((1, 2, 3)) / x.square().sum((1, 2, 3)) >= 0.7, torch.ones(4, dtype=torch.bool)
    )


def test_guidance_by_bands_scales_the_difference():
    null, v = normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1)
    plain = Guided(lambda x, t, y: y, {"y": v}, {"y": null}, guidance=3.0)
    even = Guided(
        lambda x, t, y: y, {"y": v}, {"y": null}, guidance=3.0, combine=BandGuidance(ScaleBands(1.0, 1.0))
    )
    assert_close(even(v, time(0.5)), plain(v, time(0.5)))
    low = LowPass(0.3)
    bands = BandGuidance(ScaleBands(0.0, 2.0, 0.3))(null, v, 3.0)
    assert_close(bands, null + 6 * ((v - null) - low(v - null)))
