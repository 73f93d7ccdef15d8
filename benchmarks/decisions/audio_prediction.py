"""Short gaps by linear prediction: from how much of the recording it is learned, and the mean of three.

    apt download sonic-pi-samples && dpkg -x sonic-pi-samples_*.deb build/real        # Sonic Pi's samples, all CC0
    python benchmarks/decisions/audio_prediction.py --music build/music --count 40

Gaps in the middle of clips of 3 s of the part `validation` at 16 kHz, and, with `--recordings FOLDER`, at three
places of recordings of that set that last 2 s, at 44.1 kHz. `usual` is Janssen's interpolation of order 1000, learned
from 0.2 s on both sides; a number is a memory of so many seconds on both sides, with an order of 5/16 of it, 37.5 ms
at most; `mean` is the mean of those three, which `headwater audio inpaint` fills with. `better` counts gaps in which
the SI-SDR is above that of `usual`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

import _path  # noqa: F401
from common import options, write
from headwater.audio.metrics import log_spectral_distance, si_sdr
from headwater.audio.signal.prediction import PREDICTION, predict_from_both_sides, predict_gaps
from recordings import RATE, Signal, clips, janssen

MILLISECONDS = (2, 5, 10, 20, 50, 100)
AROUND = 0.25
"""Seconds on both sides of a gap that the spectral distance sees."""
KINDS = ("guit", "ambi", "bass", "loop")
PLACES = (0.3, 0.5, 0.7)


def pieces(folder: Path) -> list[Signal]:
    """Two seconds around three places of each long recording, mono."""
    found = []
    for path in sorted(p for kind in KINDS for p in folder.glob(f"{kind}_*.flac")):
        x, rate = soundfile.read(path, always_2d=True)
        mono = x.mean(1)
        for place in PLACES if rate == 44_100 and len(x) >= 2 * rate else ():
            middle = int(np.clip(place * len(x), rate, len(x) - rate))
            piece = mono[middle - rate : middle + rate]
            if piece[rate - 4000 : rate + 4000].std() > 1e-3:
                found.append(piece)
    return found


def fillings(x: Signal, start: int, stop: int, rate: int) -> dict[str, Signal]:
    """The gap by each method."""
    lost = np.zeros(len(x), dtype=bool)
    lost[start:stop] = True
    y = np.where(lost, 0.0, x)
    found = {"usual": janssen(y, start, stop, rate)[start:stop]}
    for memory in PREDICTION.short_memories:
        one = predict_from_both_sides(y, ~lost, (start, stop), memory, rate)
        assert one is not None
        found[f"{memory:g} s"] = one
    return found | {"mean": predict_gaps(y, lost, ~lost, rate)[start:stop]}


def judged(tracks: list[Signal], rate: int, milliseconds: int) -> dict[str, list[tuple[float, float, float]]]:
    """By method, for each track: SI-SDR, spectral distance and level of the filling, dB."""
    scores: dict[str, list[tuple[float, float, float]]] = {}
    for x in tracks:
        size = milliseconds * rate // 1000
        start = (len(x) - size) // 2
        stop, reach = start + size, round(AROUND * rate)
        heard, truth = slice(start - reach, stop + reach), torch.from_numpy(x.copy())[None]
        for name, filling in fillings(x, start, stop, rate).items():
            y = torch.from_numpy(np.concatenate([x[:start], filling, x[stop:]]))[None]
            sdr = si_sdr(y[:, start:stop], truth[:, start:stop]).item()
            distance = log_spectral_distance(y[:, heard], truth[:, heard]).item()
            level = 10 * np.log10(np.sum(filling**2) / np.sum(x[start:stop] ** 2) + 1e-12)
            scores.setdefault(name, []).append((sdr, distance, float(level)))
    return scores


def main() -> None:
    o = options(__doc__.splitlines()[0], "music", count=40, recordings="")
    music = clips(o.music, o.count, 3.0, "validation", seed=5)
    sets = {"rendered, 16 kHz": (list(music), RATE)}
    if o.recordings:
        sets["real, 44.1 kHz"] = (pieces(Path(o.recordings)), 44_100)
    lines = []
    for name, (tracks, rate) in sets.items():
        for ms in MILLISECONDS:
            scores = {k: np.array(v) for k, v in judged(tracks, rate, ms).items()}
            for method, s in scores.items():
                gained = s[:, 0] - scores["usual"][:, 0]
                lines.append(
                    {
                        "recordings": name,
                        "gap, ms": ms,
                        "memory": method,
                        "SI-SDR, dB": round(float(s[:, 0].mean()), 2),
                        "against usual, dB": round(float(gained.mean()), 2),
                        "standard error": round(float(gained.std() / len(gained) ** 0.5), 2),
                        "better": f"{int((gained > 0).sum())} of {len(gained)}",
                        "LSD, dB": round(float(s[:, 1].mean()), 2),
                        "level, dB": round(float(np.median(s[:, 2])), 2),
                    }
                )
                print(lines[-1], flush=True)
    command = f"python benchmarks/decisions/audio_prediction.py --music build/music --count {o.count}"
    command += " --recordings build/real/usr/share/sonic-pi/samples" * bool(o.recordings)
    write(o.results / "audio_prediction", lines, command, "Means over the clips; the level is a median.")


if __name__ == "__main__":
    main()
