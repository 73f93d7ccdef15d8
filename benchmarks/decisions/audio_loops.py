"""Recordings that repeat themselves: a gap filled by what was there the last time.

    apt download sonic-pi-samples && dpkg -x sonic-pi-samples_*.deb build/real        # Sonic Pi's samples, all CC0
    python benchmarks/decisions/audio_loops.py --recordings build/real/usr/share/sonic-pi/samples

All loops of that set that last 4 s or more, mono, whole, at their own rate of 44.1 kHz, with a gap of 400 ms in the
middle. `repeats`: whether both sides of the gap are alike somewhere (`audio.signal.repetition`); where they are,
`repetition` is what `headwater audio inpaint` does; where not, it does what `flow` says. Compared at 16 kHz, half a
second around the gap; SI-SDR counts the gap. `--count` takes the first of the loops only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

import _path  # noqa: F401
from audio_real import Methods, judged, recording
from common import options, write
from headwater.audio.gaps import SETTINGS, fill_by_flow
from headwater.audio.io.files import Patch, Recording
from headwater.audio.io.segments import Segment, segments_around
from headwater.audio.model import models
from headwater.audio.signal.repetition import repeat_gaps
from recordings import AROUND, Signal, crossfaded, janssen, plain, stored

SECONDS, GAP = 4.0, 0.4


def filled_by(y: Signal, start: int, stop: int, rate: int, *, repeat: bool) -> Signal | None:
    """The clip with its gap filled by repetition, if it repeats itself, or by the flow."""
    folder, source = stored(y, rate)
    with folder:
        (segment,) = segments_around([(start, stop)], round(SETTINGS.context * rate))
        patch = repeat_gaps(source, segment) if repeat else by_flow(source, segment)
    if patch is None:
        return None
    x = y.copy()
    x[start:stop] = patch.samples[start - segment.start : stop - segment.start, 0]
    return x


def by_flow(source: Recording, segment: Segment) -> Patch:
    """What `fill_segment` makes of a gap that nothing repeats."""
    return fill_by_flow(models.load_prior(), source, segment).patch


def compared(path: Path) -> list[dict[str, object]]:
    """The lines of a recording."""
    x, rate = recording(path, seconds=float("inf"))
    size = round(GAP * rate)
    start = (len(x) - size) // 2
    stop, reach = start + size, round(AROUND * rate)
    lost = np.zeros(len(x), dtype=bool)
    lost[start:stop] = True
    y, heard = np.where(lost, 0.0, x), (start - reach, stop + reach)
    again = filled_by(y, start, stop, rate, repeat=True)
    flow = filled_by(y, start, stop, rate, repeat=False)
    methods: Methods = {
        "flow": plain(lambda z, i: flow),
        "prediction": plain(lambda z, i: janssen(z, start, stop, rate)),
        "cross-fade": plain(lambda z, i: crossfaded(z, start, stop)),
    }
    if again is not None:
        methods = {"repetition": plain(lambda z, i: again)} | methods
    about = {"recording": path.stem, "repeats": "no" if again is None else "yes"}
    lines: list[dict[str, object]] = []
    for name, method in methods.items():
        scores = judged(method(y, 0), x, lost, heard, rate)
        lines.append(about | {"method": name} | {k: scores[k] for k in ("SI-SDR, dB", "LSD, dB", "CDPAM")})
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    o = options(__doc__.splitlines()[0], "recordings", count=100)
    paths = sorted(p for p in o.recordings.glob("loop_*.flac") if soundfile.info(p).duration >= SECONDS)
    lines = [line for path in paths[: o.count] for line in compared(path)]
    command = "python benchmarks/decisions/audio_loops.py --recordings build/real/usr/share/sonic-pi/samples"
    write(
        o.results / "audio_loops", lines, command, "Loops from Sonic Pi, CC0; a gap of 400 ms in the middle."
    )


if __name__ == "__main__":
    main()
