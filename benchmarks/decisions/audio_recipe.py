"""What the parts of a gap's repair bring: the noise of the estimate, and carrying what the solver loses of it.

    python benchmarks/decisions/audio_recipe.py --music build/music --count 8

Gaps in the middle of clips of the part `validation` (settings were chosen on it; `audio_tasks.py` judges on `test`).
`flow, fresh f`: the preset `default` with the share f of new noise in its estimate; `not carried` without adding
again what the solver loses of the estimate; `prediction` linear prediction, and `joined` both, as the product returns
them beyond 50 ms (`audio_join.py` takes the join apart). `level` is the power in the gap against the true one, 0 if
equal; LSD and CDPAM count the gap and a quarter of a second on both sides; SI-SDR the gap. A clip of `test` with the
longest gap goes to audio_recipe.png.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import _path  # noqa: F401
from common import write
from headwater.audio.gaps import SETTINGS
from headwater.audio.metrics import cdpam, log_spectral_distance, si_sdr
from headwater.audio.model import models
from headwater.audio.operators import Gaps
from headwater.audio.prior import warm_start
from headwater.audio.sheet import write_gallery
from headwater.audio.signal.join import hold_level, join_flow
from headwater.audio.signal.prediction import carry_residual, predict_gaps
from recordings import RATE, Signal, clips, options

MILLISECONDS = (50, 100, 400)
FLOWS = {
    "fresh 1": (1.0, True),
    "fresh 0.3": (0.3, True),
    "fresh 0": (0.0, True),
    "fresh 0, not carried": (0.0, False),
}
BESIDE = RATE // 4


def fillings(truth: Signal, gap: slice, seed: int) -> Iterator[tuple[str, Signal, int]]:
    """The clip `[samples]` at unit loudness, its gap filled in each way, and the gradients of that."""
    prior, lost = models.load_prior(), np.zeros(len(truth), dtype=bool)
    lost[gap] = True
    guess = predict_gaps(np.where(lost, 0.0, truth), lost, ~lost, RATE)
    held = hold_level(guess, ~lost, RATE)
    yield "prediction", guess, 0
    operator, rough = Gaps(torch.from_numpy(~lost)[None]), torch.from_numpy(guess).float()[None]
    for name, (fresh, carry) in FLOWS.items():
        recipe = replace(warm_start(fresh), correct_round_trip=carry)
        done = prior.pose(operator, operator(rough), 0.0, guess=rough, recipe=recipe).solve([seed])
        x = prior.canvas(len(truth))(done.x1)[0].double().numpy()
        yield f"flow, {name}", x, int(done.gradients)
        both = join_flow(x, held, ~lost, RATE)
        rest = carry_residual(truth - both, lost, ~lost, RATE, SETTINGS.unsure)
        yield f"joined, {name}", both + rest, int(done.gradients)


def show(clip: Signal, milliseconds: int, path: Path) -> None:
    """The clip, and its gap filled by prediction and by the product, as spectrograms."""
    gap = slice(round(SETTINGS.context * RATE), round(SETTINGS.context * RATE) + milliseconds * RATE // 1000)
    truth = clip / np.sqrt(np.mean(clip**2))
    found = {name: x for name, x, _ in fillings(truth, gap, 0)}
    tracks = [truth, found["prediction"], found["joined, fresh 0"]]
    names = ["As it was", f"{milliseconds} ms filled by linear prediction", "by Headwater"]
    write_gallery(path, tracks, RATE, names, overwrite=True)


def judged(x: Signal, truth: Signal, gap: slice) -> dict[str, float]:
    """What a filling is worth; only the gap of `x` counts."""
    filled = truth.copy()
    filled[gap] = x[gap]
    a, b = torch.from_numpy(filled)[None], torch.from_numpy(truth)[None]
    heard = slice(gap.start - BESIDE, gap.stop + BESIDE)
    return {
        "SI-SDR, median, dB": si_sdr(a[:, gap], b[:, gap]).item(),
        "LSD, dB": log_spectral_distance(a[:, heard], b[:, heard]).item(),
        "CDPAM": cdpam(a[:, heard], b[:, heard], RATE).item(),
        "level, dB": 10 * np.log10(np.mean(filled[gap] ** 2) / np.mean(truth[gap] ** 2)),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], count=8)
    lines: list[dict[str, object]] = []
    for milliseconds in MILLISECONDS:
        size, context = milliseconds * RATE // 1000, round(SETTINGS.context * RATE)
        gap = slice(context, context + size)
        found: dict[str, list[dict[str, float]]] = {}
        for seed, clip in enumerate(
            clips(o.music, o.count, 2 * SETTINGS.context + size / RATE, "validation")
        ):
            truth = clip / np.sqrt(np.mean(clip**2))
            for name, x, gradients in fillings(truth, gap, seed):
                found.setdefault(name, []).append(judged(x, truth, gap) | {"gradients": gradients})
        for name, each in found.items():
            line: dict[str, object] = {"gap, ms": milliseconds, "filled by": name}
            for key in each[0]:
                middle = np.median if "median" in key else np.mean
                line[key] = round(float(middle([e[key] for e in each])), 3 if key == "CDPAM" else 1)
            lines.append(line)
            print(line, flush=True)
        if milliseconds == MILLISECONDS[-1]:
            clip = clips(o.music, 1, 2 * SETTINGS.context + size / RATE, "test", seed=1)[0]
            show(clip, milliseconds, o.results / "audio_recipe.png")
    command = f"python benchmarks/decisions/audio_recipe.py --music build/music --count {o.count}"
    write(o.results / "audio_recipe", lines, command, f"{o.count} clips of the validation part.")


if __name__ == "__main__":
    main()
