"""The band above the flow's at the edges of a gap: is it as loud inside as outside, and as loud as it was?

    python benchmarks/decisions/audio_edges.py --recordings build/real/usr/share/sonic-pi/samples

Gaps of 50, 100 and 400 ms at three places of recordings of Sonic Pi at 44.1 kHz, mono, filled by linear prediction
and the noise above 7.4 kHz; the flow, which hears nothing above 8 kHz, is not asked. `step`: by how many dB the power
above 8.5 kHz differs between the 10 ms inside and the 10 ms outside of an edge, the median over the gaps; edges whose
outside is below -85 dB are left out. `true step`: the same of the recording. `level`: the power in the whole gap
against the true one, median and mean of what it is off; `too loud`: the share of 10 ms frames more than 12 dB above
the truth, which is what a slab of noise over silence is. `--count` takes the first of the recordings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

import _path  # noqa: F401
from audio_real import recording
from common import options, write
from headwater.audio.gaps import SETTINGS, GapTask
from headwater.audio.io.channels import Signal
from headwater.audio.io.segments import segments_around
from headwater.audio.model import models
from recordings import stored

RECORDINGS = (
    "drum_cymbal_open",
    "loop_amen_full",
    "loop_breakbeat",
    "loop_compus",
    "loop_3d_printer",
    "loop_weirdo",
    "loop_garzul",
    "loop_electric",
    "loop_safari",
    "loop_tabla",
)
MILLISECONDS, PLACES = (50, 100, 400), (0.35, 0.5, 0.7)
BAND, SILENT, TOO_LOUD = 8500.0, -85.0, 12.0


def filled(x: Signal, start: int, stop: int, rate: int) -> Signal:
    """The recording with its gap filled by prediction and noise."""
    y = x.copy()
    y[start:stop] = 0.0
    folder, source = stored(y, rate)
    with folder:
        (segment,) = segments_around([(start, stop)], round(SETTINGS.context * rate))
        patch = GapTask.read(models.load_prior(), source, segment).finish(None)
    y[start:stop] = patch.samples[start - segment.start : stop - segment.start, 0]
    return y


def levels(x: Signal, rate: int, start: int, stop: int) -> Signal:
    """The level in dB of frames of 10 ms from one before `start` to one after `stop`, in the band."""
    high = sosfiltfilt(butter(6, BAND, "highpass", fs=rate, output="sos"), x)
    size = rate // 100
    firsts = [start - size, *range(start, stop - size + 1, size), stop - size, stop]
    return np.array([10 * np.log10(np.mean(high[a : a + size] ** 2) + 1e-10) for a in firsts])


def measured(path: Path, milliseconds: int) -> list[dict[str, float]]:
    """What is measured at the places of a recording."""
    x, rate = recording(path)
    found = []
    for share in PLACES:
        start = int(share * len(x))
        stop = start + rate * milliseconds // 1000
        if stop + rate // 10 > len(x):
            continue
        ours, true = (levels(z, rate, start, stop) for z in (filled(x, start, stop, rate), x))
        off = 10 * np.log10(np.mean(10 ** (ours[1:-2] / 10)) / np.mean(10 ** (true[1:-2] / 10)))
        for inside, outside in ((1, 0), (-2, -1)):
            if true[outside] > SILENT:
                steps = abs(ours[inside] - ours[outside]), abs(true[inside] - true[outside])
                found.append({"step": steps[0], "true": steps[1], "off": off})
                found[-1]["loud"] = float(np.mean(ours[1:-2] > true[1:-2] + TOO_LOUD))
    return found


def main() -> None:
    o = options(__doc__.splitlines()[0], "recordings", count=10)
    lines: list[dict[str, Any]] = []
    for m in MILLISECONDS:
        rows = [row for name in RECORDINGS[: o.count] for row in measured(o.recordings / f"{name}.flac", m)]
        column = {k: np.array([row[k] for row in rows]) for k in rows[0]}
        lines.append(
            {
                "gap, ms": m,
                "edges": len(rows),
                "step, dB": round(float(np.median(column["step"])), 1),
                "true step, dB": round(float(np.median(column["true"])), 1),
                "level, dB": round(float(np.median(column["off"])), 1),
                "level off, dB": round(float(np.abs(column["off"]).mean()), 1),
                "too loud": round(float(column["loud"].mean()), 3),
            }
        )
        print(lines[-1], flush=True)
    command = "python benchmarks/decisions/audio_edges.py --recordings build/real/usr/share/sonic-pi/samples"
    write(o.results / "audio_edges", lines, command, "Recordings from Sonic Pi, CC0.")


if __name__ == "__main__":
    main()
