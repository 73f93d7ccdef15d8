"""Rewards of sound: closed forms, gradients against differences, words, refusals, and the judge."""

import math

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.audio import rewards as sound
from headwater.audio.rewards import Brightness, Likeness, Loudness, read_reward

F64, RATE = torch.float64, 8000


def tone(hertz, seconds=0.5, level=0.1):
    t = torch.arange(int(seconds * RATE), dtype=F64) / RATE
    return level * math.sqrt(2) * torch.sin(2 * torch.pi * hertz * t)[None]


def hiss(count=1, samples=600, seed=0):
    return 0.1 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_a_tone_has_the_loudness_and_the_brightness_of_its_rms_and_frequency():
    both = torch.cat([tone(500), 2 * tone(2000)])
    assert_close(
        Loudness()(both), torch.tensor([-20.0, -20 + 20 * math.log10(2)], dtype=F64), atol=1e-3, rtol=0
    )
    assert_close(Brightness(RATE)(both), torch.tensor([0.5, 2.0], dtype=F64), atol=0.02, rtol=0)
    assert_close(Loudness(-23.0)(both[:1]), torch.tensor([-9.0], dtype=F64), atol=0.01, rtol=0)
    assert_close(Brightness(RATE, 1500.0)(both[:1]), torch.tensor([-1.0], dtype=F64), atol=0.05, rtol=0)
    # the level changes no brightness, and no likeness
    assert_close(Brightness(RATE)(10 * both), Brightness(RATE)(both))
    like = Likeness(tone(500), RATE)
    assert abs(float(like(0.01 * tone(500)))) < 1e-3 and float(like(tone(2000))) < float(like(tone(520))) < 0


def test_bands_begin_at_100_hz_and_none_is_empty_at_any_rate():
    for rate, count in ((8000, 16), (44100, 23), (48000, 24)):
        noise = torch.randn(1, rate // 2, generator=torch.Generator().manual_seed(0), dtype=F64)
        level = sound.describe_bands(noise, rate)[0, :count]
        assert level.shape == (count,) and float(level.min()) > -40
        assert float(sound.describe_bands(torch.ones(1, rate // 2, dtype=F64), rate)[0, :count].max()) < -20


CASES = {
    "loudness": Loudness(),
    "loudness with a target": Loudness(-15.0),
    "brightness": Brightness(RATE),
    "brightness with a target": Brightness(RATE, 900.0),
    "likeness": Likeness(tone(700, 0.1), RATE),
}


@pytest.mark.parametrize("reward", CASES.values(), ids=CASES)
def test_gradients_are_those_of_differences_and_problems_are_independent(reward):
    x = hiss(2).requires_grad_()
    value = reward(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    e = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    with torch.no_grad():
        slope = (reward(x + 1e-5 * e) - reward(x - 1e-5 * e)) / 2e-5
    assert_close((gradient * e).sum(1), slope, rtol=1e-4, atol=1e-6)
    assert_close(reward(x[1:]), value[1:])


def test_silence_has_finite_rewards_and_gradients():
    for reward in CASES.values():
        x = torch.zeros(1, 600, dtype=F64, requires_grad=True)
        value = reward(x)
        assert value.isfinite().all() and torch.autograd.grad(value.sum(), x)[0].isfinite().all()


def test_words_make_rewards_and_a_recording_is_mixed_and_brought_to_the_rate(tmp_path):
    assert (
        read_reward("loudness: -20dB", RATE) == Loudness(-20.0)
        and read_reward("loudness", RATE) == Loudness()
    )
    assert read_reward("brightness", RATE) == Brightness(RATE)
    both = torch.cat([tone(500), tone(500)]).T.numpy()
    up = np.repeat(both, 2, axis=0)[: 2 * len(both)]
    soundfile.write(tmp_path / "tone.wav", up, 2 * RATE, subtype="FLOAT")
    like = read_reward(f"like: {tmp_path / 'tone.wav'}", RATE)
    assert like.recording.shape == (1, 4000)
    assert float(like(tone(500).float())) > float(like(tone(1000).float())) + 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: read_reward("loudnes", RATE), "Did you mean 'loudness'"),
        (lambda: read_reward("loudness: much", RATE), "is no number"),
        (lambda: read_reward("brightness: 9kHz", RATE), "no brightness of 9000 Hz"),
        (lambda: read_reward("like", RATE), "does not say of what"),
        (lambda: read_reward("like: nowhere.wav", RATE), "nowhere.wav"),
        (lambda: Loudness(math.nan), "is not finite"),
        (lambda: Likeness(torch.ones(2, 100), RATE), r"has the shape \[2, 100\]"),
        (lambda: Likeness(torch.zeros(1, 100), RATE), "is silent"),
        (lambda: Brightness(RATE)(torch.ones(2, 3, 4)), r"the shape \[2, 3, 4\]"),
    ],
)
def test_refusals_are_two_sentences(make, words):
    with pytest.raises(hw.Misuse, match=words) as refusal:
        make()
    assert refusal.value.what.endswith(".") and refusal.value.cure.endswith((".", "?"))


def test_the_judge_measures_the_distance_to_the_draws_whatever_the_level(monkeypatch):
    monkeypatch.setattr(sound, "cdpam_embedding", lambda x, rate: torch.stack([x.mean(1), x.std(1)], 1) * 100)
    draws = hiss(5) + torch.arange(5, dtype=F64)[:, None] / 50
    judge = sound.SoundJudge(draws, RATE)
    assert_close(judge.strangeness(3 * draws), torch.zeros(5, dtype=F64), atol=1e-4, rtol=0)
    assert float(judge.strangeness(draws[:1] + 5)) > judge.farthest >= 1
    with pytest.raises(hw.Misuse, match="cannot compare with 2 draws"):
        sound.SoundJudge(draws[:2], RATE)
