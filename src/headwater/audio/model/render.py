"""Scores played by a synthesiser: the recordings that the music flow learns from.

    python -m headwater.audio.model.render --work build/music --hours 20

Each rendition takes one score and draws, from its seed, instruments, tempo, transposition, dynamics, articulation and
room; FluidSynth plays it with the FluidR3 soundfont (MIT) at 48 kHz, and a linear-phase low-pass brings it to 16 kHz.
Debian has both: `apt install fluidsynth fluid-soundfont-gm`. The recordings are mono, 16 bit, a minute at most, in
shards of an hour; an interrupted run goes on with the shard it was at.

Training hears more instruments than the others and, in a fifth of the recordings, drums (`rhythm.py`). Held out are
scores (`scores.held_out`) and instruments (`HELD_OUT`): the recordings of `test` have both, those of `validation`
only held-out scores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headwater.audio.model.instruments import FAMILIES, HELD_OUT, MODERN, PITCHES, Families
from headwater.audio.model.rhythm import KITS, draw_strokes
from headwater.audio.model.scores import Score, collect
from headwater.audio.model.scores import held_out as held_out_score
from headwater.errors import Misuse

RATE, SYNTHESIS_RATE = 16_000, 48_000
SECONDS = 60
DRUMS = 9
"""The channel of the drums."""
SOUNDFONTS = tuple(
    Path(folder) / "FluidR3_GM.sf2" for folder in ("/usr/share/sounds/sf2", "/usr/share/soundfonts")
)


@dataclass(frozen=True)
class Rendition:
    """How a score is played: `programs` and `transposition` (semitones) one per part, a `quarter` in seconds.

    No programs: drums alone. `kit`: the drums that are added, if any.
    """

    score: Score
    programs: tuple[int, ...]
    quarter: float
    transposition: tuple[int, ...]
    start: float
    """Quarters that are skipped."""
    loudness: int
    legato: float
    room: tuple[float, float, float]
    """FluidSynth's room size, damping and level of the reverberation."""
    seed: int
    kit: int | None = None


def draw(
    scores: list[Score], families: Families, seed: int, *, with_drums: float = 0.0, drums_alone: float = 0.3
) -> Rendition:
    """A rendition by its seed, of scores and instruments.

    `with_drums` is the share of recordings with drums, `drums_alone` the share of those with nothing else.

    The tempo is drawn by the median length of a note, 0.12 to 0.6 s: editions differ by factors of four in the note
    that they call a beat.
    """
    r = np.random.default_rng(seed)
    score = scores[int(r.integers(len(scores)))]
    names = list(families)
    kind = r.choice(3, p=(0.45, 0.25, 0.3))
    family = list(families[names[int(r.integers(len(names)))]])
    if kind == 0:  # one instrument plays all
        programs = (int(r.choice(family)),) * score.parts
    elif kind == 1:  # a consort of one family
        programs = tuple(int(p) for p in r.choice(family, score.parts))
    else:
        programs = tuple(int(r.choice(list(families[str(n)]))) for n in r.choice(names, score.parts))
    median = float(np.median(score.notes["length"]))
    quarter = min(float(np.exp(r.uniform(np.log(0.12), np.log(0.6)))) / median, 1.2)
    key = int(r.integers(-6, 7))
    transposition = tuple(key + octaves(score, i, key, p) for i, p in enumerate(programs))
    latest = max(0.0, score.quarters - SECONDS / quarter)
    dry = r.random() < 0.25
    drums = np.random.default_rng([seed, 2])
    chance, kit = drums.random(), int(drums.choice(KITS))
    return Rendition(
        score,
        () if chance < with_drums * drums_alone else programs,
        quarter,
        transposition,
        float(r.uniform(0, latest)),
        int(r.integers(50, 110)),
        float(r.uniform(0.75, 1.05)),
        (float(r.uniform(0.1, 0.9)), float(r.uniform(0, 0.8)), 0.0 if dry else float(r.uniform(0.2, 0.9))),
        seed,
        kit if chance < with_drums else None,
    )


def octaves(score: Score, part: int, key: int, program: int) -> int:
    """By how many semitones, whole octaves, a part is moved to where its instrument plays well."""
    pitches = score.notes["pitch"][score.notes["part"] == part].astype(int) + key
    if not len(pitches):
        return 0
    low, high = PITCHES[program]
    ends = np.percentile(pitches, (5, 95))
    if low <= ends[0] and ends[1] <= high:
        return 0
    return 12 * round(((low + high) / 2 - float(ends.mean())) / 12)


def write_midi(rendition: Rendition, path: Path) -> None:
    """Write the rendition as a MIDI file of one track, with small random shifts of onset and loudness."""
    import mido

    r = np.random.default_rng([rendition.seed, 1])
    notes = rendition.score.notes
    notes = notes[notes["part"] < len(rendition.programs)]
    onset = (notes["onset"] - rendition.start) * rendition.quarter
    chosen = (onset >= 0) & (onset < SECONDS - 1)
    notes, onset = notes[chosen], onset[chosen] + 0.05 + np.abs(r.normal(0, 0.006, chosen.sum()))
    length = np.maximum(notes["length"] * rendition.quarter * rendition.legato, 0.04)
    wave = 12 * np.sin(2 * np.pi * (onset / r.uniform(3, 9) + r.random()))  # phrases swell and fall
    velocity = np.clip(rendition.loudness + wave + r.normal(0, 6, len(onset)), 20, 127).astype(int)
    events: list[tuple[float, int, Any]] = []
    channels = [c for c in range(16) if c != DRUMS]
    for part, program in enumerate(rendition.programs):
        channel = channels[part % 15]
        events.append((0.0, 0, mido.Message("program_change", channel=channel, program=program)))
        pan = int(r.integers(30, 98))
        events.append((0.0, 0, mido.Message("control_change", channel=channel, control=10, value=pan)))
    for n, t, d, v in zip(notes, onset, length, velocity, strict=True):
        part = int(n["part"])
        pitch = int(np.clip(int(n["pitch"]) + rendition.transposition[part], 0, 127))
        one = {"channel": channels[part % 15], "note": pitch}
        events.append((float(t), 2, mido.Message("note_on", velocity=int(v), **one)))
        events.append((float(t + d), 1, mido.Message("note_off", **one)))
    events += drum_events(rendition)
    file = mido.MidiFile(ticks_per_beat=480)
    track = file.add_track()
    track.append(mido.MetaMessage("set_tempo", tempo=480_000))  # a tick is a millisecond
    now = 0
    for t, _, message in sorted(events, key=lambda e: e[:2]):
        tick = round(1000 * t)
        track.append(message.copy(time=tick - now))
        now = tick
    file.save(path)


def drum_events(rendition: Rendition) -> list[tuple[float, int, Any]]:
    """The events of the drums: times in seconds, order, messages."""
    import mido

    if rendition.kit is None:
        return []
    r = np.random.default_rng([rendition.seed, 3])
    one = {"channel": DRUMS}
    events: list[tuple[float, int, Any]] = [
        (0.0, 0, mido.Message("program_change", program=rendition.kit, **one))
    ]
    for s in draw_strokes(rendition.quarter, SECONDS - 1.0, r):
        note = one | {"note": s.pitch}
        events.append((s.onset, 2, mido.Message("note_on", velocity=s.velocity, **note)))
        events.append((s.onset + 0.1, 1, mido.Message("note_off", **note)))
    return events


def play(rendition: Rendition, soundfont: Path) -> NDArray[np.int16]:
    """The rendition as a recording, mono, 16 kHz, 16 bit, at most a minute, without the silence at its end."""
    import soundfile
    from scipy.signal import resample_poly

    room, damping, level = rendition.room
    with tempfile.TemporaryDirectory() as folder:
        score, wave = Path(folder) / "score.mid", Path(folder) / "played.wav"
        write_midi(rendition, score)
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
        command = ["fluidsynth", "-niq", *options, "-F", str(wave), "-T", "wav", "-O", "float"]
        command += ["-r", str(SYNTHESIS_RATE), str(soundfont), str(score)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stereo, _ = soundfile.read(wave, dtype="float32", frames=SECONDS * SYNTHESIS_RATE)
    x = resample_poly(stereo.mean(1), 1, SYNTHESIS_RATE // RATE)
    peak = float(np.abs(x).max(initial=1e-9))
    loud = np.nonzero(np.abs(x) > 1e-3 * peak)[0]
    x = x[: loud[-1] + 1] if len(loud) else x[:0]
    return np.asarray(np.round(x * (0.9 / peak) * 32767), dtype=np.int16)


def find_soundfont() -> Path:
    """The soundfont.

    Raises
    ------
    Misuse
        FluidSynth or the soundfont is missing.
    """
    found = next((p for p in SOUNDFONTS if p.exists()), None)
    if found is None or shutil.which("fluidsynth") is None:
        raise Misuse(
            "FluidSynth or the soundfont FluidR3_GM.sf2 is missing.",
            "Install both, on Debian: apt install fluidsynth fluid-soundfont-gm",
        )
    return found


class Part(NamedTuple):
    """A part of the data: its scores and instruments, the first seed, and the share of recordings with drums."""

    scores: list[Score]
    families: Families
    seed: int
    with_drums: float = 0.0


def split_data(scores: list[Score], *, classical: bool = False) -> dict[str, Part]:
    """The parts of the data by name; `classical`: for training, too, the instruments of classical scores alone."""
    learned = [s for s in scores if not held_out_score(s.name)]
    kept = [s for s in scores if held_out_score(s.name)]
    return {
        "train": Part(learned, FAMILIES, 0)
        if classical
        else Part(learned, FAMILIES | MODERN, 0, with_drums=0.2),
        "validation": Part(kept, FAMILIES, 10_000_000),
        "test": Part(kept, HELD_OUT, 20_000_000),
    }


def render(work: Path, part: str, hours: float, processes: int = 1, *, classical: bool = False) -> None:
    """Fill `work/<part>-<number>.npz` until there are `hours` of recordings; `classical` as in `split_data`."""
    find_soundfont()
    collect(work, processes)
    todo = [
        (work, part, shard, min(1.0, hours - shard), classical)
        for shard in range(int(np.ceil(hours)))
        if not shard_path(work, part, shard).exists()
    ]
    with ProcessPoolExecutor(processes) as pool:
        for line in pool.map(render_shard, *zip(*todo, strict=True)) if todo else ():
            print(line, flush=True)


def shard_path(work: Path, part: str, shard: int) -> Path:
    """The file of a shard."""
    return work / f"{part}-{shard:03d}.npz"


def render_shard(work: Path, part: str, shard: int, hours: float, classical: bool) -> str:
    """Play and store `hours` of recordings; a line that says what they are."""
    p = split_data(collect(work), classical=classical)[part]
    wanted, played, offsets = hours * 3600 * RATE, [], [0]
    number = p.seed + 100_000 * shard
    while offsets[-1] < wanted:
        played.append(play(draw(p.scores, p.families, number, with_drums=p.with_drums), find_soundfont()))
        offsets.append(offsets[-1] + len(played[-1]))
        number += 1
    stored = shard_path(work, part, shard)
    temporary = stored.with_suffix(".tmp.npz")
    np.savez(temporary, samples=np.concatenate(played), offsets=np.array(offsets))
    os.replace(temporary, stored)
    return f"{stored.name}: {len(played)} recordings, {offsets[-1] / RATE / 3600:.2f} hours"


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--work", type=Path, required=True, help="folder of the scores and recordings")
    p.add_argument("--hours", type=float, default=20.0, help="hours of training recordings")
    p.add_argument("--held-out", type=float, default=1.0, help="hours of validation, and of test")
    p.add_argument("--processes", type=int, default=2)
    p.add_argument(
        "--classical",
        action="store_true",
        help="for training, too, the instruments of classical scores alone; use a folder of its own",
    )
    o = p.parse_args()
    for part, hours in (("validation", o.held_out), ("test", o.held_out), ("train", o.hours)):
        render(o.work, part, hours, o.processes, classical=o.classical)


if __name__ == "__main__":
    main()
