"""The band above the flow's: gaps of recordings at 44.1 kHz with and without the noise that goes on there.

    python benchmarks/decisions/audio_air.py --recordings build/real/usr/share/sonic-pi/samples

The gap lies in the middle of 4 s, mono; half a second on both sides is listened to with it, at the recording's own
rate. `level`: the power above 8.5 kHz in the gap against that of the true recording. Without the noise, what linear
prediction knows of that band is all there is; `seam jump` of the worse joint
(`headwater.audio.metrics`). With `--keep FILE` finished lines are not run again; `--count`
takes the first of the recordings only.
"""

from __future__ import annotations

import numpy as np
import torch

import _path  # noqa: F401
from audio_real import RECORDINGS, recording
from common import kept, options, write
from headwater.audio.gaps import Draft, played, predictable, predicted
from headwater.audio.io.regions import CONTEXT, regions
from headwater.audio.metrics import cdpam, log_spectral_distance, seam_jump, spectrogram
from headwater.audio.model import models
from headwater.audio.restore import How
from recordings import AROUND, Track, stored

BRIGHT = ("drum_cymbal_open", "loop_amen_full", "loop_breakbeat", "loop_compus")
"""A cymbal and loops with drums, beside the six of `audio_real.py`."""
MILLISECONDS = (50, 100, 400)
BAND = 8500.0
MEASURES = ("LSD, dB", "level, dB", "CDPAM", "seam jump")


def drafts(x: Track, start: int, stop: int, rate: int) -> dict[str, Track]:
    """The recording with its gap filled, with and without the noise."""
    y = x.copy()
    y[start:stop] = 0.0
    folder, source = stored(y, rate)
    with folder:
        (region,) = regions([(start, stop)], round(CONTEXT * rate))
        prior, alone = models.prior(), predictable(region, source)
        draft = predicted(source, region) if alone else played(prior, source, region, How())
        with_noise = draft.textured(prior.rate, 0)

    def whole(d: Draft) -> Track:
        patch, z = d.filling().patch, x.copy()
        z[start:stop] = patch.samples[start - region.start : stop - region.start, 0]
        return z

    return {"with noise": whole(with_noise), "without": whole(draft)}


def power(x: Track, rate: int, size: int = 512) -> float:
    """The mean power above `BAND`."""
    p = spectrogram(torch.from_numpy(x.copy())[None], size)
    return float(p[:, np.arange(p.shape[1]) * rate / size > BAND].mean())


def compared(name: str, x: Track, rate: int, milliseconds: int) -> dict[str, object]:
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
