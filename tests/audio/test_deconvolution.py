"""A known room undone: least squares down to the noise and no further, from a start that is worth something."""

import numpy as np
import pytest
import soundfile
from audio_small import tones
from scipy.signal import fftconvolve, firwin

from headwater.audio.io import recordings
from headwater.audio.io.resample import resample
from headwater.audio.signal.deconvolution import (
    LEAST_SQUARES,
    LeastSquares,
    deconvolve,
    noise_gain,
    remove_room,
    solve_least_squares,
)
from headwater.audio.signal.spectrum import Spectrum

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
    found = solve_least_squares(recording(), room(), LEVEL)
    assert 0.8 < left(found) <= 1.001


def test_a_start_that_agrees_stays():
    x = tones(SAMPLES, RATE)
    assert np.array_equal(remove_room(recording(), room(), x, 1.1 * LEVEL / LEAST_SQUARES.share, RATE), x)


def test_it_is_nearer_than_division_and_nearer_still_from_a_good_start():
    near = tones(SAMPLES, RATE) + 0.02 * tones(SAMPLES, RATE, 1)
    zeros, begun = (
        remove_room(recording(), room(), start, LEVEL, RATE) for start in (np.zeros(SAMPLES), near)
    )
    assert error(zeros) < 0.5 * error(deconvolve(recording(), room(), 1e-3))
    assert error(begun) < min(error(near), error(zeros))


def test_what_the_room_swallows_stays_as_in_the_start():
    """A response with a zero at half of Nyquist's frequency says nothing there."""
    h, t = np.array([1.0, 0.0, 1.0]), np.arange(SAMPLES)
    lost = 0.1 * np.cos(np.pi / 2 * t)
    found = remove_room(fftconvolve(tones(SAMPLES, RATE), h)[:SAMPLES], h, lost, 1e-4, RATE)
    inside = slice(2000, -2000)
    share = np.dot(found[inside], lost[inside]) / np.dot(lost[inside], lost[inside])
    assert 0.95 < share < 1.05


def test_reverberation_from_before_does_not_count():
    """The recording of the second half alone is not that of a room in which it was silent before."""
    half = SAMPLES // 2
    x, y = tones(SAMPLES, RATE)[half:], recording()[half:]
    knowing = solve_least_squares(y, room(), LEVEL, past=len(room()) - 1)
    after = slice(2 * len(room()), -500)
    errors = [np.std((z - x)[after]) for z in (knowing, solve_least_squares(y, room(), LEVEL))]
    assert errors[0] < 0.85 * errors[1]
    rest = (y - fftconvolve(knowing, room())[:half])[len(room()) - 1 :]
    assert 0.8 < np.sqrt(np.mean(rest**2)) / LEVEL <= 1.001


def test_it_gives_up_in_time():
    """What cannot be explained is not tried for ever."""
    assert left(solve_least_squares(recording(), room(), 1e-9, iterations=3)) > 1


@pytest.mark.parametrize("samples", [1, 10])
def test_short_recordings(samples):
    x = np.linspace(0.1, 0.5, samples)
    y = fftconvolve(x, room())[:samples]
    assert np.allclose(solve_least_squares(y, room(), 1e-9), x, atol=1e-6)


def test_silence_stays():
    assert not solve_least_squares(np.zeros(100), room(), 0.0).any()


def loudspeaker():
    """The room through a loudspeaker without lows and highs."""
    return fftconvolve(room(), firwin(301, [200, 5000], fs=RATE, pass_zero=False))


@pytest.mark.parametrize(("h", "more"), [(room(), 4.0), (loudspeaker(), np.inf)], ids=["room", "loudspeaker"])
def test_how_loud_noise_becomes_is_known(h, more):
    """In 49 of 50 bins within 4 dB; too much only where the response lets so little through that it is lost."""
    y = np.random.default_rng(2).standard_normal(4 * SAMPLES)
    spectrum = Spectrum(len(y), RATE)
    inside = np.abs(spectrum(solve_least_squares(y, h, 0.3)))[:, 20:-20]
    power = np.mean(inside**2, axis=1) / spectrum.noise_power
    over = 10 * np.log10(spectrum.average_to_bins(noise_gain(y, h, 0.3))[:, 0] / power)
    assert np.quantile(over, 0.02) > -4 and np.quantile(over, 0.98) < more
    passed = (spectrum.frequencies > 300) & (spectrum.frequencies < 4700)
    assert np.abs(np.median(over[passed])) < 3


@pytest.mark.parametrize("h", [room(), loudspeaker()], ids=["room", "loudspeaker"])
def test_a_pause_becomes_no_louder(h):
    """Music, then noise alone: what least squares make louder, subtraction takes away."""
    pause, r = slice(SAMPLES + 4000, 2 * SAMPLES - 1000), np.random.default_rng(1)
    x = np.concatenate([tones(SAMPLES, RATE), np.zeros(SAMPLES)])
    level = 0.03 * x.std()
    y = fftconvolve(x, h)[: len(x)] + level * r.standard_normal(len(x))
    assert remove_room(y, h, np.zeros_like(x), level, RATE)[pause].std() < 0.4 * level


def test_least_squares_go_below_the_noise():
    """To end at the noise leaves more of the room."""
    x, rate = soundfile.read(recordings.GUITAR)
    x = resample(x[40_000:120_000, 0], rate, RATE)
    level = 0.03 * x.std()
    y = fftconvolve(x, room())[: len(x)] + level * np.random.default_rng(0).standard_normal(len(x))

    def distance(**settings):
        found = remove_room(y, room(), np.zeros_like(x), level, RATE, settings=LeastSquares(**settings))
        return np.std(found - x)

    assert distance() < 0.8 * distance(share=1.0)


def test_where_no_noise_is_known_none_is_subtracted():
    y = recording()
    found = remove_room(y, room(), np.zeros_like(y), 0.0, RATE)
    assert np.array_equal(found, solve_least_squares(y, room(), 0.01 * y.std()))
