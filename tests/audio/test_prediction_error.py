"""What linear prediction misses beside a gap is what it misses in the gap."""

import numpy as np
import pytest
from scipy.signal import lfilter

from headwater.audio.signal.join import hold_level, join_flow
from headwater.audio.signal.prediction import predict_gaps
from headwater.audio.signal.prediction_error import find_errors, find_stretches

RATE, GAP = 4000, (2800, 3200)


def narrow_band(seed):
    """Tones of a slowly changing level, which prediction knows for a while."""
    x = np.random.default_rng(seed).standard_normal(6000)
    return lfilter([1], [1, -2 * 0.997 * np.cos(0.6), 0.997**2], x)[500:]


def known_but(gap, count=5500):
    known = np.ones(count, dtype=bool)
    known[slice(*gap)] = False
    return known


def test_the_errors_beside_a_gap_are_as_large_as_in_it_and_cover_the_truth():
    known, own, found, covered = known_but(GAP), [], [], []
    for seed in range(8):
        x = narrow_band(seed)
        errors = find_errors(np.where(known, x, np.nan), known, GAP, RATE)
        held = hold_level(predict_gaps(x, ~known, known, RATE), known, RATE)[slice(*GAP)]
        own.append(np.mean((x[slice(*GAP)] - held) ** 2))
        found.append(np.mean(errors**2))
        draws = held + np.concatenate([errors, -errors])
        low, high = np.quantile(draws, (0.05, 0.95), axis=0)
        covered.append(np.mean((x[slice(*GAP)] >= low) & (x[slice(*GAP)] <= high)))
    assert np.mean(found) / np.mean(own) == pytest.approx(1, abs=0.3)
    assert 0.75 < np.mean(covered) < 0.98


def test_errors_begin_and_end_at_zero_and_see_nothing_of_the_gap():
    known, x = known_but(GAP), narrow_band(3)
    errors = find_errors(x, known, GAP, RATE)
    assert errors.shape == (8, 400)
    assert np.abs(errors[:, [0, -1]]).max() < 0.2 * np.abs(errors).max()
    assert (errors == find_errors(np.where(known, x, 1e6), known, GAP, RATE)).all()


@pytest.mark.parametrize("known", [known_but((0, 5500)), known_but((600, 5000))])
def test_without_a_stretch_as_long_there_is_no_error(known):
    gap = (600, 5000)
    assert find_stretches(known, gap, RATE) == []
    assert find_errors(np.zeros(5500), known, gap, RATE).shape == (0, 4400)


def test_an_error_is_joined_where_prediction_knows_and_left_where_the_flow_fills():
    known = known_but(GAP)
    noise = np.random.default_rng(0).standard_normal(5500)
    tone = 3 * np.sin(0.6 * np.arange(5500))
    error = np.where(known, 0.0, noise)
    for x, share in ((tone, 1.0), (noise, 0.0)):
        prediction = np.where(known, x, tone if x is tone else 0.0)
        plain, other = (join_flow(0 * x, prediction, known, RATE, error=e) for e in (None, error))
        around = np.abs(np.fft.rfft((other - plain)[slice(*GAP)]))
        tones = slice(34, 43)  # around 0.6 / (2 pi) of the 400 samples
        assert (around[tones] ** 2).mean() / 400 == pytest.approx(share, abs=0.45)
        assert (other[known] == x[known]).all()
