"""A gap filled by what was there the last time."""

import numpy as np
import pytest
import soundfile

from headwater.audio.io.files import examine
from headwater.audio.io.segments import merge_gaps, segments_around
from headwater.audio.signal.repetition import correlate, find_lag, repeat_gaps

RATE = 4000


def noise(*shape, seed=0):
    return 0.2 * np.random.default_rng(seed).standard_normal(shape)


def looped(times=4, channels=2, seconds=1.5, error=0.0):
    """A loop, played so many times, no time quite like the other."""
    loop = np.tile(noise(round(seconds * RATE), channels), (times, 1))
    return loop + error * noise(*loop.shape, seed=1)


def filled(folder, x, *gaps, frames=None):
    """The last patch for a recording that lost its gaps (clicks are there), and the recording with all of them."""
    y = np.concatenate([x, np.zeros(((frames or len(x)) - len(x), x.shape[1]))])
    for start, stop in gaps:
        y[start:stop] = 0.9 * (-1.0) ** np.arange(stop - start)[:, None]
    soundfile.write(folder / "x.wav", y[: len(x)], RATE, subtype="DOUBLE")
    source, all_gaps, patch = examine(folder / "x.wav"), merge_gaps(gaps, frames or len(x)), None
    for region in segments_around(all_gaps, RATE // 2):
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
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.2 * 0.2 * np.sqrt(2), rel=0.1)


def test_a_repetition_is_as_loud_as_the_sides(tmp_path):
    """A loop that was played softer at the gap, or fades."""
    x = looped()
    softer = np.repeat([1.0, 0.4, 1.0, 1.0], 6000)[:, None]
    fading = np.exp(np.linspace(0, -2, len(x)))[:, None]
    for level in (softer, fading):
        patch, y = filled(tmp_path, level * x, (7000, 9500))
        assert patch is not None
        error = (y - level * x)[7000:9500]
        assert np.sqrt(np.mean(error**2)) < 0.02 * np.sqrt(np.mean((level * x)[7000:9500] ** 2))
    assert filled(tmp_path, np.repeat([1.0, 0.1, 1.0, 1.0], 6000)[:, None] * x, (7000, 9500))[0] is None


@pytest.mark.parametrize("kind", ["noise", "one side", "too unlike", "short", "silence"])
def test_what_does_not_repeat_itself_is_left_to_others(tmp_path, kind):
    x = looped(2)
    if kind == "noise":
        x = noise(*x.shape, seed=2)
    if kind == "one side":  # before the gap the loop, after it something else
        x = np.concatenate([x[:9000], noise(3000, 2, seed=3)])
    if kind == "too unlike":
        x = looped(2, error=0.6)
    if kind == "short":
        x = x[5500:9000]
    if kind == "silence":
        x = np.zeros_like(x)
    gap = (8000, 9000) if kind != "short" else (1000, 1500)
    assert filled(tmp_path, x, gap)[0] is None


def test_the_bass_does_not_outvote_the_rest():
    """A loud low tone repeats itself where the noise above it does not."""
    n = np.arange(24_000)
    tone = np.sin(2 * np.pi * n / 1000)
    x = np.stack([tone + 0.02 * np.random.default_rng(4).standard_normal(24_000)])
    lost = (n >= 10_000) & (n < 11_000)
    assert correlate(x, slice(9000, 10_000))[8000] > 0.99
    assert find_lag(np.where(lost, 0.0, x), ~lost, (10_000, 11_000), 1000) is None


def test_correlation_is_that_of_the_differences_places():
    x = noise(2, 500)
    found = correlate(x, slice(100, 200))
    assert len(found) == 401 and found[100] == pytest.approx(1)
    a, b = x[:, 100:200].ravel(), x[:, 37:137].ravel()
    assert found[37] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_what_lies_in_the_gap_does_not_matter():
    """Nor its last sample, which the first difference after it would see."""
    x, lost = np.tile(0.01 * noise(1, 3000), 4), np.arange(12_000) // 500 == 10
    for value in (0.0, 1.0, -1.0):
        assert find_lag(np.where(lost, value, x), ~lost, (5000, 5500), 400) == -3000
