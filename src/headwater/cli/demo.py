"""`headwater demo`: photos, damaged here and restored, and molecules with a given gap, through the usual commands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from headwater.atomic import check_output
from headwater.cli.audio.options import Lost
from headwater.cli.image import tasks
from headwater.cli.image.options import Restore
from headwater.cli.image.run import INTERRUPTED, run
from headwater.cli.image.tasks import Task
from headwater.cli.molecule.options import Aim
from headwater.errors import Misuse
from headwater.image.io import photos
from headwater.image.io.files import read_image, write_image
from headwater.image.metrics.fidelity import psnr
from headwater.image.operators import Blur, motion_kernel

SECONDS = 30.0
"""Most seconds for one photo: three of them, reading and drawing stay under two minutes."""
GAP = (1.42, 1.5)
"""Where the recording of the demo is silenced, seconds: in it a string is struck."""
MOLECULES = Aim(gap=6.0, count=4, seconds=20.0)
"""What is asked of the molecules of the demo."""


@dataclass(frozen=True)
class Scene:
    """A shipped photo, how it is damaged, and the task that undoes it.

    `damage` makes the damaged image; `task` reads its file; `noise` is the std in [-1, 1].
    """

    photo: str
    damage: Callable[[Tensor], Tensor]
    task: Callable[[Path, Restore], Task]
    noise: float
    words: str


STROKE = (9.0, 30.0)  # length in pixels, angle in degrees
HOLE = (30, 10, 10, 70)  # top, left, height, width


def _with_hole(x: Tensor) -> Tensor:
    top, left, height, width = HOLE
    x = x.clone()
    x[..., top : top + height, left : left + width] = 0
    return x


SCENES = (
    Scene(
        "cat",
        Blur(motion_kernel(*STROKE)),
        lambda file, o: tasks.deblur(file, None, None, STROKE, "reflect", o),
        0.02,
        f"blurred along {STROKE[0]:g} pixels, deblurred",
    ),
    Scene(
        "astronaut",
        _with_hole,
        lambda file, o: tasks.inpaint(file, None, HOLE, o),
        0.0,
        f"a hole of {HOLE[2]} x {HOLE[3]} pixels, inpainted",
    ),
    Scene("coffee", lambda x: x, tasks.denoise, 0.2, "noise of std 0.2 in [-1, 1], denoised"),
)


def demo(folder: Path, quiet: bool) -> int:
    """Damage and restore every scene, and design molecules; the first exit code that is not 0, else 0."""
    make_folder(folder)
    for name in (n for scene in SCENES for n in file_names(scene)):
        check_output(folder / name, overwrite=True)
    start, lines, code = time.perf_counter(), [], 0
    for number, scene in enumerate(SCENES):
        line, ended = play(scene, folder, seed=number, quiet=quiet)
        lines.append(line)
        if ended:
            code = ended
        if ended == INTERRUPTED:
            break
    for more in (mend, design):
        if code != INTERRUPTED:
            line, ended = more(folder, quiet=quiet)
            lines.append(line)
            code = ended or code
    print("\n".join(lines))
    print(f"Look at {folder}: NAME-sheet.png tells each restoration ({time.perf_counter() - start:.0f} s).")
    return code


def mend(folder: Path, *, quiet: bool) -> tuple[str, int]:
    """A recording with a gap, filled: a line that says how it went, and the exit code."""
    if not find_spec("soundfile") or not find_spec("matplotlib"):
        return "guitar     left out: pip install headwater[audio]", 0
    from headwater.audio.io import recordings
    from headwater.audio.io.files import Patch, examine
    from headwater.audio.io.write import write_patched
    from headwater.audio.metrics import si_sdr
    from headwater.cli.audio import gaps

    source = examine(recordings.GUITAR)
    start, stop = (round(s * source.rate) for s in GAP)
    shape = (stop - start, source.channels)
    damaged, output = folder / "guitar-damaged.wav", folder / "guitar.wav"
    write_patched(source, [Patch(start, np.zeros(shape), np.ones(shape, bool))], damaged, overwrite=True)
    span = f"{GAP[0]}-{GAP[1]}"
    code = gaps.inpaint(damaged, Lost(gap=(span,), output=output, overwrite=True, quiet=quiet))
    found, truth = (torch.from_numpy(examine(p).read(start, stop).T) for p in (output, recordings.GUITAR))
    decibel = float(si_sdr(found.reshape(1, -1), truth.reshape(1, -1)))
    words = f"a gap of {1000 * (GAP[1] - GAP[0]):.0f} ms, filled"
    return f"guitar     {words}: SI-SDR {decibel:.1f} dB in the gap", code


def design(folder: Path, *, quiet: bool) -> tuple[str, int]:
    """Molecules with a gap of 6 eV: a line that says how it went, and the exit code."""
    if not find_spec("rdkit"):
        return "molecules  left out: pip install headwater[molecules]", 0
    from headwater.cli.molecule.jobs import target_job
    from headwater.cli.shared.job import run as run_job
    from headwater.molecule.design.target import TOLERANCE

    output = folder / "molecules.sdf"
    options = replace(MOLECULES, output=output, overwrite=True, quiet=quiet)
    code = run_job(target_job(options))
    hits = json.loads(output.with_suffix(".json").read_text())["summary"]["hits"]
    words = f"{hits} of {options.count} hit within {TOLERANCE['gap']} eV, as the evaluator says; see molecules.html"
    return f"molecules  gap {options.gap:g} eV asked: {words}", code


def play(scene: Scene, folder: Path, *, seed: int, quiet: bool) -> tuple[str, int]:
    """One scene from the photo to the restored file: a line that says how it went, and the exit code."""
    truth, picture = read_image(photos.path(scene.photo))
    y = scene.damage(truth)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    damaged, result, report, _ = (folder / name for name in file_names(scene))
    write_image((y + scene.noise * noise).clamp(-1, 1), damaged, picture, overwrite=True)
    options = Restore(
        output=result,
        overwrite=True,
        quiet=quiet,
        noise=scene.noise,
        seconds=SECONDS,
        reference=photos.path(scene.photo),
    )
    code = run(scene.task(damaged, options), options)
    seen = interpolate(read_image(damaged)[0], truth.shape[-2:], mode="bicubic", align_corners=False)
    after = json.loads(report.read_text())["samples"][0].get("psnr")
    before = float(psnr(seen.clamp(-1, 1), truth))
    gain = "not restored" if after is None else f"PSNR {before:.1f} dB damaged, {after:.1f} dB restored"
    return f"{scene.photo:10s} {scene.words}: {gain}", code


def file_names(scene: Scene) -> tuple[str, str, str, str]:
    """The files of a scene: damaged photo, result, report, sheet."""
    name = scene.photo
    return f"{name}-damaged.png", f"{name}.png", f"{name}.json", f"{name}-sheet.png"


def make_folder(folder: Path) -> None:
    """Make the folder, unless it is there."""
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise Misuse(f"{folder} is a file.", "Name a folder with --output.") from error
    except OSError as error:
        raise Misuse(
            f"The folder {folder} cannot be made: {error.strerror}.", "Name another with --output."
        ) from error
