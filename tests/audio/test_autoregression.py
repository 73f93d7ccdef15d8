"""Models that tell a sample from those before it, and what they continue and bridge."""

import numpy as np
import pytest
from audio_small import tones

from headwater.audio.signal.autoregression import bridge_gap, burg, extrapolate, interpolate


def test_burg_finds_a_process_and_is_stable():
    from scipy.signal import lfilter

    a = np.array([1, -1.6, 0.9, -0.1])
    x = lfilter([1.0], a, np.random.default_rng(0).standard_normal(40_000))
    assert np.abs(burg(x, 3) - a).max() < 0.02
    assert np.abs(np.roots(burg(x[:60], 30))).max() < 1
    assert burg(np.zeros(50), 4).tolist() == [1.0]


@pytest.mark.parametrize("count", [1, 40, 400])
def test_tones_are_continued_and_bridged(count):
    x = tones(4000, noise=1e-3)
    assert np.abs(extrapolate(x[:2000], count, 100) - x[2000 : 2000 + count]).max() < 0.1
    lost = np.zeros(4000, dtype=bool)
    lost[2000 : 2000 + count] = True
    truth = x[lost]
    assert np.abs(bridge_gap(x[:2000], x[2000 + count :], count, 100) - truth).max() < 0.02
    again = interpolate(np.where(lost, 9.0, x), lost, 100)
    assert np.abs(again[lost] - truth).max() < 0.02 and np.array_equal(again[~lost], x[~lost])


def test_both_forms_of_the_normal_equations_agree():
    from headwater.audio.signal import autoregression as ar

    x, a = tones(600, noise=0.1), burg(tones(600, noise=0.1), 20)
    places = np.array([50, 51, 70, 300, 560])
    x[places] = 0
    for one, other in zip(
        ar._equations_inside(a, x, places), ar._equations_anywhere(a, x, places), strict=True
    ):
        assert np.allclose(one, other, atol=1e-10)
    gap = np.arange(300, 340)
    x[gap] = 0
    gram, right = ar._equations_anywhere(a, x, gap)
    assert np.allclose(ar.solve_for_lost(a, x, gap), np.linalg.solve(gram, right), atol=1e-8)


def test_scattered_samples_are_interpolated():
    x = tones(2000, noise=1e-3)
    lost = np.random.default_rng(1).random(2000) < 0.1
    found = interpolate(x, lost, 60, iterations=5)
    assert np.abs(found - x)[lost].max() < 0.02


def test_where_nothing_is_known_nothing_is_predicted():
    x = tones(500)
    assert not bridge_gap(x[:0], x[:0], 30).any()
    faded = bridge_gap(x[:400], x[:0], 100, 60)
    assert np.abs(faded[0] - x[400]) < 0.1 and abs(faded[-1]) < 0.01
