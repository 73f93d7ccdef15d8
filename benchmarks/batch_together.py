"""What it saves to solve the jobs of a batch together: holes at other places, molecules with other targets.

    python benchmarks/batch_together.py

The same jobs are done one by one and as one batch, in turns, by this process: a hole of its own in each of some
pictures of one window (64 x 64) and of larger ones, and molecules with a gap of their own. Seconds are those of the
processor that this process had, on one thread, so that other programs on the machine count little; reading, writing
and drawing of each job is in both. Results are compared, too: pictures by their largest difference in levels of 255,
molecules by how many have the same atoms.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from common import options, write
from headwater.batch import Job
from headwater.cli.batch.words import job_of
from headwater.cli.batch.work import CommandWork
from headwater.molecule.io.files import read_molecules


def main() -> None:
    o = options(__doc__.splitlines()[0], jobs=8, repeats=2)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rows = [compare(name, jobs, o.repeats) for name, jobs in make_jobs(o.jobs).items()]
    for row in rows:
        print(row, flush=True)
    note = f"{o.jobs} jobs each, seconds of the processor, the median of {o.repeats} turns."
    write(o.results / "batch_together", rows, f"python benchmarks/batch_together.py --jobs {o.jobs}", note)


def make_jobs(count: int) -> dict[str, list[Job]]:
    """The jobs of each kind; the pictures are smooth waves with noise, as what is in them changes no time."""
    words: dict[str, list[list[str]]] = {"holes, 64 x 64": [], "holes, 160 x 200": [], "molecules": []}
    for i in range(count):
        for name, (height, width) in (("small", (64, 64)), ("large", (160, 200))):
            save_picture(Path(f"{name}{i}.png"), height, width, i)
        x, y = 4 + 3 * i, 30 - 2 * i
        inpaint = ["image", "inpaint", f"--seed={i}"]
        words["holes, 64 x 64"].append([*inpaint, f"--box={x},{y},20,24", "--", f"small{i}.png"])
        words["holes, 160 x 200"].append([*inpaint, f"--box={6 * x},{2 * y},20,24", "--", f"large{i}.png"])
        target = f"--gap={5 + 0.5 * i}eV"
        words["molecules"].append(
            ["molecule", "target", target, "--count=1", f"--seed={i}", "--candidates=16", "--check=none"]
        )
    return {
        name: [job_of(tuple(w), "", f"{name} {k}") for k, w in enumerate(each)]
        for name, each in words.items()
    }


def save_picture(path: Path, height: int, width: int, seed: int) -> None:
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(0.1 * rows + 0.05 * (c + seed) * columns) for c in range(3)]
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 3))
    Image.fromarray((128 + 80 * np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)).save(path)


def compare(name: str, jobs: Sequence[Job], repeats: int) -> dict[str, Any]:
    """The jobs one by one and together, in turns."""
    carry_out(jobs[:1])  # the model is loaded
    spent: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(repeats):
        found = {}
        for way in spent:
            start = time.process_time()
            parcels = [jobs] if way == "together" else [[job] for job in jobs]
            found[way] = [pair for parcel in parcels for pair in carry_out(parcel)]
            spent[way].append(time.process_time() - start)
    alone, together = (statistics.median(spent[way]) for way in spent)
    return {
        "jobs": name,
        "solved together": max(outcome.together for _, outcome in found["together"]),
        "s a job, alone": round(alone / len(jobs), 2),
        "s a job, together": round(together / len(jobs), 2),
        "ratio": round(alone / together, 2),
        "results": differ(*([folder for folder, _ in found[way]] for way in ("alone", "together"))),
    }


def carry_out(jobs: Sequence[Job]) -> list[tuple[Path, Any]]:
    """The folder and the outcome of each job."""
    folders = [Path(tempfile.mkdtemp(dir=".")) for _ in jobs]
    with contextlib.redirect_stderr(io.StringIO()):
        outcomes = dict(CommandWork()(jobs, folders))
    failed = [outcome.sentence for outcome in outcomes.values() if outcome.status == "failed"]
    if failed:
        raise SystemExit(failed[0])
    return [(folder, outcomes[i]) for i, folder in enumerate(folders)]


def differ(alone: Sequence[Path], together: Sequence[Path]) -> str:
    """How far the results of both ways are apart."""
    if list(alone[0].glob("*.sdf")):
        pairs = [
            [read_molecules(next(f.glob("*.sdf"))) for f in pair]
            for pair in zip(alone, together, strict=True)
        ]
        same = sum([m.symbols for m in a] == [m.symbols for m in b] for a, b in pairs)
        return f"the same atoms in {same} of {len(pairs)}"
    largest = 0
    for pair in zip(alone, together, strict=True):
        a, b = (np.asarray(Image.open(p)).astype(int) for f in pair for p in f.glob("*[0-9].png"))
        largest = max(largest, int(np.abs(a - b).max()))
    return f"at most {largest} of 255"


if __name__ == "__main__":
    main()
