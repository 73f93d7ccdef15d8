"""A gap filled by what was there the last time."""

import numpy as np
import pytest
import soundfile
from audio_small import prior
from scipy.signal import lfilter

from headwater.audio.gaps import fill_segment
from headwater.audio.io.files import examine
from headwater.audio.io.segments import merge_gaps, segments_around
from headwater.audio.signal.prediction import predict_gaps
from headwater.audio.signal.repetition import Side, Surroundings, compare_sides, correlate, repeat_gaps

RATE = 4000


def noise(*shape, seed=0):
    return 0.2 * np.random.default_rng(seed).standard_normal(shape)


def looped(times=4, channels=2, seconds=1.5, error=0.0):
    """A loop, played so many times, no time quite like the other."""
    loop = np.tile(noise(round(seconds * RATE), channels), (times, 1))
    return loop + error * noise(*loop.shape, seed=1)


def filled(folder, x, *gaps, frames=None, rate=RATE):
    """The last patch for a recording that lost its gaps (clicks are there), and the recording with all of them."""
    y = np.concatenate([x, np.zeros(((frames or len(x)) - len(x), x.shape[1]))])
    for start, stop in gaps:
        y[start:stop] = 0.9 * (-1.0) ** np.arange(stop - start)[:, None]
    soundfile.write(folder / "x.wav", y[: len(x)], rate, subtype="DOUBLE")
    source, all_gaps, patch = examine(folder / "x.wav"), merge_gaps(gaps, frames or len(x)), None
    for region in segments_around(all_gaps, rate // 2):
        patch = repeat_gaps(source, region)
        if patch is not None:
            places = np.arange(region.start, region.stop)[patch.changed[:, 0]]
            y[places] = patch.samples[patch.changed[:, 0]]
    return patch, y


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_loop_comes_back_to_the_sample(tmp_path, channels):
    x = looped(channels=channels)
    patch, y = filled(tmp_path, x, (7000, 9500))
    assert patch is not None and patch.changed.sum() == 2500 * channels
    np.testing.assert_allclose(y, x, atol=1e-9)


def test_several_gaps_and_none_of_them_is_repeated(tmp_path):
    """What lies one loop before the second gap is the first gap; what lies one after it is known."""
    x = looped()
    patch, y = filled(tmp_path, x, (7000, 8000), (13_000, 14_000))
    assert patch is not None
    np.testing.assert_allclose(y, x, atol=1e-9)


def test_a_recording_goes_on_after_its_end(tmp_path):
    x = looped(4)
    patch, y = filled(tmp_path, x[:20_000], (20_000, 23_000), frames=23_000)
    assert patch is not None
    np.testing.assert_allclose(y, x[:23_000], atol=1e-9)


def test_a_repetition_with_an_error_errs_by_as_much_and_does_not_jump(tmp_path):
    x = looped(error=0.2)
    patch, y = filled(tmp_path, x, (7000, 9500))
    assert patch is not None
    error = (y - x)[7000:9500]
    one = 0.2 * 0.2 * np.sqrt(2)  # of a single repeat; a mean of K has sqrt(1 + 1 / K)
    assert 0.7 * one < np.sqrt(np.mean(error**2)) < 1.05 * one


def test_a_repetition_is_as_loud_as_the_sides(tmp_path):
    """A loop that was played softer at the gap, or fades."""
    x = looped()
    softer = np.repeat([1.0, 0.4, 1.0, 1.0], 6000)[:, None]
    fading = np.exp(np.linspace(0, -2, len(x)))[:, None]
    for level in (softer, fading):
        patch, y = filled(tmp_path, level * x, (8700, 9300))
        assert patch is not None
        error = (y - level * x)[8700:9300]
        assert np.sqrt(np.mean(error**2)) < 0.02 * np.sqrt(np.mean((level * x)[8700:9300] ** 2))
    assert filled(tmp_path, np.repeat([1.0, 0.1, 1.0, 1.0], 6000)[:, None] * x, (8700, 9300))[0] is None


@pytest.mark.parametrize("kind", ["noise", "one side", "too unlike", "short", "silence"])
def test_what_does_not_repeat_itself_is_left_to_others(tmp_path, kind):
    x = looped(2)
    if kind == "noise":
        x = noise(*x.shape, seed=2)
    if kind == "one side":  # before the gap the loop, after it something else
        x = np.concatenate([x[:9000], noise(3000, 2, seed=3)])
    if kind == "too unlike":
        x = looped(2, error=1.2)
    if kind == "short":
        x = x[5500:9000]
    if kind == "silence":
        x = np.zeros_like(x)
    gap = (8000, 9000) if kind != "short" else (1000, 1500)
    assert filled(tmp_path, x, gap)[0] is None


def test_what_prediction_knows_as_well_is_not_repeated():
    """A loud low tone repeats itself, the noise above it does not: a repeat would have twice the noise."""
    n = np.arange(24_000)
    x = np.sin(2 * np.pi * n / 1000) + 0.02 * np.random.default_rng(4).standard_normal(24_000)
    known = (n < 10_000) | (n >= 10_160)
    around = Surroundings(np.where(known, x, 0.0)[None], known, (10_000, 10_160), RATE)
    assert (
        around.error(around.copies[0].x, around.copies[0].known) < 0.1
    )  # it is found, and it is like the sides
    assert around.repeat() is None


def test_correlation_is_that_of_the_known_samples():
    x, known = noise(2, 500), np.ones(500, dtype=bool)
    counts = np.arange(100) // 20 != 3
    found = correlate(x, known, Side(100, counts))
    assert len(found) == 401 and found[100] == pytest.approx(1)
    a, b = x[:, 100:200][:, counts].ravel(), x[:, 37:137][:, counts].ravel()
    assert found[37] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    known[300:350] = False
    missing = np.flatnonzero(correlate(x, known, Side(100, counts)) == -1)
    seen = np.array([known[k : k + 100][counts].mean() for k in range(401)])
    assert set(np.flatnonzero(seen < 0.39)) <= set(missing) <= set(np.flatnonzero(seen < 0.41))
    assert len(missing) > 10


@pytest.mark.parametrize("difference", [False, True])
def test_lags_at_which_the_gap_or_a_side_is_unknown_do_not_count(difference):
    x, lost = np.tile(0.01 * noise(1, 3000), 4), np.arange(12_000) // 500 == 10
    sides = [Side(4600, np.ones(400, dtype=bool)), Side(5500, np.ones(400, dtype=bool))]
    known = ~lost
    known[8200] = False  # what lies 3000 after the gap
    found = compare_sides(np.where(known, x, 0.0), known, sides, (5000, 5500), difference=difference)
    lags = np.arange(len(found)) - len(known)
    assert lags[found.argmax()] == -3000 and found.max() == pytest.approx(1)
    assert set(found[np.abs(lags) < 500]) == {-1.0} and found[lags == 3000] == -1


def under_other_sounds(rate, period, gap, seed, level=-18.0, repeats=True):
    """A loop of dark noise, with strokes of hiss on top that are new each time, and a gap (first, last)."""
    r = np.random.default_rng(seed)
    count = round(period * rate)
    times = max(3, -(-4 * rate // count))
    dark = lfilter(
        [1.0], [1.0, -1.6, 0.8], r.standard_normal((count if repeats else count * times, 2)), axis=0
    )
    music = np.tile(dark, (times, 1)) if repeats else dark
    strokes = np.exp(-np.arange(len(music)) % (0.11 * rate) / (0.02 * rate))
    hiss = np.diff(r.standard_normal((len(music) + 1, 2)), axis=0) * strokes[:, None]
    first = count * (times // 2) + rate // 2 + int(r.integers(count // 2))
    x = music / music.std() + 10 ** (level / 20) * hiss / hiss.std()
    return 0.1 * x, (first, first + round(gap * rate))


def snr(found, truth):
    return 10 * np.log10(np.sum(truth**2) / np.sum((found - truth) ** 2))


@pytest.mark.parametrize("gap", [0.02, 0.1, 0.5])
@pytest.mark.parametrize(("rate", "period"), [(8000, 1.0), (22_050, 3.7), (8000, 18.0)])
def test_a_loop_under_other_sounds_is_found_wherever_its_repeat_is_like_it(tmp_path, rate, period, gap):
    """Their differences correlate at 0.5 to 0.9 only; the repeat itself is at 15 dB."""
    x, (first, last) = under_other_sounds(rate, period, gap, seed=round(1000 * gap))
    lag, side = round(period * rate), slice(first - rate // 4, first)
    a, b = np.diff(x[side], axis=0), np.diff(x[side.start - lag : side.stop - lag], axis=0)
    assert 0.5 < np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b) < 0.9
    truth = x[first:last].copy()
    x[first:last] = 0.0
    soundfile.write(tmp_path / "x.wav", x, rate, subtype="DOUBLE")
    (segment,) = segments_around([(first, last)], rate * 3 // 4)
    filling = fill_segment(None, examine(tmp_path / "x.wav"), segment)  # no prior is asked
    assert filling.filled_by == "repetition"
    found = filling.patch.samples[first - segment.start : last - segment.start]
    assert snr(x[first - lag : last - lag], truth) > 10
    assert snr(found, truth) > 10
    known = np.ones(len(x), dtype=bool)
    known[first:last] = False
    alone = predict_gaps(x[:, 0], ~known, known, rate)[first:last]
    assert snr(found[:, 0], truth[:, 0]) > snr(alone, truth[:, 0])


@pytest.mark.parametrize("gap", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_music_is_not_repeated_where_it_goes_on(tmp_path, gap, seed):
    x, (first, last) = under_other_sounds(8000, 4.0, gap, seed=seed, repeats=False)
    assert filled(tmp_path, x, (first, last), rate=8000)[0] is None


def test_several_repeats_have_less_of_what_is_not_repeated(tmp_path):
    """The error of a mean of K repeats has the power 1 + 1 / K, not 2."""
    x, (first, last) = under_other_sounds(8000, 1.0, 0.5, seed=5)
    _, y = filled(tmp_path, x, (first, last), rate=8000)
    one = snr(x[first - 8000 : last - 8000], x[first:last])
    assert snr(y[first:last], x[first:last]) > one + 1


def test_one_gap_may_repeat_and_its_neighbour_not(tmp_path):
    """What is repeated is known when the other gap is filled."""
    x = np.tile(noise(6000, 2), (3, 1))
    n = np.arange(2000)
    x[8000:10_000] = np.sin(0.15 * n + 5e-5 * n**2)[:, None] * [0.3, 0.2]  # a glide, once only
    gaps = [(7500, 7700), (8950, 9050)]
    y = x.copy()
    for start, stop in gaps:
        y[start:stop] = 0.0
    soundfile.write(tmp_path / "x.wav", y, RATE, subtype="DOUBLE")
    (segment,) = segments_around(gaps, RATE)
    filling = fill_segment(prior(), examine(tmp_path / "x.wav"), segment)
    assert filling.filled_by == "repetition and linear prediction"
    assert filling.patch.changed.sum() == 2 * (200 + 100)
    for start, stop in gaps:
        found = filling.patch.samples[start - segment.start : stop - segment.start]
        assert snr(found, x[start:stop]) > 15
