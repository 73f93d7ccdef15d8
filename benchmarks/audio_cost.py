"""What a repair costs: gaps by the gaps and not by the file, damage all over a recording by its length.

    python benchmarks/audio_cost.py --music build/music

Held-out recordings, end to end, stereo, 44.1 kHz, 16 bit, of 10 s, 1 and 10 minutes, each with the same three gaps
of 100 ms at the same places (relative to the end of the file), through `headwater audio inpaint` in its own process.
Seconds are those of the whole command less those of `headwater models`, which loads Python and the packages; memory
is the process' peak, beside that of `headwater models`. `times real time`: seconds of work per second of damage.

Below that the commands for damage all over a recording, on 24 s of the same, three stretches. `--longest` leaves out
longer files, `--whole` is the number of those seconds.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from common import write
from headwater.audio.io.resample import resample
from headwater.audio.model.render import RATE
from recordings import clips, options

OUT = 44_100
LENGTHS = (10, 60, 600)
GAPS = (8.0, 5.0, 2.0)
"""Seconds before the end at which gaps begin."""
LOST = 0.1
NOISES = {"light": 45, "strong": 35}
"""Decibels below full scale. Light noise is finer than the flow resolves, so it is not asked."""


def measured(words: list[str], threads: int) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a command, in a process of its own."""
    begin = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "headwater", *words],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"headwater {' '.join(words)} ended with {status}")
    assert isinstance(usage, resource.struct_rusage)
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def recording(x: np.ndarray, seconds: int) -> np.ndarray:
    """The clips end to end until it is so long, the last of them always the same."""
    size = seconds * OUT
    times = -(-size // len(x))
    return np.tile(x, (times, 1))[-size:]


def damages(x: np.ndarray, h: np.ndarray) -> Iterator[tuple[str, np.ndarray, str]]:
    """What may happen to all of a recording: the command, what it gets, and what it is told."""
    yield "declip", np.clip(x, -0.5, 0.5), "--level 0.5"
    for name, decibels in NOISES.items():
        level = 10 ** (-decibels / 20)
        y = x + level * np.random.default_rng(1).standard_normal(x.shape)
        yield f"denoise, {name} noise", np.clip(y, -1, 1), f"--noise -{decibels}dB"
    y = 0.3 * fftconvolve(x, h[:, None], axes=0)[: len(x)]
    yield "dereverb", np.clip(y, -1, 1), "--impulse room.wav --noise -80dB"
    yield "restore", x, "--cutoff 4kHz"


def line_of(
    name: str, words: list[str], target: Path, damaged: float, base: float, threads: int
) -> dict[str, object]:
    """What a command costs for so many seconds of damage."""
    spent, peak = measured([*words, "-o", str(target), "--overwrite", "--quiet"], threads)
    report = json.loads(target.with_suffix(".json").read_text())
    evaluations = sum(n for s in report["stretches"] for n in s["evaluations"])
    line = {
        "file": name,
        "seconds": round(spent - base, 1),
        "peak MiB": round(peak),
        "times real time": round((spent - base) / damaged, 1),
        "NFE per damaged second": round(evaluations / damaged),
    }
    print(line, flush=True)
    return line


def main() -> None:
    o = options(__doc__.splitlines()[0], count=10, longest=600, whole=24)
    mono = clips(o.music, o.count, 10.0).reshape(-1)
    left = resample(mono, RATE, OUT)
    stereo = np.stack([left, 0.8 * np.roll(left, 20)], axis=1)
    base = measured(["models"], o.threads)
    lines: list[dict[str, object]] = [
        {"file": "none: headwater models", "seconds": round(base[0], 1), "peak MiB": round(base[1])}
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, target, room = (Path(folder) / f"{name}.wav" for name in ("take", "out", "room"))
        for seconds in (s for s in LENGTHS if s <= o.longest):
            soundfile.write(source, recording(stereo, seconds), OUT, subtype="PCM_16")
            gaps = [w for g in GAPS for w in ("--gap", f"{seconds - g}+{LOST}")]
            words = ["audio", "inpaint", str(source), *gaps]
            lines.append(line_of(f"{seconds} s", words, target, LOST * len(GAPS), base[0], o.threads))
        h = 0.05 * np.random.default_rng(0).standard_normal(OUT // 4) * np.geomspace(1, 1e-3, OUT // 4)
        h[0] = 1.0
        soundfile.write(room, h, OUT, subtype="FLOAT")
        for name, x, option in damages(recording(stereo, o.whole), h):
            soundfile.write(source, x, OUT, subtype="PCM_16")
            command = name.split(",")[0]
            words = ["audio", command, str(source), *option.replace("room.wav", str(room)).split()]
            lines.append(line_of(f"{o.whole} s, {name}", words, target, o.whole, base[0], o.threads))
    write(
        o.results / "audio_cost",
        lines,
        "python benchmarks/audio_cost.py --music build/music",
        "Mid and side count each.",
    )


if __name__ == "__main__":
    main()
