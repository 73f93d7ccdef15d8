"""The paper's tasks on held-out pieces and instruments, against what an engineer has today.

    python benchmarks/audio_tasks.py --music build/music --count 24

Clips of 4 s at 16 kHz of the part `test` (`audio.model.render`): scores and instruments that training never saw;
half as many where all of a clip is damaged.
Gaps lie in the middle: 10 and 20 % of the clip as in the paper, and 10 to 100 ms, where linear prediction is strong.
Super-resolution: band-limited and decimated, then `restore --rate`; scores count the whole clip. Declipping at an SDR
of 3 and 7 dB; SI-SDR of the clipped samples. `Frechet (CDPAM)` compares pieces of half a second around the damage.

Without a network: `prediction` is Janssen's interpolation of order 1000 up to 100 ms and Burg's extrapolation from
both sides beyond, `cross-fade` repeats what is before and after, faded linearly; `sinc` interpolates; `cubic` is a
spline. Headwater's declipping is A-SPADE, without the flow (`audio_declip.py` compares them). White noise of known
level against spectral subtraction and Wiener's filter with that as its pilot, which is Headwater's without the flow;
a known room against regularised deconvolution (its floor, -30 dB, set on five validation clips) and least squares
from silence, less the noise that they explain, which are Headwater's without the flow. Beside CDPAM's mean stand its
median, as one clip in 24 is far off by every method, and how much higher it is than Headwater's, clip by clip, with
its standard error. With `--keep FILE` finished lines are not run again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.signal import fftconvolve, resample_poly

from common import kept, write
from headwater.audio.damage import BandLimit, Clipping, Noise, Room
from headwater.audio.io.resample import PASSBAND
from headwater.audio.operators import Decimate
from headwater.audio.signal.deconvolution import deconvolve, remove_room
from headwater.audio.signal.suppression import subtract_noise, wiener_filter
from recordings import (
    RATE,
    Damaged,
    Repair,
    Signal,
    around,
    clips,
    compared,
    crossfaded,
    filled,
    janssen,
    options,
    over,
    plain,
    repaired,
    scores,
)

Method = Callable[[Signal, int], Repair]
MILLISECONDS = (10, 20, 50, 100, 400, 800)
FACTORS = (2, 4, 8)
SDR = (3.0, 7.0)
SNR = (30.0, 20.0, 10.0)
DECAYS = (0.3,)


# ---- gaps


def gap_task(truth: Signal, milliseconds: int) -> tuple[Signal, list[Damaged], dict[str, Method]]:
    """A gap in the middle of each clip."""
    samples = truth.shape[1]
    size = milliseconds * RATE // 1000
    start = (samples - size) // 2
    stop = start + size
    y = truth.copy()
    y[:, start:stop] = 0.0
    methods = {
        "Headwater": lambda z, i: filled(z, start, stop),
        "prediction": plain(lambda z, i: janssen(z, start, stop, RATE)),
        "cross-fade": plain(lambda z, i: crossfaded(z, start, stop)),
    }
    return y, [around(start, stop, samples)] * len(truth), methods


# ---- bandwidth


def band_task(truth: Signal, factor: int) -> tuple[Signal, list[Damaged], dict[str, Method]]:
    """Every clip at a rate lower by a factor."""
    samples = truth.shape[1]
    y = Decimate.by_factor(factor)(torch.from_numpy(truth)).numpy()
    methods: dict[str, Method] = {
        "Headwater": lambda z, i: repaired(z, BandLimit(PASSBAND * RATE / factor / 2), RATE // factor),
        "sinc": plain(lambda z, i: resample_poly(z, factor, 1)[:samples]),
    }
    return y, whole_clips(truth), methods


# ---- noise and rooms


def noise_task(truth: Signal, snr: float) -> tuple[Signal, list[Damaged], dict[str, Method]]:
    """White noise of known level."""
    r = np.random.default_rng(0)
    levels = truth.std(1) * 10 ** (-snr / 20)
    y = truth + levels[:, None] * r.standard_normal(truth.shape)
    methods: dict[str, Method] = {
        "Headwater": lambda z, i: repaired(z, Noise(float(levels[i]))),
        "subtraction": plain(lambda z, i: subtract_noise(z, float(levels[i]), RATE)),
        "Wiener": plain(lambda z, i: two_steps(z, float(levels[i]), RATE)),
        "nothing": plain(lambda z, i: z),
    }
    return y, whole_clips(truth), methods


def two_steps(y: Signal, level: float, rate: int) -> Signal:
    """Wiener's filter, its pilot by spectral subtraction."""
    return wiener_filter(y, subtract_noise(y, level, rate), level, rate)


def impulse(r: np.random.Generator, seconds: float, rate: int) -> Signal:
    """The direct sound and noise that decays by 60 dB in so many seconds, of 5 dB more energy at 0.3 s."""
    n = round(seconds * rate)
    h = 0.1 * (RATE / rate) ** 0.5 * r.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    h[0] = 1.0
    return h


def room_task(truth: Signal, seconds: float) -> tuple[Signal, list[Damaged], dict[str, Method]]:
    """A room of known response, and noise 60 dB below the music."""
    r = np.random.default_rng(0)
    h = impulse(r, seconds, RATE)
    levels = 1e-3 * truth.std(1)
    y = fftconvolve(truth, h[None], axes=1)[:, : truth.shape[1]]
    y += levels[:, None] * r.standard_normal(y.shape)
    methods: dict[str, Method] = {
        "Headwater": lambda z, i: repaired(z, Room(h[None], RATE, float(levels[i]))),
        "deconvolution": plain(lambda z, i: deconvolve(z, h, 1e-3)),
        "least squares": plain(lambda z, i: remove_room(z, h, np.zeros_like(z), float(levels[i]), RATE)),
        "nothing": plain(lambda z, i: z),
    }
    return y, whole_clips(truth), methods


def whole_clips(truth: Signal) -> list[Damaged]:
    """All of every clip counts."""
    samples = truth.shape[1]
    return [Damaged(np.ones(samples, dtype=bool), (0, samples))] * len(truth)


# ---- clipping


def clip_task(truth: Signal, sdr: float) -> tuple[Signal, list[Damaged], dict[str, Method]]:
    """Every clip cut off where that gives the SDR."""
    levels = [level_of(x, sdr) for x in truth]
    y = np.stack([np.clip(x, -a, a) for x, a in zip(truth, levels, strict=True)])
    cut = [np.abs(z) >= a * (1 - 1e-6) for z, a in zip(y, levels, strict=True)]
    methods = {
        "Headwater": lambda z, i: repaired(z, Clipping.at_level(levels[i])),
        "cubic": plain(lambda z, i: cubic(z, levels[i])),
        "nothing": plain(lambda z, i: z),
    }
    return y, [Damaged(c, (0, truth.shape[1])) for c in cut], methods


def cubic(y: Signal, level: float) -> Signal:
    """A cubic spline at the clipped samples, never below the level."""
    cut = np.abs(y) >= level * (1 - 1e-6)
    places = np.arange(len(y))
    found = CubicSpline(places[~cut], y[~cut])(places[cut])
    x = y.copy()
    x[cut] = np.sign(y[cut]) * np.clip(np.sign(y[cut]) * found, level, 4 * level)
    return x


def level_of(x: Signal, sdr: float) -> float:
    """The level at which clipping has this signal-to-distortion ratio in dB."""
    low, high = 1e-4, 1.0
    for _ in range(50):
        level = (low + high) / 2
        error = np.sum((x - np.clip(x, -level, level)) ** 2)
        low, high = (level, high) if 10 * np.log10(np.sum(x**2) / error) < sdr else (low, level)
    return level


def main() -> None:
    o = options(__doc__.splitlines()[0], count=24, keep="", only="")
    truth = clips(o.music, o.count)
    tasks: dict[str, Any] = {f"gap {m} ms": partial(gap_task, milliseconds=m) for m in MILLISECONDS}
    tasks |= {f"super-resolution x{f}": partial(band_task, factor=f) for f in FACTORS}
    tasks |= {f"declipping {s:g} dB": partial(clip_task, sdr=s) for s in SDR}
    tasks |= {f"noise {s:g} dB": partial(noise_task, snr=s) for s in SNR}
    tasks |= {f"room {s:g} s": partial(room_task, seconds=s) for s in DECAYS}
    lines = []
    for task, prepare in tasks.items():
        if o.only and not task.startswith(tuple(o.only.split(","))):
            continue
        whole = truth if task.startswith("gap") else truth[: (o.count + 1) // 2]
        y, damaged, methods = prepare(whole)
        found = []
        for name, method in methods.items():

            def work(
                y: Signal = y,
                whole: Signal = whole,
                method: Method = method,
                damaged: list[Damaged] = damaged,
            ) -> dict[str, object]:
                x, costs = over(y, method)
                return scores(x, whole, damaged) | costs

            found.append({"task": task, "method": name} | kept(o.keep, f"{task}, {name}, {o.count}", work))
        lines += compared(found)
    command = f"python benchmarks/audio_tasks.py --music build/music --count {o.count}"
    write(o.results / "audio_tasks", lines, command, "Means over clips of 4 s.")


if __name__ == "__main__":
    main()
