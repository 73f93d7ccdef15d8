"""Rules of sound: the notes, onsets and loudness of signals that were made to have them."""

import pytest
import torch

import headwater as hw
from headwater.audio.rewards import read_reward
from headwater.audio.rules import LoudnessCurve, OnsetRate, PitchClasses

RATE = 16_000
T = torch.arange(2 * RATE, dtype=torch.float64) / RATE


def tone(*hertz):
    return sum(torch.sin(2 * torch.pi * f * T) for f in hertz)[None]


def test_a_chord_is_heard_in_every_octave():
    chord = tone(261.63, 659.26, 1567.98)  # C4 E5 G6
    assert PitchClasses((0, 4, 7), RATE)(chord).item() > 0.95
    assert PitchClasses((0,), RATE)(chord).item() == pytest.approx(1 / 3, abs=0.05)
    assert PitchClasses((1, 2, 3, 5, 6, 8, 9, 10, 11), RATE)(chord).item() < 0.05
    assert PitchClasses((0, 4, 7), RATE)(torch.zeros(1, 4000)).item() == 0


def test_noise_has_its_share_of_every_note_and_a_gradient_leads_to_a_note():
    noise = torch.randn(1, 4 * RATE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    share = PitchClasses((0, 4, 7), RATE)(noise)
    assert share.item() == pytest.approx(3 / 12, abs=0.05)
    (slope,) = torch.autograd.grad(share.sum(), noise)
    with torch.no_grad():
        assert PitchClasses((0, 4, 7), RATE)(noise + 100 * slope) > share


@pytest.mark.parametrize("rate", [1, 2, 4, 8])
def test_onsets_are_counted_at_any_level(rate):
    strokes = tone(600, 1500) * torch.exp(-30 * (T % (1 / rate)))
    assert OnsetRate(RATE)(torch.cat([strokes, 0.01 * strokes])).tolist() == [rate, rate]
    assert OnsetRate(RATE, 3.0)(strokes).item() == -abs(rate - 3)


def test_a_tone_begins_once_and_silence_never():
    fading = tone(440) * (4 - 2 * T).clamp(max=1)  # a tone that is cut off clicks
    assert OnsetRate(RATE)(torch.cat([fading, 0 * T[None]])).tolist() == [0.5, 0.0]  # in two seconds


def make_noise(kind, rate, seconds=8):
    """Steady Gaussian noise, white or of a spectrum that falls by 3 or 6 dB an octave."""
    noise = torch.randn(2, seconds * rate, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spectrum = torch.fft.rfft(noise)
    power = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
    return torch.fft.irfft(spectrum / (1 + torch.arange(spectrum.shape[1])) ** power, n=noise.shape[1])


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("kind", ["white", "pink", "brown"])
def test_steady_noise_begins_once(kind, rate):
    noise = make_noise(kind, rate)
    assert (OnsetRate(rate)(noise) <= 2 / 8).all()
    assert OnsetRate(rate)(noise).min() >= 1 / 8  # its own beginning
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(noise.shape[1]) / rate)
    assert (OnsetRate(rate)(noise / noise.std() * 0.1 + tone) <= 2 / 8).all()


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_clicks_and_strokes_are_counted_under_noise(rate):
    noise = make_noise("white", rate, seconds=4)[:1]
    t = torch.arange(4 * rate, dtype=torch.float64) / rate
    strokes = (torch.sin(2 * torch.pi * 600 * t) * torch.exp(-20 * (t % 0.25)))[None]
    clicks = torch.zeros(1, 4 * rate, dtype=torch.float64)
    clicks[:, rate // 8 :: rate // 2] = 1  # two a second
    for sound, count in ((strokes, 16), (clicks, 8)):
        for level in (0.0, 0.003, 0.03):
            found = 4 * OnsetRate(rate)(sound + level * noise).item()
            assert count <= found <= count + 1 + (level > 0), (level, found)  # noise begins, too


def test_the_shipped_guitar_has_half_of_its_strokes_or_more_at_any_level():
    """It is struck every quarter of a second, softer towards the end, and not where nothing begins."""
    from headwater.audio.io import recordings
    from headwater.audio.io.files import examine

    guitar = examine(recordings.GUITAR)
    x = torch.from_numpy(guitar.read(0, 4 * guitar.rate).T).double()
    for found in OnsetRate(guitar.rate)(x).tolist():
        assert 8 <= 4 * found <= 16
    assert (OnsetRate(guitar.rate)(x) - OnsetRate(guitar.rate)(0.1 * x)).abs().max() <= 0.25


def test_a_sound_that_is_not_finite_has_no_onsets_and_spoils_no_other():
    strokes = (torch.sin(2 * torch.pi * 600 * T) * torch.exp(-20 * (T % 0.25)))[None]
    for bad in (torch.nan, torch.inf):
        for rule in (OnsetRate(RATE), OnsetRate(RATE, 0.0)):
            broken = strokes.clone()
            broken[0, 7] = bad
            found = rule(torch.cat([broken, strokes]))
            assert bool(found[0].isnan()) and found[1] == rule(strokes)[0]


def test_white_noise_has_the_shares_that_the_docstring_says():
    noise = torch.randn(8, 3 * RATE, generator=torch.Generator().manual_seed(0))
    share = [PitchClasses((note,), RATE)(noise).mean().item() for note in range(12)]
    assert share[0] == pytest.approx(0.05, abs=0.01) and share[10] == pytest.approx(0.12, abs=0.01)
    assert sum(share) == pytest.approx(1, abs=1e-3)


def test_a_curve_of_more_levels_than_a_sound_has_parts_is_refused():
    with pytest.raises(hw.Misuse, match="too short for 20 levels"):
        LoudnessCurve(tuple(map(float, range(20))))(torch.ones(1, 100))


@pytest.mark.parametrize("rule", [PitchClasses((0,), RATE), OnsetRate(RATE), LoudnessCurve((0.0, 1.0))])
@pytest.mark.parametrize("shape", [(8000,), (1, 2, 8000), (1, 15), (1, 0)])
def test_a_sound_without_its_axes_or_samples_is_refused(rule, shape):
    with pytest.raises(hw.Misuse, match="A rule of sound got the shape"):
        rule(torch.zeros(shape))


def test_the_curve_of_loudness_does_not_hear_the_level():
    swell = tone(440) * 10 ** (torch.linspace(-1, 1, len(T)) / 2)  # 20 dB in all
    rising, falling = LoudnessCurve((-20.0, -15.0, -10.0, -5.0)), LoudnessCurve((-5.0, -10.0, -15.0, -20.0))
    assert rising(swell).item() > -0.2 and rising(0.01 * swell).item() == pytest.approx(
        rising(swell).item(), abs=1e-3
    )
    assert falling(swell).item() == pytest.approx(-2 * 5 * 1.25**0.5, abs=0.3)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("chroma", "does not say which notes"),
        ("chroma: H", "is no note"),
        ("chroma: C C# D D# E F F# G G# A A# B", "are no choice"),
        ("onsets: many", "are no number"),
        ("onsets: 99", "are not heard"),
        ("curve: -3", "are no curve"),
        ("curve: a b", "are no numbers"),
        ("tempo", "no score of sound named"),
    ],
)
def test_rules_that_say_nothing_are_refused(words, what):
    with pytest.raises(hw.Misuse, match=what):
        read_reward(words, RATE, gradient=False)


def test_onsets_are_no_reward():
    with pytest.raises(hw.Misuse, match="No gradient leads to onsets"):
        read_reward("onsets: 4", RATE)
