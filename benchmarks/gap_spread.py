"""Does the truth lie within the draws of `audio inpaint --posterior`, without and with the error of prediction?

    apt download sonic-pi-samples && dpkg -x sonic-pi-samples_*.deb build/real        # Sonic Pi's samples, all CC0
    python benchmarks/gap_spread.py --recordings build/real/usr/share/sonic-pi/samples

A gap in the middle of each recording, 200 ms by default. The flow's part of a draw is an estimate, the point at
which the optimisation of a draw begins; each of `--draws` estimates is finished `--errors` times, and counts as
often without an error. Ranks as in `calibration.py`, of the samples and of the levels in windows of 20 ms: the 90 %
interval of 16 different exact draws covers 90 %, and that of 4 which count 4 times each, as those without an error
do, 66 %.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from audio_real import RECORDINGS, recording
from calibration import ranks
from common import kept, options, write
from headwater.audio import load_prior
from headwater.audio.gaps import GapTask
from headwater.audio.io.files import examine
from headwater.audio.io.segments import segments_around
from headwater.audio.prior import warm_start

WINDOW = 0.02


def covered(draws: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """How many % of the truth `[k]` the interval of 90 % of draws `[draws, k]` covers."""
    even = torch.full((1, len(draws)), 1 / len(draws), dtype=torch.float64)
    u = ranks(torch.from_numpy(draws)[None], even, torch.from_numpy(truth)[None])
    return round(100 * float(((u > 0.05) & (u < 0.95)).double().mean()), 1)


def cover_exact(draws: int, times: int) -> float:
    """How many % of truths the interval of 90 % covers, of exact draws that count several times each.

    The truth has one of draws + 1 places among them, each as likely as the others.
    """
    every = np.repeat(np.arange(float(draws)), times)[:, None]
    places = np.arange(draws + 1.0) - 0.5
    return covered(np.repeat(every, 10_000 * len(places), 1), np.tile(places, 10_000))


def levels(x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The levels of x `[..., samples]` in windows, dB."""
    whole = x[..., : x.shape[-1] // size * size]
    power = np.square(whole).reshape(*x.shape[:-1], -1, size).mean(-1)
    return np.asarray(10 * np.log10(power + 1e-12))


def judge(path: Path, milliseconds: int, draws: int, errors: int) -> dict[str, object]:
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
    found = warm_start(fresh=0.0).estimate(
        problem.flow, problem.misfit.select(rows), range(draws), guess=guess
    )
    gap = slice(start - segment.start, start - segment.start + size)
    alone = np.stack([task.finish(one[None]).samples[gap, 0] for one in found.x1]).repeat(errors, 0)
    numbers = enumerate(one for one in found.x1 for _ in range(errors))
    mended = np.stack([task.finish(one[None], number).samples[gap, 0] for number, one in numbers])
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
    o = options(__doc__.splitlines()[0], data="recordings", milliseconds=200, draws=4, errors=4, keep="")
    rows = []
    for name in RECORDINGS:
        path = o.recordings / f"{name}.flac"
        work = partial(judge, path, o.milliseconds, o.draws, o.errors)
        rows.append(kept(o.keep, f"{name} {o.milliseconds}", work))
    names = [name for name in rows[0] if name != "recording"]
    rows.append(
        {"recording": "mean"} | {n: round(float(np.mean([row[n] for row in rows])), 3) for n in names}
    )
    note = (
        f"A gap of {o.milliseconds} ms in the middle of each recording; {o.draws} estimates, each finished once, and "
        f"{o.errors} times with errors that linear prediction makes beside the gap. Coverage of 90 % intervals, in "
        f"%; of exact draws it is 90, and {cover_exact(o.draws, o.errors):.0f} where each estimate counts "
        f"{o.errors} times."
    )
    given = f"--recordings {o.recordings.name} --milliseconds {o.milliseconds} --draws {o.draws} --errors {o.errors}"
    write(o.results / "gap_spread", rows, f"python benchmarks/gap_spread.py {given}", note)


if __name__ == "__main__":
    main()
