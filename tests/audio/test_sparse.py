"""Declipping by sparsity: exact where it must be, right where the signal is sparse."""

import numpy as np
import pytest

from headwater.audio.signal.sparse import Spade, declip_by_sparsity

RATE = 8_000


def chord(frames=6_000):
    t = np.arange(frames) / RATE
    return sum(a * np.sin(2 * np.pi * f * t + f) for a, f in ((0.5, 220.0), (0.3, 331.0), (0.2, 497.0)))


def ratio(x, truth, places):
    return 10 * np.log10(np.sum(truth[places] ** 2) / np.sum((x - truth)[places] ** 2))


@pytest.mark.parametrize("loudness", [1.0, 0.01])
def test_a_chord_is_found_whatever_its_level(loudness):
    x = loudness * chord()
    level = 0.4 * loudness
    y = np.clip(x, -level, level)
    clipped = np.abs(y) >= level
    found = declip_by_sparsity(y, clipped, RATE)
    assert np.array_equal(found[~clipped], y[~clipped])
    assert (np.sign(y) * found)[clipped].min() >= level * (1 - 1e-6)
    assert ratio(found, x, clipped) > ratio(y, x, clipped) + 15


def test_parts_do_not_depend_on_how_many_are_worked_on_together():
    y = np.clip(chord(), -0.4, 0.4)
    whole = declip_by_sparsity(y, np.abs(y) >= 0.4, RATE)
    few = declip_by_sparsity(y, np.abs(y) >= 0.4, RATE, settings=Spade(at_once=3))
    np.testing.assert_allclose(few, whole, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 10, 100])
def test_short_and_unclipped_recordings_pass(frames):
    x = 0.3 * chord(frames)
    assert np.array_equal(declip_by_sparsity(x, x >= 0.5, RATE), x)
    assert np.array_equal(
        declip_by_sparsity(np.zeros(frames), np.zeros(frames, bool), RATE), np.zeros(frames)
    )
    assert np.isfinite(declip_by_sparsity(np.full(frames, 0.5), np.ones(frames, bool), RATE)).all()
