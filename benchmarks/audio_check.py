"""How much damage `headwater audio check` finds, and how often it sees some where there is none.

    python benchmarks/audio_check.py

Clean music and voices are synthesised here, each of 20 s by its seed: plucked and bowed tones, drums, a room, vowels
and consonants, all with a noise floor of -75 dB. Into each of 20 others one damage is put at a place drawn by its
seed, two of each of ten kinds; the table has them with more seeds of each as well. It is found if a finding of its
kind overlaps it, within 2 ms, and false if it overlaps nothing. The lines that begin with "mixed" have several
damages in each file; there clipping is found only if its level is, to 1 %. With `--recordings FOLDER` (the samples of
Sonic Pi) real recordings of 3 s and more are checked as they are, too: what is found there may be real, so it is
listed. Without it, those lines of the file of results stay as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter

from common import write
from headwater.audio.check.check import find_damage
from headwater.audio.check.kinds import CLICK, CLIPPING, DROPOUT, HUM, NOT_FINITE, Finding
from headwater.audio.io.files import examine

RATE, SECONDS = 44_100, 20.0
Signal = NDArray[np.float64]
Place = tuple[int, int]


# ---- clean material


def tone(r: np.random.Generator, frequency: float, seconds: float) -> Signal:
    """A note: harmonics that die away, plucked or bowed, with vibrato."""
    t = np.arange(round(seconds * RATE)) / RATE
    plucked = r.random() < 0.5
    phase = 2 * np.pi * frequency * t + (0 if plucked else 3) * np.sin(2 * np.pi * 5.5 * t) * frequency / 440
    count = max(min(int(9000 / frequency), 25), 1)
    fall, damping = r.uniform(1, 2), r.uniform(1, 4)
    harmonics = (
        np.exp(-damping * k**0.5 * t * plucked) / k**fall * np.sin(k * phase + r.uniform(0, 6))
        for k in range(1, count + 1)
    )
    rise = 1 - np.exp(-t / (0.002 if plucked else 0.06))
    end = np.clip((seconds - t) / 0.03, 0, 1)
    return np.asarray(sum(harmonics) * rise * end)


def drum(r: np.random.Generator) -> Signal:
    """A stroke: a falling tone, noise, or both."""
    t = np.arange(round(0.3 * RATE)) / RATE
    low = np.sin(2 * np.pi * (50 + 60 * np.exp(-t * 30)) * t) * np.exp(-t * r.uniform(10, 25))
    noise = lfilter([1, -r.uniform(0, 0.9)], [1], r.standard_normal(len(t))) * np.exp(-t * r.uniform(15, 80))
    kind = r.integers(3)
    return np.asarray((kind != 1) * low + (kind != 0) * 0.4 * noise) * (1 - np.exp(-t / 0.0007))


def vowel(r: np.random.Generator, seconds: float) -> Signal:
    """A sung or spoken vowel: glottal pulses through formants."""
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = r.uniform(80, 260) * (1 + 0.1 * np.sin(2 * np.pi * r.uniform(0.5, 2) * t + r.uniform(0, 6)))
    phase = np.cumsum(pitch) / RATE % 1
    x = np.where(phase < 0.6, np.sin(np.pi * phase / 0.6) ** 2, 0.0)
    x = np.diff(x, prepend=0.0) + 0.002 * r.standard_normal(len(t))
    for f, width in (
        (r.uniform(300, 800), 80),
        (r.uniform(900, 2300), 100),
        (r.uniform(2400, 3200), 150),
        (3800, 250),
    ):
        p = np.exp(-np.pi * width / RATE)
        x = lfilter([1 - p], [1, -2 * p * np.cos(2 * np.pi * f / RATE), p * p], x)
    return np.asarray(x / np.abs(x).max()) * np.minimum(1, np.minimum(t / 0.03, (seconds - t) / 0.06))


def consonant(r: np.random.Generator) -> Signal:
    """A hiss or a burst of 15 to 120 ms."""
    seconds = r.uniform(0.015, 0.12)
    t = np.arange(round(seconds * RATE)) / RATE
    x = lfilter([1, -0.95], [1, r.uniform(-0.5, 0.5)], r.standard_normal(len(t)))
    return np.asarray(0.15 * x * np.minimum(1, np.minimum(t / 0.003, (seconds - t) / 0.01)))


def music(seed: int, seconds: float = SECONDS) -> Signal:
    """Notes, in a third of the seeds with drums."""
    r = np.random.default_rng([seed, 1])
    x, now, beat = np.zeros(round(seconds * RATE)), 0.1, r.uniform(0.15, 0.5)
    while now < seconds - 0.05:
        for _ in range(r.integers(1, 4)):
            length = min(beat * r.choice([1, 2, 4]), seconds - now - 0.01)
            add(x, tone(r, 55 * 2 ** (r.integers(0, 48) / 12), length) * r.uniform(0.1, 0.5), now)
        if seed % 3 == 0:
            add(x, drum(r) * r.uniform(0.2, 0.8), now)
        now += beat
    return finish(x, r)


def voice(seed: int, seconds: float = SECONDS) -> Signal:
    """Syllables with pauses."""
    r = np.random.default_rng([seed, 2])
    x, now = np.zeros(round(seconds * RATE)), 0.2
    while now < seconds - 1:
        if r.random() < 0.7:
            burst = consonant(r)
            add(x, burst, now)
            now += len(burst) / RATE
        length = r.uniform(0.08, 0.35)
        add(x, vowel(r, length) * r.uniform(0.3, 1), now)
        now += length + (r.uniform(0.2, 0.8) if r.random() < 0.2 else r.uniform(0, 0.03))
    return finish(x, r)


def add(x: Signal, y: Signal, seconds: float) -> None:
    """Add a sound at a time, in place."""
    first = round(seconds * RATE)
    part = x[first : first + len(y)]
    part += y[: len(part)]


def finish(x: Signal, r: np.random.Generator) -> Signal:
    """A room, a level and a noise floor."""
    t = np.arange(round(0.3 * RATE)) / RATE
    room = r.standard_normal(len(t)) * np.exp(-t * r.uniform(15, 40)) * r.uniform(0, 0.03)
    room[0] = 1.0
    x = fftconvolve(x, room)[: len(x)]
    return np.asarray(
        x / np.abs(x).max() * r.uniform(0.2, 0.9) + 10 ** (-75 / 20) * r.standard_normal(len(x))
    )


def material(seed: int, seconds: float = SECONDS) -> Signal:
    """Music with even seeds, voices with odd ones."""
    return (voice if seed % 2 else music)(seed, seconds)


# ---- damage: each returns where it is


def somewhere(x: Signal, r: np.random.Generator, size: int) -> int:
    """The first frame of a place of some loudness, for damage in silence is no harm."""
    while True:
        first = int(r.integers(RATE, len(x) - RATE - size))
        if np.std(x[first - 500 : first]) > 0.02 and np.std(x[first + size : first + size + 500]) > 0.02:
            return first


def click(x: Signal, r: np.random.Generator) -> Place:
    """One wrong sample."""
    i = somewhere(x, r, 1)
    x[i] += r.choice([-1, 1]) * r.uniform(0.1, 0.4)
    return i, i + 1


def scratch(x: Signal, r: np.random.Generator) -> Place:
    """1 to 5 ms of noise."""
    n = round(r.uniform(0.001, 0.005) * RATE)
    i = somewhere(x, r, n)
    x[i : i + n] += r.uniform(0.1, 0.4) * r.standard_normal(n) * np.hanning(n + 2)[1:-1]
    return i, i + n


def pop(x: Signal, r: np.random.Generator) -> Place:
    """A decaying oscillation of 3 ms, as of a stylus."""
    n = round(0.003 * RATE)
    i, t = somewhere(x, r, n), np.arange(n) / RATE
    x[i : i + n] += r.uniform(0.3, 0.6) * np.exp(-t / 0.0006) * np.cos(2 * np.pi * r.uniform(2000, 6000) * t)
    return i, i + n


def zeros(x: Signal, r: np.random.Generator) -> Place:
    """A drop-out to zero of 1 to 100 ms."""
    n = round(10 ** r.uniform(-3, -1) * RATE)
    i = somewhere(x, r, n)
    x[i : i + n] = 0
    return i, i + n


def held(x: Signal, r: np.random.Generator) -> Place:
    """A sample held for 1 to 50 ms."""
    n = round(10 ** r.uniform(-3, -1.3) * RATE)
    i = somewhere(x, r, n)
    x[i : i + n] = x[i]
    return i, i + n


def clip(x: Signal, r: np.random.Generator, scale: float = 1.0) -> Place:
    """Too loud by 1 to 6 dB for full scale."""
    x *= 10 ** (r.uniform(1, 6) / 20) / np.abs(x).max()
    over = np.flatnonzero(np.abs(x) > 1)
    np.clip(x, -1, 1, out=x)
    x *= scale
    return int(over[0]), int(over[-1]) + 1


def clip_below(x: Signal, r: np.random.Generator) -> Place:
    """The same, turned down afterwards."""
    return clip(x, r, r.uniform(0.2, 0.8))


def nan(x: Signal, r: np.random.Generator) -> Place:
    """Up to 20 samples that are not finite."""
    n = int(r.integers(1, 20))
    i = somewhere(x, r, n)
    x[i : i + n] = r.choice([np.nan, np.inf])
    return i, i + n


def hum(x: Signal, r: np.random.Generator, mains: float = 50.0) -> Place:
    """The mains at -50 to -35 dB, with harmonics."""
    f, t = mains * (1 + r.uniform(-0.002, 0.002)), np.arange(len(x)) / RATE
    level = 10 ** (r.uniform(-50, -35) / 20)
    for k in range(1, 9):
        x += level * r.uniform(0.2, 1) / k * np.sin(2 * np.pi * k * f * t + r.uniform(0, 6))
    return 0, len(x)


def hum_60(x: Signal, r: np.random.Generator) -> Place:
    """The same at 60 Hz."""
    return hum(x, r, 60.0)


DAMAGE: dict[str, tuple[Callable[[Signal, np.random.Generator], Place], str]] = {
    "one wrong sample": (click, CLICK),
    "scratch of 1 to 5 ms": (scratch, CLICK),
    "pop of 3 ms": (pop, CLICK),
    "drop-out to zero, 1 to 100 ms": (zeros, DROPOUT),
    "held sample, 1 to 50 ms": (held, DROPOUT),
    "clipping at full scale, 1 to 6 dB": (clip, CLIPPING),
    "clipping below full scale": (clip_below, CLIPPING),
    "NaN or infinity": (nan, NOT_FINITE),
    "hum of 50 Hz": (hum, HUM),
    "hum of 60 Hz": (hum_60, HUM),
}


# ---- several damages in one file: each returns where they are, of which kind, and at which level


Damaged = list[tuple[Place, str, float | None]]


def clip_part(x: Signal, r: np.random.Generator, share: tuple[float, float], seconds: float) -> Damaged:
    """A part of the file clipped at a share of its own peak, turned neither up nor down."""
    size = round(seconds * RATE)
    first = int(r.integers(0, len(x) - size + 1))
    part = x[first : first + size]
    level = float(r.uniform(*share) * np.abs(part).max())
    over = np.flatnonzero(np.abs(part) > level)
    np.clip(part, -level, level, out=part)
    return [((first + int(over[0]), first + int(over[-1]) + 1), CLIPPING, level)]


def clicks_and_a_gap(x: Signal, r: np.random.Generator) -> Damaged:
    """Three wrong samples, of which each stands above its surroundings, and a drop-out to zero."""
    gap = zeros(x, r)
    found: Damaged = [(gap, DROPOUT, None)]
    while len(found) < 4:
        i = somewhere(x, r, 1)
        if all(abs(i - a) > RATE / 20 and abs(i - b) > RATE / 20 for (a, b), _, _ in found):
            x[i] += (np.sign(x[i]) or 1) * r.uniform(0.1, 0.4)
            found.append(((i, i + 1), CLICK, None))
    return found


def mixed_all_over(x: Signal, r: np.random.Generator) -> Damaged:
    """All of the file clipped, then clicks and a gap."""
    return clip_part(x, r, (0.3, 0.7), SECONDS) + clicks_and_a_gap(x, r)


def mixed_in_a_part(x: Signal, r: np.random.Generator) -> Damaged:
    """One to three seconds clipped far below the peaks of the rest; clicks and a gap anywhere."""
    return clip_part(x, r, (0.2, 0.5), r.uniform(1, 3)) + clicks_and_a_gap(x, r)


def two_levels(x: Signal, r: np.random.Generator) -> Damaged:
    """Two halves, a part of each clipped at a level of its own."""
    found: Damaged = []
    for first in (0, len(x) // 2):
        ((a, b), kind, level), *_ = clip_part(x[first : first + len(x) // 2], r, (0.2, 0.6), r.uniform(1, 3))
        found.append(((a + first, b + first), kind, level))
    return found


MIXED: dict[str, Callable[[Signal, np.random.Generator], Damaged]] = {
    "mixed: all clipped, 3 clicks, a drop-out": mixed_all_over,
    "mixed: 1 to 3 s clipped, 3 clicks, a drop-out": mixed_in_a_part,
    "mixed: two parts clipped at two levels": two_levels,
}


def check(x: Signal, rate: int = RATE) -> list[Finding]:
    """What the command finds in a signal, stored with 16 bits, or as floats if it is not finite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "take.wav"
        whole = np.isfinite(x).all()
        soundfile.write(path, x.clip(-1, 1) if whole else x, rate, subtype="PCM_16" if whole else "FLOAT")
        return find_damage(examine(path))


def damaged(name: str, seed: int) -> tuple[bool, int]:
    """Whether one damage is found as what it is, and how many findings are of nothing."""
    make, kind = DAMAGE[name]
    x = material(5000 + seed)
    a, b = make(x, np.random.default_rng([seed, 3]))
    found, slack = check(x), round(0.002 * RATE)
    right = [f for f in found if f.kind == kind and overlaps(f, (a, b), slack)]
    false = [
        f for f in found if f.stop < a - slack or f.start > b + slack or (f.kind != kind and kind == HUM)
    ]
    return bool(right), len(false)


def rows(per_kind: int) -> list[dict[str, Any]]:
    """A line for each kind of damage; the first two seeds of each are the twenty."""
    lines = []
    for i, name in enumerate(DAMAGE):
        results = [damaged(name, 100 * i + seed) for seed in range(per_kind)]
        lines.append(
            {
                "damage": name,
                "found of the first 2": sum(found for found, _ in results[:2]),
                f"found of {per_kind}": sum(found for found, _ in results),
                "false findings": sum(false for _, false in results),
            }
        )
        print(lines[-1], flush=True)
    first = sum(line["found of the first 2"] for line in lines)
    every = sum(line[f"found of {per_kind}"] for line in lines)
    false = sum(line["false findings"] for line in lines)
    total = {"damage": "all", "found of the first 2": f"{first} of 20"}
    return [*lines, total | {f"found of {per_kind}": f"{every} of {10 * per_kind}", "false findings": false}]


def overlaps(f: Finding, place: Place, slack: int) -> bool:
    """Whether a finding touches a place."""
    return f.start < place[1] + slack and f.stop > place[0] - slack


def mixed(name: str, seed: int) -> tuple[int, int, int]:
    """How many damages of a file are found, of how many, and how many findings are of nothing."""
    x = material(7000 + seed)
    truth, slack = MIXED[name](x, np.random.default_rng([seed, 4])), round(0.002 * RATE)
    findings = check(x)
    found = sum(
        any(
            f.kind == kind
            and overlaps(f, place, slack)
            and (level is None or abs((f.level or 0) - level) < 0.01 * level)
            for f in findings
        )
        for place, kind, level in truth
    )
    false = sum(
        not any(f.kind == kind and overlaps(f, place, slack) for place, kind, _ in truth) for f in findings
    )
    return found, len(truth), false


def mixed_rows(per_kind: int) -> list[dict[str, Any]]:
    """A line for each mixture."""
    lines = []
    for i, name in enumerate(MIXED):
        results = [mixed(name, 100 * i + seed) for seed in range(per_kind)]
        found, count, false = (sum(column) for column in zip(*results, strict=True))
        lines.append(
            {
                "damage": name,
                f"found of {per_kind}": f"{found} of {count} in {per_kind} files",
                "false findings": false,
            }
        )
        print(lines[-1], flush=True)
    return lines


def clean(count: int) -> list[dict[str, Any]]:
    """False findings a minute in clean music and voices."""
    found: dict[str, list[Finding]] = {"clean music": [], "clean voices": []}
    for seed in range(count):
        found["clean voices" if seed % 2 else "clean music"] += check(material(9000 + seed))
    minutes = count / 2 * SECONDS / 60
    return [
        {
            "damage": f"{name}, {minutes:.1f} minutes",
            "false findings": len(each),
            "a minute": round(len(each) / minutes, 2),
        }
        for name, each in found.items()
    ]


def recorded(folder: Path) -> list[dict[str, Any]]:
    """What is found in recordings as they are."""
    lines, seconds, count = [], 0.0, 0
    for path in sorted(folder.glob("*.flac")):
        recording = examine(path)
        if recording.seconds < 3 or path.stem.startswith("vinyl"):
            continue
        findings = find_damage(recording)
        seconds, count = seconds + recording.seconds, count + len(findings)
        if findings:
            told = ", ".join(
                sorted({f"{f.text} ({sum(g.text == f.text for g in findings)})" for f in findings})
            )
            lines.append(
                {"damage": f"{path.stem} as it is: {told}", "false findings": f"{len(findings)} findings"}
            )
    return [
        *lines,
        {
            "damage": f"all recordings, {seconds / 60:.1f} minutes",
            "a minute": round(count / (seconds / 60), 2),
        },
    ]


def of_recordings(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those lines of a table that are of real recordings."""
    return [line for line in lines if " as it is: " in line["damage"] or "all recordings" in line["damage"]]


def main() -> None:
    """Everything."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--recordings", type=Path, help="folder of the real recordings")
    p.add_argument("--count", type=int, default=6, help="seeds for each kind of damage")
    p.add_argument("--clean", type=int, default=24, help="clean pieces")
    p.add_argument("--results", type=Path, default=Path(sys.argv[0]).resolve().parent / "results")
    o = p.parse_args()
    begin = time.perf_counter()
    lines = rows(o.count) + mixed_rows(o.count) + clean(o.clean)
    command, note = "python benchmarks/audio_check.py", "Levels, places and kinds are drawn by seed."
    before = o.results / "audio_check.json"
    if o.recordings:
        lines, command = lines + recorded(o.recordings), f"{command} --recordings FOLDER"
    elif before.exists():
        lines += of_recordings(json.loads(before.read_text())["rows"])
        note += " The lines of recordings are of an earlier run."
    seconds = time.perf_counter() - begin
    write(o.results / "audio_check", lines, command, f"{seconds:.0f} s in all. {note}")


if __name__ == "__main__":
    main()
