"""Linear prediction of the gaps of a track."""

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from headwater.audio.signal.autoregression import extrapolate
from headwater.audio.signal.prediction import carry_residual, predict_gaps

RATE = 16_000
LOST = np.zeros(3 * RATE, dtype=bool)
LOST[RATE : RATE + 3200] = True


def noise(count, seed=0):
    return np.random.default_rng(seed).standard_normal(count)


def above(x, cutoff=4000.0):
    return sosfilt(butter(8, cutoff, "highpass", fs=RATE, output="sos"), x)


def below(x, cutoff=4000.0):
    return sosfilt(butter(8, cutoff, "lowpass", fs=RATE, output="sos"), x)


def level(x, reference):
    return 10 * np.log10(np.mean(x**2) / np.mean(reference**2))


@pytest.mark.parametrize(
    ("rate", "cutoff"),
    [(16_000, 1500), (44_100, 1500), (44_100, 16_000)],  # as MP3s and old recordings end
)
def test_prediction_of_a_recording_with_an_empty_band_does_not_explode(rate, cutoff):
    x = sosfilt(butter(12, cutoff, "lowpass", fs=rate, output="sos"), noise(rate))[rate // 2 :][: rate // 5]
    assert np.abs(extrapolate(x, rate // 2, 1000)).max() < 6 * x.std()
    lost = np.arange(len(x)) // 400 == 5
    assert np.abs(predict_gaps(np.where(lost, 0.0, x), lost, ~lost, rate)).max() < 6 * x.std()


def test_what_is_unsure_beside_a_gap_makes_no_burst():
    """Noise with an empty band, whose last samples before the gap are off by half of it."""
    x = 0.1 * above(noise(3 * RATE), 5000.0)
    x[RATE - 6 : RATE] += 0.05
    y = carry_residual(np.where(LOST, 0.0, x), LOST, ~LOST, RATE, 8)
    burst = predict_gaps(np.where(LOST, 0.0, x), LOST, ~LOST, RATE)
    first = slice(RATE, RATE + 16)
    assert np.abs(burst[first]).max() > 2 * np.abs(y[first]).max()
    assert np.abs(y[first]).max() < 0.6 * np.abs(x).max() and np.array_equal(y[~LOST], x[~LOST])


@pytest.mark.parametrize("gap", [(0, 400), (RATE, RATE + 400), (RATE, RATE + 4), (3 * RATE - 9, 3 * RATE)])
def test_what_is_carried_begins_and_ends_where_the_track_does(gap):
    lost = np.zeros(3 * RATE, dtype=bool)
    lost[slice(*gap)] = True
    x = np.cos(0.02 * np.arange(len(lost)))
    y = carry_residual(np.where(lost, 0.0, x), lost, ~lost, RATE, 8)
    assert np.abs(np.diff(y)).max() < 0.03 and np.array_equal(y[~lost], x[~lost])
    assert np.array_equal(carry_residual(x, np.zeros_like(lost), ~np.zeros_like(lost), RATE, 8), x)
