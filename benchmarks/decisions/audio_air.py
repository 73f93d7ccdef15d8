"""The band above the flow's: gaps of recordings at 44.1 kHz with and without the noise that goes on there.

    python benchmarks/decisions/audio_air.py --recordings build/real/usr/share/sonic-pi/samples

The gap lies in the middle of 4 s, mono; half a second on both sides is listened to with it, at the recording's own
rate. `level`: the power above 8.5 kHz in the gap against that of the true recording. Without the noise, what linear
prediction knows of that band is all there is; `seam jump` of the worse joint
(`headwater.audio.metrics`). With `--keep FILE` finished lines are not run again; `--count`
takes the first of the recordings only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

import _path  # noqa: F401
from audio_real import RECORDINGS, recording
from common import kept, options, write
from headwater.audio.gaps import SETTINGS, GapTask, fill_by_flow, is_predictable
from headwater.audio.io.segments import segments_around
from headwater.audio.metrics import cdpam, log_spectral_distance, seam_jump, spectrogram
from headwater.audio.model import models
from recordings import AROUND, Signal, stored

BRIGHT = ("drum_cymbal_open", "loop_amen_full", "loop_breakbeat", "loop_compus")
"""A cymbal and loops with drums, beside the six of `audio_real.py`."""
MILLISECONDS = (50, 100, 400)
BAND = 8500.0
MEASURES = ("LSD, dB", "level, dB", "CDPAM", "seam jump")


def drafts(x: Signal, start: int, stop: int, rate: int) -> dict[str, Signal]:
    """The recording with its gap filled, with and without the noise."""
    y = x.copy()
    y[start:stop] = 0.0
    folder, source = stored(y, rate)
    with folder:
        (segment,) = segments_around([(start, stop)], round(SETTINGS.context * rate))
        prior, found = models.load_prior(), {}
        for name, settings in (("with noise", SETTINGS), ("without", replace(SETTINGS, band=np.inf))):
            if is_predictable(source, segment):
                patch = GapTask.read(prior, source, segment, settings=settings).finish(None)
            else:
                patch = fill_by_flow(prior, source, segment, settings=settings).patch
            found[name] = x.copy()
            found[name][start:stop] = patch.samples[start - segment.start : stop - segment.start, 0]
    return found


def power(x: Signal, rate: int, size: int = 512) -> float:
    """The mean power above `BAND`."""
    p = spectrogram(torch.from_numpy(x.copy())[None], size)
    return float(p[:, np.arange(p.shape[1]) * rate / size > BAND].mean())


def compared(name: str, x: Signal, rate: int, milliseconds: int) -> dict[str, object]:
    """The lines of a gap."""
    size, reach = milliseconds * rate // 1000, round(AROUND * rate)
    start = (len(x) - size) // 2
    stop = start + size
    heard = slice(max(start - reach, 0), stop + reach)
    truth, lines = torch.from_numpy(x[heard].copy())[None], []
    for how, y in drafts(x, start, stop, rate).items():
        found = torch.from_numpy(y[heard].copy())[None]
        gained = power(y[start:stop], rate) / max(power(x[start:stop], rate), 1e-12)
        lines.append(
            {
                "recording": name,
                "gap, ms": milliseconds,
                "filled": how,
                "LSD, dB": round(log_spectral_distance(found, truth).item(), 2),
                "level, dB": round(10 * np.log10(max(gained, 1e-12)), 1),
                "CDPAM": round(cdpam(found, truth, rate).item(), 4),
                "seam jump": round(
                    max(seam_jump(found, e - heard.start, rate).item() for e in (start, stop)), 2
                ),
            }
        )
    return {"lines": lines}


def main() -> None:
    o = options(__doc__.splitlines()[0], "recordings", count=10, keep="")
    table: list[dict[str, object]] = []
    for name in (*BRIGHT, *RECORDINGS)[: o.count]:
        x, rate = recording(o.recordings / f"{name}.flac")
        for m in MILLISECONDS:
            found = kept(
                o.keep, f"{name}, {m}", lambda name=name, x=x, rate=rate, m=m: compared(name, x, rate, m)
            )
            table += found["lines"]
    for how in ("with noise", "without"):
        for m in MILLISECONDS:
            rows = [line for line in table if line["filled"] == how and line["gap, ms"] == m]
            means = {k: round(float(np.mean([line[k] for line in rows])), 4) for k in MEASURES}
            table.append({"recording": "mean", "gap, ms": m, "filled": how} | means)
    command = "python benchmarks/decisions/audio_air.py --recordings build/real/usr/share/sonic-pi/samples"
    write(o.results / "audio_air", table, command, "Recordings from Sonic Pi, CC0.")


if __name__ == "__main__":
    main()
