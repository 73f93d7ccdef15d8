"""Prediction where it knows, the flow where it does not."""

import numpy as np
import pytest

from headwater.audio.signal.autoregression import bridge_gap
from headwater.audio.signal.join import hold_level, join_flow

RATE = 16_000


def lost_in(frames, start, stop):
    known = np.ones(frames, dtype=bool)
    known[start:stop] = False
    return known


def test_known_samples_are_the_guess_and_a_silent_flow_changes_nothing():
    r = np.random.default_rng(0)
    guess, flow = r.standard_normal((2, 12_000))
    known = lost_in(12_000, 4000, 9000)
    assert np.array_equal(join_flow(flow, guess, known, RATE)[known], guess[known])
    np.testing.assert_allclose(join_flow(0 * flow, guess, known, RATE), guess, atol=1e-9)


def test_a_guess_as_loud_as_what_is_around_is_hardly_held_up():
    """But for the ups and downs of noise."""
    guess = np.random.default_rng(0).standard_normal(12_000)
    known = lost_in(12_000, 4000, 9000)
    found = hold_level(guess, known, RATE)
    assert np.array_equal(found[known], guess[known])
    assert np.corrcoef(found[~known], guess[~known])[0, 1] > 0.98
    assert np.std(found[~known]) == pytest.approx(1, abs=0.1)


def test_tones_are_held_up_to_what_both_sides_expect():
    """A tone that dies away from both sides of the gap, as Burg's prediction does, and one that does so in truth."""
    n, start, stop = 24_000, 9000, 15_000
    known, inside = lost_in(n, start, stop), slice(start + 1000, stop - 1000)
    edge = np.minimum(np.arange(n) - start, stop - np.arange(n)).clip(0)
    faded = 10 ** (-8 / 20 * edge / edge.max())  # by 8 dB in the middle
    steady = np.sin(0.3 * np.arange(n))
    for truth in (steady, steady * 10 ** (-30 / 20 * np.arange(n) / n)):
        guess = truth * faded
        found = hold_level(guess, known, RATE)
        off = 20 * np.log10(np.std(found[inside]) / np.std(truth[inside]))
        assert np.array_equal(found[known], guess[known])
        assert -2 < off < 0.5
        assert np.std(guess[inside]) < 0.65 * np.std(truth[inside])


@pytest.mark.parametrize(("below", "least"), [(-30, -1), (-20, -2.5), (-15, -4.5), (-9, -3), (0, -1)])
def test_between_the_two_a_quarter_of_the_power_is_left_at_least(below, least):
    """As amplitudes they would leave -5.8 and -5.2 dB at -20 and -15."""
    r = np.random.default_rng(7)
    truth, other, flow = r.standard_normal((3, 40_000))
    known = lost_in(40_000, 10_000, 30_000)
    guess = np.where(known, truth, 10 ** (below / 20) * other)
    found = join_flow(flow, hold_level(guess, known, RATE), known, RATE)[12_000:28_000]
    assert least < 20 * np.log10(np.std(found)) < 1


def test_a_silent_side_leaves_the_other():
    """Between music and digital silence the filling falls on a line in dB, and no number overflows."""
    r = np.random.default_rng(6)
    truth, flow = r.standard_normal((2, 24_000))
    truth[15_000:] = 0.0
    known = lost_in(24_000, 9000, 15_000)
    found = join_flow(flow, np.where(known, truth, 0.0), known, RATE)
    assert np.isfinite(found).all()
    levels = [20 * np.log10(np.std(found[a : a + 1000])) for a in (10_000, 11_500, 13_000)]
    assert -40 < levels[2] < levels[1] - 5 < levels[0] - 10


def test_what_prediction_lacks_comes_from_the_flow():
    """A long gap in noise: prediction dies away, the flow fills it at the loudness around."""
    r = np.random.default_rng(1)
    truth, flow = r.standard_normal((2, 20_000))
    known = lost_in(20_000, 7000, 13_000)
    guess = truth.copy()
    guess[~known] = bridge_gap(truth[:7000], truth[13_000:], 6000, 100)
    middle = slice(9000, 11_000)
    assert np.std(guess[middle]) < 0.1
    found = join_flow(flow, guess, known, RATE)
    assert np.corrcoef(found[middle], flow[middle])[0, 1] > 0.99
    assert np.std(found[middle]) == pytest.approx(1, abs=0.1)


def test_each_band_is_judged_for_itself():
    """The low tone that prediction continues stays; the noise above it comes from the flow."""
    r = np.random.default_rng(2)
    tone = np.sin(0.05 * np.arange(20_000))
    hiss, other = (np.diff(r.standard_normal(20_001)) for _ in range(2))
    known = lost_in(20_000, 8000, 12_000)
    guess = tone + np.where(known, hiss, 0.0)
    found = join_flow(-tone + other, guess, known, RATE)[9000:11_000]
    inside = slice(9000, 11_000)
    low = np.fft.rfft(found)[:20], np.fft.rfft(tone[inside])[:20]
    assert np.vdot(*low).real > 0.9 * np.vdot(low[1], low[1]).real
    assert np.corrcoef(found - tone[inside], other[inside])[0, 1] > 0.95


def test_the_flow_adds_no_band_that_the_recording_lacks():
    r = np.random.default_rng(4)
    low = np.convolve(r.standard_normal(20_000), np.hanning(60) / 5, "same")  # nothing above 1 kHz
    known = lost_in(20_000, 8000, 12_000)
    found = join_flow(low[::-1] + r.standard_normal(20_000), np.where(known, low, 0.0), known, RATE)
    spectrum = np.abs(np.fft.rfft((found * np.hanning(20_000))[8000:12_000])) ** 2
    assert spectrum[1000:].mean() < 1e-3 * spectrum[:100].mean()
    assert np.std(found[9000:11_000]) == pytest.approx(np.std(low), rel=0.4)


@pytest.mark.parametrize("gap", [(0, 4000), (16_000, 20_000), (100, 19_900)])
def test_gaps_at_the_ends_and_short_tracks(gap):
    r = np.random.default_rng(3)
    flow, truth = r.standard_normal((2, 20_000))
    known = lost_in(20_000, *gap)
    assert np.isfinite(join_flow(flow, np.where(known, truth, 0.0), known, RATE)).all()
    short = join_flow(flow[:30], truth[:30], lost_in(30, 10, 20), RATE)
    assert short.shape == (30,) and np.isfinite(short).all()
