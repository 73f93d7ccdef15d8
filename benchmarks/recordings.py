"""What the audio benchmarks share: held-out recordings, scores of a repair, the product on arrays."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from common import options as common_options
from headwater.audio.damage import Damage
from headwater.audio.gaps import SETTINGS, fill_segment
from headwater.audio.io.channels import Signal
from headwater.audio.io.files import Recording, examine
from headwater.audio.io.resample import raise_rate
from headwater.audio.io.segments import Segment
from headwater.audio.metrics import (
    cdpam_distance,
    cdpam_embedding,
    log_spectral_distance,
    loudness,
    seam_jump,
    si_sdr,
)
from headwater.audio.model import models
from headwater.audio.model.evaluate import cut_in_pieces
from headwater.audio.model.render import RATE
from headwater.audio.model.train import Recordings
from headwater.audio.restoration import Restoration, SolveOptions
from headwater.audio.signal.autoregression import bridge_gap, interpolate
from headwater.audio.undo import undo_damage
from headwater.metrics.frechet import frechet_distance

SECONDS = 4.0
AROUND = 0.5
"""Seconds on both sides of a gap that are listened to with it."""

EACH = "CDPAM of each"
"""The column of scores clip by clip, which `compared` turns into a mean and its error."""

options = partial(common_options, data="music")
"""The common command line with --music, the folder of the rendered recordings."""


def clips(
    folder: Path, count: int, seconds: float = SECONDS, part: str = "test", seed: int = 0
) -> NDArray[np.float64]:
    """`[count, samples]` of held-out recordings, peak 0.9."""
    found = Recordings(sorted(folder.glob(f"{part}-*.npz")))
    x = found.windows(count, round(seconds * RATE), np.random.default_rng(seed)).double().numpy()
    return np.asarray(0.9 * x / np.abs(x).max(1, keepdims=True))


class Damaged(NamedTuple):
    """Where a clip is damaged: the samples that count, and the frames (first, last) that are listened to."""

    places: NDArray[np.bool_]
    heard: tuple[int, int]
    joints: tuple[int, ...] = ()


def around(start: int, stop: int, samples: int) -> Damaged:
    """A gap, its joints and what is around it."""
    places = np.zeros(samples, dtype=bool)
    places[start:stop] = True
    reach = round(AROUND * RATE)
    return Damaged(places, (max(start - reach, 0), min(stop + reach, samples)), (start, stop))


def scores(found: Signal, truth: Signal, damaged: list[Damaged]) -> dict[str, Any]:
    """Means over the clips `[count, samples]`, and one Frechet distance of all."""
    x, r = torch.from_numpy(found), torch.from_numpy(truth)
    clips_ = [score_clip(a, b, d) for a, b, d in zip(found, truth, damaged, strict=True)]
    jump, mine, theirs = [], [], []
    for i, d in enumerate(damaged):
        a, b = d.heard
        jump += [seam_jump(x[i : i + 1], edge, RATE).item() for edge in d.joints]
        mine.append(cdpam_embedding(cut_in_pieces(x[i, a:b], RATE), RATE))
        theirs.append(known(cut_in_pieces(r[i, a:b], RATE)))
    return {
        "clips": len(damaged),
        "SI-SDR, dB": round(float(np.mean([c["SI-SDR"] for c in clips_])), 2),
        "LSD, dB": round(float(np.mean([c["LSD"] for c in clips_])), 2),
        "CDPAM": round(float(np.mean([c["CDPAM"] for c in clips_])), 4),
        EACH: [round(c["CDPAM"], 4) for c in clips_],
        "Frechet (CDPAM)": round(float(frechet_distance(torch.cat(mine), torch.cat(theirs))), 4),
        "pieces": len(torch.cat(mine)),
        "seam jump": round(float(np.median(jump)), 2) if jump else float("nan"),
        "loudness off, LU": round(float(np.mean([abs(c["loudness"]) for c in clips_ if "loudness" in c])), 2),
    }


def score_clip(found: Signal, truth: Signal, damaged: Damaged) -> dict[str, float]:
    """The scores of one clip `[samples]`; its loudness less that of the truth, in LU, if it has 0.4 s."""
    (a, b), x, r = damaged.heard, torch.from_numpy(found)[None], torch.from_numpy(truth)[None]
    far = cdpam_distance(cdpam_embedding(x[:, a:b], RATE), known(r[:, a:b]))
    line = {
        "SI-SDR": si_sdr(x[:, damaged.places], r[:, damaged.places]).item(),
        "LSD": log_spectral_distance(x[:, a:b], r[:, a:b]).item(),
        "CDPAM": far.item(),
    }
    if b - a >= 0.4 * RATE:
        line["loudness"] = loudness(x[:, a:b], RATE) - loudness(r[:, a:b], RATE)
    return line


def without_each(line: dict[str, Any]) -> dict[str, float]:
    """The means alone."""
    return {k: v for k, v in line.items() if k != EACH}


def compared(lines: list[dict[str, Any]], by: str = "Headwater") -> list[dict[str, Any]]:
    """The lines of one task, with medians of CDPAM, and how much more than the method `by` each has, clip by clip."""
    ours, found = next(line[EACH] for line in lines if line["method"] == by), []
    for line in lines:
        middle = {"CDPAM, median": round(float(np.median(line[EACH])), 4)}
        found.append(without_each(line) | middle | {f"CDPAM above {by}'s": above(line[EACH], ours)})
    return found


def above(theirs: list[float], ours: list[float]) -> str:
    """The mean of the differences and its standard error; nothing of a method to itself or of a single clip."""
    more = np.subtract(theirs, ours)
    if len(more) < 2 or not more.any():
        return ""
    return f"{more.mean():+.4f} ± {more.std(ddof=1) / len(more) ** 0.5:.4f}"


def known(x: torch.Tensor) -> torch.Tensor:
    """CDPAM's embedding of references, which every method is compared with: worked out once."""
    key = tuple(x.shape), hashlib.sha1(x.contiguous().numpy().tobytes()).digest()
    if key not in _known:
        _known[key] = cdpam_embedding(x, RATE)
    return _known[key]


_known: dict[tuple[tuple[int, ...], bytes], torch.Tensor] = {}


class Repair(NamedTuple):
    """What the commands made of a clip, in how many gradients, evaluations (NFE) and seconds."""

    x: Signal
    gradients: int
    evaluations: int
    seconds: float


def stored(y: Signal, rate: int = RATE) -> tuple[tempfile.TemporaryDirectory[str], Recording]:
    """The clip as a file."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "clip.wav"
    soundfile.write(path, y, rate, subtype="FLOAT")
    return folder, examine(path)


def filled(y: Signal, start: int, stop: int, rate: int = RATE, options: SolveOptions | None = None) -> Repair:
    """`headwater audio inpaint` on a clip."""
    folder, source = stored(y, rate)
    with folder:
        begin = time.perf_counter()
        context = round(SETTINGS.context * rate)
        segment = Segment(start - context, stop + context, ((start, stop),))
        restored = fill_segment(models.load_prior(), source, segment, options)
        seconds = time.perf_counter() - begin
    x = y.copy()
    x[start:stop] = restored.patch.samples[start - segment.start : stop - segment.start, 0]
    return Repair(x, *spent(restored), seconds)


def spent(restored: Restoration) -> tuple[int, int]:
    """Gradients and evaluations of the first channel."""
    results = [s.result for s in restored.solutions]
    return sum(int(r.gradients[0]) for r in results), sum(int(r.evaluations[0]) for r in results)


def repaired(y: Signal, damage: Damage, rate: int = RATE, options: SolveOptions | None = None) -> Repair:
    """`headwater audio declip | denoise | dereverb | restore` on a clip, brought to 16 kHz if its rate is lower."""
    folder, source = stored(y, rate)
    costs = np.zeros(2, dtype=int)
    with folder:
        begin = time.perf_counter()
        if rate < RATE:
            source = raise_rate(source, RATE, Path(folder.name) / "higher.wav")
        x = source.read(0, source.frames)[:, 0]
        for restored in undo_damage(models.load_prior(), source, damage, options):
            p, costs = restored.patch, costs + spent(restored)
            x[p.start : p.start + len(p.samples)] = p.samples[:, 0]
        seconds = time.perf_counter() - begin
    return Repair(x, int(costs[0]), int(costs[1]), seconds)


def over(clips_: Signal, method: Callable[[Signal, int], Repair]) -> tuple[Signal, dict[str, float]]:
    """A method on every clip, and its mean costs."""
    done = list(_each(clips_, method))
    return np.stack([r.x for r in done]), {
        "gradients": round(float(np.mean([r.gradients for r in done])), 1),
        "NFE": round(float(np.mean([r.evaluations for r in done]))),
        "seconds a clip": round(float(np.mean([r.seconds for r in done])), 2),
    }


def _each(clips_: Signal, method: Callable[[Signal, int], Repair]) -> Iterator[Repair]:
    for i, y in enumerate(clips_):
        yield method(y, i)


def janssen(y: Signal, start: int, stop: int, rate: int) -> Signal:
    """Linear prediction as it is usually set, order 1000, learned from 0.2 s on both sides of the gap.

    Janssen's interpolation up to 100 ms, beyond Burg's extrapolation from both sides, cross-faded.
    """
    memory, x = round(0.2 * rate), y.copy()
    near = slice(max(start - memory, 0), stop + memory)
    if stop - start <= 0.1 * rate:
        places = np.arange(len(y))[near]
        x[near] = interpolate(y[near], (places >= start) & (places < stop), order=1000, iterations=2)
    else:
        x[start:stop] = bridge_gap(
            y[near.start : start], y[stop : near.stop], stop - start, min(1000, memory // 6)
        )
    return x


def crossfaded(y: Signal, start: int, stop: int) -> Signal:
    """What is before the gap, repeated, fading linearly into what is after it."""
    size = stop - start
    fade = (np.arange(size) + 0.5) / size
    x = y.copy()
    x[start:stop] = (1 - fade) * y[start - size : start] + fade * y[stop : stop + size]
    return x


def plain(method: Callable[[Signal, int], Signal]) -> Callable[[Signal, int], Repair]:
    """A method without a network, timed."""

    def run(y: Signal, i: int) -> Repair:
        begin = time.perf_counter()
        x = method(y, i)
        return Repair(x, 0, 0, time.perf_counter() - begin)

    return run
