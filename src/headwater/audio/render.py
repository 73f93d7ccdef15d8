"""Scores played by a synthesiser: the recordings that the music flow learns from.

    python -m headwater.audio.render --work build/music --hours 20

Each rendition takes one score and draws, from its seed, instruments, tempo, transposition, dynamics, articulation and
room; FluidSynth plays it with the FluidR3 soundfont (MIT) at 48 kHz, and a linear-phase low-pass brings it to 16 kHz.
Debian has both: `apt install fluidsynth fluid-soundfont-gm`. The recordings are mono, 16 bit, a minute at most, in
shards of an hour; an interrupted run goes on with the shard it was at.

Held out are scores (`scores.held_out`) and instruments (`HELD_OUT`): the recordings of `test` have both, those of
`validation` only held-out scores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.audio.scores import Score, collect
from headwater.audio.scores import held_out as held_out_score
from headwater.errors import Misuse

RATE, SYNTHESIS_RATE = 16_000, 48_000
SECONDS = 60
SOUNDFONTS = tuple(
    Path(folder) / "FluidR3_GM.sf2" for folder in ("/usr/share/sounds/sf2", "/usr/share/soundfonts")
)
FAMILIES = {
    "keyboard": (0, 1, 4, 8, 11),
    "organ": (19, 20, 21),
    "plucked": (25, 45, 46),
    "mallet": (12, 13),
    "strings": (40, 42, 43, 48),
    "voices": (52, 53),
    "brass": (56, 58, 60, 61),
    "reeds": (64, 66, 69, 70, 71),
    "flutes": (72, 73, 74),
}
"""General MIDI programs, counted from 0, by family."""
HELD_OUT = {
    "keyboard": (6,),
    "plucked": (24,),
    "strings": (41,),
    "brass": (57,),
    "reeds": (65, 68),
    "flutes": (75,),
}
"""Instruments that no training recording has: harpsichord, nylon guitar, viola, trombone, ..."""
LOWEST, HIGHEST = 33, 96


@dataclass(frozen=True)
class Rendition:
    """How a score is played: `programs` one per part, a `quarter` in seconds, `transposition` in semitones."""

    score: Score
    programs: tuple[int, ...]
    quarter: float
    transposition: int
    start: float
    """Quarters that are skipped."""
    loudness: int
    legato: float
    room: tuple[float, float, float]
    """FluidSynth's room size, damping and level of the reverberation."""
    seed: int


def draw(scores: list[Score], families: dict[str, tuple[int, ...]], seed: int) -> Rendition:
    """A rendition by its seed.

    The tempo is drawn by the median length of a note, 0.12 to 0.6 s: editions differ by factors of four in the note
    that they call a beat.
    """
    r = np.random.default_rng(seed)
    score = scores[int(r.integers(len(scores)))]
    names = list(families)
    kind = r.choice(3, p=(0.45, 0.25, 0.3))
    family = families[names[int(r.integers(len(names)))]]
    if kind == 0:  # one instrument plays all
        programs = (int(r.choice(family)),) * score.parts
    elif kind == 1:  # a consort of one family
        programs = tuple(int(p) for p in r.choice(family, score.parts))
    else:
        programs = tuple(int(r.choice(families[str(n)])) for n in r.choice(names, score.parts))
    median = float(np.median(score.notes["length"]))
    quarter = float(np.exp(r.uniform(np.log(0.12), np.log(0.6)))) / median
    low, high = int(score.notes["pitch"].min()), int(score.notes["pitch"].max())
    transposition = int(r.integers(-6, 7))
    transposition += 12 * (low + transposition < LOWEST) - 12 * (high + transposition > HIGHEST)
    latest = max(0.0, score.quarters - SECONDS / quarter)
    dry = r.random() < 0.25
    return Rendition(
        score,
        programs,
        quarter,
        transposition,
        float(r.uniform(0, latest)),
        int(r.integers(50, 110)),
        float(r.uniform(0.75, 1.05)),
        (float(r.uniform(0.1, 0.9)), float(r.uniform(0, 0.8)), 0.0 if dry else float(r.uniform(0.2, 0.9))),
        seed,
    )


def midi(rendition: Rendition, path: Path) -> None:
    """Write the rendition as a MIDI file of one track, with small random shifts of onset and loudness."""
    import mido

    r = np.random.default_rng([rendition.seed, 1])
    notes = rendition.score.notes
    onset = (notes["onset"] - rendition.start) * rendition.quarter
    chosen = (onset >= 0) & (onset < SECONDS - 1)
    notes, onset = notes[chosen], onset[chosen] + 0.05 + np.abs(r.normal(0, 0.006, chosen.sum()))
    length = np.maximum(notes["length"] * rendition.quarter * rendition.legato, 0.04)
    wave = 12 * np.sin(2 * np.pi * (onset / r.uniform(3, 9) + r.random()))  # phrases swell and fall
    velocity = np.clip(rendition.loudness + wave + r.normal(0, 6, len(onset)), 20, 127).astype(int)
    events: list[tuple[float, int, Any]] = []
    channels = [c for c in range(16) if c != 9]  # 9 is the drums'
    for part, program in enumerate(rendition.programs):
        channel = channels[part % 15]
        events.append((0.0, 0, mido.Message("program_change", channel=channel, program=program)))
        pan = int(r.integers(30, 98))
        events.append((0.0, 0, mido.Message("control_change", channel=channel, control=10, value=pan)))
    for n, t, d, v in zip(notes, onset, length, velocity, strict=True):
        pitch = int(np.clip(int(n["pitch"]) + rendition.transposition, 0, 127))
        one = {"channel": channels[int(n["part"]) % 15], "note": pitch}
        events.append((float(t), 2, mido.Message("note_on", velocity=int(v), **one)))
        events.append((float(t + d), 1, mido.Message("note_off", **one)))
    file = mido.MidiFile(ticks_per_beat=480)
    track = file.add_track()
    track.append(mido.MetaMessage("set_tempo", tempo=480_000))  # a tick is a millisecond
    now = 0
    for t, _, message in sorted(events, key=lambda e: e[:2]):
        tick = round(1000 * t)
        track.append(message.copy(time=tick - now))
        now = tick
    file.save(path)


def play(rendition: Rendition, soundfont: Path) -> NDArray[np.int16]:
    """The rendition as a recording, mono, 16 kHz, 16 bit, at most a minute, without the silence at its end."""
    import soundfile
    from scipy.signal import resample_poly

    room, damping, level = rendition.room
    with tempfile.TemporaryDirectory() as folder:
        score, wave = Path(folder) / "score.mid", Path(folder) / "played.wav"
        midi(rendition, score)
        settings = {
            "synth.gain": 0.4,
            "synth.dynamic-sample-loading": 1,
            "synth.chorus.active": 0,
            "synth.reverb.active": int(level > 0),
            "synth.reverb.room-size": room,
            "synth.reverb.damp": damping,
            "synth.reverb.level": level,
        }
        options = [f"-o{k}={v}" for k, v in settings.items()]
        command = ["fluidsynth", "-niq", *options, "-F", wave, "-T", "wav", "-O", "float"]
        command += ["-r", str(SYNTHESIS_RATE), soundfont, score]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stereo, _ = soundfile.read(wave, dtype="float32", frames=SECONDS * SYNTHESIS_RATE)
    x = resample_poly(stereo.mean(1), 1, SYNTHESIS_RATE // RATE)
    peak = float(np.abs(x).max(initial=1e-9))
    loud = np.nonzero(np.abs(x) > 1e-3 * peak)[0]
    x = x[: loud[-1] + 1] if len(loud) else x[:0]
    return np.round(x * (0.9 / peak) * 32767).astype(np.int16)


def tools() -> Path:
    """The soundfont; refuses where something is missing."""
    found = next((p for p in SOUNDFONTS if p.exists()), None)
    if found is None or shutil.which("fluidsynth") is None:
        raise Misuse(
            "FluidSynth or the soundfont FluidR3_GM.sf2 is missing.",
            "Install both, on Debian: apt install fluidsynth fluid-soundfont-gm",
        )
    return found


def parts(scores: list[Score]) -> dict[str, tuple[list[Score], dict[str, tuple[int, ...]], int]]:
    """The scores, the instruments and the first seed of each part of the data."""
    learned = [s for s in scores if not held_out_score(s.name)]
    kept = [s for s in scores if held_out_score(s.name)]
    return {
        "train": (learned, FAMILIES, 0),
        "validation": (kept, FAMILIES, 10_000_000),
        "test": (kept, HELD_OUT, 20_000_000),
    }


def render(work: Path, part: str, hours: float) -> None:
    """Fill `work/<part>-<number>.npz` with recordings until there are so many hours."""
    scores, families, seed = parts(collect(work))[part]
    soundfont = tools()
    for shard in range(int(np.ceil(hours))):
        stored = work / f"{part}-{shard:03d}.npz"
        if stored.exists():
            continue
        wanted, played, offsets = min(1.0, hours - shard) * 3600 * RATE, [], [0]
        number = seed + 100_000 * shard
        while offsets[-1] < wanted:
            played.append(play(draw(scores, families, number), soundfont))
            offsets.append(offsets[-1] + len(played[-1]))
            number += 1
        temporary = stored.with_suffix(".tmp.npz")
        np.savez(temporary, samples=np.concatenate(played), offsets=np.array(offsets))
        os.replace(temporary, stored)
        print(f"{stored.name}: {len(played)} recordings, {offsets[-1] / RATE / 3600:.2f} hours", flush=True)


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--work", type=Path, required=True, help="folder of the scores and recordings")
    p.add_argument("--hours", type=float, default=20.0, help="hours of training recordings")
    p.add_argument("--held-out", type=float, default=1.0, help="hours of validation, and of test")
    o = p.parse_args()
    for part, hours in (("validation", o.held_out), ("test", o.held_out), ("train", o.hours)):
        render(o.work, part, hours)


if __name__ == "__main__":
    main()
