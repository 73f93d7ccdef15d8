"""A drawn band is no louder than the recording below the cutoff lets expect."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt, welch

from headwater.audio.damage import BandLimit, Measurement
from headwater.audio.signal.slope import limit_slope

RATE = 16_000
CUTOFFS = [950.0, 1900.0, 3800.0]


def noise(slope, seed=0, samples=32_000, turn=100.0):
    """Noise whose spectrum falls by `slope` dB an octave above `turn` Hz and is flat below."""
    f = np.fft.rfftfreq(samples, 1 / RATE)
    gain = 10 ** (-slope * np.log2(np.maximum(f, turn) / turn) / 20)
    return np.fft.irfft(np.fft.rfft(np.random.default_rng(seed).normal(size=samples)) * gain, samples)


def harmonics(pitch, slope=6.0, samples=32_000):
    """Partials up to 7.9 kHz whose power falls by `slope` dB an octave."""
    k = np.arange(1, int(7900 / pitch) + 1)[:, None]
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, size=k.shape)
    waves = np.sin(2 * np.pi * pitch * k * np.arange(samples) / RATE + phases)
    return (10 ** (-slope * np.log2(k) / 20) * waves).sum(0)


def high(x, cutoff):
    """What lies above the cutoff."""
    return sosfiltfilt(butter(8, cutoff, "highpass", fs=RATE, output="sos"), x)


def level(x, low=0.0, high=RATE / 2):
    """Mean power in a band, dB."""
    f, p = welch(x, RATE, nperseg=1024)
    return 10 * np.log10(p[(f >= low) & (f < high)].mean())


@pytest.mark.parametrize("cutoff", CUTOFFS)
@pytest.mark.parametrize("slope", [0.0, 6.0, 12.0])
def test_a_loud_band_falls_on_as_the_spectrum_does(slope, cutoff):
    """White noise drawn above comes out near the true spectrum; louder where few bins make the slope uncertain."""
    x = noise(slope)
    found = limit_slope(high(100 * noise(0.0, seed=1), cutoff), x, cutoff, RATE)
    for low in (1.3 * cutoff, 1.7 * cutoff):
        assert -1.0 < level(found, low, 1.1 * low) - level(x, low, 1.1 * low) < 3.5


@pytest.mark.parametrize("cutoff", CUTOFFS)
@pytest.mark.parametrize("pitch", [110.0, 220.0, 440.0])
def test_partials_that_were_there_stay(pitch, cutoff):
    """The true band of a harmonic sound, drawn, loses less than 2 dB, though partials stand out of the line."""
    x = harmonics(pitch)
    true = high(x, cutoff)
    assert level(limit_slope(true, x, cutoff, RATE), cutoff) == pytest.approx(level(true, cutoff), abs=2.0)


def test_an_attack_that_was_there_stays():
    """A burst of noise in near silence: its first 10 ms lose less than 2 dB."""
    x = 1e-3 * noise(0.0, seed=2)
    x[16_000:] += noise(0.0)[16_000:] * np.exp(-np.arange(16_000) / (0.03 * RATE))
    true = high(x, 3800.0)
    found, first = limit_slope(true, x, 3800.0, RATE), slice(16_000, 16_160)
    assert 20 * np.log10(found[first].std() / true[first].std()) > -2.0


def test_what_is_soft_stays_as_it_is():
    x, soft = noise(0.0), 0.05 * high(noise(0.0, seed=1), 3800.0)
    np.testing.assert_allclose(limit_slope(soft, x, 3800.0, RATE), soft, atol=1e-9)


def test_the_line_falls_by_no_more_than_the_steepest():
    """Below the cutoff the spectrum falls by 60 dB an octave, above it by 12; one that rises goes on flat."""
    loud = high(noise(0.0, seed=1), 3800.0)
    for recording, fall in ((noise(60.0, turn=1000.0), 12.0), (noise(-12.0), 0.0)):
        found = limit_slope(1e4 * loud, recording, 3800.0, RATE)
        got = level(found, 4500, 4700) - level(found, 7000, 7200)
        assert got == pytest.approx(fall * np.log2(7100 / 4600), abs=1.5)


def test_over_silence_nothing_is_drawn():
    """But for a window at the edges, on both sides of which the band is as it was."""
    x = noise(0.0)
    x[8000:24_000] = 0.0
    drawn = 0.2 * high(noise(0.0, seed=1), 3800.0)
    found = limit_slope(drawn, x, 3800.0, RATE)
    assert np.abs(found[9024:22_976]).max() < 1e-9
    for outside in (slice(0, 6976), slice(25_024, None)):
        np.testing.assert_allclose(found[outside], drawn[outside], atol=1e-9)


@pytest.mark.parametrize("samples", [1, 10, 200, 1023, 1025, 5000])
def test_the_true_band_of_white_noise_survives_in_any_length(samples):
    x = noise(0.0, samples=8192)
    true = high(x, 3800.0)[:samples]
    found = limit_slope(true, x[:samples], 3800.0, RATE)
    assert found.shape == (samples,)
    assert 10 * np.log10(np.square(found).sum() / np.square(true).sum()) > -3.0


def test_cutoffs_at_the_ends_of_the_band():
    """So low that the spectrum does not resolve what is below it; so high that next to nothing is above."""
    x = noise(0.0)
    assert limit_slope(x, x, 5.0, RATE) is x
    assert np.isfinite(limit_slope(x, x, 7999.0, RATE)).all()


def test_a_restored_band_is_held_to_the_recording_and_not_to_the_estimate():
    """Where the recording is soft, the estimate, which need not resolve it, is loud in both bands."""
    x = noise(0.0)
    x[16_000:] *= 1e-3
    y = x - high(x, 3800.0)
    band = BandLimit(3800.0)
    measured = Measurement(operator=band.lowpass(RATE), y=y, sigma=0.0, guess=y)
    added = band.finish(measured, y, noise(0.0, seed=1), RATE, RATE) - y
    for part in (slice(1000, 15_000), slice(17_000, 31_000)):
        assert level(added[part], 4500, 7500) == pytest.approx(level(x[part], 4500, 7500), abs=2.0)
