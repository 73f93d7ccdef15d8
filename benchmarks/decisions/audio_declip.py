"""What declipping is made of: how fast A-SPADE's coefficients grow, and when its guess enters the flow.

    python benchmarks/decisions/audio_declip.py --music build/music --count 6

Clips of 2.5 s of the part `validation` (settings were chosen on it; `audio_tasks.py` judges on `test`), clipped at an
SDR of 3 and 7 dB. `k + 1` is the published growth; the others add a part of k.
`flow from t`: the product, its guess entering at the time t; `not carried` without adding again what the solver loses
of the estimate. SI-SDR counts the clipped samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

import _path  # noqa: F401
from audio_tasks import level_of
from common import write
from headwater.audio.metrics import cdpam, log_spectral_distance, si_sdr
from headwater.audio.model import models
from headwater.audio.operators import Clip
from headwater.audio.prior import warm_start
from headwater.audio.signal.sparse import SPADE, Spade, declip_by_sparsity
from recordings import RATE, Signal, clips, options

SECONDS = 2.5
SDR = (3.0, 7.0)
GROWTHS = (10**6, 128, 64, 32)
FIRST = (0.8, 0.9, 0.95, 0.98)


def grown(y: Signal, cut: NDArray[np.bool_], growth: int) -> Signal:
    """A-SPADE whose k grows by 1 and by this part of itself."""
    return declip_by_sparsity(y, cut, RATE, settings=Spade(growth=growth))


def refined(y: Signal, level: float, guess: Signal, first: float, carry: bool) -> Signal:
    """The flow from the guess, at time `first`; only clipped samples change."""
    prior, scale = models.load_prior(), y.std()
    operator = Clip(level / scale, 1e-4 * level / scale)
    measured, rough = (torch.from_numpy(z / scale).float()[None] for z in (y, guess))
    ours = warm_start(fresh=0.0)
    recipe = replace(ours, estimate=replace(ours.estimate, first=first), correct_round_trip=carry)
    done = prior.pose(operator, measured, 0.0, guess=rough, recipe=recipe).solve([0])
    x = scale * prior.canvas(len(y))(done.x1)[0].double().numpy()
    sign = np.sign(y)
    return np.where(np.abs(y) >= level * (1 - 1e-6), sign * np.maximum(sign * x, level), y)


def methods(y: Signal, level: float) -> dict[str, Callable[[], Signal]]:
    """Every way to declip."""
    found: dict[str, Callable[[], Signal]] = {}
    cut = np.abs(y) >= level * (1 - 1e-6)
    for growth in GROWTHS:
        name = f"1 + k // {growth}" if growth < 10**6 else "k + 1"
        found[f"A-SPADE, {name}"] = partial(grown, y, cut, growth)
    guess = declip_by_sparsity(y, cut, RATE)
    for first in FIRST:
        found[f"flow from {first}"] = partial(refined, y, level, guess, first, True)
    found["flow from 0.95, not carried"] = partial(refined, y, level, guess, 0.95, False)
    return found


def main() -> None:
    o = options(__doc__.splitlines()[0], count=6)
    lines: list[dict[str, object]] = []
    for sdr in SDR:
        found: dict[str, list[tuple[float, ...]]] = {}
        for truth in clips(o.music, o.count, SECONDS, "validation"):
            level = level_of(truth, sdr)
            y = np.clip(truth, -level, level)
            cut = np.abs(y) >= level * (1 - 1e-6)
            for name, method in methods(y, level).items():
                begin = time.perf_counter()
                x = method()
                seconds = time.perf_counter() - begin
                a, b = torch.from_numpy(x)[None], torch.from_numpy(truth)[None]
                found.setdefault(name, []).append(
                    (
                        si_sdr(a[:, cut], b[:, cut]).item(),
                        log_spectral_distance(a, b).item(),
                        cdpam(a, b, RATE).item(),
                        seconds,
                    )
                )
        one = np.mean(found[f"A-SPADE, 1 + k // {SPADE.growth}"], axis=0)[3]
        for name, values in found.items():
            decibel, distance, heard, seconds = np.mean(values, axis=0)
            lines.append(
                {
                    "clipped at": f"{sdr:g} dB",
                    "method": name,
                    "SI-SDR, dB": round(float(decibel), 2),
                    "LSD, dB": round(float(distance), 2),
                    "CDPAM": round(float(heard), 4),
                    "seconds, of A-SPADE's": round(float(seconds / one), 2),
                }
            )
            print(lines[-1], flush=True)
    command = f"python benchmarks/decisions/audio_declip.py --music build/music --count {o.count}"
    write(o.results / "audio_declip", lines, command, f"Means over {o.count} clips of {SECONDS:g} s.")


if __name__ == "__main__":
    main()
