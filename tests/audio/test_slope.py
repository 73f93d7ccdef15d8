"""A drawn band is no louder than the spectrum below it lets expect."""

import numpy as np
import pytest
from scipy.signal import welch

from headwater.audio.slope import restrained

RATE = 16_000


def noise(slope, seed=0, samples=32_000, turn=1000.0):
    """Noise whose spectrum falls by `slope` dB an octave above 1 kHz and is flat below."""
    f = np.fft.rfftfreq(samples, 1 / RATE)
    gain = 10 ** (-slope * np.log2(np.maximum(f, turn) / turn) / 20)
    return np.fft.irfft(np.fft.rfft(np.random.default_rng(seed).normal(size=samples)) * gain, samples)


def band(x, low, high):
    """Mean power in a band, dB."""
    f, p = welch(x, RATE, nperseg=1024)
    return 10 * np.log10(p[(f >= low) & (f < high)].mean())


@pytest.mark.parametrize("slope", [0.0, 6.0, 12.0])
def test_a_loud_band_falls_on_as_the_spectrum_does(slope):
    """White noise drawn above 4 kHz comes out on the line of what is below: within 2 dB of the true spectrum."""
    x, loud = noise(slope), 10 * noise(0.0, seed=1)
    found = restrained(loud, x, 4000.0, RATE)
    for low in (4500, 6000):
        assert band(found, low, low + 500) == pytest.approx(band(x, low, low + 500), abs=2.0)


def test_what_is_soft_stays_as_it_is():
    x, soft = noise(0.0), 0.05 * noise(0.0, seed=1)
    np.testing.assert_allclose(restrained(soft, x, 4000.0, RATE), soft, atol=1e-9)


def test_the_steepest_line_has_18_decibels_an_octave():
    """Below 4 kHz the spectrum falls by 60 dB an octave; an octave above the upper one's middle it is allowed 18."""
    x, loud = noise(60.0), noise(0.0, seed=1)
    found = restrained(loud, x, 4000.0, RATE)
    assert band(found, 4500, 5000) - band(found, 7000, 7500) < 18.0
    rising = restrained(100 * loud, noise(-12.0), 4000.0, RATE)  # a spectrum that rises goes on flat
    assert band(rising, 4500, 5000) == pytest.approx(band(rising, 7000, 7500), abs=1.0)


def test_over_silence_nothing_is_drawn():
    x = noise(0.0)
    x[8000:24_000] = 0.0
    found = restrained(noise(0.0, seed=1), x, 4000.0, RATE)
    assert np.abs(found[10_000:22_000]).max() < 1e-6 and found[:6000].std() > 0.5


@pytest.mark.parametrize("samples", [1, 10, 1023, 1025])
def test_any_length(samples):
    x = noise(0.0, samples=2048)[:samples]
    assert restrained(x, x, 4000.0, RATE).shape == (samples,)


def test_a_cutoff_below_what_the_spectrum_resolves_leaves_the_band():
    x = noise(0.0)
    assert restrained(x, x, 5.0, RATE) is x
