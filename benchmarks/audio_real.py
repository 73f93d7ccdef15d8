"""How far a prior of rendered music carries: recordings that it did not come from, damaged by us.

    apt download sonic-pi-samples && dpkg -x sonic-pi-samples_*.deb build/real        # Sonic Pi's samples, all CC0
    python benchmarks/audio_real.py --recordings build/real/usr/share/sonic-pi/samples

The middle 4 s of each recording, mono, at its own rate of 44.1 kHz, through the commands: gaps in the middle,
everything above 4 kHz lost, clipping at an SDR of 7 dB, noise at 20 dB, a room of 0.3 s. Compared with the same
methods without a network as in `audio_tasks.py`, at 16 kHz, the rate of the prior, but for SI-SDR, which counts the
damaged samples of the file; the other numbers count half a second around a gap, or the whole. With `--keep FILE`
finished lines are not run again; `--count` takes the first of the recordings, `--only gap` these tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import fftconvolve

from audio_tasks import impulse, level_of, two_steps
from common import kept, options, write
from headwater.audio.damage import BandLimit, Clipping, Noise, Room
from headwater.audio.io.resample import resample
from headwater.audio.metrics import cdpam, log_spectral_distance, seam_jump, si_sdr
from headwater.audio.model.render import RATE
from headwater.audio.operators import Lowpass
from headwater.audio.signal.deconvolution import remove_room
from headwater.audio.signal.sparse import declip_by_sparsity
from recordings import AROUND, Repair, Signal, crossfaded, filled, janssen, plain, repaired

RECORDINGS = ("guit_em9", "guit_e_fifths", "ambi_piano", "ambi_choir", "loop_tabla", "loop_safari")
"""Guitars, piano, choir, tabla, percussion, as their names say; how each was made is not documented."""
MILLISECONDS = (20, 100, 400)
SECONDS = 4.0
CUTOFF = 4000.0
SDR = 7.0
SNR = 20.0
DECAY = 0.3
Methods = dict[str, Callable[[Signal, int], Repair]]
Damage = tuple[Signal, np.ndarray, tuple[int, int], Methods]


def recording(path: Path, seconds: float = SECONDS) -> tuple[Signal, int]:
    """The middle of a recording, mono, its mean removed, peak 0.9."""
    x, rate = soundfile.read(path, always_2d=True)
    size = round(min(len(x), seconds * rate))
    first = (len(x) - size) // 2
    mono = x[first : first + size].mean(1)
    mono -= mono.mean()
    return 0.9 * mono / np.abs(mono).max(), rate


def in_gap(x: Signal, rate: int, milliseconds: int) -> Damage:
    """A gap in the middle."""
    size = milliseconds * rate // 1000
    start = (len(x) - size) // 2
    lost = np.zeros(len(x), dtype=bool)
    lost[start : start + size] = True
    reach = round(AROUND * rate)
    heard = max(start - reach, 0), min(start + size + reach, len(x))
    methods: Methods = {
        "Headwater": lambda z, i: filled(z, start, start + size, rate),
        "prediction": plain(lambda z, i: janssen(z, start, start + size, rate)),
        "cross-fade": plain(lambda z, i: crossfaded(z, start, start + size)),
    }
    return np.where(lost, 0.0, x), lost, heard, methods


def band(x: Signal, rate: int) -> Damage:
    """Everything above the cutoff lost."""
    y = Lowpass.with_cutoff(2 * CUTOFF / rate)(torch.from_numpy(x)[None])[0].numpy()
    methods: Methods = {
        "Headwater": lambda z, i: repaired(z, BandLimit(CUTOFF), rate),
        "nothing": plain(lambda z, i: z),
    }
    return y, np.ones(len(x), dtype=bool), (0, len(x)), methods


def clipping(x: Signal, rate: int) -> Damage:
    """Clipped."""
    level = level_of(x, SDR)
    y = np.clip(x, -level, level)
    cut = np.abs(y) >= level * (1 - 1e-6)
    methods: Methods = {
        "Headwater": lambda z, i: repaired(z, Clipping.at_level(level), rate),
        "A-SPADE": plain(lambda z, i: declip_by_sparsity(z, cut, rate)),
        "nothing": plain(lambda z, i: z),
    }
    return y, cut, (0, len(x)), methods


def noise(x: Signal, rate: int) -> Damage:
    """White noise of known level."""
    level = float(x.std()) * 10 ** (-SNR / 20)
    y = x + level * np.random.default_rng(0).standard_normal(len(x))
    methods: Methods = {
        "Headwater": lambda z, i: repaired(z, Noise(level), rate),
        "Wiener": plain(lambda z, i: two_steps(z, level, rate)),
        "nothing": plain(lambda z, i: z),
    }
    return y, np.ones(len(x), dtype=bool), (0, len(x)), methods


def room(x: Signal, rate: int) -> Damage:
    """A room of known response, and noise 60 dB below the music."""
    r = np.random.default_rng(0)
    h, level = impulse(r, DECAY, rate), 1e-3 * float(x.std())
    y = fftconvolve(x, h)[: len(x)] + level * r.standard_normal(len(x))
    methods: Methods = {
        "Headwater": lambda z, i: repaired(z, Room(h[None], rate, level), rate),
        "least squares": plain(lambda z, i: remove_room(z, h, np.zeros_like(z), level, rate)),
        "nothing": plain(lambda z, i: z),
    }
    return y, np.ones(len(x), dtype=bool), (0, len(x)), methods


def judged(
    done: Repair, truth: Signal, places: np.ndarray, heard: tuple[int, int], rate: int
) -> dict[str, object]:
    """What a repair is worth."""
    a, b = (torch.from_numpy(z[places].copy())[None] for z in (done.x, truth))
    part = slice(*heard)
    x, r = (torch.from_numpy(resample(z, rate, RATE))[None] for z in (done.x[part], truth[part]))
    return {
        "SI-SDR, dB": round(si_sdr(a, b).item(), 1),
        "LSD, dB": round(log_spectral_distance(x, r).item(), 2),
        "CDPAM": round(cdpam(x, r, RATE).item(), 4),
        "seam jump": seam(done.x, places, rate),
        "gradients": done.gradients,
        "seconds": round(done.seconds, 1),
    }


def seam(x: Signal, places: np.ndarray, rate: int) -> float:
    """How much the worse of a gap's two joints stands out; NaN if the damage is no gap."""
    edges = np.flatnonzero(np.diff(places.astype(int))) + 1
    if len(edges) != 2:
        return float("nan")
    return round(max(seam_jump(torch.from_numpy(x)[None], int(e), rate).item() for e in edges), 2)


def main() -> None:
    o = options(__doc__.splitlines()[0], "recordings", count=6, keep="", only="")
    lines: list[dict[str, object]] = []
    for name in RECORDINGS[: o.count]:
        truth, rate = recording(o.recordings / f"{name}.flac")
        tasks = {f"gap {m} ms": in_gap(truth, rate, m) for m in MILLISECONDS}
        tasks |= {
            f"above {CUTOFF / 1000:g} kHz": band(truth, rate),
            f"clipping {SDR:g} dB": clipping(truth, rate),
            f"noise {SNR:g} dB": noise(truth, rate),
            f"room {DECAY:g} s": room(truth, rate),
        }
        for task, (y, places, heard, methods) in tasks.items():
            if o.only and not task.startswith(tuple(o.only.split(","))):
                continue
            for by, method in methods.items():

                def work(
                    y: Signal = y,
                    method: Callable[[Signal, int], Repair] = method,
                    about: tuple[Signal, np.ndarray, tuple[int, int], int] = (truth, places, heard, rate),
                ) -> dict[str, object]:
                    return judged(method(y, 0), *about)

                line = kept(o.keep, f"{name}, {task}, {by}", work)
                lines.append({"recording": name, "task": task, "method": by} | line)
    command = "python benchmarks/audio_real.py --recordings build/real/usr/share/sonic-pi/samples"
    write(o.results / "audio_real", lines, command, "Recordings from Sonic Pi, CC0.")


if __name__ == "__main__":
    main()
