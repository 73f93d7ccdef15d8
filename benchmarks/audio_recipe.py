"""What the parts of a gap's repair bring: the noise of the estimate, and the join of prediction and flow.

    python benchmarks/audio_recipe.py --music build/music --count 8

Gaps in the middle of clips of the part `validation` (settings were chosen on it; `audio_tasks.py` judges on `test`).
`estimate, fresh f` is the start of the control run alone, with the share f of new noise; `flow` what control makes of
fresh 0, `prediction` linear prediction, `joined` what the product returns. `level` is the power in the gap against
the true one, 0 if equal; LSD and CDPAM count the gap and a quarter of a second on both sides; SI-SDR the gap.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from common import write
from headwater.audio import models
from headwater.audio.join import joined
from headwater.audio.metrics import cdpam, log_spectral_distance, si_sdr
from headwater.audio.operators import Gaps
from headwater.audio.repair import CONTEXT, bridged
from headwater.audio.restore import RESOLUTION, on_canvas, restore
from headwater.cost import Misfit
from headwater.estimate import estimate
from headwater.window import windowed
from recordings import RATE, Track, clips, options

MILLISECONDS = (20, 50, 100, 400)
FRESH = (1.0, 0.3, 0.0)
BESIDE = RATE // 4


def fillings(truth: Track, start: int, stop: int, seed: int) -> Iterator[tuple[str, Track]]:
    """The clip `[samples]` at unit loudness, its gap filled in each way."""
    prior, lost = models.prior(), np.zeros(len(truth), dtype=bool)
    lost[start:stop] = True
    guess = bridged(np.where(lost, 0.0, truth), lost, ~lost, RATE)
    operator = Gaps(torch.from_numpy(~lost)[None])
    rough = torch.from_numpy(guess).float()[None]
    y = operator(rough)
    heard = on_canvas(prior, operator, len(truth))
    flow = windowed(prior.flow, (heard.frames,), axes=(-2,))
    misfit = Misfit(heard, y, RESOLUTION)
    for fresh in FRESH:
        x1 = estimate(flow, misfit, heard.state(rough), [seed], fresh=fresh)
        yield f"estimate, fresh {fresh:g}", heard.waveform(x1)[0].double().numpy()
    done = restore(prior, operator, y, 0.0, guess=rough, seeds=[seed]).waveforms[0].double().numpy()
    yield "flow", done
    yield "prediction", guess
    both = joined(done, guess, ~lost, RATE)
    yield "joined", both + bridged(truth - both, lost, ~lost, RATE)


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
            for name, x in fillings(truth, gap.start, gap.stop, seed):
                found.setdefault(name, []).append(judged(x, truth, gap))
        for name, each in found.items():
            line: dict[str, object] = {"gap, ms": milliseconds, "filled by": name}
            for key in each[0]:
                middle = np.median if "median" in key else np.mean
                line[key] = round(float(middle([e[key] for e in each])), 3 if key == "CDPAM" else 1)
            lines.append(line)
            print(line, flush=True)
    command = f"python benchmarks/audio_recipe.py --music build/music --count {o.count}"
    write("audio_recipe", lines, command, f"{o.count} clips of the validation part.")


if __name__ == "__main__":
    main()
