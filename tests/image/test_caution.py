"""The mixture with the photo, and when a photo stays as it was: against sums written out here."""

import math

import pytest
import torch

from headwater import Misuse
from headwater.image.blind import Caution
from headwater.image.blind.caution import limit_to_neighbours
from headwater.image.operators import Blur, gaussian_kernel

X = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
SOFT, SHARP = gaussian_kernel(1.0, 5), gaussian_kernel(0.3, 5)


def test_a_picture_that_explains_the_photo_is_mixed_with_it():
    blur = Blur(SOFT)
    y = blur(X)
    mixed, left = Caution(weight=0.6)(X, y, blur, 0.0)
    assert left.tolist() == [False] * 3
    for i, j in ((0, 0), (7, 9), (19, 23)):
        near = y[..., max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].flatten(2)  # a quarter of 5 pixels
        limited = X[..., i, j].clamp(near.amin(2), near.amax(2))
        assert not torch.equal(limited, X[..., i, j])
        torch.testing.assert_close(mixed[..., i, j], 0.6 * limited + 0.4 * y[..., i, j])


def test_what_stays_within_the_range_nearby_is_not_limited():
    y = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    middle = torch.full_like(y, 0.5)
    checks = (torch.arange(81).reshape(1, 1, 9, 9) % 2).to(y)  # every pixel has both beside it
    assert torch.equal(limit_to_neighbours(middle, checks, 1), middle)
    assert torch.equal(limit_to_neighbours(middle + 1, checks, 1), torch.ones_like(y))
    assert torch.equal(limit_to_neighbours(middle - 2, checks, 0), checks)


@pytest.mark.parametrize(("noise", "excess"), [(0.0, 0.03), (0.04, 0.03), (0.1, 0.05)])
def test_the_limit_is_the_noise_and_the_excess_in_squares(noise, excess):
    blur, limit = Blur(SOFT), math.hypot(noise, excess)
    y = blur(X)
    for share, expected in ((0.99, False), (1.01, True)):
        sign = torch.where(torch.arange(24) % 2 == 0, 1.0, -1.0)
        seen = y + share * limit * sign  # an rms of just that
        found, left = Caution(excess=excess)(X, seen, blur, noise)
        assert left.tolist() == [expected] * 3
        assert torch.equal(found, seen) is expected


def test_what_counts_is_left_over_at_edges_away_from_the_border():
    blur, caution = Blur(SOFT), Caution()
    x = torch.zeros(1, 1, 24, 24)
    x[..., 12:] = 1  # one edge, at column 12: 20 of 400 inner pixels, the 5 % that count
    y = blur(x)
    y[..., :2, :] += 1  # sees what lies beyond the border
    y[..., :12] += 1
    y[..., 13:] -= 1  # not at the edge
    assert float(caution.unexplained(x, y, blur)) < 1e-6
    y[..., 5, 12] += 1
    assert float(caution.unexplained(x, y, blur)) == pytest.approx((1 / 20) ** 0.5, rel=1e-4)


def test_each_picture_has_its_own_verdict():
    blur = Blur(torch.stack([SOFT, SHARP, SOFT]))
    y = blur(X)
    y[2] = -y[2]
    found, left = Caution()(X, y, blur, 0.02)
    assert left.tolist() == [False, True, True]  # explained; a point; not explained
    torch.testing.assert_close(found[1:], y[1:], rtol=0, atol=0)
    alone, verdict = Caution()(X[:1], y[:1], Blur(SOFT), 0.02)
    torch.testing.assert_close(found[:1], alone)
    assert verdict.tolist() == [False]


@pytest.mark.parametrize("numbers", [{"weight": 1.1}, {"weight": math.nan}, {"point": 0.0}, {"excess": 0.0}])
def test_other_numbers_are_refused(numbers):
    with pytest.raises(Misuse, match="Give a weight"):
        Caution(**numbers)
