"""Speech is told from music, and a long gap in it fades to the tone of the room."""

import json

import numpy as np
import pytest
import soundfile
import torch
from audio_small import prior, tones
from audio_voice import speak

from headwater.audio.gaps import fill_segment
from headwater.audio.io.files import examine
from headwater.audio.io.segments import segments_around
from headwater.audio.metrics import seam_jump
from headwater.audio.model import models
from headwater.audio.signal.speech import find_pitches, make_room_tone, sounds_like_speech
from headwater.cli.app import main

RATE = 16_000


def everywhere(x):
    return np.ones(len(x), dtype=bool)


def level(x):
    return 20 * np.log10(np.std(x))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_voice_is_heard_with_a_gap_in_it(seed, rate):
    x = speak(6.0, seed, rate)[0]
    known = everywhere(x)
    known[3 * rate : 3 * rate + rate // 2] = False
    assert sounds_like_speech(np.where(known, x, 0.0), known, rate)


def melody(r, rate=RATE):
    """Notes that die away, with pauses."""
    x = np.zeros(6 * rate)
    for start in np.arange(0, 5.5, 0.4):
        n = np.arange(round(0.25 * rate))
        note = np.sin(2 * np.pi * 220 * 2 ** (r.integers(0, 12) / 12) * n / rate) * np.exp(-n / (0.1 * rate))
        x[round(start * rate) :][: len(n)] += note
    return x


@pytest.mark.parametrize(
    "kind", ["melody", "strokes", "chord", "noise", "silence", "glide without pauses", "short"]
)
def test_other_sounds_are_no_speech(kind):
    r = np.random.default_rng(0)
    t = np.arange(6 * RATE) / RATE
    sounds = {
        "melody": melody(r),
        "strokes": r.standard_normal(len(t)) * np.exp(-(t % 0.25) / 0.03),
        "chord": tones(len(t), RATE),
        "noise": r.standard_normal(len(t)),
        "silence": np.zeros(len(t)),
        "glide without pauses": np.sin(2 * np.pi * (150 * t + 8 * np.cos(5 * t))),
        "short": speak(0.3)[0],
    }
    assert not sounds_like_speech(sounds[kind], everywhere(sounds[kind]), RATE)


@pytest.mark.parametrize("hertz", [90.0, 147.3, 310.0])
def test_pitches(hertz):
    t = np.arange(512) / 8000
    pulses = sum(np.cos(2 * np.pi * k * hertz * t) for k in range(1, 8))
    pitch, peak = find_pitches(pulses[None])
    assert pitch[0] == pytest.approx(hertz, rel=0.01) and peak[0] > 0.9


def test_the_room_tone_is_as_loud_and_as_coloured_as_the_room():
    x, room = speak(6.0, 3)
    tone = make_room_tone(x[None], everywhere(x), 3 * RATE, RATE, seed=0)[0]
    assert abs(level(tone) - level(room)) < 1
    for band in (slice(0, 4000), slice(12_000, 24_000)):
        a, b = (np.abs(np.fft.rfft(z[: 3 * RATE]))[band] for z in (tone, room))
        assert abs(10 * np.log10(np.mean(a**2) / np.mean(b**2))) < 1.5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_room_is_as_wide_as_it_was(share):
    """Two channels of a room that have a share of their noise in common."""
    both, *own = 0.01 * np.random.default_rng(0).standard_normal((3, 4 * RATE))
    room = np.stack([np.sqrt(share) * both + np.sqrt(1 - share) * z for z in own])
    tone = make_room_tone(room, everywhere(both), 2 * RATE, RATE, seed=1)
    assert np.corrcoef(tone)[0, 1] == pytest.approx(share, abs=0.08)
    assert np.allclose(tone.std(1), 0.01, rtol=0.1)


def spoken(folder, seed, gap, room=-50.0, channels=1):
    """The file of a voice that lost a gap, as a recording, a segment and what was there."""
    x, tone = speak(8.0, seed, room=room)
    y = np.stack([x, 0.5 * x][:channels], axis=1)
    first, last = 4 * RATE, 4 * RATE + round(gap * RATE)
    y[first:last] = 0.0
    soundfile.write(folder / "voice.wav", y, RATE, subtype="PCM_24")
    (segment,) = segments_around([(first, last)], RATE * 3 // 4)
    return examine(folder / "voice.wav"), segment, tone


@pytest.mark.parametrize(("channels", "seed"), [(1, 1), (1, 2), (1, 3), (2, 1)])
def test_a_long_gap_in_speech_fades_to_the_tone_of_the_room(tmp_path, seed, channels):
    source, segment, room = spoken(tmp_path, seed, 0.6, channels=channels)
    filling = fill_segment(prior(), source, segment)
    assert filling.filled_by == "linear prediction and room tone" and not filling.solutions
    (start, stop), inside = segment.gaps[0], slice(segment.gaps[0][0] - segment.start, None)
    found = filling.patch.samples[inside][: stop - start, 0]
    middle = found[round(0.15 * RATE) : -round(0.15 * RATE)]
    assert abs(level(middle) - level(room)) < 1.5
    ten = round(0.01 * RATE)
    assert all(level(part) > level(room) - 2 for part in (found[:ten], found[-ten:]))  # no hush at the edges
    y = source.read(0, source.frames)
    y[start:stop, 0] = found
    joined = torch.from_numpy(y[:, 0].copy())[None]
    assert all(seam_jump(joined, edge, RATE) < 2 for edge in (start, stop))


def test_short_gaps_in_speech_are_predicted(tmp_path):
    source, segment, _ = spoken(tmp_path, 1, 0.04)
    assert fill_segment(prior(), source, segment).filled_by == "linear prediction"


def test_the_command_says_that_the_model_has_heard_no_speech(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "load_prior", prior)
    monkeypatch.chdir(tmp_path)
    spoken(tmp_path, 2, 0.6)
    assert main(["audio", "inpaint", "voice.wav", "--gap", "4.0-4.6", "--quiet"]) == 0
    said = capsys.readouterr()
    assert "sounds like speech around the gap at 4.000 s" in said.out + said.err
    report = json.loads((tmp_path / "voice-inpaint.json").read_text())
    assert [s["filled_by"] for s in report["stretches"]] == ["linear prediction and room tone"]
    assert "no speech" in report["definitions"]["filled_by"]
    words = "audio inpaint voice.wav --gap 4.0-4.6 --method paper --gradients 1 -o asked.wav --quiet"
    assert main(words.split()) in (0, 1)
    said = capsys.readouterr()
    assert "sounds like speech" not in said.out + said.err
