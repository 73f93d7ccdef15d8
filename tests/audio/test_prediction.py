"""Linear prediction of the gaps of a track, and the noise above the flow's band that goes on in them."""

import numpy as np
import pytest
from scipy.signal import butter, lfilter, sosfilt

from headwater.audio.io.channels import find_runs
from headwater.audio.signal.autoregression import draw_gap, extrapolate
from headwater.audio.signal.prediction import add_high_band_noise, carry_residual, predict_gaps

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


def filled(x, lost=LOST, **how):
    """A track filled by prediction, and that with noise."""
    mean = predict_gaps(x, lost, ~lost, RATE)
    return mean, add_high_band_noise(
        np.where(lost, 0.0, x), mean, lost, ~lost, RATE, **{"above": 4000.0, "seed": 0} | how
    )


@pytest.mark.parametrize("filter_", [[1.0], [1.0, -0.9], [1.0, 0.0, 0.8]])
def test_a_draw_is_as_loud_as_what_it_continues(filter_):
    x = lfilter([1.0], filter_, noise(4000))
    draws = [extrapolate(x, 2000, 20, np.random.default_rng(i)) for i in range(20)]
    assert abs(level(np.stack(draws), x)) < 0.7
    spectra = [np.abs(np.fft.rfft(z, 2000)) ** 2 for z in (x[:2000], *draws)]
    low = [s[:100].sum() / s.sum() for s in spectra]
    assert np.mean(low[1:]) == pytest.approx(low[0], abs=0.1)
    both = [draw_gap(x, x, 2000, 20, np.random.default_rng(i)) for i in range(20)]
    assert abs(level(np.stack(both), x)) < 0.7


@pytest.mark.parametrize(
    ("rate", "cutoff"),
    [(16_000, 1500), (44_100, 1500), (44_100, 16_000)],  # as MP3s and old recordings end
)
def test_prediction_of_a_recording_with_an_empty_band_does_not_explode(rate, cutoff):
    x = sosfilt(butter(12, cutoff, "lowpass", fs=rate, output="sos"), noise(rate))[rate // 2 :][: rate // 5]
    for seed in (None, 0):
        rng = None if seed is None else np.random.default_rng(seed)
        assert np.abs(extrapolate(x, rate // 2, 1000, rng)).max() < 6 * x.std()
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


def test_a_draw_of_nothing_is_nothing():
    rng = np.random.default_rng(0)
    assert not extrapolate(np.zeros(0), 10, 4, rng).any() and not extrapolate(np.zeros(99), 10, 4, rng).any()
    one = draw_gap(noise(2000), np.zeros(0), 4000, 20, rng)  # at the end of a recording it goes on
    assert abs(level(one[-1000:], np.ones(1))) < 2


@pytest.mark.parametrize(
    "gap", [(RATE, RATE + 800), (RATE, RATE + 6400), (0, 3200), (3 * RATE - 3200, 3 * RATE)]
)
def test_noise_goes_on_above_the_flows_band_only(gap):
    lost = np.zeros(3 * RATE, dtype=bool)
    lost[slice(*gap)] = True
    x = noise(len(lost))
    mean, y = filled(x, lost)
    assert np.array_equal(y[~lost], x[~lost])
    inside = slice(gap[0] + 200, gap[1] - 200)
    assert abs(level(above(y)[inside], above(x)[inside])) < 2.5
    assert level(above(mean)[inside], above(x)[inside]) < -6
    assert level(below(y - mean, 3600.0)[inside], x) < -25


def test_what_prediction_knows_is_left_alone():
    """A tone above the flow's band is continued in phase, without noise."""
    t = np.arange(3 * RATE) / RATE
    x = np.sin(2 * np.pi * 5000 * t) + 1e-4 * noise(len(t))
    lost = (t >= 1) & (t < 1.05)
    _, y = filled(x, lost)
    assert np.abs(y - x).max() < 0.01


def test_silence_and_darkness_stay():
    """A recording without anything above 4 kHz gets nothing there."""
    assert not filled(np.zeros(3 * RATE))[1].any()
    dark = sosfilt(butter(12, 1500.0, "lowpass", fs=RATE, output="sos"), noise(3 * RATE))
    _, y = filled(dark)
    assert level(above(y)[LOST], dark) < -60


def test_the_seed_decides():
    x = noise(3 * RATE)
    a, b, c = (filled(x, seed=s)[1] for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert find_runs(LOST).tolist() == [[RATE, RATE + 3200]] and len(find_runs(~LOST)) == 2
