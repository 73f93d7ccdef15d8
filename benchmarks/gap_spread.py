"""Does the truth lie within the draws of `audio inpaint --posterior`, without and with the error of prediction?

    apt download sonic-pi-samples && dpkg -x sonic-pi-samples_*.deb build/real        # Sonic Pi's samples, all CC0
    python benchmarks/gap_spread.py --recordings build/real/usr/share/sonic-pi/samples

A gap in the middle of each recording, 200 ms by default. `--draws` draws of `DecoupledAnnealing`, as the command
makes them, are the flow's part; each is finished without an error and with one. Ranks as in `calibration.py`, of the
samples and of the levels in windows of 20 ms: the 90 % interval of exact draws covers 90 %.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from audio_real import RECORDINGS, recording
from calibration import ranks
from common import kept, options, write
from headwater import DecoupledAnnealing
from headwater.audio import load_prior
from headwater.audio.gaps import GapTask
from headwater.audio.io.files import examine
from headwater.audio.io.segments import segments_around

WINDOW = 0.02


def covered(draws: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """How many % of the truth `[k]` the interval of 90 % of draws `[draws, k]` covers."""
    even = torch.full((1, len(draws)), 1 / len(draws), dtype=torch.float64)
    u = ranks(torch.from_numpy(draws)[None], even, torch.from_numpy(truth)[None])
    return round(100 * float(((u > 0.05) & (u < 0.95)).double().mean()), 1)


def levels(x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The levels of x `[..., samples]` in windows, dB."""
    whole = x[..., : x.shape[-1] // size * size]
    power = np.square(whole).reshape(*x.shape[:-1], -1, size).mean(-1)
    return np.asarray(10 * np.log10(power + 1e-12))


def judge(path: Path, milliseconds: int, draws: int) -> dict[str, object]:
    """One line: a recording."""
    x, rate = recording(path)
    size = milliseconds * rate // 1000
    start = (len(x) - size) // 2
    prior = load_prior()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "x.wav")
        soundfile.write(file, x, rate, subtype="FLOAT")
        (segment,) = segments_around([(start, start + size)], round(0.75 * rate))
        task = GapTask.read(prior, examine(file), segment)
        problem = task.pose(prior)
    rows = torch.zeros(draws, dtype=torch.long)
    guess = problem.guess.expand(draws, *problem.guess.shape[1:])
    estimate = replace(DecoupledAnnealing().estimate, perturb=True)
    found = estimate(problem.flow, problem.misfit.select(rows), range(draws), guess=guess)
    gap = slice(start - segment.start, start - segment.start + size)
    alone = np.stack([task.finish(one[None]).samples[gap, 0] for one in found.x1])
    mended = np.stack([task.finish(one[None], i).samples[gap, 0] for i, one in enumerate(found.x1)])
    truth, window = x[start : start + size], round(WINDOW * rate)
    return {
        "recording": path.stem,
        "error / sound": round(float(np.std(alone.mean(0) - truth) / np.std(truth)), 3),
        "spread / sound, flow alone": round(float(np.std(alone - alone.mean(0)) / np.std(truth)), 3),
        "with errors": round(float(np.std(mended - mended.mean(0)) / np.std(truth)), 3),
        "samples covered, flow alone": covered(alone, truth),
        "samples covered": covered(mended, truth),
        "levels covered, flow alone": covered(levels(alone, window), levels(truth, window)),
        "levels covered": covered(levels(mended, window), levels(truth, window)),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], data="recordings", milliseconds=200, draws=16, keep="")
    rows = []
    for name in RECORDINGS:
        path = o.recordings / f"{name}.flac"
        work = partial(judge, path, o.milliseconds, o.draws)
        rows.append(kept(o.keep, f"{name} {o.milliseconds}", work))
    names = [name for name in rows[0] if name != "recording"]
    rows.append(
        {"recording": "mean"} | {n: round(float(np.mean([row[n] for row in rows])), 3) for n in names}
    )
    note = (
        f"A gap of {o.milliseconds} ms in the middle of each recording; {o.draws} draws, each finished "
        "alone and with an error that linear prediction makes beside the gap. Coverage of 90 % intervals, in %."
    )
    given = f"--recordings {o.recordings.name} --milliseconds {o.milliseconds} --draws {o.draws}"
    write(o.results / "gap_spread", rows, f"python benchmarks/gap_spread.py {given}", note)


if __name__ == "__main__":
    main()
