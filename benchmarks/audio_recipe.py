"""What the parts of a gap's repair bring: the noise of the estimate, and carrying what the solver loses of it.

    python benchmarks/audio_recipe.py --music build/music --count 8

Gaps in the middle of clips of the part `validation` (settings were chosen on it; `audio_tasks.py` judges on `test`).
`flow, fresh f`: the preset `default` with the share f of new noise in its estimate; `not carried` without adding
again what the solver loses of the estimate; `prediction` linear prediction, and `joined` both, as the product returns
them beyond 50 ms (`audio_join.py` takes the join apart). `level` is the power in the gap against the true one, 0 if
equal; LSD and CDPAM count the gap and a quarter of a second on both sides; SI-SDR the gap. A clip of `test` with the
longest gap goes to docs/audio-gap.png.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from common import write
from headwater.audio.gaps import UNSURE
from headwater.audio.io.regions import CONTEXT
from headwater.audio.metrics import cdpam, log_spectral_distance, si_sdr
from headwater.audio.model import models
from headwater.audio.operators import Gaps
from headwater.audio.restore import RESOLUTION, on_canvas
from headwater.audio.sheet import gallery
from headwater.audio.signal.join import joined, steadied
from headwater.audio.signal.prediction import bridged, carried
from headwater.flows.windowed import extend_to_canvas
from headwater.problem.cost import Misfit
from headwater.recipes.warm_start import default
from recordings import RATE, Track, clips, options

MILLISECONDS = (50, 100, 400)
FLOWS = {
    "fresh 1": (1.0, True),
    "fresh 0.3": (0.3, True),
    "fresh 0": (0.0, True),
    "fresh 0, not carried": (0.0, False),
}
BESIDE = RATE // 4
DOCS = Path(__file__).parent.parent / "docs"


def fillings(truth: Track, gap: slice, seed: int) -> Iterator[tuple[str, Track, int]]:
    """The clip `[samples]` at unit loudness, its gap filled in each way, and the gradients of that."""
    prior, lost = models.prior(), np.zeros(len(truth), dtype=bool)
    lost[gap] = True
    guess = bridged(np.where(lost, 0.0, truth), lost, ~lost, RATE)
    held = steadied(guess, ~lost, RATE)
    yield "prediction", guess, 0
    operator, rough = Gaps(torch.from_numpy(~lost)[None]), torch.from_numpy(guess).float()[None]
    heard = on_canvas(prior, operator, len(truth))
    flow = extend_to_canvas(prior.flow, (heard.frames,), axes=(-2,))
    misfit = Misfit(heard, operator(rough), RESOLUTION)
    for name, (fresh, carry) in FLOWS.items():
        done = default(flow, misfit, [seed], guess=heard.state(rough), fresh=fresh, carry=carry)
        x = heard.waveform(done.x1)[0].double().numpy()
        yield f"flow, {name}", x, int(done.gradients)
        both = joined(x, held, ~lost, RATE)
        yield f"joined, {name}", both + carried(truth - both, lost, ~lost, RATE, UNSURE), int(done.gradients)


def show(clip: Track, milliseconds: int) -> None:
    """The clip, and its gap filled by prediction and by the product, as spectrograms."""
    gap = slice(round(CONTEXT * RATE), round(CONTEXT * RATE) + milliseconds * RATE // 1000)
    truth = clip / np.sqrt(np.mean(clip**2))
    found = {name: x for name, x, _ in fillings(truth, gap, 0)}
    tracks = [truth, found["prediction"], found["joined, fresh 0"]]
    names = ["As it was", f"{milliseconds} ms filled by linear prediction", "by Headwater"]
    gallery(DOCS / "audio-gap.png", tracks, RATE, names, overwrite=True)


def judged(x: Track, truth: Track, gap: slice) -> dict[str, float]:
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
        size, context = milliseconds * RATE // 1000, round(CONTEXT * RATE)
        gap = slice(context, context + size)
        found: dict[str, list[dict[str, float]]] = {}
        for seed, clip in enumerate(clips(o.music, o.count, 2 * CONTEXT + size / RATE, "validation")):
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
            show(clips(o.music, 1, 2 * CONTEXT + size / RATE, "test", seed=1)[0], milliseconds)
    command = f"python benchmarks/audio_recipe.py --music build/music --count {o.count}"
    write("audio_recipe", lines, command, f"{o.count} clips of the validation part.")


if __name__ == "__main__":
    main()
