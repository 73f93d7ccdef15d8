"""Damage all over a recording: better than it was, no seams between segments, memory of a segment only."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from audio_small import prior, tones
from torch.testing import assert_close

from headwater import Misuse
from headwater.audio.damage import BandLimit, Clipping, Measurement, Noise, Room, UserDamage
from headwater.audio.damage.base import Uniform
from headwater.audio.damage.clipping import HigherRate
from headwater.audio.io.files import examine
from headwater.audio.io.resample import interpolate_spectrum, resample
from headwater.audio.io.write import write_patched
from headwater.audio.operators import Clip
from headwater.audio.prior import warm_start
from headwater.audio.restoration import SolveOptions
from headwater.audio.undo import Overlap, equal_parts, undo_damage
from headwater.problem.compose import compose
from headwater.problem.operator import Identity
from headwater.recipes.paper import Paper
from headwater.recipes.recipe import RecipeOptions

torch.set_num_threads(1)
RATE, FRAMES = 8000, 12_000
SHORT = Overlap(segment=1.0, margin=0.2)


def truth():
    return np.stack([0.2 * tones(FRAMES, RATE, seed) for seed in (0, 1)], axis=1)


def restorations(folder, x, damage, options=None, overlap=SHORT, scale=0.7, **more):
    soundfile.write(folder / "in.wav", x, RATE, subtype="FLOAT")
    return undo_damage(prior(scale), examine(folder / "in.wav"), damage, options, overlap=overlap, **more)


def repaired(folder, x, damage, options=None, done=None, **more):
    """The restored recording as it is written; `done` collects the restorations."""
    found = restorations(folder, x, damage, options, **more)
    done = [] if done is None else done
    patches = (done.append(r) or r.patch for r in found)
    write_patched(examine(folder / "in.wav"), patches, folder / "out.wav", overwrite=True)
    return soundfile.read(folder / "out.wav", always_2d=True)[0]


def solutions(done):
    return [solution for r in done for solution in r.solutions]


def sdr(x):
    wanted = truth()[:, : x.shape[1]]
    return 10 * np.log10(np.square(wanted).sum() / np.square(x - wanted).sum())


def noise(level, seed=0):
    return level * np.random.default_rng(seed).standard_normal((FRAMES, 2))


def through(impulse):
    return np.stack([np.convolve(c, impulse)[:FRAMES] for c in truth().T], 1)


IMPULSE = np.eye(1, 400)[0] + 0.4 * np.eye(1, 400, 100)[0] - 0.2 * np.eye(1, 400, 399)[0]
CASES = {
    "noise": (lambda x: x + noise(0.02), Noise(0.02), 1.0),
    "room": (
        lambda x: through(IMPULSE),
        Room(IMPULSE[None], RATE),
        30,
    ),
    "clipping": (lambda x: np.clip(x, -0.2, 0.2), Clipping.at_level(0.2), 20),
    "user": (lambda x: np.tanh(3 * x) / 3, UserDamage(lambda z: torch.tanh(3 * z) / 3), 14),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_better_than_it_was_and_has_no_seams(tmp_path, name):
    damaged, damage, gain = CASES[name]
    before = damaged(truth())[:, : 1 if name == "user" else 2]  # that of a user is slow
    after = repaired(tmp_path, before, damage)
    assert after.shape == before.shape and sdr(after) > sdr(before) + gain
    bend = np.abs(np.diff(after, n=2, axis=0)).max(1)
    edges = [stop for _, stop in equal_parts(FRAMES, RATE)][:-1]
    near = np.zeros(len(bend), dtype=bool)
    for edge in edges:  # a segment fades into the next in the 20 ms before its end
        near[edge - 170 : edge + 10] = True
    assert bend[near].max() <= 1.2 * bend[~near].max()


@pytest.mark.parametrize("level", [1e-4, 1e-3])
def test_little_noise_costs_little(tmp_path, level):
    """What is known better than the solve resolves is not thrown away."""
    x = truth() + noise(level)
    assert sdr(repaired(tmp_path, x, Noise(level))) > sdr(x)


@pytest.mark.parametrize(("share", "asked"), [(0.03, 0), (0.2, 4)])
def test_noise_finer_than_the_flow_resolves_is_left_to_the_filter(tmp_path, share, asked):
    """Two channels, two segments: four solves or none."""
    x, done = truth(), []
    level = share * float(x.std(0).min())
    damaged = x + noise(level)
    after = repaired(tmp_path, damaged, Noise(level), done=done)
    assert len(solutions(done)) == asked and sdr(after) > sdr(damaged) + 3


@pytest.mark.parametrize(
    ("damaged", "damage", "scale"),
    [
        (lambda: truth() + noise(0.04), Noise(0.04), 0.4),
        (lambda: through(IMPULSE) + noise(0.02), Room(IMPULSE[None], RATE, 0.02), 0.115),
    ],
    ids=["noise", "room"],
)
def test_an_estimate_within_twice_the_noise_costs_no_gradients(tmp_path, damaged, damage, scale):
    """A prior of soft music finds loud music implausible, so its estimate misses the noise level; that suffices.

    A filter or least squares finish the sound, so gradients would be lost: the estimate is the answer, and no network
    is evaluated after it. A user who asks for the noise level gets gradients.
    """
    spent = {}
    for tau in (None, 1.0):
        done, limits = [], RecipeOptions(gradients=3, tau=tau)
        repaired(tmp_path, damaged()[:, :1], damage, SolveOptions(options=limits), done, scale=scale)
        spent[tau] = [s.result for s in solutions(done)]
    assert [(int(r.gradients[0]), int(r.evaluations[0])) for r in spent[None]] == [(0, 32)] * 2
    assert all(1.0 < r.measure[0] < 2.0 and r.status[0].ok for r in spent[None])
    assert all(int(r.gradients[0]) > 1 for r in spent[1.0])


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 96_000])
def test_the_noise_that_is_posed_is_what_the_band_has(rate):
    x = 0.1 * np.random.default_rng(0).standard_normal(rate)
    for damage in (Noise(0.1), Room(np.eye(1, 10), rate, 0.1)):
        measured = damage.measure(x, rate, replace(prior(), rate=16_000), 1.0)
        assert abs(measured.sigma / measured.y.std() - 1) < 0.05


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
    assert Room(IMPULSE[None], RATE).mixes and not Room(IMPULSE[None], RATE, 0.01).mixes
    both = Room(np.stack([IMPULSE, 0.5 * IMPULSE]), RATE, 0.01)
    assert [both.for_signal(i, True).impulse[0, 0] for i in (0, 1)] == [1.0, 0.5]


def test_how_loud_a_response_is_does_not_matter(tmp_path):
    before = (through(IMPULSE) + noise(1e-3))[:, :1]
    found = repaired(tmp_path, before, Room(IMPULSE[None], RATE, 1e-3))
    for gain in (0.1, 10.0):
        other = repaired(tmp_path, before, Room(gain * IMPULSE[None], RATE, 1e-3))
        assert_close(gain * other, found, atol=1e-4, rtol=0)


def test_a_room_with_noise_is_undone_in_every_segment(tmp_path):
    """Who takes it for silent before the second one is 16 dB below the truth, not 33."""
    r, n = np.random.default_rng(0), 800
    h = 0.3 * r.standard_normal(n) * np.geomspace(1, 1e-3, n)
    h[0] = 1.0
    before, wanted = (through(h) + noise(1e-4))[:, :1], truth()[:, :1]
    after = repaired(tmp_path, before, Room(h[None], RATE, 1e-4))
    for start, stop in equal_parts(FRAMES, RATE):
        part = slice(start, stop - 1000)
        error = np.square(after - wanted)[part].sum() / np.square(wanted)[part].sum()
        assert 10 * np.log10(error) < -30


def test_direct_sound_may_come_late_and_at_any_rate():
    """The response at the prior's rate acts on low sounds as the one of the recording does."""
    for at in (0, 1, 20):
        h = np.eye(1, 300, at) + 0.3 * np.eye(1, 300, 150)
        room = Room(h, 44_100)
        low = resample(tones(44_100, 44_100.0), 44_100, 16_000)
        wanted = resample(np.convolve(tones(44_100, 44_100.0), h[0])[:44_100], 44_100, 16_000)
        found = room.gain * room.reverb(16_000)(torch.from_numpy(low)[None])[0].numpy()
        assert np.abs(found - wanted)[500:-500].max() < 5e-3


def test_a_sample_is_never_pulled_below_what_it_was(tmp_path):
    x = truth()
    after = repaired(tmp_path, x, Clipping.at_level(0.15))  # far below the true peaks
    assert (np.abs(after) >= np.abs(x) * (1 - 1e-6) - 1e-7).all()


def test_a_band_has_no_click_at_the_ends(tmp_path):
    estimate = np.full(2000, 0.2)
    measured = Measurement(operator=Identity(), y=estimate, sigma=0.0, guess=estimate)
    after = BandLimit(1000.0).finish(measured, np.zeros(4000), estimate, 8000, 4000)
    assert np.abs(after).max() < 2e-3


def test_what_is_below_the_clipping_stays_to_the_bit(tmp_path):
    x = np.clip(truth(), -0.2, 0.2)
    after = repaired(tmp_path, x, Clipping.at_level(0.2))
    clipped = np.abs(x) >= 0.2 * (1 - 1e-4)
    assert np.array_equal(after[~clipped], x.astype(np.float32)[~clipped])
    assert (np.abs(after[clipped]) >= 0.2 * (1 - 1e-4)).all()


def test_segments_without_clipping_are_not_solved(tmp_path):
    """Neither is a clipped one unless a recipe is named: what sparsity finds is kept."""
    x = truth()[:, :1]
    x[:4000] *= 2  # in the first half second only
    level = 0.9 * np.abs(x[4400:]).max() + 0.1 * np.abs(x[:4000]).max()
    y = np.clip(x, -level, level).astype(np.float32)
    cut = np.abs(y) >= np.float32(level)
    assert cut.any() and not cut[4000:].any()
    for recipe, solves in ((None, [0, 0]), (Paper(), [1, 0])):
        options, done = SolveOptions(recipe=recipe, options=RecipeOptions(steps=2, gradients=2)), []
        done = list(restorations(tmp_path, y, Clipping.at_level(level), options))
        found = np.concatenate([r.patch.samples for r in done])
        assert [len(r.solutions) for r in done] == solves
        assert np.array_equal(found[~cut].astype(np.float32), y[~cut])
        assert np.abs(found).max() > 1.1 * level


def test_a_band_is_added_above_the_cutoff_only(tmp_path):
    after = repaired(tmp_path, truth(), BandLimit(1500.0))
    added = np.abs(np.fft.rfft((after - truth())[:, 0]))
    at = np.fft.rfftfreq(FRAMES, 1 / RATE)
    assert added[at < 1200].max() < 0.05 * added.max() and added[at > 2100].max() < 0.05 * added.max()
    with pytest.raises(Misuse, match="leaves the model nothing to add"):
        repaired(tmp_path, truth(), BandLimit(2000.0))


def test_the_run_can_be_ended_and_the_rest_stays(tmp_path):
    done, x = [], truth() + noise(0.02)
    after = repaired(tmp_path, x, Noise(0.02), done=done, stop=lambda: True)
    _, stop = equal_parts(FRAMES, RATE)[0]
    assert [len(r.solutions) for r in done] == [2]
    assert np.array_equal(after[stop:], x.astype(np.float32)[stop:])
    change = np.abs(after - x).max(1)
    assert (
        change[stop - 1] < 1e-6 < change[stop - 400 : stop - 200].mean()
    )  # no click: it fades into the rest


def test_patches_come_in_order_and_cover_all(tmp_path):
    at = 0
    for patch in (r.patch for r in restorations(tmp_path, truth(), Noise(0.02))):
        assert patch.start == at and len(patch.samples) <= RATE + 200
        at += len(patch.samples)
    assert at == FRAMES


@pytest.mark.parametrize("frames", [10, 900, 8001])
def test_short_recordings_and_silence(tmp_path, frames):
    for x in (truth()[:frames], np.zeros((frames, 1))):
        found = np.concatenate([r.patch.samples for r in restorations(tmp_path, x, Noise(0.01))])
        assert found.shape == x.shape and np.isfinite(found).all()
        assert x.any() or not found.any()


def test_spans_are_even():
    for frames in (1, 10, 799, 8000, 8001, 100_000):
        found = equal_parts(frames, 8000)
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
    A = compose(Clip(0.7), HigherRate(2, 5, high))
    assert torch.autograd.gradcheck(lambda z: A.residual(z, A(x.detach())), (x + 0.1,))
    assert_close(interpolate_spectrum(2 * x, 2, 5, 100), 2 * interpolate_spectrum(x, 2, 5, 100))
    assert A(x).shape == (2, 100)


class Level(Uniform):
    """A stub: every segment is restored to a level of its own, which the flow does not improve."""

    def __init__(self, *levels):
        self.levels = iter(levels)

    def measure(self, x, rate, prior, scale):
        return Measurement(
            operator=Identity(), y=x, sigma=0.0, guess=x, improvable=False, recipe=warm_start()
        )

    def finish(self, measurement, x, estimate, rate, low):
        return np.full(len(x), next(self.levels))


@pytest.mark.parametrize("levels", [(0.0, 1.0), (1.0, 0.0)])
def test_segments_that_disagree_have_no_seam(tmp_path, levels):
    """From the level of the first to that of the second on a straight line, in the 20 ms before the border."""
    done = list(restorations(tmp_path, truth()[:, :1], Level(*levels)))
    found = np.concatenate([r.patch.samples for r in done])[:, 0]
    (_, border), _ = equal_parts(FRAMES, RATE)
    first, last = levels
    fade = slice(border - 160, border)
    assert (found[: fade.start] == first).all() and (found[border:] == last).all()
    np.testing.assert_allclose(found[fade], np.linspace(first, last, 160, endpoint=False), atol=1e-9)
    assert np.abs(np.diff(found)).max() < 1 / 150  # swapped, it would jump twice


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_run_that_ends_early_fades_into_the_recording(tmp_path, level):
    x = np.full((FRAMES, 1), 0.5)
    x[::2] += 0.01  # not silent about its mean
    (r,) = restorations(tmp_path, x, Level(level), stop=lambda: True)
    y, (_, border) = r.patch.samples[:, 0], equal_parts(FRAMES, RATE)[0]
    assert len(y) == border and (y[: border - 160] == level).all()
    np.testing.assert_allclose(
        y[-160:], np.linspace(level, x[border - 160 : border, 0], 160)[range(160), range(160)], atol=1e-7
    )
