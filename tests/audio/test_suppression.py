"""Noise taken out of the spectrum: two steps take more of it than one, and more the better the pilot is."""

import numpy as np
import pytest
from audio_small import tones

from headwater.audio.signal.suppression import subtract_noise, wiener_filter

RATE, SAMPLES = 16_000, 32_000


def noise(level, seed=0):
    return level * np.random.default_rng(seed).standard_normal(SAMPLES)


def error(x):
    return 20 * np.log10(np.std(x - tones(SAMPLES, RATE)))


@pytest.mark.parametrize("snr", [30, 20, 10])
def test_two_steps_are_nearer_than_one_and_one_than_none(snr):
    level = float(tones(SAMPLES, RATE).std()) * 10 ** (-snr / 20)
    y = tones(SAMPLES, RATE) + noise(level)
    once = subtract_noise(y, level, RATE)
    twice = wiener_filter(y, once, level, RATE)
    assert error(twice) < error(once) - 0.1 < error(y) - 3
    assert error(wiener_filter(y, tones(SAMPLES, RATE), level, RATE)) < error(twice) - 0.1


@pytest.mark.parametrize("floor", [0.02, 0.1])
def test_where_the_pilot_is_silent_the_floor_of_the_noise_stays(floor):
    y = noise(0.1)
    found = wiener_filter(y, np.zeros(SAMPLES), 0.1, RATE, floor=floor)
    assert np.allclose(found, floor * y, atol=1e-12)


def test_without_noise_a_track_stays_as_it_is():
    x = tones(SAMPLES, RATE)
    assert np.allclose(subtract_noise(x, 0.0, RATE), x) and np.allclose(wiener_filter(x, x, 0.0, RATE), x)


@pytest.mark.parametrize("samples", [1, 10, 1000])
def test_short_tracks_and_silence(samples):
    x = noise(0.1)[:samples]
    assert subtract_noise(x, 0.1, RATE).shape == wiener_filter(x, x, 0.1, RATE).shape == (samples,)
    assert not wiener_filter(np.zeros(samples), np.zeros(samples), 0.1, RATE).any()
