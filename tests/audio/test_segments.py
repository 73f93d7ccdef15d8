"""Gaps in groups, tracks and rates."""

import numpy as np
import pytest
from audio_small import tones

from headwater import Misuse
from headwater.audio.gaps import known_at_rate
from headwater.audio.io.channels import from_mid_side, to_mid_side
from headwater.audio.io.resample import resample
from headwater.audio.io.segments import Segment, merge_gaps, segments_around


def test_gaps_are_merged_and_grouped():
    assert merge_gaps([(5, 9), (20, 30), (8, 12), (12, 13)], 100) == [(5, 13), (20, 30)]
    for gap in ((5, 5), (-1, 3), (90, 101), (7, 3)):
        with pytest.raises(Misuse, match="empty or beyond"):
            merge_gaps([gap], 100)
    with pytest.raises(Misuse, match="whole recording"):
        merge_gaps([(0, 60), (50, 100)], 100)
    gaps = ((10, 20), (25, 30), (80, 90))
    assert segments_around(gaps, 20) == [Segment(-10, 50, gaps[:2], gaps), Segment(60, 110, gaps[2:], gaps)]
    near = [(i, i + 2) for i in range(100, 200, 10)]
    chained = segments_around(near, 20, longest=45)
    assert [g for r in chained for g in r.gaps] == near
    assert all(r.stop - r.start <= 45 + 40 for r in chained)
    for r in chained:
        assert np.array_equal(r.unknown, [any(a <= i < b for a, b in near) for i in range(r.start, r.stop)])
        assert np.array_equal(r.to_fill, [any(a <= i < b for a, b in r.gaps) for i in range(r.start, r.stop)])
        assert np.array_equal(r.widen(30).unknown[30:-30], r.unknown)


def test_tracks_and_rates():
    x = np.random.default_rng(0).standard_normal((100, 2))
    assert np.allclose(from_mid_side(to_mid_side(x)), x, atol=1e-12)
    three = np.random.default_rng(0).standard_normal((100, 3))
    assert np.array_equal(from_mid_side(to_mid_side(three)), three)
    low = tones(8820, 44100.0)
    there = resample(low, 44100, 16000)
    assert np.abs(there[200:-200] - tones(3200, 16000.0)[200:-200]).max() < 2e-3
    assert np.abs(resample(there, 16000, 44100)[:8820][600:-600] - low[600:-600]).max() < 4e-3
    inside = np.ones(8820, dtype=bool)
    inside[4410:5000] = False
    there_known = known_at_rate(inside, 44100, 16000, 3200, apart=8.82)
    assert not there_known[1600:1814].any() and there_known[:1595].all() and there_known[1820:].all()
