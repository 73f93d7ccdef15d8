"""How much noise `headwater audio denoise` removes when nobody tells its level.

    python benchmarks/audio_noise.py

Music and voices of `audio_check.py`, 5 s each behind 1.5 s of noise alone, with white noise, pink noise or the hum of
a transformer (50 Hz and 40 harmonics over pink noise), at an SNR of 5, 15 and 25 dB. Without options the level of
white noise is estimated; `--profile` is given 0.2 to 1.4 s. Compared with one spectral subtraction and one Wiener
filter (decision-directed by that subtraction) that know the true spectrum of the noise. SNR and log-spectral distance
are over the 5 s. `--count` takes the first of the pieces; with `--flow 0` the flow is not asked.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from audio_check import RATE, Signal, material
from common import options, write
from headwater.audio.damage import ByChannel, Noise
from headwater.audio.io.files import Recording, examine
from headwater.audio.metrics import log_spectral_distance
from headwater.audio.model import models
from headwater.audio.signal.noise_level import estimate_profile, estimate_std
from headwater.audio.signal.suppression import subtract_noise, wiener_filter
from headwater.audio.undo import undo_damage
from headwater.cli.audio.damage import samples_of

ALONE, SECONDS = 1.5, 5.0
SNR = (5, 15, 25)
KINDS = ("white", "pink", "hum")


def noise(kind: str, count: int, seed: int) -> Signal:
    """Noise of one kind with an rms of 1."""
    r = np.random.default_rng([seed, 5])
    x = r.standard_normal(count)
    if kind != "white":
        spectrum = np.fft.rfft(x)
        x = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 30 * count / RATE)), count)
        x /= x.std()
    if kind == "hum":
        t = np.arange(count) / RATE
        lines = (
            r.uniform(0.3, 1) / k**0.7 * np.sin(2 * np.pi * 50 * k * t + r.uniform(0, 6))
            for k in range(1, 41)
        )
        x = 0.5 * x + sum(lines)
    return np.asarray(x / x.std())


def snr(x: Signal, truth: Signal) -> float:
    """In dB."""
    return float(10 * np.log10(np.sum(truth**2) / np.sum((x - truth) ** 2)))


def distance(x: Signal, truth: Signal) -> float:
    """Log-spectral distance, dB."""
    return log_spectral_distance(
        torch.from_numpy(x.copy())[None], torch.from_numpy(truth.copy())[None]
    ).item()


def denoised(recording: Recording, damage: ByChannel) -> Signal:
    """What the command makes of a file."""
    x = recording.read(0, recording.frames)[:, 0]
    for restored in undo_damage(models.load_prior(), recording, damage):
        p = restored.patch
        x[p.start : p.start + len(p.samples)] = p.samples[:, 0]
    return x


def piece(kind: str, level: int, seed: int, flow: bool) -> dict[str, tuple[float, float]]:
    """SNR and distance of every method on one piece, and by how many dB the estimate is off."""
    lead = round(ALONE * RATE)
    truth = np.concatenate([np.zeros(lead), material(20_000 + seed, SECONDS + 1)[: round(SECONDS * RATE)]])
    std = float(truth[lead:].std()) * 10 ** (-level / 20)
    e = std * noise(kind, len(truth), seed)
    y = truth + e
    oracle = estimate_profile(e, RATE)
    gain = oracle / oracle.mean()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "take.wav"
        soundfile.write(path, y, RATE, subtype="FLOAT")
        recording = examine(path)
        estimate, _ = estimate_std(samples_of(recording, 0), RATE)
        profile = estimate_profile(recording.read(round(0.2 * RATE), round(1.4 * RATE))[:, 0], RATE)
        pilot = subtract_noise(y, std, RATE, gain)
        found = {
            "as it is": y,
            "subtraction, spectrum known": pilot,
            "Wiener, spectrum known": wiener_filter(y, pilot, std, RATE, gain),
            "Headwater, --profile": denoised(recording, ByChannel((Noise.from_profile(profile),))),
        }
        if flow or estimate * (16_000 / RATE) ** 0.5 < 0.05 * float(y.std()):
            found["Headwater, no option"] = denoised(recording, ByChannel((Noise(estimate),)))
    scores = {k: (snr(x[lead:], truth[lead:]), distance(x[lead:], truth[lead:])) for k, x in found.items()}
    dense, _ = estimate_std(np.array_split(y[lead:], 5), RATE)
    return scores | {"estimate": (20 * np.log10(estimate / std), 20 * np.log10(dense / std))}


def main() -> None:
    """A line for each kind of noise and level."""
    o = options(__doc__.splitlines()[0], count=8, flow=1)
    rows: list[dict[str, Any]] = []
    worse = 0
    for kind in KINDS:
        for level in SNR:
            each = [piece(kind, level, seed, bool(o.flow)) for seed in range(o.count)]
            row: dict[str, Any] = {"noise": kind, "SNR, dB": level}
            for name in dict.fromkeys(k for scores in each for k in scores if k != "estimate"):
                values = np.array([scores[name] for scores in each if name in scores])
                row[name] = f"{values[:, 0].mean():.1f} ({values[:, 1].mean():.1f})"
            worse += sum(
                scores[k][0] < scores["as it is"][0] for scores in each for k in scores if "Headwater" in k
            )
            off, dense = np.mean([scores["estimate"] for scores in each], axis=0)
            row["estimate off, dB"], row["off without the lead, dB"] = (
                round(float(off), 1),
                round(float(dense), 1),
            )
            rows.append(row)
            print(row, flush=True)
    note = f"Mean SNR and (log-spectral distance), dB. Results of Headwater below the input's SNR: {worse}."
    write(
        o.results / "audio_noise",
        rows,
        f"python benchmarks/audio_noise.py --count {o.count} --flow {o.flow}",
        note,
    )


if __name__ == "__main__":
    main()
