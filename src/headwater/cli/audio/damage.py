"""`headwater audio declip | denoise | dereverb | restore`: from the command line to a checked job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.audio.damage import BandLimit, Clipping, Damage, Noise, Room, UserDamage
from headwater.audio.damage.rails import find_peaks
from headwater.audio.io.files import Recording, as_float, check_readable, examine, read_blocks
from headwater.audio.io.resample import PASSBAND, plan_rate
from headwater.audio.model import models
from headwater.cli.audio.damage_job import DamageJob
from headwater.cli.audio.options import Repair
from headwater.cli.audio.repair import shared_fields
from headwater.cli.shared import python_file
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.text import counted


def declip(path: Path, level: float | None, o: Repair) -> DamageJob:
    """Clipped peaks recovered."""
    recording = examine(path)
    peaks, clipped = find_peaks(recording)
    top = float(peaks.max())
    if top == 0:
        raise Misuse(f"{path} is silent.", "There is nothing to declip; give another recording.")
    if level is None and not clipped.any():
        raise Misuse(
            f"No 3 samples in a row of {path} are at its peak.",
            "It may not be clipped; if it is, give --level, as in 0.9 or -1dB.",
        )
    if level == 0:
        raise Misuse("The level is 0.", "Give the level of the clipping, as in 0.9 or -1dB.")
    if level is not None and level > top * (1 + Clipping.slack):
        raise Misuse(
            f"No sample of {path} reaches the level {level:g}.", f"Its peak is {top:.4g}; give less."
        )
    rails = np.where(clipped, peaks, np.inf) if level is None else np.full_like(peaks, level)
    step = 1.5 * 2.0 ** (1 - recording.depth) / level if level and recording.depth else 0.0
    damage = Clipping(tuple((low, high) for low, high in rails.tolist()), max(Clipping.slack, step))
    levels = [[None if np.isinf(x) else x for x in channel] for channel in damage.rails]
    by = "sparsity" if o.recipe is None else "flow"
    return undo("declip", recording, damage, [path], {"levels": levels, "by": by}, o)


def denoise(path: Path, noise: float | None, o: Repair) -> DamageJob:
    """White noise removed."""
    if not noise:
        raise Misuse("The level of the noise is not known.", "Give --noise 0.01 or --noise -40dB.")
    recording = examine(path)
    check_noise(noise, recording)
    return undo("denoise", recording, Noise(noise), [path], {"noise": noise}, o)


def dereverb(path: Path, impulse: Path | None, noise: float | None, o: Repair) -> DamageJob:
    """A known impulse response removed."""
    if impulse is None:
        raise Misuse("The room is not known.", "Give its impulse response as a file of sound, --impulse.")
    recording, room = examine(path), examine(impulse)
    if room.rate != recording.rate:
        raise Misuse(
            f"The impulse response has {room.rate} Hz and the recording {recording.rate} Hz.",
            "Give both at the same rate.",
        )
    if room.channels not in (1, recording.channels):
        raise Misuse(
            f"The impulse response has {counted(room.channels, 'channel')} and the recording {recording.channels}.",
            "Give a response with one channel, or one for each of the recording's.",
        )
    h = room.read(0, room.frames).T
    if not h.any(1).all():
        raise Misuse(f"The impulse response {impulse} is silent.", "Give another one.")
    check_noise(noise, recording)
    described = {"impulse": str(impulse), "noise": noise or 0.0}
    damage = Room(h, recording.rate, noise or 0.0)
    return undo("dereverb", recording, damage, [path, impulse], described, o)


def restore(
    path: Path, cutoff: float | None, rate: float | None, operator: str | None, noise: float | None, o: Repair
) -> DamageJob:
    """A band brought back, or the user's operator undone."""
    recording = examine(path)
    if sum(x is not None for x in (cutoff, rate, operator)) != 1:
        raise Misuse("One of --cutoff, --rate and --operator says what to undo.", "Give one of them.")
    if noise and operator is None:
        raise Misuse(
            "--noise is for --operator only.", "Leave it out, or remove the noise first with 'denoise'."
        )
    described = {"cutoff": cutoff, "rate": rate, "operator": operator, "noise": noise or 0.0}
    if cutoff is not None:
        band = BandLimit(cutoff)
        band.check(models.load_prior().rate)
        return undo("restore", recording, band, [path], described, o)
    if rate is not None:
        return upsample(recording, round(rate), described, o)
    assert operator is not None
    file, name = python_file.split_name(operator, "operator")
    check_noise(noise, recording)
    function = python_file.function_in(file, name, f"{name}(x)")
    cure = "Write it for recordings [1, samples] in full scale, in functions of torch."
    damage = UserDamage(python_file.explain_failures(function, operator, "a recording", cure), noise or 0.0)
    try_operator(damage, operator)
    return undo("restore", recording, damage, [path, file], described, o)


def upsample(recording: Recording, rate: int, described: dict[str, Any], o: Repair) -> DamageJob:
    """The recording interpolated to the new rate, and the band above what the old rate kept brought back."""
    if PASSBAND * recording.rate >= models.load_prior().rate:
        raise Misuse(
            f"A recording of {recording.rate} Hz has the whole band of the model.",
            "Give --cutoff in place of --rate if what lies above some frequency is missing all the same.",
        )
    lost, higher = BandLimit(PASSBAND * recording.rate / 2), plan_rate(recording, rate)
    fields = shared_fields("restore", higher, [recording.path], o)
    check_readable(recording)
    return DamageJob(damage=lost, described=described, source=recording, **fields)


def undo(
    command: str,
    recording: Recording,
    damage: Damage,
    inputs: Sequence[Path],
    described: dict[str, Any],
    o: Repair,
) -> DamageJob:
    """The job that undoes damage all over a recording; `described` is what the report says of it."""
    own = getattr(damage, "recipe", None)
    fields = shared_fields(command, recording, inputs, o, peaks=isinstance(damage, Clipping), recipe=own)
    check_readable(recording)
    return DamageJob(damage=damage, described=described, **fields)


def try_operator(damage: UserDamage, where: str) -> None:
    """Refuse a function that fails on a second of soft noise, or whose values are not finite or have no gradient."""
    x = 0.01 * torch.randn(1, models.load_prior().rate, generator=torch.Generator().manual_seed(0))
    y = damage.function(x.requires_grad_())
    if not isinstance(y, Tensor) or not y.requires_grad:
        raise Misuse(
            f"What the operator {where} returns has no gradient.", "Compute it from x, in functions of torch."
        )
    if not bool(y.isfinite().all()):
        raise Misuse(f"The operator {where} makes NaN or infinity of soft noise.", "Keep its values finite.")


def check_noise(noise: float | None, recording: Recording) -> None:
    """Refuse noise that is as loud as the loudest part of the recording: nothing of it would be left."""
    if not noise:
        return
    with import_optional("soundfile", "audio").SoundFile(recording.path) as file:
        blocks = read_blocks(file, recording)
        level = max(float(np.square(as_float(raw)).mean(0).max()) for _, raw in blocks) ** 0.5
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
