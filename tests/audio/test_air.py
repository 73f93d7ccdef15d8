"""The band above the flow's: noise that goes on in a gap as the sound beside it does."""

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from headwater.audio.signal.air import add_high_band_noise
from headwater.audio.signal.prediction import predict_gaps

RATE = 44_100
START, STOP = RATE, RATE + RATE // 5
KNOWN = np.ones(2 * RATE, dtype=bool)
KNOWN[START:STOP] = False


def noise(count=2 * RATE, seed=0):
    return np.random.default_rng(seed).standard_normal(count)


def above(x, cutoff=8000.0):
    return sosfilt(butter(8, cutoff, "highpass", fs=RATE, output="sos"), x)


def below(x, cutoff=6500.0):
    return sosfilt(butter(8, cutoff, "lowpass", fs=RATE, output="sos"), x)


def filled(x, known=KNOWN, seed=0):
    """What linear prediction makes of the gap, and that with noise."""
    mean = predict_gaps(np.where(known, x, 0.0), ~known, known, RATE)
    return mean, add_high_band_noise(mean, known, RATE, above=7360.0, seed=seed)


def level(x, start, seconds=0.01):
    """In dB, of a part above the band."""
    part = above(x)[start : start + round(seconds * RATE)]
    return 20 * np.log10(np.sqrt(np.mean(part**2)) + 1e-6)


def steps(x):
    """By how many dB the band above is louder inside the gap than outside, where it begins and where it ends."""
    ten = round(0.01 * RATE)
    return level(x, START) - level(x, START - ten), level(x, STOP - ten) - level(x, STOP)


def cymbal(every, decay, seed=0):
    """Strokes of noise that die away."""
    return noise(seed=seed) * np.exp(-(np.arange(2 * RATE) % round(every * RATE)) / (decay * RATE))


@pytest.mark.parametrize("decay", [0.03, 0.06, 0.2])
@pytest.mark.parametrize("every", [0.23, 0.31])
def test_the_edges_are_as_loud_as_their_sides(decay, every):
    x = cymbal(every, decay)
    for step, true in zip(steps(filled(x)[1]), steps(x), strict=True):
        assert abs(step) < abs(true) + 2.6


def test_a_cymbal_struck_before_the_gap_dies_away_in_it():
    """It does not hiss on at the level of the stroke, nor is it gone at once."""
    n = np.arange(2 * RATE) - (START - round(0.02 * RATE))
    x = 0.01 * noise(seed=3) + noise() * np.where(n >= 0, np.exp(-np.maximum(n, 0) / (0.05 * RATE)), 0.0)
    y = filled(x)[1]
    at = [level(y, START + round(s * RATE)) for s in (0.0, 0.05, 0.1, 0.18)]
    assert at[0] > at[1] + 3 > at[2] + 6 and at[2] > at[3] - 1
    truth = [level(x, START + round(s * RATE)) for s in (0.0, 0.05, 0.1, 0.18)]
    assert np.abs(np.subtract(at, truth)).max() < 14


def test_there_is_no_slab_over_silence():
    """Strokes near the gap, silence at its edges."""
    n = np.arange(2 * RATE)
    silent = (n > START - 0.05 * RATE) & (n < STOP + 0.05 * RATE)
    x = np.where(silent, 1e-5 * noise(seed=1), cymbal(0.1, 0.05))
    y = filled(x)[1]
    inside = [level(y, START + round(s * RATE)) for s in (0.01, 0.05, 0.1, 0.15, 0.18)]
    assert max(inside) < level(x, START - round(0.02 * RATE)) + 6
    assert not filled(np.zeros(2 * RATE))[1].any()


@pytest.mark.parametrize("gap", [(RATE, RATE + 2205), (RATE, RATE + 17_640), (0, 8820), (80_000, 2 * RATE)])
def test_noise_goes_on_above_the_band_only(gap):
    known = np.ones(2 * RATE, dtype=bool)
    known[slice(*gap)] = False
    x = noise()
    mean, y = filled(x, known)
    assert np.array_equal(y[known], x[known])
    inside = slice(gap[0] + 400, gap[1] - 400)
    ratio = 20 * np.log10(np.std(above(y)[inside]) / np.std(above(x)[inside]))
    assert abs(ratio) < 1.5
    assert np.std(above(mean)[inside]) < 0.7 * np.std(above(x)[inside])
    assert np.std(below(y - mean)[inside]) < 0.05


def test_what_prediction_knows_is_left_alone():
    """A tone above the band is continued in phase, without noise."""
    t = np.arange(2 * RATE) / RATE
    x = np.sin(2 * np.pi * 9000 * t) + 1e-4 * noise()
    known = (t < 1) | (t >= 1.05)
    assert np.abs(filled(x, known)[1] - x).max() < 0.02


def test_a_dark_recording_stays_dark():
    x = below(noise(), 1500.0)
    assert np.std(above(filled(x)[1])[START:STOP]) < 1e-3 * np.std(x)


def test_the_seed_decides():
    x = noise()
    a, b, c = (filled(x, seed=s)[1] for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
