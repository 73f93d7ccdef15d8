"""Restoring at the prior's rate, and gaps of files: only what is lost changes, and it continues what is there."""

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

from headwater import Flow, Misuse
from headwater.audio import repair
from headwater.audio.autoregression import bridge, burg, extrapolate, interpolate
from headwater.audio.files import examine
from headwater.audio.metrics import seam_jump
from headwater.audio.operators import Clip, Decimate, Gaps, Identity, Reverb
from headwater.audio.regions import Region, merged, regions
from headwater.audio.repair import fill, kept, played
from headwater.audio.resample import resampled
from headwater.audio.restore import How, LinearHeard, Prior, on_canvas, restore
from headwater.audio.space import Patches, Spectral
from headwater.audio.tracks import from_tracks, to_tracks
from headwater.audio.write import write_patched
from headwater.presets import Limits

torch.set_num_threads(1)
BINS, FRAMES, RATE = 64, 32, 4000


def prior(scale=0.7):
    """Independent coefficients, of unit variance: the exact flow of white noise, 0.5 s windows at 4 kHz."""

    def velocity(x, t):
        s = t if t.ndim == 0 else t[:, None, None]
        return (2 * s - 1) * x / (s**2 + (1 - s) ** 2)

    return Prior(Flow(velocity, (FRAMES, BINS)), Spectral(torch.full((BINS,), scale)), RATE)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- spaces


@pytest.mark.parametrize(
    "space",
    [
        Patches(torch.tensor(0.3, dtype=torch.float64), 16),
        Spectral(torch.linspace(0.1, 2, 16, dtype=torch.float64)),
        Spectral(torch.linspace(0.1, 2, 16, dtype=torch.float64), 0.5),
    ],
)
def test_spaces_are_bijections(space):
    x, z = normal(3, 160).double(), normal(3, 10, 16, seed=1).double()
    assert_close(space.decode(space.encode(x)), x)
    assert_close(space.encode(space.decode(z)), z)
    if space.linear:
        assert_close((space.decode(z) * x).sum(), (z * space.adjoint(x)).sum())


# ---- at the prior's rate


@pytest.mark.parametrize("samples", [1, 10, 1000, FRAMES * BINS, 3000])
def test_any_length(samples):
    y = normal(2, samples)
    done = restore(prior(), Identity(), y, 0.1, guess=y)
    assert done.waveforms.shape == (2, samples) and all(s.ok for s in done.result.status)
    assert ((done.waveforms - y).square().mean(1).sqrt() < 0.12).all()


@pytest.mark.parametrize("operator", [Decimate.by(2), Reverb.of(torch.tensor([1.0, 0.0, -0.4]))])
def test_a_linear_operator_keeps_its_adjoint_on_the_canvas(operator):
    heard = on_canvas(prior(), operator, 1500)
    assert isinstance(heard, LinearHeard) and heard.frames == FRAMES
    z = normal(2, heard.frames, BINS)
    y = heard(z)
    w = normal(*y.shape, seed=1)
    assert_close((y * w).sum(), (z * heard.adjoint(w)).sum(), rtol=1e-4, atol=1e-3)
    x = normal(2, 1500)
    assert_close(heard.waveform(heard.state(x)), x, atol=1e-5, rtol=0)


def test_clipped_samples_end_beyond_the_level():
    x = normal(1, 1500)
    A = Clip(0.8)
    done = restore(prior(), A, A(x), 0.05, guess=A(x))
    beyond = done.waveforms[A.clipped(A(x))].abs()
    assert (beyond > 0.7).all() and beyond.mean() > 0.85


def test_problems_do_not_depend_on_their_batch():
    known = torch.ones(1, 1000, dtype=torch.bool)
    known[:, 400:500] = False
    A, x = Gaps(known), normal(3, 1000)
    three = restore(prior(), A, A(x), 0.05, guess=A(x), seeds=[5, 6, 7]).waveforms
    one = restore(prior(), A, A(x[1:2]), 0.05, guess=A(x[1:2]), seeds=[6]).waveforms
    assert_close(three[1:2], one, atol=1e-4, rtol=0)


def test_refusals_of_restore():
    y = normal(2, 100)
    for how, words in (
        ({"preset": "defalt"}, "Did you mean 'default'"),
        ({"seeds": [1]}, "1 seeds for 2 recordings"),
    ):
        with pytest.raises(Misuse, match=words):
            restore(prior(), Identity(), y, 0.1, guess=y, **how)
    with pytest.raises(Misuse, match="noise level -1 is not"):
        restore(prior(), Identity(), y, -1, guess=y)


# ---- linear prediction


def tones(count, rate=8000.0, seed=0, noise=0.0):
    t = np.arange(count) / rate
    r = np.random.default_rng(seed)
    x = sum(a * np.sin(2 * np.pi * f * t + r.uniform(0, 6)) for f, a in ((220, 1), (331, 0.6), (1320, 0.2)))
    return x + noise * r.standard_normal(count)


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
    assert np.abs(bridge(x[:2000], x[2000 + count :], count, 100) - truth).max() < 0.02
    again = interpolate(np.where(lost, 9.0, x), lost, 100)
    assert np.abs(again[lost] - truth).max() < 0.02 and np.array_equal(again[~lost], x[~lost])


def test_both_forms_of_the_normal_equations_agree():
    from headwater.audio import autoregression as ar

    x, a = tones(600, noise=0.1), burg(tones(600, noise=0.1), 20)
    places = np.array([50, 51, 70, 300, 560])
    x[places] = 0
    for one, other in zip(ar._inner(a, x, places), ar._normal(a, x, places), strict=True):
        assert np.allclose(one, other, atol=1e-10)
    gap = np.arange(300, 340)
    x[gap] = 0
    gram, right = ar._normal(a, x, gap)
    assert np.allclose(ar._least_error(a, x, gap), np.linalg.solve(gram, right), atol=1e-8)


def test_scattered_samples_are_interpolated():
    x = tones(2000, noise=1e-3)
    lost = np.random.default_rng(1).random(2000) < 0.1
    found = interpolate(x, lost, 60, iterations=5)
    assert np.abs(found - x)[lost].max() < 0.02


def test_where_nothing_is_known_nothing_is_predicted():
    x = tones(500)
    assert not bridge(x[:0], x[:0], 30).any()
    faded = bridge(x[:400], x[:0], 100, 60)
    assert np.abs(faded[0] - x[400]) < 0.1 and abs(faded[-1]) < 0.01


# ---- gaps of files


def test_gaps_are_merged_and_grouped():
    assert merged([(5, 9), (20, 30), (8, 12), (12, 13)], 100) == [(5, 13), (20, 30)]
    for gap in ((5, 5), (-1, 3), (90, 101), (7, 3)):
        with pytest.raises(Misuse, match="empty or beyond"):
            merged([gap], 100)
    with pytest.raises(Misuse, match="whole recording"):
        merged([(0, 60), (50, 100)], 100)
    gaps = ((10, 20), (25, 30), (80, 90))
    assert regions(gaps, 20) == [Region(-10, 50, gaps[:2], gaps), Region(60, 110, gaps[2:], gaps)]
    near = [(i, i + 2) for i in range(100, 200, 10)]
    chained = regions(near, 20, longest=45)
    assert [g for r in chained for g in r.gaps] == near
    assert all(r.stop - r.start <= 45 + 40 for r in chained)
    for r in chained:
        assert np.array_equal(r.missing, [any(a <= i < b for a, b in near) for i in range(r.start, r.stop)])
        assert np.array_equal(r.wanted, [any(a <= i < b for a, b in r.gaps) for i in range(r.start, r.stop)])
        assert np.array_equal(r.wider(30).missing[30:-30], r.missing)


def test_tracks_and_rates():
    x = np.random.default_rng(0).standard_normal((100, 2))
    assert np.allclose(from_tracks(to_tracks(x)), x, atol=1e-12)
    three = np.random.default_rng(0).standard_normal((100, 3))
    assert np.array_equal(from_tracks(to_tracks(three)), three)
    low = tones(8820, 44100.0)
    there = resampled(low, 44100, 16000)
    assert np.abs(there[200:-200] - tones(3200, 16000.0)[200:-200]).max() < 2e-3
    assert np.abs(resampled(there, 16000, 44100)[:8820][600:-600] - low[600:-600]).max() < 4e-3
    inside = np.ones(8820, dtype=bool)
    inside[4410:5000] = False
    there_known = kept(inside, 44100, 16000, 3200)
    assert not there_known[1600:1814].any() and there_known[:1595].all() and there_known[1820:].all()


def by_flow(source, region, seed=0, scale=0.7):
    """The patch and the restoration behind it."""
    filling = played(prior(scale), source, region, How(seed)).textured(RATE, seed).filling()
    return filling.patch, filling.restoration


def take(folder, frames=12_000, channels=2, rate=8000, subtype="PCM_24"):
    r = np.random.default_rng(3)
    x = np.stack([0.2 * tones(frames, rate, seed) for seed in range(channels)], axis=1)
    soundfile.write(folder / "take.wav", x + 1e-4 * r.standard_normal(x.shape), rate, subtype=subtype)
    return examine(folder / "take.wav")


@pytest.mark.parametrize("gap", [(6000, 6080), (6000, 6500), (0, 400), (11_700, 12_000), (2000, 8000)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_only_the_gap_changes(tmp_path, gap, channels):
    source = take(tmp_path, channels=channels)
    (region,) = regions(merged([gap], source.frames), source.rate)
    patch, done = by_flow(source, region)
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
    filling = fill(prior(), examine(tmp_path / "silent.wav"), Region(-1000, 9500, ((4000, 4900),)))
    assert filling.restoration is None and filling.by == "silence" and not filling.patch.samples.any()
    soundfile.write(tmp_path / "short.wav", 0.1 * np.ones((10, 1)), 8000)
    (region,) = regions(merged([(4, 6)], 10), 8000)
    patch = fill(prior(), examine(tmp_path / "short.wav"), region).patch
    assert patch.changed.sum() == 2 and np.isfinite(patch.samples).all()


def test_short_gaps_need_no_flow_and_are_predicted(tmp_path, monkeypatch):
    """Several of them, too; but the flow is asked at the ends of the recording and by a preset that names it."""
    monkeypatch.setattr(repair, "repetition", lambda source, region: None)  # tones repeat themselves

    def asked(x, t):
        raise RuntimeError("asked")

    source, deaf = take(tmp_path), Prior(Flow(asked, (FRAMES, BINS)), prior().space, RATE)
    (region,) = regions([(6000, 6400), (7000, 7010)], source.rate)
    filling = fill(deaf, source, region)
    patch, truth = filling.patch, source.read(region.start, region.stop)
    assert filling.restoration is None and filling.by == "linear prediction"
    assert patch.changed.sum() == 2 * 410
    assert np.abs(patch.samples - truth)[patch.changed].max() < 0.02
    for gaps, how in (([(6000, 6401)], How()), ([(0, 40)], How()), ([(6000, 6400)], How(preset="paper"))):
        with pytest.raises(RuntimeError, match="asked"):
            fill(deaf, source, regions(gaps, source.rate)[0], how)


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.parametrize("place", [16, 50, 400, 999])
@pytest.mark.parametrize("end", [False, True])
def test_gaps_near_an_end_are_no_burst(tmp_path, rate, place, end):
    """There are fewer samples on one side than the order of the prediction."""
    x = 0.2 * tones(2 * rate, rate, noise=1e-3)
    size = rate // 50
    start = len(x) - place - size if end else place
    soundfile.write(tmp_path / "x.wav", x, rate, subtype="FLOAT")
    (region,) = regions([(start, start + size)], rate)
    filling = fill(prior(), examine(tmp_path / "x.wav"), region)
    found = filling.patch.samples[filling.patch.changed]
    assert (
        filling.by == "linear prediction"
        and np.abs(found - x[start : start + size]).max() < 0.1 * np.abs(x).max()
    )


def test_many_gaps_near_the_start_are_no_burst(tmp_path):
    x = 0.2 * tones(44_100, 44_100, noise=1e-3)
    gaps = [(100, 982), (1082, 1964), (1990, 2400)]
    soundfile.write(tmp_path / "x.wav", x, 44_100, subtype="FLOAT")
    (region,) = regions(gaps, 44_100)
    patch = fill(prior(), examine(tmp_path / "x.wav"), region).patch
    assert np.abs(patch.samples[patch.changed]).max() < 1.5 * np.abs(x).max()


def test_what_repeats_itself_needs_no_flow(tmp_path):
    """But by a preset that names it the flow is asked."""
    x = np.tile(0.2 * np.random.default_rng(0).standard_normal((3000, 1)), (4, 1))
    soundfile.write(tmp_path / "x.wav", x, 4000, subtype="DOUBLE")
    (region,) = regions([(6000, 6400)], 4000)
    filling = fill(prior(), examine(tmp_path / "x.wav"), region)
    assert filling.by == "repetition" and filling.restoration is None
    assert np.abs(filling.patch.samples[filling.patch.changed] - x[6000:6400, 0]).max() < 1e-6
    asked = fill(
        prior(), examine(tmp_path / "x.wav"), region, How(preset="paper", limits=Limits(gradients=1))
    )
    assert asked.by == "flow and linear prediction" and asked.restoration is not None


def test_the_same_seed_gives_the_same_fill(tmp_path):
    source = take(tmp_path)
    (region,) = regions([(6000, 6800)], source.rate)
    a, b, c = (by_flow(source, region, s)[0].samples for s in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.parametrize("rate", [3000, 4000, 8000, 44_100])
@pytest.mark.parametrize("spans", [[(0.7, 0.71)], [(0.7, 0.8)], [(0.7, 0.75), (0.85, 0.87)], [(0.7, 0.9)]])
def test_a_filling_begins_and_ends_on_the_waveform(tmp_path, rate, spans):
    """Tones: linear prediction alone continues them, and whatever the flow adds may not spoil the joints."""
    source = take(tmp_path, frames=round(1.5 * rate), rate=rate, subtype="FLOAT")
    gaps = merged([(round(a * rate), round(b * rate)) for a, b in spans], source.frames)
    (region,) = regions(gaps, source.rate)
    patch, _ = by_flow(source, region)
    truth = source.read(0, source.frames)
    found = truth.copy()
    inside = patch.changed[-region.start :][: len(found)]
    found[inside] = patch.samples[-region.start :][: len(found)][inside]
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
    (region,) = regions([gap], rate)
    patch, _ = by_flow(examine(tmp_path / "x.wav"), region, scale=1.0)
    found = patch.samples[gap[0] - region.start : gap[1] - region.start, 0]
    assert np.abs(found).max() < 0.5
    x[slice(*gap)] = found
    assert all(seam_jump(torch.from_numpy(x)[None], edge, rate).item() < 2 for edge in gap)
    assert 0.045 < found.std() < 0.14


def test_channels_of_a_long_filling_are_as_loud_as_each_other(tmp_path):
    """White noise, which its flow draws anew: with one noise for mid and side one channel would be silent."""
    x = 0.1 * np.random.default_rng(0).standard_normal((12_000, 2))
    soundfile.write(tmp_path / "x.wav", x, 4000, subtype="FLOAT")
    source = examine(tmp_path / "x.wav")
    (region,) = regions([(4000, 8000)], source.rate)
    patch, _ = by_flow(source, region, scale=1.0)
    inside = patch.samples[4000 - region.start + 400 : 8000 - region.start - 400]
    level = inside.std(0)
    assert level.max() < 1.5 * level.min() and abs(np.corrcoef(inside.T)[0, 1]) < 0.3


def test_a_constant_offset_is_kept(tmp_path):
    x = 0.3 + 0.1 * tones(8000, 8000)
    soundfile.write(tmp_path / "x.wav", x, 8000, subtype="FLOAT")
    (region,) = regions([(4000, 4800)], 8000)
    patch, done = by_flow(examine(tmp_path / "x.wav"), region)
    assert done is not None and abs(patch.samples[patch.changed].mean() - 0.3) < 0.03


def test_another_regions_gap_is_not_heard(tmp_path):
    """What lies in the gap of a neighbour is lost, too, and its samples are left to the neighbour."""
    x = 0.2 * tones(8000, 8000)
    results = []
    for value in (0.0, 0.9):
        x[4800:4900] = value
        soundfile.write(tmp_path / "x.wav", x, 8000, subtype="FLOAT")
        region = Region(2000, 7000, ((3500, 4300),), ((3500, 4300), (4800, 4900)))
        patch, done = by_flow(examine(tmp_path / "x.wav"), region)
        results.append(patch.samples[1500:2300])
        assert done is not None and patch.changed.sum() == 800
    np.testing.assert_array_equal(*results)
