"""The check of a recording: damage is found where it is and as what it is, and in whole music nothing is."""

import functools
import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from headwater.audio.check.check import find_damage, merge
from headwater.audio.check.clicks import find_clicks
from headwater.audio.check.clipping import find_regions
from headwater.audio.check.flats import find_dropouts, find_flats
from headwater.audio.check.hum import HumMeter
from headwater.audio.check.kinds import CLICK, CLIPPING, DROPOUT, NOT_FINITE, Finding, select_gaps
from headwater.audio.check.labels import read_findings
from headwater.audio.check.parts import Parts
from headwater.audio.check.quiet import find_noise_alone, find_quietest
from headwater.audio.check.rails import find_clipping
from headwater.audio.io import recordings
from headwater.audio.io.files import examine
from headwater.audio.io.marks import read_labels, to_frames, write_labels
from headwater.errors import Misuse

RATE = 44_100


def notes(seconds=6.0, seed=0, rate=RATE):
    """Plucked chords with noise at -70 dB: each begins abruptly, as clicks do."""
    return make_notes(seconds, seed, rate).copy()


@functools.cache
def make_notes(seconds, seed, rate):
    r, t = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    x = np.zeros(len(t))
    for beat in np.arange(0.1, seconds - 0.2, 0.35):
        heard = (t > beat) & (t < beat + 2.5)  # then it is far below the noise
        after = t[heard] - beat
        for f in 110 * 2 ** (r.integers(0, 30, 3) / 12):
            tone = sum(np.sin(2 * np.pi * k * f * after) / k**1.3 for k in range(1, 9))
            x[heard] += 0.06 * tone * np.exp(-4 * after) * (1 - np.exp(-after / 0.003))
    return 0.8 * x / np.abs(x).max() + 3e-4 * r.standard_normal(len(x))


def checked(folder, x, subtype="PCM_16", rate=RATE, **more):
    soundfile.write(folder / "take.wav", x, rate, subtype=subtype)
    return find_damage(examine(folder / "take.wav"), **more)


def spike(x, i):
    x[i] += 0.3


def scratch(x, i):
    x[i : i + 130] += 0.25 * np.random.default_rng(0).standard_normal(130)


def zeros(x, i):
    x[i : i + 441] = 0


def short_zeros(x, i):
    x[i : i + 50] = 0


def held(x, i):
    x[i : i + 300] = x[i]


DAMAGE = [
    (spike, 1, CLICK),
    (scratch, 130, CLICK),
    (zeros, 441, DROPOUT),
    (short_zeros, 50, DROPOUT),
    (held, 300, DROPOUT),
]


@pytest.mark.parametrize(("damage", "size", "kind"), DAMAGE, ids=lambda v: getattr(v, "__name__", v))
def test_short_damage_is_found_as_what_it_is_and_where(tmp_path, damage, size, kind):
    x, i = notes(3), round(1.63 * RATE)
    damage(x, i)
    (found,) = checked(tmp_path, x)
    assert found.kind == kind
    assert i - 60 < found.start <= i + size // 5 and i + 0.8 * size <= found.stop < i + size + 60


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(("over", "gain"), [(1.2, 1.0), (2.0, 0.5)])
def test_clipping_is_found_at_and_below_full_scale(tmp_path, subtype, over, gain):
    x = notes(3)
    x *= over / np.abs(x).max()
    cut = np.flatnonzero(np.abs(x) > 1)
    found = checked(tmp_path, gain * x.clip(-1, 1), subtype)
    assert {f.kind for f in found} == {CLIPPING} and f"at {gain:.2g}" in found[0].text
    assert abs(found[0].start - cut[0]) < 50 and abs(found[-1].stop - cut[-1]) < 50


def test_what_is_not_finite_is_found_to_the_sample(tmp_path):
    x = np.stack([notes(4), notes(4, seed=1)], axis=1)
    x[70_000:70_012, 1], x[150_000, 0] = np.nan, np.inf
    assert checked(tmp_path, x, "FLOAT") == [
        Finding(70_000, 70_012, NOT_FINITE, rate=RATE),
        Finding(150_000, 150_001, NOT_FINITE, rate=RATE),
    ]


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_is_told_from_music_of_the_same_pitch(tmp_path, mains):
    t, music = np.arange(12 * 8000) / 8000, notes(12, rate=8000)
    lines = sum(np.sin(2 * np.pi * k * (mains + 0.05) * t + k) / k for k in range(1, 7))
    found = checked(tmp_path, music + 0.004 * lines, rate=8000)
    assert [f.text for f in found] == [f"hum {mains} Hz"]
    assert found[0].start <= 8000 and found[0].stop >= 11 * 8000
    meter = HumMeter(8000)
    meter.listen(music + 0.1 * lines * (t % 6 < 2))  # notes of the mains' pitch come and go
    assert meter.find() == []


def test_whole_music_has_no_damage(tmp_path):
    r = np.random.default_rng(3)
    assert checked(tmp_path, notes()) == []
    drums = sum(
        np.roll(np.pad(r.standard_normal(9000) * np.exp(-np.arange(9000) / n), (0, 6 * RATE - 9000)), i)
        for n, i in ((300, 20_000), (1500, 60_000), (600, 130_000))
    )
    assert checked(tmp_path, 0.5 * notes() + 0.1 * drums) == []
    t = np.arange(6 * RATE) / RATE
    for soft in (
        0.3 * np.sin(2 * np.pi * 40 * t),
        0.001 * notes(),
        np.zeros(6 * RATE),
        0.5 * np.exp(-4 * t) * np.sin(2 * np.pi * 300 * t),
    ):
        assert checked(tmp_path, soft) == []  # slow peaks, few steps of 16 bits, silence, a fade to it
    fade = notes() * np.clip(1 - t / 5, 0, 1)
    assert checked(tmp_path, fade) == []


def test_a_real_guitar_hums_and_has_no_other_damage():
    """The shipped recording has a line at 60.0 Hz, 25 dB above what is beside it, but only 4 s of it."""
    assert find_damage(examine(recordings.GUITAR)) == []


def test_parts_do_not_change_what_is_found(tmp_path):
    x = notes(9)
    for i, damage in ((3 * RATE - 60, scratch), (6 * RATE - 100, zeros), (200_000, spike)):
        damage(x, i)
    whole = checked(tmp_path, x)
    apart = checked(tmp_path, x, parts=Parts(part=3.0, margin=1.0))
    assert len(whole) == 3 and [f.kind for f in apart] == [f.kind for f in whole]
    assert all(abs(a.start - b.start) < 8 for a, b in zip(whole, apart, strict=True))


def test_memory_is_that_of_a_part(tmp_path):
    piece, peaks = np.tile(notes(6, rate=8000), 5), []
    for count in (1, 4):
        soundfile.write(tmp_path / "long.wav", np.tile(piece, count), 8000, subtype="PCM_16")
        tracemalloc.start()
        find_damage(examine(tmp_path / "long.wav"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_cut_file_and_short_ones_are_checked(tmp_path):
    for count in (1, 2, 10, 500, 5000):
        assert checked(tmp_path, notes()[RATE : RATE + count]) == []
    empty = np.zeros((0, 2), dtype=np.intp)
    assert find_clicks(np.zeros(10), RATE).shape == empty.shape
    flat = find_flats(np.zeros(10), 2**-15)
    assert find_dropouts(np.zeros(10), flat, RATE, 2**-15).shape == empty.shape
    assert find_regions(np.zeros(10), RATE, 2**-15) == []


def test_findings_of_channels_are_merged():
    def seen(*spans, **more):
        return [Finding(a, b, kind, rate=1000, **more) for a, b, kind in spans]

    found = merge(seen((10, 20, CLICK), (15, 30, CLICK), (15, 30, DROPOUT), (90, 99, CLICK)))
    assert found == seen((10, 30, CLICK), (15, 30, DROPOUT), (90, 99, CLICK))
    clipped = [
        *seen((0, 200, CLIPPING), (400, 700, CLIPPING), level=0.5),
        *seen((500, 600, CLIPPING), level=0.3),
    ]
    (one,) = merge(clipped)
    assert (one.start, one.stop, one.level) == (0, 700, 0.5)
    assert len(merge([*clipped, *seen((800, 900, CLIPPING), level=0.3)])) == 2


def test_findings_survive_as_labels(tmp_path):
    x = notes()
    for i, damage in ((50_001, spike), (120_001, zeros)):
        damage(x, i)
    found = checked(tmp_path, x)
    write_labels(tmp_path / "l.txt", [((f.start / RATE, f.stop / RATE), f.text) for f in found])
    labels = read_labels(tmp_path / "l.txt")
    assert to_frames(labels.spans, examine(tmp_path / "take.wav")) == [(f.start, f.stop) for f in found]
    assert labels.texts == (CLICK, DROPOUT)


def test_the_quietest_part_is_neither_silent_nor_music(tmp_path):
    r, x = np.random.default_rng(0), notes()
    x[2 * RATE : 3 * RATE + 4410] = 1e-3 * r.standard_normal(RATE + 4410)
    x[5 * RATE :] = 0
    soundfile.write(tmp_path / "take.wav", x, RATE)
    start, stop = find_quietest(examine(tmp_path / "take.wav"))
    assert 2.0 <= start <= 2.1 and stop - start == pytest.approx(1.0)
    source = examine(tmp_path / "take.wav")
    assert find_quietest(replace(source, frames=4000)) == (0.0, 4000 / RATE)


def test_music_is_no_profile_of_noise(tmp_path):
    """The quietest second counts only where it is 20 dB below what sounds."""
    r, x = np.random.default_rng(0), notes()
    soundfile.write(tmp_path / "music.wav", x, RATE)
    assert find_noise_alone(examine(tmp_path / "music.wav")) is None
    x[2 * RATE : 3 * RATE + 4410] = 1e-3 * r.standard_normal(RATE + 4410)
    soundfile.write(tmp_path / "pause.wav", x, RATE)
    assert find_noise_alone(examine(tmp_path / "pause.wav")) == pytest.approx((2.0, 3.0), abs=0.11)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    assert find_noise_alone(examine(tmp_path / "silent.wav")) is None


def test_gates_and_square_waves_have_no_drop_outs():
    """What is flat for a fifth of the time is so by nature; nor is a plateau at the extreme a drop-out."""
    r, step = np.random.default_rng(1), 2.0**-15

    def dropouts(x):
        return find_dropouts(x, find_flats(x, step), RATE, step)

    gated = 0.3 * r.standard_normal(4 * RATE) * (np.arange(4 * RATE) % 8820 < 4410)
    assert len(dropouts(gated)) == 0
    once = 0.3 * r.standard_normal(4 * RATE)
    once[8820:9261] = 0
    assert dropouts(once).tolist() == [[8820, 9261]]
    square = 0.5 * np.sign(np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE))
    assert len(dropouts(square)) == 0


def at_levels(x, *parts):
    y = x.copy()
    for start, stop, level in parts:
        y[start:stop] = y[start:stop].clip(-level, level)
    return y


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_the_level_is_that_of_plateaus(tmp_path, subtype):
    """Neither louder sound beside the clipped part nor clicks in it move the level."""
    x, parts = notes(), ((2 * RATE, 3 * RATE, 0.1), (4 * RATE, 5 * RATE, 0.15))
    y = at_levels(x, *parts)
    found = checked(tmp_path, y, subtype)
    assert {f.kind for f in found} == {CLIPPING}
    for start, stop, level in parts:
        inside = [f for f in found if f.start < stop and f.stop > start]
        assert inside and all(f.level == pytest.approx(level, rel=1e-3) for f in inside)
    over = np.flatnonzero(np.abs(x[: 3 * RATE]) > 0.1)
    i = int(over[over > 2 * RATE + 10_000][0])
    y[i] += 0.3 * np.sign(y[i])
    again = checked(tmp_path, y, subtype)
    assert [f.level for f in again if f.kind == CLIPPING] == [f.level for f in found]
    assert [(f.kind, f.start <= i < f.stop) for f in again if f.kind != CLIPPING] == [(CLICK, True)]


def test_plateaus_on_one_side_leave_the_other_alone(tmp_path):
    x = notes()
    sides = np.stack([np.minimum(x, 0.12), x.clip(-0.3, 0.2)], axis=1)
    soundfile.write(tmp_path / "take.wav", sides, RATE, subtype="PCM_24")
    (low, high), (lower, higher) = find_clipping(examine(tmp_path / "take.wav")).rails
    assert np.isinf(low) and (high, lower, higher) == pytest.approx((0.12, 0.3, 0.2), abs=1e-4)


def test_findings_become_gaps_and_regions(tmp_path):
    x = at_levels(notes(), (2 * RATE, 3 * RATE, 0.1))
    zeros(x, 4 * RATE)
    soundfile.write(tmp_path / "take.wav", x, RATE, subtype="PCM_24")
    recording = examine(tmp_path / "take.wav")
    found = find_damage(recording)
    assert select_gaps(found) == [(4 * RATE, 4 * RATE + 441)]
    write_labels(tmp_path / "l.txt", [(f.seconds, f.text) for f in found])
    read = read_findings(tmp_path / "l.txt", recording)
    assert read == found and [f.text for f in read] == [f.text for f in found]
    clipping = find_clipping(recording, read)
    assert clipping.regions == find_clipping(recording, found).regions == find_clipping(recording).regions
    assert clipping.rails[0] == pytest.approx((0.1, 0.1), rel=1e-3)
    (tmp_path / "l.txt").write_text("0.5\t0.51\n1\t2\thum 60 Hz\n")
    assert select_gaps(read_findings(tmp_path / "l.txt", recording)) == [(22_050, 22_491)]
    with pytest.raises(Misuse, match="No clipping is found"):
        find_clipping(recording, read_findings(tmp_path / "l.txt", recording))


def test_clipping_is_found_over_the_joints_of_parts(tmp_path):
    """Each of the parts of 20 s has its own piece of the region, and the pieces touch."""
    x = np.tile(notes(6, rate=8000), 5).clip(-0.2, 0.2)
    soundfile.write(tmp_path / "take.wav", x, 8000, subtype="PCM_24")
    recording = examine(tmp_path / "take.wav")
    (found,) = [f for f in find_damage(recording) if f.kind == CLIPPING]
    regions = find_clipping(recording).regions
    assert any(a[1] == b[0] == 20 * 8000 for a, b in itertools.pairwise(regions))
    assert found.start <= regions[0][0] + 8000 and found.stop >= regions[-1][1] - 8000
