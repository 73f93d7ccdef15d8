"""`headwater audio declip | denoise | dereverb | restore`, from the command line to written files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.audio.damage import KEPT, Band, Clipping, Damage, Noise, Own, Room
from headwater.audio.io.files import Patch, Source, as_float, blocks, examine
from headwater.audio.io.resample import raised
from headwater.audio.io.write import write_patched
from headwater.audio.model import models
from headwater.audio.restore import Restoration
from headwater.audio.sheet import most_changed, sheet
from headwater.audio.stretches import restored
from headwater.cli.audio.options import Repair
from headwater.cli.audio.outcome import prepared
from headwater.cli.audio.work import Work
from headwater.cli.shared import python_file
from headwater.errors import Misuse
from headwater.extras import need

CLOSE = 1e-4
"""Samples nearer to a rail, relative to it, count as clipped; so do those a step of the format below --level."""
RUN = 3
"""So many equal samples in a row at the top are clipping."""


def declip(recording: Path, level: float | None, o: Repair) -> int:
    """Recover clipped peaks."""
    source = examine(recording)
    peaks, runs = peaks_of(source)
    top = float(peaks.max())
    if top == 0:
        raise Misuse(f"{recording} is silent.", "There is nothing to declip; give another recording.")
    if level is None and not runs.any():
        raise Misuse(
            f"No {RUN} samples in a row of {recording} are at its peak.",
            "It may not be clipped; if it is, give --level, as in 0.9 or -1dB.",
        )
    if level == 0:
        raise Misuse("The level is 0.", "Give the level of the clipping, as in 0.9 or -1dB.")
    if level is not None and level > top * (1 + CLOSE):
        raise Misuse(
            f"No sample of {recording} reaches the level {level:g}.", f"Its peak is {top:.4g}; give less."
        )
    rails = np.where(runs, peaks, np.inf) if level is None else np.full_like(peaks, level)
    step = 1.5 * 2.0 ** (1 - source.depth) / level if level and source.depth else 0.0
    damage = Clipping(tuple((low, high) for low, high in rails.tolist()), max(CLOSE, step))
    found = [[None if np.isinf(x) else x for x in channel] for channel in damage.rails]
    by = "sparsity" if o.preset == "default" else "flow"
    return run("declip", source, damage, [recording], {"levels": found, "by": by}, o)


def denoise(recording: Path, noise: float | None, o: Repair) -> int:
    """Remove white noise."""
    if not noise:
        raise Misuse("The level of the noise is not known.", "Give --noise 0.01 or --noise -40dB.")
    source = examine(recording)
    check_noise(noise, source)
    return run("denoise", source, Noise(noise), [recording], {"noise": noise}, o)


def dereverb(recording: Path, impulse: Path | None, noise: float | None, o: Repair) -> int:
    """Remove a known impulse response."""
    if impulse is None:
        raise Misuse("The room is not known.", "Give its impulse response as a file of sound, --impulse.")
    source, room = examine(recording), examine(impulse)
    if room.rate != source.rate:
        raise Misuse(
            f"The impulse response has {room.rate} Hz and the recording {source.rate} Hz.",
            "Give both at the same rate.",
        )
    if room.channels not in (1, source.channels):
        raise Misuse(
            f"The impulse response has {room.channels} channels and the recording {source.channels}.",
            "Give a response with one channel, or one for each of the recording's.",
        )
    h = room.read(0, room.frames).T
    if not h.any(1).all():
        raise Misuse(f"The impulse response {impulse} is silent.", "Give another one.")
    check_noise(noise, source)
    settings = {"impulse": str(impulse), "noise": noise or 0.0}
    damage = Room(h, source.rate, noise or 0.0)
    return run("dereverb", source, damage, [recording, impulse], settings, o)


def restore(
    recording: Path,
    cutoff: float | None,
    rate: float | None,
    operator: str | None,
    noise: float | None,
    o: Repair,
) -> int:
    """Bring back a band, or undo the user's operator."""
    source = examine(recording)
    if sum(x is not None for x in (cutoff, rate, operator)) != 1:
        raise Misuse("One of --cutoff, --rate and --operator says what to undo.", "Give one of them.")
    if noise and operator is None:
        raise Misuse(
            "--noise is for --operator only.", "Leave it out, or remove the noise first with 'denoise'."
        )
    settings = {"cutoff": cutoff, "rate": rate, "operator": operator, "noise": noise or 0.0}
    if cutoff is not None:
        return run("restore", source, band(cutoff), [recording], settings, o)
    if rate is not None:
        return upsample(source, round(rate), settings, o)
    assert operator is not None
    path, _, name = (operator, "", "") if operator.endswith(".py") else operator.rpartition(":")
    check_noise(noise, source)
    found = python_file.function_in(Path(path), name or "operator", f"{name or 'operator'}(x)")
    own = Own(guarded(found, operator), noise or 0.0)
    tried(own, operator)
    return run("restore", source, own, [recording, Path(path)], settings, o)


def guarded(function: Callable[[Tensor], Tensor], where: str) -> Callable[[Tensor], Tensor]:
    """The user's function; its failures are two sentences."""

    def operator(x: Tensor) -> Tensor:
        cure = "Write it for recordings [1, samples] in full scale, in functions of torch."
        with python_file.failing(where, f"a recording {list(x.shape)}", cure):
            return function(x)

    return operator


def tried(own: Own, where: str) -> None:
    """Refuse a function that fails on a second of soft noise, or whose values are not finite or have no gradient."""
    x = 0.01 * torch.randn(1, models.prior().rate, generator=torch.Generator().manual_seed(0))
    y = own.function(x.requires_grad_())
    if not isinstance(y, Tensor) or not y.requires_grad:
        raise Misuse(
            f"What the operator {where} returns has no gradient.", "Compute it from x, in functions of torch."
        )
    if not bool(y.isfinite().all()):
        raise Misuse(f"The operator {where} makes NaN or infinity of soft noise.", "Keep its values finite.")


def band(cutoff: float) -> Band:
    """The loss of what lies above the cutoff, checked against the model's band."""
    found = Band(cutoff)
    found.check(models.prior().rate)
    return found


def upsample(source: Source, rate: int, settings: dict[str, Any], o: Repair) -> int:
    """Interpolate to the new rate, then bring back the band above what the old rate kept."""
    if KEPT * source.rate >= models.prior().rate:
        raise Misuse(
            f"A recording of {source.rate} Hz has the whole band of the model.",
            "Give --cutoff in place of --rate if what lies above some frequency is missing all the same.",
        )
    lost = Band(KEPT * source.rate / 2)
    outputs = prepared("restore", source, [source.path], o)
    with tempfile.TemporaryDirectory() as folder:
        higher = raised(source, rate, Path(folder) / f"{source.path.stem}.wav")
        named = replace(o, output=outputs.sound)
        return run("restore", higher, lost, [source.path], settings, named)


def check_noise(noise: float | None, source: Source) -> None:
    """Refuse noise that is as loud as the loudest part of the recording: nothing of it would be left."""
    if not noise:
        return
    with need("soundfile", "audio").SoundFile(source.path) as file:
        level = max(float(np.square(as_float(raw)).mean(0).max()) for _, raw in blocks(file, source)) ** 0.5
    if 0 < level <= noise:
        raise Misuse(
            f"Noise of {noise:.3g} ({decibels(noise)}) is as loud as the recording, {level:.3g} ({decibels(level)}).",
            "Give the standard deviation of the noise alone, as in 0.01 or -40dB.",
        )


def decibels(amplitude: float) -> str:
    """An amplitude in dB of full scale.

    >>> decibels(0.1)
    '-20.0 dB'
    """
    return f"{20 * np.log10(amplitude):.1f} dB"


def peaks_of(source: Source) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The extremes of every channel below and above zero `[channels, 2]` (full scale 1), and where there are runs of
    samples as far out: it is clipped there.
    """
    peaks = np.zeros((2, source.channels))
    runs, before = np.zeros(peaks.shape, dtype=bool), np.zeros((2, 0, source.channels))
    with need("soundfile", "audio").SoundFile(source.path) as file:
        for _, raw in blocks(file, source):
            x = np.concatenate([before, [-raw.astype(np.float64), raw.astype(np.float64)]], axis=1)
            before = x[:, max(x.shape[1] - RUN + 1, 0) :]  # a run may go on in the next block
            top = x.max(1)
            runs &= top <= peaks * (1 + CLOSE)
            peaks = np.maximum(peaks, top)
            if x.shape[1] >= RUN and (top >= peaks * (1 - CLOSE)).any():
                high = (x >= peaks[:, None] * (1 - CLOSE)) & (peaks[:, None] > 0)
                several = np.lib.stride_tricks.sliding_window_view(high, RUN, axis=1)
                runs |= np.any(several.all(-1), axis=1)
    return (peaks / 2.0**31 if source.depth else peaks).T, runs.T


def run(
    command: str,
    source: Source,
    damage: Damage,
    inputs: Sequence[Path],
    settings: dict[str, Any],
    o: Repair,
) -> int:
    """Restore the recording stretch by stretch while it is written, and say how it went.

    After Ctrl-C what was not begun is as it was. Clipped peaks are written as floats: they may lie beyond full scale.
    """
    peaks = isinstance(damage, Clipping)
    work = Work(command, source, inputs, o, peaks=peaks)
    left, seen = 0, list[Patch]()

    def told(k: int, n: int, done: list[Restoration]) -> bool:
        nonlocal left
        work.note(done)
        if k < n:
            work.turn(k, n)
        work.watch.tell(work.watch.title)
        left = n - k
        return work.watch.over

    def watched(patches: Iterator[Patch]) -> Iterator[Patch]:
        for patch in patches:
            seen.extend([] if seen else [patch])
            yield patch

    with work.watch.running():
        patches = watched(restored(models.prior(), source, damage, work.how, told))
        written = write_patched(source, patches, work.outputs.sound, peaks=peaks, overwrite=o.overwrite)
    content, first = work.report(written, damage=settings, not_begun=left), seen[0]
    before = source.read(first.start, first.start + len(first.samples))
    c = most_changed(before, first.samples)
    sheet(work.outputs.sheet, before[:, c], first.samples[:, c], source.rate, (), **work.about(0))
    return work.tell(content, written)
