"""A known room undone: least squares down to the noise and no further, from a start that is worth something."""

import numpy as np
import pytest
from audio_small import tones
from scipy.signal import fftconvolve

from headwater.audio.deconvolution import consistent, regularised

RATE, SAMPLES, LEVEL = 16_000, 16_000, 1e-3


def room():
    n = 2000
    h = 0.1 * np.random.default_rng(0).standard_normal(n) * np.geomspace(1, 1e-3, n)
    h[0] = 1.0
    return h


def heard(x):
    return fftconvolve(x, room())[: len(x)]


def recording(level=LEVEL):
    return heard(tones(SAMPLES, RATE)) + level * np.random.default_rng(1).standard_normal(SAMPLES)


def left(x):
    """What a recording without its room does not explain, in units of the noise."""
    return np.sqrt(np.mean((recording() - heard(x)) ** 2)) / LEVEL


def error(x):
    return np.sqrt(np.mean((x - tones(SAMPLES, RATE)) ** 2))


def test_it_ends_at_the_noise():
    found = consistent(recording(), room(), np.zeros(SAMPLES), LEVEL)
    assert 0.8 < left(found) <= 1.001


def test_a_start_that_agrees_stays():
    x = tones(SAMPLES, RATE)
    assert consistent(recording(), room(), x, 1.1 * LEVEL) is x


def test_it_is_nearer_than_division_and_nearer_still_from_a_good_start():
    near = tones(SAMPLES, RATE) + 0.02 * tones(SAMPLES, RATE, 1)
    zeros = consistent(recording(), room(), np.zeros(SAMPLES), LEVEL)
    assert error(zeros) < 0.5 * error(regularised(recording(), room(), 1e-3))
    assert error(consistent(recording(), room(), near, LEVEL)) < min(error(near), error(zeros))


def test_what_the_room_swallows_stays_as_in_the_start():
    """A response with a zero at half of Nyquist's frequency says nothing there."""
    h, t = np.array([1.0, 0.0, 1.0]), np.arange(SAMPLES)
    lost = 0.1 * np.cos(np.pi / 2 * t)
    found = consistent(fftconvolve(tones(SAMPLES, RATE), h)[:SAMPLES], h, lost, 1e-4)
    inside = slice(2000, -2000)
    assert np.dot(found[inside], lost[inside]) > 0.95 * np.dot(lost[inside], lost[inside])


@pytest.mark.parametrize("samples", [1, 10])
def test_short_recordings(samples):
    x = np.linspace(0.1, 0.5, samples)
    y = fftconvolve(x, room())[:samples]
    assert np.allclose(consistent(y, room(), np.zeros(samples), 1e-9), x, atol=1e-6)


def test_silence_stays():
    assert not consistent(np.zeros(100), room(), np.zeros(100), 0.0).any()
