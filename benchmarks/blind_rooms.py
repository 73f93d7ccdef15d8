"""Recordings in rooms that are not known: does anything bring the sound without the room nearer?

    pip install nara_wpe
    python benchmarks/blind_rooms.py --threads 1

Clips of 4 s at 16 kHz: a guitar that the package ships (1), and samples of the music prior (2), which no method could
know better than the prior does. Rooms: 1 for the direct sound, then after 5 ms white noise that decays by 60 dB in
0.3 or 0.7 s (RT60), as loud as the direct sound, or in 0.5 or 1 s, 6 dB below it (DRR). A room of each kind on every
clip.

The reference is the clip without the room. `worse` counts the cases that lose more than 0.1 dB of SI-SDR.

- WPE: weighted prediction error of `nara_wpe`, 10 taps after 3 frames of 8 ms, its defaults, and 20 after 8.
- envelope: the late power is the past power times an exponential, and Wiener's gain, at least -20 dB, takes it out;
  RT60 and DRR are true, or RT60 is that of the decays and DRR 3 dB.
- true powers: Wiener's gain from the true powers of clip and room in every bin. A gain that goes by powers can hardly
  do better.
- by turns: the music prior and a response with an exponential law, RT60 and DRR fitted to it after each of 6 rounds.
- known response: least squares, as a rough `dereverb --impulse` without the prior.

`RT60` is estimated from decays: in 6 bands, lines are fitted to the level in dB over 0.2 s; of those that are
straight and fall, it is the fastest tenth.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.signal import butter, fftconvolve, sosfilt

from common import options, write
from headwater.audio.io.channels import Signal
from headwater.audio.io.files import examine
from headwater.audio.io.recordings import GUITAR
from headwater.audio.io.resample import resample
from headwater.audio.metrics import log_spectral_distance, si_sdr
from headwater.audio.model.models import load_prior
from headwater.audio.operators import Reverb
from headwater.audio.prior import Prior
from headwater.audio.signal.deconvolution import remove_room
from headwater.audio.signal.spectrum import Power, Spectrum
from headwater.flows.windowed import extend_to_canvas
from headwater.recipes.estimate import Estimate

RATE, SAMPLES, LATE, TAPS = 16_000, 64_000, 80, 12_800
LAW = 3 * np.log(10.0)
"""An amplitude decays as exp(-LAW t / RT60)."""
ROOMS = [(0.3, 0.0), (0.5, 6.0), (0.7, 0.0), (1.0, 6.0)]


def make_clips(prior: Prior) -> list[Signal]:
    """The guitar, then samples of the prior by 12 steps of Euler's method, each with an rms of 1."""
    recording = examine(GUITAR)
    guitar = resample(recording.read(0, recording.frames).mean(1), recording.rate, RATE)[:SAMPLES]
    canvas = prior.canvas(SAMPLES)
    flow = extend_to_canvas(prior.flow, (canvas.frames,), axes=(-2,))
    x, steps = flow.noise(range(2)), 12
    with torch.no_grad():
        for i in range(steps):
            x = x + flow.velocity(x, torch.tensor(i / steps)) / steps
    return [np.asarray(z / z.std()) for z in (guitar, *canvas(x).double().numpy())]


def decay(rt60: float, drr: float, count: int = TAPS) -> Signal:
    """The amplitude of the late part at each tap, whose squares add up to -drr dB."""
    d = np.exp(-LAW * np.arange(count) / RATE / rt60)
    d[:LATE] = 0
    return np.asarray(d * 10 ** (-drr / 20) / np.linalg.norm(d))


def make_room(rt60: float, drr: float, seed: int) -> Signal:
    """A response: 1, a pause, and noise that decays."""
    h = decay(rt60, 0.0, round(1.1 * RATE * rt60)) * np.random.default_rng(seed).standard_normal(
        round(1.1 * RATE * rt60)
    )
    h *= 10 ** (-drr / 20) / np.linalg.norm(h)
    h[0] = 1.0
    return h


def estimate_rt60(y: Signal) -> float:
    """RT60 by the decays of the recording; see the head."""
    found = []
    for low in 125.0 * 2.0 ** np.arange(6):
        band = sosfilt(butter(2, [low, min(2 * low, 7900.0)], "bandpass", fs=RATE, output="sos"), y)
        level = 10 * np.log10(np.square(band[: len(band) // 160 * 160]).reshape(-1, 160).mean(1) + 1e-12)
        t = np.arange(20) * 0.01
        for i in range(0, len(level) - 20, 4):
            slope, start = np.polyfit(t, level[i : i + 20], 1)
            rest = level[i : i + 20] - start - slope * t
            if slope < -20 and rest.var() < 0.15 * level[i : i + 20].var():
                found.append(-60 / slope)
    return float(np.quantile(found, 0.1)) if found else 0.5


def wpe(y: Signal, taps: int, delay: int) -> Signal:
    """Weighted prediction error, of one channel, on windows of 32 ms."""
    from nara_wpe.wpe import wpe as predict

    spectrum = Spectrum(len(y), RATE, 0.032)
    found = predict(spectrum(y)[:, None], taps=taps, delay=delay, iterations=3)
    return spectrum.inverse(found[:, 0])


def late_power(power: Power, rt60: float, drr: float, hop: int) -> Power:
    """What the room adds `[bins, frames]` to the power of the clip."""
    d = np.square(decay(rt60, drr)).reshape(-1, hop).sum(1)
    return np.asarray(fftconvolve(power, d[None], axes=1)[:, : power.shape[1]].clip(0))


def suppress(y: Signal, rt60: float, drr: float) -> Signal:
    """The clip's power by 30 multiplicative steps for y's power, then Wiener's gain."""
    spectrum = Spectrum(len(y), RATE, 0.032)
    s = spectrum(y)
    power = np.abs(s) ** 2 + 1e-9
    clip = power.copy()
    for _ in range(30):
        ratio = power / (clip + late_power(clip, rt60, drr, spectrum.hop))
        back = ratio + late_power(ratio[:, ::-1], rt60, drr, spectrum.hop)[:, ::-1]
        clip *= back / (1 + 10 ** (-drr / 10))
    late = late_power(clip, rt60, drr, spectrum.hop)
    return spectrum.inverse(np.maximum(clip / (clip + late), 0.1) * s)


def true_gain(y: Signal, x: Signal) -> Signal:
    """Wiener's gain from the true powers."""
    spectrum = Spectrum(len(y), RATE, 0.032)
    s, clip, late = spectrum(y), np.abs(spectrum(x)) ** 2, np.abs(spectrum(y - x)) ** 2
    return spectrum.inverse(clip / (clip + late + 1e-9) * s)


def fit_response(x: Signal, y: Signal, noise: float, rt60: float, drr: float) -> Signal:
    """The mean of h given y = h * x + noise and the law of `decay`, by 40 conjugate gradients; h[0] = 1."""
    n = 1 << (len(x) + TAPS - 1).bit_length()
    d, s = decay(rt60, drr), np.fft.rfft(x, n)

    def convolve(u: Signal) -> Signal:
        return np.asarray(np.fft.irfft(s * np.fft.rfft(d * u, n), n)[: len(x)])

    def back(e: Signal) -> Signal:
        return np.asarray(d * np.fft.irfft(s.conj() * np.fft.rfft(e, n), n)[:TAPS]) / noise**2

    u, r = np.zeros(TAPS), back(y - x)
    p, rr = r.copy(), float(r @ r)
    for _ in range(40):
        ap = back(convolve(p)) + p
        step = rr / float(p @ ap)
        u, r = u + step * p, r - step * ap
        rr, old = float(r @ r), rr
        p = r + rr / old * p
    h = d * u
    h[0] = 1.0
    return h


def fit_law(h: Signal) -> tuple[float, float]:
    """The RT60 and DRR under which the late taps are most likely."""
    e = np.square(h[LATE:])
    best = (-np.inf, 0.5, 3.0)
    for rt60 in np.geomspace(0.15, 2.0, 40):
        w = np.square(decay(rt60, 0.0)[LATE:])
        v = float((e / w).mean())
        best = max(best, (-0.5 * (len(e) * np.log(v) + np.log(w).sum()), rt60, -10 * np.log10(v)))
    return float(best[1]), float(np.clip(best[2], -6, 15))


def by_turns(y: Signal, prior: Prior) -> tuple[Signal, float]:
    """The clip by the prior, then the response and its law, and again; with the last RT60."""
    rt60, drr = 0.5, 3.0
    x = suppress(y, rt60, drr)
    for number, noise in enumerate((0.3, 0.3, 0.2, 0.2, 0.1, 0.1)):
        h = fit_response(x, y, noise, rt60, drr)
        rt60, drr = fit_law(h)
        problem = prior.pose(
            Reverb.from_impulse(torch.from_numpy(h).float()),
            torch.from_numpy(y).float()[None],
            noise,
            guess=torch.from_numpy(x).float()[None],
            recipe=Estimate(times=8, last=0.97),
        )
        x = prior.canvas(len(y))(problem.solve([number]).x1.detach())[0].double().numpy()
    return x, rt60


def score(found: Signal, truth: Signal) -> tuple[float, float]:
    """SI-SDR and log-spectral distance at the loudness of the truth, dB."""
    a, b = (torch.from_numpy(z.copy())[None] for z in (found, truth))
    a = a * b.norm() / a.norm()
    return si_sdr(a, b).item(), log_spectral_distance(a, b, floor=1e-6).item()


def main() -> None:
    """Measure every method on every case, and write the table."""
    o = options(__doc__.splitlines()[0], few=3)
    prior = load_prior()
    clips = make_clips(prior)
    cases = []
    for i, clip in enumerate(clips):
        for j, (rt60, drr) in enumerate(ROOMS):
            h = make_room(rt60, drr, 100 * i + j)
            cases.append((clip, h, fftconvolve(clip, h)[: len(clip)], rt60, drr))
    few = cases[:: len(cases) // o.few + 1][: o.few]

    def line(name: str, work: Callable[..., tuple[Signal, float | None]], those: list) -> dict[str, object]:
        began, before, after, guesses = time.process_time(), [], [], []
        for clip, h, y, rt60, drr in those:
            found, guess = work(clip, h, y, rt60, drr)
            before.append(score(y, clip))
            after.append(score(found, clip))
            guesses += [] if guess is None else [abs(guess / rt60 - 1)]
        gain = np.array(after) - np.array(before)
        row: dict[str, object] = {
            "method": name,
            "cases": len(those),
            "SI-SDR": round(float(np.mean([a[0] for a in after])), 2),
            "gain": round(float(gain[:, 0].mean()), 2),
            "of the guitar": round(float(gain[[c[0] is clips[0] for c in those], 0].mean()), 2),
            "worst gain": round(float(gain[:, 0].min()), 2),
            "worse": int((gain[:, 0] < -0.1).sum()),
            "LSD": round(float(np.mean([a[1] for a in after])), 2),
            "LSD less nothing's": round(float(gain[:, 1].mean()), 2),
        }
        if guesses:
            row["error of RT60, %"] = round(100 * float(np.mean(guesses)))
        print(row, flush=True)
        return row | {"seconds": round((time.process_time() - began) / len(those), 2)}

    def envelope(clip: Signal, h: Signal, y: Signal, rt60: float, drr: float) -> tuple[Signal, float]:
        guess = estimate_rt60(y)
        return suppress(y, guess, 3.0), guess

    rows = [
        line("nothing", lambda clip, h, y, *law: (y, None), cases),
        line("WPE, 10 taps after 3", lambda clip, h, y, *law: (wpe(y, 10, 3), None), cases),
        line("WPE, 20 taps after 8", lambda clip, h, y, *law: (wpe(y, 20, 8), None), cases),
        line("envelope, RT60 from decays", envelope, cases),
        line("envelope, true", lambda clip, h, y, *law: (suppress(y, *law), None), cases),
        line("true powers", lambda clip, h, y, *law: (true_gain(y, clip), None), cases),
        line("nothing", lambda clip, h, y, *law: (y, None), few),
        line("by turns with the prior", lambda clip, h, y, *law: by_turns(y, prior), few),
        line(
            "known response",
            lambda clip, h, y, *law: (remove_room(y, h, np.zeros_like(y), 0.0, RATE), None),
            few,
        ),
    ]
    dry = ", ".join(f"{estimate_rt60(clip):.2f}" for clip in clips)
    write(
        o.results / "blind_rooms",
        rows,
        "python benchmarks/blind_rooms.py --threads 1",
        f"{len(cases)} cases: {len(clips)} clips of 4 s in {len(ROOMS)} rooms each; the last lines on {len(few)}. "
        f"Of the clips without a room the decays say an RT60 of {dry} s. `seconds` of CPU a case, beside other work.",
    )


if __name__ == "__main__":
    main()
