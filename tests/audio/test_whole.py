"""Damage all over a recording: better than it was, no seams between stretches, memory of a stretch only."""

import itertools

import numpy as np
import pytest
import soundfile
import torch
from audio_small import prior, tones
from torch.testing import assert_close

from headwater import Misuse
from headwater.audio import stretches as whole
from headwater.audio.damage import AtRate, Band, Clipping, Noise, Own, Posed, Room
from headwater.audio.io.files import examine
from headwater.audio.io.resample import interpolated, resampled
from headwater.audio.io.write import write_patched
from headwater.audio.operators import Clip, Identity
from headwater.audio.restore import How
from headwater.audio.stretches import restored, spans
from headwater.recipes.warm_start import Limits

torch.set_num_threads(1)
RATE, FRAMES = 8000, 12_000


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch):
    monkeypatch.setattr(whole, "STRETCH", 1.0)
    monkeypatch.setattr(whole, "MARGIN", 0.2)


def truth():
    return np.stack([0.2 * tones(FRAMES, RATE, seed) for seed in (0, 1)], axis=1)


def repaired(folder, x, damage, told=None, how=None):
    soundfile.write(folder / "in.wav", x, RATE, subtype="FLOAT")
    source = examine(folder / "in.wav")
    more = {} if told is None else {"told": told}
    write_patched(
        source, restored(prior(), source, damage, how or How(), **more), folder / "out.wav", overwrite=True
    )
    return soundfile.read(folder / "out.wav", always_2d=True)[0]


def sdr(x):
    return 10 * np.log10(np.square(truth()).sum() / np.square(x - truth()).sum())


def noise(level, seed=0):
    return level * np.random.default_rng(seed).standard_normal((FRAMES, 2))


IMPULSE = np.eye(1, 400)[0] + 0.4 * np.eye(1, 400, 100)[0] - 0.2 * np.eye(1, 400, 399)[0]
CASES = {
    "noise": (lambda x: x + noise(0.02), Noise(0.02), 1.0),
    "room": (
        lambda x: np.stack([np.convolve(c, IMPULSE)[:FRAMES] for c in x.T], 1),
        Room(IMPULSE[None], RATE),
        30,
    ),
    "clipping": (lambda x: np.clip(x, -0.2, 0.2), Clipping.at_level(0.2), 20),
    "own": (lambda x: np.tanh(3 * x) / 3, Own(lambda z: torch.tanh(3 * z) / 3), 14),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_better_than_it_was_and_has_no_seams(tmp_path, name):
    damaged, damage, gain = CASES[name]
    before = damaged(truth())
    after = repaired(tmp_path, before, damage)
    assert after.shape == before.shape and sdr(after) > sdr(before) + gain
    bend = np.abs(np.diff(after, n=2, axis=0)).max(1)
    edges = [stop for _, stop in spans(FRAMES, RATE)][:-1]
    near = np.zeros(len(bend), dtype=bool)
    for edge in edges:  # a stretch fades into the next in the 20 ms before its end
        near[edge - 170 : edge + 10] = True
    assert bend[near].max() <= 1.2 * bend[~near].max()


@pytest.mark.parametrize("level", [1e-4, 1e-3])
def test_little_noise_costs_little(tmp_path, level):
    """What is known better than the solve resolves is not thrown away."""
    x = truth() + noise(level)
    assert sdr(repaired(tmp_path, x, Noise(level))) > sdr(x)


@pytest.mark.parametrize(("share", "asked"), [(0.03, 0), (0.2, 4)])
def test_noise_finer_than_the_flow_resolves_is_left_to_the_filter(tmp_path, share, asked):
    """Two channels, two stretches: four solves or none."""
    x, found = truth(), []
    level = share * float(x.std(0).min())
    damaged = x + noise(level)

    def told(k, n, done):
        found.extend(done)
        return False

    after = repaired(tmp_path, damaged, Noise(level), told)
    assert len(found) == asked and sdr(after) > sdr(damaged) + 3


@pytest.mark.parametrize(("enough", "own", "more"), [(2.0, None, False), (0.5, None, True), (2.0, 0.5, True)])
def test_under_noise_the_estimate_suffices_if_nobody_asks_for_more(tmp_path, monkeypatch, enough, own, more):
    """One evaluation says what it is worth, and a user's own level comes first."""
    found = []
    monkeypatch.setattr("headwater.audio.damage.ENOUGH", enough)
    how = How(limits=Limits(gradients=3, tau=own))
    repaired(tmp_path, truth() + noise(0.05), Noise(0.05), lambda k, n, done: bool(found.extend(done)), how)
    assert found and all((int(r.result.gradients[0]) > 1) == more for r in found)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 96_000])
def test_the_noise_that_is_posed_is_what_the_band_has(rate):
    x = 0.1 * np.random.default_rng(0).standard_normal(rate)
    for damage in (Noise(0.1), Room(np.eye(1, 10), rate, 0.1)):
        posed = damage.pose(x, rate, 16_000, 1.0)
        assert abs(posed.sigma / posed.y.std() - 1) < 0.05


def test_an_offset_passes(tmp_path):
    damaged = truth() + 0.3 + noise(0.02)
    after = repaired(tmp_path, damaged, Noise(0.02)) - 0.3
    assert sdr(after) > sdr(damaged - 0.3)


def test_each_channel_may_have_its_own_room(tmp_path):
    other = IMPULSE + 0.3 * np.eye(1, 400, 250)[0]
    both = np.stack([IMPULSE, other])
    before = np.stack([np.convolve(c, h)[:FRAMES] for c, h in zip(truth().T, both, strict=True)], 1)
    assert sdr(repaired(tmp_path, before, Room(both, RATE))) > sdr(before) + 10


def test_noise_in_a_room_is_of_each_channel():
    """Mid and side of independent noise have 0.7 of its level, so channels stay as they are."""
    assert Room(IMPULSE[None], RATE).stereo and not Room(IMPULSE[None], RATE, 0.01).stereo
    both = Room(np.stack([IMPULSE, 0.5 * IMPULSE]), RATE, 0.01)
    assert [both.of(i, True).impulse[0, 0] for i in (0, 1)] == [1.0, 0.5]


@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_how_loud_a_response_is_does_not_matter(tmp_path, gain):
    before = np.stack([np.convolve(c, IMPULSE)[:FRAMES] for c in truth().T], 1) + noise(1e-3)
    found = repaired(tmp_path, before, Room(IMPULSE[None], RATE, 1e-3))
    other = repaired(tmp_path, before, Room(gain * IMPULSE[None], RATE, 1e-3))
    assert_close(gain * other, found, atol=1e-4, rtol=0)


def test_a_room_with_noise_is_undone_in_every_stretch(tmp_path):
    """Who takes it for silent before the second one is 16 dB below the truth, not 33."""
    r, n = np.random.default_rng(0), 800
    h = 0.3 * r.standard_normal(n) * np.geomspace(1, 1e-3, n)
    h[0] = 1.0
    before = np.stack([np.convolve(c, h)[:FRAMES] for c in truth().T], 1) + noise(1e-4)
    after = repaired(tmp_path, before, Room(h[None], RATE, 1e-4))
    for start, stop in spans(FRAMES, RATE):
        part = slice(start, stop - 1000)
        error = np.square(after - truth())[part].sum() / np.square(truth())[part].sum()
        assert 10 * np.log10(error) < -30


def test_direct_sound_may_come_late_and_at_any_rate():
    """The response at the prior's rate acts on low sounds as the one of the recording does."""
    for at in (0, 1, 20):
        h = np.eye(1, 300, at) + 0.3 * np.eye(1, 300, 150)
        room = Room(h, 44_100)
        low = resampled(tones(44_100, 44_100.0), 44_100, 16_000)
        wanted = resampled(np.convolve(tones(44_100, 44_100.0), h[0])[:44_100], 44_100, 16_000)
        found = room.gain * room.reverb(16_000)(torch.from_numpy(low)[None])[0].numpy()
        assert np.abs(found - wanted)[500:-500].max() < 5e-3


def test_a_sample_is_never_pulled_below_what_it_was(tmp_path):
    x = truth()
    after = repaired(tmp_path, x, Clipping.at_level(0.15))  # far below the true peaks
    assert (np.abs(after) >= np.abs(x) * (1 - 1e-6) - 1e-7).all()


def test_a_band_has_no_click_at_the_ends(tmp_path):
    estimate = np.full(2000, 0.2)
    posed = Posed(Identity(), estimate, 0.0, estimate)
    after = Band(1000.0).finish(posed, np.zeros(4000), estimate, 8000, 4000)
    assert np.abs(after).max() < 2e-3


def test_what_is_below_the_clipping_stays_to_the_bit(tmp_path):
    x = np.clip(truth(), -0.2, 0.2)
    after = repaired(tmp_path, x, Clipping.at_level(0.2))
    clipped = np.abs(x) >= 0.2 * (1 - 1e-4)
    assert np.array_equal(after[~clipped], x.astype(np.float32)[~clipped])
    assert (np.abs(after[clipped]) >= 0.2 * (1 - 1e-4)).all()


def test_stretches_without_clipping_are_not_solved(tmp_path):
    """Neither is a clipped one with the preset `default`, which keeps what sparsity finds."""
    x = truth()[:, :1]
    x[:4000] *= 2  # in the first half second only
    level = 0.9 * np.abs(x[4400:]).max() + 0.1 * np.abs(x[:4000]).max()
    y = np.clip(x, -level, level).astype(np.float32)
    cut = np.abs(y) >= np.float32(level)
    assert cut.any() and not cut[4000:].any()
    for preset, solves in (("default", [0, 0]), ("paper", [1, 0])):
        solved = []
        limits = Limits(steps=2, gradients=2)
        soundfile.write(tmp_path / "in.wav", y, RATE, subtype="FLOAT")
        source = examine(tmp_path / "in.wav")
        patches = restored(
            prior(),
            source,
            Clipping.at_level(level),
            How(preset=preset, limits=limits),
            lambda k, n, done, solved=solved: solved.append(len(done)),
        )
        found = np.concatenate([p.samples for p in patches])
        assert solved == solves
        assert np.array_equal(found[~cut].astype(np.float32), y[~cut])
        assert np.abs(found).max() > 1.1 * level


def test_a_band_is_added_above_the_cutoff_only(tmp_path):
    after = repaired(tmp_path, truth(), Band(1500.0))
    added = np.abs(np.fft.rfft((after - truth())[:, 0]))
    at = np.fft.rfftfreq(FRAMES, 1 / RATE)
    assert added[at < 1200].max() < 0.05 * added.max() and added[at > 2100].max() < 0.05 * added.max()
    with pytest.raises(Misuse, match="leaves the model nothing to add"):
        repaired(tmp_path, truth(), Band(2000.0))


def test_the_run_can_be_ended_and_the_rest_stays(tmp_path):
    heard = []

    def told(k, n, done):
        heard.append((k, n, len(done)))
        return k == 1

    x = truth() + noise(0.02)
    after = repaired(tmp_path, x, Noise(0.02), told)
    _, stop = spans(FRAMES, RATE)[0]
    assert heard == [(1, 2, 2)]
    assert np.array_equal(after[stop:], x.astype(np.float32)[stop:])
    change = np.abs(after - x).max(1)
    assert (
        change[stop - 1] < 1e-6 < change[stop - 400 : stop - 200].mean()
    )  # no click: it fades into the rest


def test_patches_come_in_order_and_cover_all(tmp_path):
    soundfile.write(tmp_path / "in.wav", truth(), RATE)
    at = 0
    for patch in restored(prior(), examine(tmp_path / "in.wav"), Noise(0.02)):
        assert patch.start == at and len(patch.samples) <= RATE + 200
        at += len(patch.samples)
    assert at == FRAMES


@pytest.mark.parametrize("frames", [10, 900, 8001])
def test_short_recordings_and_silence(tmp_path, frames):
    for x in (truth()[:frames], np.zeros((frames, 1))):
        soundfile.write(tmp_path / "in.wav", x, RATE)
        source = examine(tmp_path / "in.wav")
        found = np.concatenate([p.samples for p in restored(prior(), source, Noise(0.01))])
        assert found.shape == x.shape and np.isfinite(found).all()
        assert x.any() or not found.any()


def test_spans_are_even():
    for frames in (1, 10, 799, 8000, 8001, 100_000):
        found = spans(frames, 8000)
        sizes = [b - a for a, b in found]
        assert (
            found[0][0] == 0
            and found[-1][1] == frames
            and max(sizes) <= 8000
            and max(sizes) - min(sizes) <= 1
        )
        assert all(a[1] == b[0] for a, b in itertools.pairwise(found))


def test_the_lift_is_linear_and_its_operator_differentiable():
    x = torch.randn(2, 40, dtype=torch.float64, requires_grad=True)
    high = torch.randn(1, 100, dtype=torch.float64)
    A = AtRate(Clip(0.7), 2, 5, 100, high)
    assert torch.autograd.gradcheck(lambda z: A.residual(z, A(x.detach())), (x + 0.1,))
    assert_close(interpolated(2 * x, 2, 5, 100), 2 * interpolated(x, 2, 5, 100))
    assert A(x).shape == (2, 100)
