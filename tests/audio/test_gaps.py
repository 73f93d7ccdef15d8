"""Gaps of files: only what is lost changes, and it continues what is there."""

import numpy as np
import pytest
import soundfile
import torch
from audio_small import BINS, FRAMES, RATE, prior, tones

from headwater import Flow
from headwater.audio import gaps as module
from headwater.audio.gaps import SETTINGS, fill_by_flow, fill_segment
from headwater.audio.io.files import examine
from headwater.audio.io.marks import to_frames
from headwater.audio.io.segments import Segment, merge_gaps, segments_around
from headwater.audio.io.write import write_patched
from headwater.audio.metrics import seam_jump
from headwater.audio.prior import Prior
from headwater.audio.restoration import SolveOptions
from headwater.recipes.paper import Paper
from headwater.recipes.recipe import RecipeOptions

torch.set_num_threads(1)


def by_flow(source, segment, seed=0, scale=0.7):
    """The patch and the solution behind it."""
    filled = fill_by_flow(prior(scale), source, segment, SolveOptions(seed))
    return filled.patch, filled.solutions[0] if filled.solutions else None


def take(folder, frames=12_000, channels=2, rate=8000, subtype="PCM_24"):
    r = np.random.default_rng(3)
    x = np.stack([0.2 * tones(frames, rate, seed) for seed in range(channels)], axis=1)
    soundfile.write(folder / "take.wav", x + 1e-4 * r.standard_normal(x.shape), rate, subtype=subtype)
    return examine(folder / "take.wav")


GAPS = [(6000, 6080), (6000, 6500), (0, 400), (11_700, 12_000), (2000, 8000)]


@pytest.mark.parametrize(("channels", "gap"), [*((2, gap) for gap in GAPS), (1, GAPS[1]), (3, GAPS[1])])
def test_only_the_gap_changes(tmp_path, gap, channels):
    source = take(tmp_path, channels=channels)
    (segment,) = segments_around(merge_gaps([gap], source.frames), source.rate)
    patch, done = by_flow(source, segment)
    assert done is not None
    assert all(s.ok for s in done.result.status)
    write_patched(source, [patch], tmp_path / "out.wav")
    before, after = (soundfile.read(p, dtype="int32")[0] for p in (source.path, tmp_path / "out.wav"))
    same = np.ones(source.frames, dtype=bool)
    same[slice(*gap)] = False
    assert np.array_equal(before[same], after[same])
    assert np.isfinite(patch.samples).all() and (after[~same] != before[~same]).any()


def test_silence_stays_silent_and_ten_samples_are_enough(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros((9000, 1)), 8000)
    filling = fill_segment(prior(), examine(tmp_path / "silent.wav"), Segment(-1000, 9500, ((4000, 4900),)))
    assert not filling.solutions and filling.filled_by == "silence" and not filling.patch.samples.any()
    soundfile.write(tmp_path / "short.wav", 0.1 * np.ones((10, 1)), 8000)
    (segment,) = segments_around(merge_gaps([(4, 6)], 10), 8000)
    patch = fill_segment(prior(), examine(tmp_path / "short.wav"), segment).patch
    assert patch.changed.sum() == 2 and np.isfinite(patch.samples).all()


def test_short_gaps_need_no_flow_and_are_predicted(tmp_path, monkeypatch):
    """Several of them, too; but the flow is asked at the ends of the recording and by a method that is named."""
    monkeypatch.setattr(module, "repeat_gaps", lambda source, segment: None)  # tones repeat themselves

    def asked(x, t):
        raise RuntimeError("asked")

    source, deaf = take(tmp_path), Prior(Flow(asked, (FRAMES, BINS)), prior().space, RATE)
    (segment,) = segments_around([(6000, 6400), (7000, 7010)], source.rate)
    filling = fill_segment(deaf, source, segment)
    patch, truth = filling.patch, source.read(segment.start, segment.stop)
    assert not filling.solutions and filling.filled_by == "linear prediction"
    assert patch.changed.sum() == 2 * 410
    assert np.abs(patch.samples - truth)[patch.changed].max() < 0.02
    ours, paper = SolveOptions(), SolveOptions(recipe=Paper())
    for gaps, how in (([(6000, 6402)], ours), ([(0, 40)], ours), ([(6000, 6400)], paper)):
        with pytest.raises(RuntimeError, match="asked"):
            fill_segment(deaf, source, segments_around(gaps, source.rate)[0], how)


@pytest.mark.parametrize("start", [0.5, 0.50001, 0.5123, 0.6345])
@pytest.mark.parametrize("rate", [8000, 11_025])
def test_fifty_milliseconds_are_short_wherever_they_begin(tmp_path, monkeypatch, rate, start):
    """They touch up to one sample more than they have, or two where the rate has no 50 ms."""
    monkeypatch.setattr(module, "repeat_gaps", lambda source, segment: None)  # tones repeat themselves
    source = take(tmp_path, rate=rate)
    gaps = to_frames([(start, start + SETTINGS.predicted)], source)
    assert fill_segment(prior(), source, segments_around(gaps, rate)[0]).filled_by == "linear prediction"


@pytest.mark.parametrize("rate", [8000, 11_025])
@pytest.mark.parametrize("place", [16, 50, 400, 999])
@pytest.mark.parametrize("end", [False, True])
def test_gaps_near_an_end_are_no_burst(tmp_path, rate, place, end):
    """There are fewer samples on one side than the order of the prediction."""
    x = 0.2 * tones(2 * rate, rate, noise=1e-3)
    size = rate // 50
    start = len(x) - place - size if end else place
    soundfile.write(tmp_path / "x.wav", x, rate, subtype="FLOAT")
    (segment,) = segments_around([(start, start + size)], rate)
    filling = fill_segment(prior(), examine(tmp_path / "x.wav"), segment)
    found = filling.patch.samples[filling.patch.changed]
    assert (
        filling.filled_by == "linear prediction"
        and np.abs(found - x[start : start + size]).max() < 0.1 * np.abs(x).max()
    )


def test_many_gaps_near_the_start_are_no_burst(tmp_path):
    x = 0.2 * tones(44_100, 44_100, noise=1e-3)
    gaps = [(100, 982), (1082, 1964), (1990, 2400)]
    soundfile.write(tmp_path / "x.wav", x, 44_100, subtype="FLOAT")
    (segment,) = segments_around(gaps, 44_100)
    patch = fill_segment(prior(), examine(tmp_path / "x.wav"), segment).patch
    assert np.abs(patch.samples[patch.changed]).max() < 1.5 * np.abs(x).max()


def test_what_repeats_itself_needs_no_flow(tmp_path):
    """But by a method that is named the flow is asked."""
    x = np.tile(0.2 * np.random.default_rng(0).standard_normal((3000, 1)), (4, 1))
    soundfile.write(tmp_path / "x.wav", x, 4000, subtype="DOUBLE")
    (segment,) = segments_around([(6000, 6400)], 4000)
    filling = fill_segment(prior(), examine(tmp_path / "x.wav"), segment)
    assert filling.filled_by == "repetition" and not filling.solutions
    assert np.abs(filling.patch.samples[filling.patch.changed] - x[6000:6400, 0]).max() < 1e-6
    paper = SolveOptions(recipe=Paper(), options=RecipeOptions(gradients=1))
    asked = fill_segment(prior(), examine(tmp_path / "x.wav"), segment, paper)
    assert asked.filled_by == "flow and linear prediction" and asked.solutions


def test_the_same_seed_gives_the_same_fill(tmp_path):
    source = take(tmp_path)
    (segment,) = segments_around([(6000, 6800)], source.rate)
    a, b, c = (by_flow(source, segment, s)[0].samples for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.parametrize("rate", [3000, 4000, 8000, 22_050])
@pytest.mark.parametrize("spans", [[(0.7, 0.71)], [(0.7, 0.8)], [(0.7, 0.75), (0.85, 0.87)], [(0.7, 0.9)]])
def test_a_filling_begins_and_ends_on_the_waveform(tmp_path, rate, spans):
    """Tones: linear prediction alone continues them, and whatever the flow adds may not spoil the joints."""
    source = take(tmp_path, frames=round(1.5 * rate), rate=rate, subtype="FLOAT")
    gaps = merge_gaps([(round(a * rate), round(b * rate)) for a, b in spans], source.frames)
    (segment,) = segments_around(gaps, source.rate)
    patch, _ = by_flow(source, segment)
    truth = source.read(0, source.frames)
    found = truth.copy()
    inside = patch.changed[-segment.start :][: len(found)]
    found[inside] = patch.samples[-segment.start :][: len(found)][inside]
    for start, stop in gaps:
        assert inside[start:stop].all()
        x = torch.from_numpy(found.T.copy())
        for edge in (start, stop):
            assert seam_jump(x, edge, rate).max() < 2
        level = found[start:stop].std(0) / truth[start:stop].std(0)
        assert (level > 0.6).all() and (level < 1.6).all()


@pytest.mark.parametrize("rate", [6000, 8000, 11_025])
@pytest.mark.parametrize("size", [0.08, 0.4])
def test_a_filling_of_noise_has_no_click(tmp_path, rate, size):
    """What the flow leaves is all in a band that it does not hear: a fine model of that explodes at the joints."""
    x = 0.1 * np.random.default_rng(1).standard_normal(3 * rate)
    soundfile.write(tmp_path / "x.wav", x, rate, subtype="DOUBLE")
    gap = (rate, rate + round(size * rate))
    (segment,) = segments_around([gap], rate)
    patch, _ = by_flow(examine(tmp_path / "x.wav"), segment, scale=1.0)
    found = patch.samples[gap[0] - segment.start : gap[1] - segment.start, 0]
    assert np.abs(found).max() < 0.5
    x[slice(*gap)] = found
    assert all(seam_jump(torch.from_numpy(x)[None], edge, rate).item() < 2 for edge in gap)
    assert 0.045 < found.std() < 0.14


def test_channels_of_a_long_filling_are_as_loud_as_each_other(tmp_path):
    """White noise, which its flow draws anew: with one noise for mid and side one channel would be silent."""
    x = 0.1 * np.random.default_rng(0).standard_normal((12_000, 2))
    soundfile.write(tmp_path / "x.wav", x, 4000, subtype="FLOAT")
    source = examine(tmp_path / "x.wav")
    (segment,) = segments_around([(4000, 8000)], source.rate)
    patch, _ = by_flow(source, segment, scale=1.0)
    inside = patch.samples[4000 - segment.start + 400 : 8000 - segment.start - 400]
    level = inside.std(0)
    assert level.max() < 1.5 * level.min() and abs(np.corrcoef(inside.T)[0, 1]) < 0.3


def test_a_constant_offset_is_kept(tmp_path):
    x = 0.3 + 0.1 * tones(8000, 8000)
    soundfile.write(tmp_path / "x.wav", x, 8000, subtype="FLOAT")
    (segment,) = segments_around([(4000, 4800)], 8000)
    patch, done = by_flow(examine(tmp_path / "x.wav"), segment)
    assert done is not None and abs(patch.samples[patch.changed].mean() - 0.3) < 0.03


def test_another_regions_gap_is_not_heard(tmp_path):
    """What lies in the gap of a neighbour is lost, too, and its samples are left to the neighbour."""
    x = 0.2 * tones(8000, 8000)
    results = []
    for value in (0.0, 0.9):
        x[4800:4900] = value
        soundfile.write(tmp_path / "x.wav", x, 8000, subtype="FLOAT")
        segment = Segment(2000, 7000, ((3500, 4300),), ((3500, 4300), (4800, 4900)))
        patch, done = by_flow(examine(tmp_path / "x.wav"), segment)
        results.append(patch.samples[1500:2300])
        assert done is not None and patch.changed.sum() == 800
    np.testing.assert_array_equal(*results)
