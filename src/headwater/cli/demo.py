"""`headwater demo`: pictures, a recording and molecules, through the usual commands."""

from __future__ import annotations

import inspect
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
from headwater.cli import few_numbers
from headwater.cli.audio.options import GapOptions
from headwater.cli.image import operator_request, requests
from headwater.cli.image.options import Restore
from headwater.cli.image.requests import Request
from headwater.cli.image.restoration import restore_job
from headwater.cli.molecule.options import Aim
from headwater.cli.shared.exit_codes import DONE, INTERRUPTED, MISSED, MISUSE
from headwater.cli.shared.job import run
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.image.io import photos
from headwater.image.io.files import read_image, write_image
from headwater.image.metrics.fidelity import psnr
from headwater.image.operators import Blur, box_mask, motion_kernel

MOLECULES = Aim(gap=6.0, count=4, seconds=20.0)
"""What is asked of the molecules of the demo."""


@dataclass(frozen=True)
class Scene:
    """A shipped photo, how it is damaged, and the request that undoes it.

    Attributes
    ----------
    photo : str
        The name of the photo.
    damage : callable
        Makes the damaged image.
    request : callable
        Reads the file of the damaged image.
    noise : float
        Standard deviation of the noise that is added, in [-1, 1].
    words : str
        The scene in a few words.
    seconds : float
        The most that its restoration may take: three of them, reading and drawing stay under two minutes.
    """

    photo: str
    damage: Callable[[Tensor], Tensor]
    request: Callable[[Path, Restore], Request]
    noise: float
    words: str
    seconds: float = 30.0


def blurred_photo(photo: str, length: float, angle: float) -> Scene:
    """A scene blurred along a stroke of this length (pixels) and angle (degrees)."""
    return Scene(
        photo,
        Blur(motion_kernel(length, angle)),
        lambda file, o: requests.deblur(file, None, None, (length, angle), "reflect", o),
        0.02,
        f"blurred along {length:g} pixels, deblurred",
    )


def photo_with_hole(photo: str, top: int, left: int, height: int, width: int) -> Scene:
    """A scene with a grey box, in pixels."""

    def cut_hole(x: Tensor) -> Tensor:
        return torch.where(box_mask(x.shape[-2], x.shape[-1], height, width, top=top, left=left), x, 0.0)

    return Scene(
        photo,
        cut_hole,
        lambda file, o: requests.inpaint(file, None, (top, left, height, width), None, o),
        0.0,
        f"a hole of {height} x {width} pixels, inpainted",
    )


SCENES = (
    blurred_photo("cat", 9.0, 30.0),
    photo_with_hole("astronaut", 30, 10, 10, 70),
    Scene("coffee", lambda x: x, requests.denoise, 0.2, "noise of std 0.2 in [-1, 1], denoised"),
)


def demo(folder: Path, quiet: bool) -> int:
    """Damage and restore every scene, and design molecules; 0 once all were shown, also those that missed a goal."""
    make_folder(folder)
    for name in (n for scene in SCENES for n in file_names(scene)):
        check_output(folder / name, overwrite=True)
    start, lines, code = time.perf_counter(), [], 0
    for number, scene in enumerate(SCENES):
        line, ended = restore_scene(scene, folder, seed=number, quiet=quiet)
        lines.append(line)
        if ended:
            code = ended
        if ended == INTERRUPTED:
            break
    for more in (rebuild_portrait, fill_gap, design_molecules):
        if code != INTERRUPTED:
            try:
                line, ended = more(folder, quiet=quiet)
            except Misuse as error:
                line, ended = str(error), MISUSE
            lines.append(line)
            code = ended or code
    say("\n".join(lines))
    say(f"Look at {folder}: NAME-sheet.png tells each restoration ({time.perf_counter() - start:.0f} s).")
    return DONE if code == MISSED else code


def rebuild_portrait(folder: Path, *, quiet: bool) -> tuple[str, int]:
    """Rebuild a picture from 512 numbers of it: a line that says how it went, and the exit code.

    The gradient through the flow does all of it: the sheet shows x1 before, on the way, and after.
    """
    truth, picture = read_image(photos.path("astronaut"))
    truth = interpolate(truth, (64, 64), mode="area")
    names = ("portrait-reference.png", "few_numbers.py", "portrait-numbers.npy", "portrait.png")
    reference, program, numbers, output = (folder / name for name in names)
    write_image(truth, reference, picture, overwrite=True)
    program.write_text(inspect.getsource(few_numbers), encoding="utf-8")
    y = few_numbers.operator(truth)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    np.save(numbers, (y + 0.05 * noise).numpy())
    options = Restore(
        output=output,
        overwrite=True,
        quiet=quiet,
        noise=0.05,
        reference=reference,
        method="map-from-noise",
    )
    request = operator_request.restore(numbers, str(program), (64, 64), options)
    code = run(restore_job(request, options))
    after = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["samples"][0]
    before = float(psnr(truth.mean((-2, -1), keepdim=True).expand_as(truth), truth))
    gain = (
        f"PSNR {before:.1f} dB its mean colour, {after['psnr']:.1f} dB after {after['gradients']} gradients"
    )
    return f"portrait   rebuilt from {y.numel()} numbers by control of its source: {gain}", code


def fill_gap(folder: Path, *, quiet: bool, start: float = 1.42, stop: float = 1.5) -> tuple[str, int]:
    """Silence a recording for these seconds, in which a string is struck, and fill the gap.

    A line that says how it went, and the exit code.
    """
    if not find_spec("soundfile") or not find_spec("matplotlib"):
        return "guitar     left out: pip install headwater[audio]", 0
    from headwater.audio.io import recordings
    from headwater.audio.io.files import Patch, examine
    from headwater.audio.io.write import write_patched
    from headwater.audio.metrics import si_sdr
    from headwater.cli.audio import gaps

    source = examine(recordings.GUITAR)
    first, last = (round(s * source.rate) for s in (start, stop))
    shape = (last - first, source.channels)
    damaged, output = folder / "guitar-damaged.wav", folder / "guitar.wav"
    write_patched(source, [Patch(first, np.zeros(shape), np.ones(shape, bool))], damaged, overwrite=True)
    options = GapOptions(gap=(f"{start}-{stop}",), output=output, overwrite=True, quiet=quiet)
    code = run(gaps.inpaint(damaged, options))
    if code in (MISUSE, INTERRUPTED):
        return "guitar     not repaired", code
    found, truth = (torch.from_numpy(examine(p).read(first, last).T) for p in (output, recordings.GUITAR))
    decibel = float(si_sdr(found.reshape(1, -1), truth.reshape(1, -1)))
    words = f"a gap of {1000 * (stop - start):.0f} ms, filled"
    return f"guitar     {words}: SI-SDR {decibel:.1f} dB in the gap", code


def design_molecules(folder: Path, *, quiet: bool) -> tuple[str, int]:
    """Molecules with a gap of 6 eV: a line that says how it went, and the exit code."""
    if not find_spec("rdkit"):
        return "molecules  left out: pip install headwater[molecules]", 0
    from headwater.cli.molecule.jobs import target_job
    from headwater.molecule.targets.target import TOLERANCE

    output = folder / "molecules.sdf"
    options = replace(MOLECULES, output=output, overwrite=True, quiet=quiet)
    code = run(target_job(options))
    if code in (MISUSE, INTERRUPTED):
        return "molecules  not designed", code
    hits = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["summary"]["hits"]
    words = f"{hits} of {options.count} hit within {TOLERANCE['gap']} eV, as the evaluator says; see molecules.html"
    return f"molecules  gap {options.gap:g} eV asked: {words}", code


def restore_scene(scene: Scene, folder: Path, *, seed: int, quiet: bool) -> tuple[str, int]:
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
        seconds=scene.seconds,
        reference=photos.path(scene.photo),
    )
    code = run(restore_job(scene.request(damaged, options), options))
    seen = interpolate(read_image(damaged)[0], truth.shape[-2:], mode="bicubic", align_corners=False)
    after = json.loads(report.read_text(encoding="utf-8"))["samples"][0].get("psnr")
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
