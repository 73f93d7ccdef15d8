"""The level and the spectrum of noise, from recordings alone."""

import numpy as np
import pytest
from audio_small import tones
from scipy.signal import lfilter

from headwater.audio.damage import Noise
from headwater.audio.signal.noise_level import estimate_profile, estimate_std
from headwater.audio.signal.suppression import subtract_noise, wiener_filter

RATE = 16_000


def white(count=10 * RATE, seed=0):
    return np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize("level", [1e-4, 0.01, 0.3])
@pytest.mark.parametrize("music", [0.0, 0.3])
def test_the_level_of_white_noise_is_within_a_decibel(level, music):
    x = music * tones(10 * RATE, RATE) + level * white()
    std, spread = estimate_std(x.reshape(10, -1), RATE)
    assert abs(20 * np.log10(std / level)) < 1 and (music or spread < 1.5)


def test_silence_has_no_noise_and_does_not_count():
    assert estimate_std([np.zeros(RATE)], RATE) == (0.0, 0.0)
    parts = [np.zeros(RATE), np.zeros(RATE), *(0.01 * white(5 * RATE)).reshape(5, -1)]
    assert estimate_std(parts, RATE)[0] == pytest.approx(0.01, rel=0.1)


def test_coloured_noise_is_known_as_such():
    assert estimate_std(lfilter([1], [1, -0.95], white()).reshape(10, -1), RATE)[1] > 10


def test_a_profile_is_the_spectrum_of_the_noise():
    x = lfilter([1, 0.8], [1], white())
    profile = estimate_profile(x, RATE)
    w = np.linspace(0, np.pi, len(profile))
    truth = np.abs(1 + 0.8 * np.exp(-1j * w)) ** 2
    assert np.abs(10 * np.log10(profile / truth))[:-40].max() < 1.0
    assert profile.mean() == pytest.approx(x.var(), rel=0.05)
    line = estimate_profile(white() + 5 * np.sin(2 * np.pi * 1000 * np.arange(10 * RATE) / RATE), RATE)
    assert np.median(line) == pytest.approx(1, rel=0.1) and line.max() > 50


@pytest.mark.parametrize("snr", [25, 15, 5])
def test_coloured_noise_is_filtered_better_by_its_profile(snr):
    music = tones(10 * RATE, RATE)
    noise = lfilter([1], [1, -0.9], white())
    noise *= music.std() * 10 ** (-snr / 20) / noise.std()
    damage = Noise.from_profile(estimate_profile(noise[:RATE], RATE))
    assert damage.std == pytest.approx(noise.std(), rel=0.1)
    y = music + noise

    def error(gain):
        pilot = subtract_noise(y, damage.std, RATE, gain)
        return np.std(wiener_filter(y, pilot, damage.std, RATE, gain) - music)

    assert error(damage.gain) < 0.9 * error(None) < noise.std() and error(damage.gain) < 0.5 * noise.std()


@pytest.mark.parametrize("low", [RATE, RATE // 2, 2 * RATE])
def test_whitened_noise_has_the_std_of_the_misfit(low):
    """At the rate of a prior the filtered noise is white, and as strong as `whiten` says."""
    import torch

    from headwater.audio.io.resample import resample

    x = lfilter([1], [1, -0.8], white(60 * RATE))
    operator, std = Noise.from_profile(estimate_profile(x, RATE)).whiten(RATE, low)
    y = operator(torch.from_numpy(resample(x, RATE, low))[None])[0].numpy()
    profile, share = estimate_profile(y, low), min(RATE / low, 1)  # of the band, in which there is noise
    inner = profile[: round(share * len(profile))]
    inner = inner[5:-5] if low == RATE else inner[20:-60]
    assert np.sqrt(share * inner.mean()) == pytest.approx(std, rel=0.05)
    assert inner.max() / inner.min() < 1.6
