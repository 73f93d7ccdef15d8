"""Gaps in music that repeats itself, with other sounds on top: what is written, against the bare repeat.

    python benchmarks/audio_repeats.py

It needs no data: it makes the music. A loop of drums, bass and chords is played again and again, at 44.1 kHz in
stereo, and on top lies what never repeats, a melody or shakers, 13 to 22 dB below the loop. So a repeat is mostly at
10 dB or more, and where the shakers are loud its differences are far less alike. Every line has its own music and its
own gap. The file is written with 24 bits by `fill_segment` and `write_patched` and read again.

`repeat, dB`: the SNR in the gap, 10 log10 |truth|^2 / |truth - repeat|^2, of what lies a period before or after it,
the better of the two. `written, dB`: that of the file. `10 dB`: whether the file reaches 10 dB if the repeat does.
The lines `none`: music of the same kind that never repeats; there only the search is run, and nothing may be found.
`--count` is the number of pieces for each line, `--against FILE.json` an earlier table whose `written` is shown as
`before`. With `--keep FILE` finished lines are not run again.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from common import kept, options, write
from headwater.audio.gaps import SETTINGS, fill_segment
from headwater.audio.io.channels import Signal
from headwater.audio.io.files import Recording, Samples, examine
from headwater.audio.io.segments import Gap, Segment, segments_around
from headwater.audio.io.write import write_patched
from headwater.audio.model import models
from headwater.audio.signal.repetition import repeat_gaps

RATE = 44_100
PERIODS = (1.0, 2.0, 3.7, 8.0, 18.0, 20.0)
MILLISECONDS = (20, 50, 100, 200, 500)
ON_TOP = ("melody", "shakers")
GOAL = 10.0
STEPS = 16
"""Of a bar of two seconds or less."""


def note(pitch: float, seconds: float, r: np.random.Generator, partials: int = 8) -> Signal:
    """A struck tone of a MIDI pitch that dies away."""
    t = np.arange(round(seconds * RATE)) / RATE
    f = 440 * 2 ** ((pitch - 69) / 12)
    k = np.arange(1, partials + 1)[:, None]
    phases, bright = r.uniform(0, 2 * np.pi, k.shape), r.uniform(1.0, 2.0)
    tone = (np.sin(2 * np.pi * k * f * t + phases) / k**bright).sum(0)
    return np.asarray(tone * np.exp(-3 * t / seconds) * np.minimum(1, 200 * t))


def drum(kind: int, r: np.random.Generator) -> Signal:
    """A kick, a snare or a hat."""
    t = np.arange(round((0.3, 0.2, 0.06)[kind] * RATE)) / RATE
    hiss = np.diff(r.standard_normal(len(t) + 1)) / np.sqrt(2)
    if kind == 0:
        return np.asarray(np.sin(2 * np.pi * (50 * t + 8 * (1 - np.exp(-30 * t)))) * np.exp(-14 * t))
    if kind == 1:
        return np.asarray((0.5 * np.sin(2 * np.pi * 190 * t) + 0.6 * hiss) * np.exp(-22 * t))
    return np.asarray(0.35 * hiss * np.exp(-70 * t))


def add(track: Signal, sound: Signal, start: int, *, around: bool) -> None:
    """Mix a sound into a track in place; at the end of the track it goes `around` to its beginning, or is cut off."""
    at = np.arange(start, start + len(sound))
    if not around:
        at = at[at < len(track)]
    np.add.at(track, at % len(track), sound[: len(at)])


def band_music(seconds: float, seed: int, *, loop: bool) -> Samples:
    """Drums, bass and chords, `[frames, 2]`; as a loop its end goes on in its beginning."""
    r = np.random.default_rng([seed, 1])
    frames = round(seconds * RATE)
    bars = max(round(seconds / 2), 1)
    step, key = frames / (bars * STEPS), int(r.integers(36, 48))
    drums, bass, chords = np.zeros((3, frames))
    for i in range(bars * STEPS):
        start = round(i * step)
        for kind, chance in enumerate((0.4 if i % 4 == 0 else 0.1, 0.7 if i % 8 == 4 else 0.06, 0.6)):
            if r.random() < chance:
                add(drums, r.uniform(0.5, 1) * drum(kind, r), start, around=loop)
        if r.random() < 0.35:
            add(bass, note(key + int(r.choice((0, 3, 5, 7, 10))), 0.5, r), start, around=loop)
        if i % 8 == 0:
            for up in r.choice((12, 15, 17, 19, 22, 24, 27), 3, replace=False):
                add(chords, note(key + int(up), 1.5, r, 12), start, around=loop)
    left, right = drums + 0.6 * bass + 0.35 * chords, drums + 0.6 * bass + 0.25 * np.roll(chords, 300)
    return np.stack([left, right], axis=1)


def on_top(kind: str, frames: int, seed: int) -> Samples:
    """What never repeats, `[frames, 2]`."""
    r = np.random.default_rng([seed, 2])
    track = np.zeros(frames)
    start = 0
    while start < frames:
        if kind == "melody":
            add(track, note(int(r.integers(60, 84)), r.uniform(0.3, 0.9), r), start, around=False)
        else:
            add(track, r.uniform(0.5, 1) * drum(2, r), start, around=False)
        start += round(r.uniform(0.1, 0.4 if kind == "melody" else 0.12) * RATE)
    return np.stack([track, 0.8 * track], axis=1)


def looped(period: float, kind: str, seed: int) -> tuple[Samples, int]:
    """Music of a loop with something on top, full scale 0.9, and where in it a gap of any length begins."""
    r = np.random.default_rng([seed, 3])
    loop = band_music(period, seed, loop=True)
    times = max(4, int(np.ceil(12 / period))) if period < 12 else 3
    music = np.tile(loop, (times, 1))
    other = on_top(kind, len(music), seed)
    other *= music.std() / other.std() * 10 ** (-r.uniform(13, 22) / 20)
    middle = len(loop) * (times // 2)
    return scaled(music + other), middle + int(r.integers(0, len(loop) * 3 // 4))


def unrepeated(kind: str, seed: int) -> tuple[Samples, int]:
    """Music of 24 s that does not repeat, with something on top, and where a gap begins."""
    music = band_music(24.0, seed, loop=False)
    other = on_top(kind, len(music), seed)
    other *= 0.15 * music.std() / other.std()
    return scaled(music + other), len(music) // 2 + 1000 * (seed % 97)


def scaled(x: Samples) -> Samples:
    """With a peak of 0.9."""
    return 0.9 * x / np.abs(x).max()


def snr(found: Samples, truth: Samples) -> float:
    """In dB."""
    return 10 * float(np.log10(np.sum(truth**2) / max(np.sum((found - truth) ** 2), 1e-30)))


def stored(x: Samples, gap: Gap, folder: str) -> tuple[Recording, Segment]:
    """The file of a piece that lost its gap."""
    y, path = x.copy(), Path(folder) / "music.wav"
    y[slice(*gap)] = 0.0
    soundfile.write(path, y, RATE, subtype="PCM_24")
    (segment,) = segments_around([gap], round(SETTINGS.context * RATE))
    return examine(path), segment


def written(x: Samples, gap: Gap) -> tuple[str, Samples]:
    """What filled a gap, and the samples in it of the file that was written."""
    with tempfile.TemporaryDirectory() as folder:
        source, segment = stored(x, gap, folder)
        done = fill_segment(models.load_prior(), source, segment)
        write_patched(source, [done.patch], target := Path(folder) / "filled.wav")
        return done.filled_by, soundfile.read(target)[0][slice(*gap)]


def looped_line(period: float, kind: str, milliseconds: int, seed: int) -> dict[str, Any]:
    """A line of the table."""
    x, start = looped(period, kind, seed)
    stop = start + RATE * milliseconds // 1000
    lag, truth = round(period * RATE), x[start:stop]
    by, found = written(x, (start, stop))
    repeat, reached = max(snr(x[start + d : stop + d], truth) for d in (-lag, lag)), snr(found, truth)
    return {
        "period, s": period,
        "on top": kind,
        "gap, ms": milliseconds,
        "repeat, dB": round(repeat, 1),
        "written, dB": round(reached, 1),
        "filled by": by,
        "10 dB": "-" if repeat < GOAL else "yes" if reached >= GOAL else "no",
    }


def unrepeated_line(kind: str, milliseconds: int, seed: int) -> dict[str, Any]:
    """A line of music that does not repeat."""
    x, start = unrepeated(kind, seed)
    with tempfile.TemporaryDirectory() as folder:
        gap = start, start + RATE * milliseconds // 1000
        found = repeat_gaps(*stored(x, gap, folder))
    by = "not by repetition" if found is None else "repetition"
    return {"period, s": "none", "on top": kind, "gap, ms": milliseconds, "filled by": by}


def summed(lines: list[dict[str, Any]]) -> str:
    """What the table comes to."""
    bound = [line["10 dB"] for line in lines if line.get("10 dB", "-") != "-"]
    new = [line["filled by"] == "repetition" for line in lines if line["period, s"] == "none"]
    return (
        f"{bound.count('yes')} of {len(bound)} gaps whose repeat is at {GOAL:g} dB or more are at {GOAL:g} dB or more"
        f" in the file. Where nothing repeats, {sum(new)} of {len(new)} gaps were filled by repetition."
    )


def main() -> None:
    o = options(__doc__.splitlines()[0], count=2, keep="", against="")
    lines: list[dict[str, Any]] = []
    for number, (piece, period, kind, ms) in enumerate(
        itertools.product(range(o.count), (*PERIODS, None), ON_TOP, MILLISECONDS)
    ):
        how = (kind, ms, number)
        work = partial(looped_line, period, *how) if period else partial(unrepeated_line, *how)
        lines.append({"piece": piece} | kept(o.keep, f"{period}, {how}", work))
    if o.against:
        earlier = json.loads(Path(o.against).read_text())["rows"]
        for line, old in zip(lines, earlier, strict=False):
            line |= {"before, dB": old.get("written, dB", ""), "filled before by": old["filled by"]}
    command = f"python benchmarks/audio_repeats.py --count {o.count}"
    write(o.results / "audio_repeats", lines, command, summed(lines))


if __name__ == "__main__":
    main()
