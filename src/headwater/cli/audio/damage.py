"""`headwater audio declip | denoise | dereverb | restore`: from the command line to a checked job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.audio.check.kinds import CLIPPING
from headwater.audio.check.quiet import find_quietest
from headwater.audio.check.rails import find_railed, in_regions
from headwater.audio.damage import BandLimit, ByChannel, Clipping, Damage, Noise, Room, UserDamage
from headwater.audio.io import marks, times
from headwater.audio.io.channels import SILENCE, Signal
from headwater.audio.io.files import Recording, as_float, check_readable, examine
from headwater.audio.io.metadata import list_lost
from headwater.audio.io.resample import PASSBAND, plan_rate
from headwater.audio.signal.noise_level import estimate_profile, estimate_std
from headwater.audio.undo import OVERLAP
from headwater.cli.audio.damage_job import DamageJob
from headwater.cli.audio.options import Repair
from headwater.cli.audio.pipeline import choose_prior
from headwater.cli.audio.repair import shared_fields
from headwater.cli.shared import python_file
from headwater.errors import Misuse
from headwater.text import counted

SHORTEST_PROFILE, LONGEST_PROFILE = 0.25, 60.0
"""Seconds of a noise profile: a few windows of its spectrum; more than the longest tells no more."""
FAINTEST, COLOURED = 10 ** (-90 / 20), 10.0
"""The least noise that is removed unasked, full scale being 1; and from how many dB on a floor is not white."""


def declip(path: Path, level: float | None, labels: Path | None, o: Repair) -> DamageJob:
    """Clipped peaks recovered."""
    if labels is not None:
        return declip_regions(path, level, labels, o)
    recording = examine(path)
    check_readable(recording)
    damage = at_level(recording, level) if level is not None else wherever_it_is(recording)
    levels = [[None if np.isinf(x) else x for x in channel] for channel in damage.rails]
    by = "sparsity" if o.recipe is None and o.folder is None else "flow"
    regions = {} if damage.regions is None else {"regions": len(damage.regions)}
    return undo("declip", recording, damage, [path], {"levels": levels, "by": by} | regions, o)


def at_level(recording: Recording, level: float) -> Clipping:
    """Clipping at a level that the user names."""
    if not level > 0:
        raise Misuse("The level is 0.", "Give the level of the clipping, as in 0.9 or -1dB.")
    top = peak_of(recording)
    if level > top * (1 + Clipping.slack):
        raise Misuse(
            f"No sample of {recording.path} reaches the level {level:g}.",
            f"Its peak is {top:.4g}; give less.",
        )
    step = 1.5 * 2.0 ** (1 - recording.depth) / level if recording.depth else 0.0
    return Clipping(((level, level),) * recording.channels, max(Clipping.slack, step))


def wherever_it_is(recording: Recording) -> Clipping:
    """Clipping where plateaus of samples show it, each region at its own level."""
    regions = find_railed(recording)
    if not regions:
        peak_of(recording)
        raise Misuse(
            f"No 3 samples in a row of {recording.path} are at its peak.",
            "It may not be clipped; if it is, give --level, as in 0.9 or -1dB.",
        )
    return in_regions(recording, regions)


def peak_of(recording: Recording) -> float:
    """How far the loudest sample lies from zero, full scale being 1.

    Raises
    ------
    Misuse
        The recording is silent.
    """
    top = max(float(np.abs(as_float(raw)).max()) for _, raw in recording.blocks())
    if top == 0:
        raise Misuse(f"{recording.path} is silent.", "There is nothing to declip; give another recording.")
    return top


def declip_regions(path: Path, level: float | None, labels: Path, o: Repair) -> DamageJob:
    """Clipped peaks recovered where a label track says so, in each region at its own level."""
    if level is not None or o.recipe is not None or o.folder is not None:
        what = "--level" if level is not None else "--method" if o.recipe is not None else "--model"
        raise Misuse(
            f"--labels and {what} do not go together.",
            "Give one of them; each region has a level of its own.",
        )
    recording, track = examine(path), marks.read_labels(labels)
    named = track.select(lambda text: text.lower().startswith(CLIPPING))
    spans = marks.to_frames((named if named.spans else track.select(marks.is_unnamed)).spans, recording)
    if not spans:
        raise Misuse(
            f"The labels of {labels} name no clipping.", "Label regions 'clipping', or leave out --labels."
        )
    check_readable(recording)
    regions = find_railed(recording, spans)
    if not regions:
        raise Misuse(
            f"No 3 samples in a row are at the peak of a region of {labels}.",
            "Label the regions that are clipped.",
        )
    found = [any(first < b and last > a for first, last, _ in regions) for a, b in spans]
    described = {"regions": sum(found), "left_out": len(spans) - sum(found), "by": "sparsity"}
    return undo("declip", recording, in_regions(recording, regions), [path, labels], described, o)


def denoise(path: Path, noise: float | None, profile: times.Span | None, o: Repair) -> DamageJob:
    """Noise removed: of a level that is given or estimated, or like that of a part of the recording."""
    recording = examine(path)
    if noise is not None and profile is not None:
        raise Misuse(
            "--noise and --profile do not go together.", "Give one of them; a profile has its own level."
        )
    if profile is not None:
        return denoise_by_profile(recording, profile, o)
    if noise is None:
        return denoise_by_estimate(recording, o)
    if not noise:
        raise Misuse("The level of the noise is 0.", "Give --noise 0.01 or --noise -40dB, or leave it out.")
    check_noise(noise, recording)
    return undo("denoise", recording, Noise(noise), [path], {"noise": noise, "estimated": False}, o)


def denoise_by_profile(recording: Recording, profile: times.Span, o: Repair) -> DamageJob:
    """Noise removed that is like that of a part of the recording, each channel's its own."""
    ((first, last),) = marks.to_frames([profile], recording)
    if last - first < SHORTEST_PROFILE * recording.rate:
        raise Misuse(
            f"A profile of {(last - first) / recording.rate:.3f} s is too short.",
            f"Give at least {SHORTEST_PROFILE:g} s with noise alone.",
        )
    last = min(last, first + round(LONGEST_PROFILE * recording.rate))
    noises = tuple(
        Noise.from_profile(estimate_profile(x, recording.rate)) if x.std() > SILENCE else Noise(0.0)
        for x in recording.read(first, last).T
    )
    heard = [noise.std for noise in noises if noise.std > 0]
    if not heard:
        raise Misuse("The profile is silent.", "Give a part of the recording where the noise is heard alone.")
    check_noise(min(heard), recording)
    about = {"profile": list(profile), "noise": [n.std for n in noises], "estimated": True}
    return undo("denoise", recording, ByChannel(noises), [recording.path], about, o)


def denoise_by_estimate(recording: Recording, o: Repair) -> DamageJob:
    """White noise removed, whose level is estimated for each channel."""
    levels = [estimate_std(samples_of(recording, i), recording.rate) for i in range(recording.channels)]
    loudest, spread = max(std for std, _ in levels), max(spread for _, spread in levels)
    if loudest < FAINTEST:
        raise Misuse(
            f"No white noise above {decibels(FAINTEST)} is found in {recording.path}.",
            "Give --noise, or --profile where the noise is heard alone.",
        )
    described = {"noise": [std for std, _ in levels], "estimated": True}
    damage = ByChannel(tuple(Noise(std) for std, _ in levels))
    job = undo("denoise", recording, damage, [recording.path], described, o)
    told = [
        f"White noise of {', '.join(decibels(max(std, 1e-9)) for std, _ in levels)} is assumed, as estimated."
    ]
    if spread > COLOURED:
        told.append(
            "What is always there is not white; if the noise is coloured or hums, give --profile START-END where it"
            " is alone, such as {:.2f}-{:.2f}.".format(*find_quietest(recording))
        )
    job.warnings = (*job.warnings, *told)
    return job


def samples_of(
    recording: Recording, channel: int, *, count: int = 60, seconds: float = 1.0
) -> Iterator[Signal]:
    """Pieces of a channel from all over a recording, so many at most; all of it if it is short."""
    size = max(round(seconds * recording.rate), 1)
    starts = np.linspace(0, max(recording.frames - size, 0), min(count, -(-recording.frames // size)))
    for start in np.unique(starts.astype(int)).tolist():
        yield recording.read(start, min(start + size, recording.frames))[:, channel]


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
        band.check(choose_prior(o).rate)
        return undo("restore", recording, band, [path], described, o)
    if rate is not None:
        return upsample(recording, round(rate), described, o)
    assert operator is not None
    file, name = python_file.split_name(operator, "operator")
    check_noise(noise, recording)
    function = python_file.function_in(file, name, f"{name}(x)")
    cure = "Write it for recordings [1, samples] in full scale, in functions of torch."
    damage = UserDamage(python_file.explain_failures(function, operator, "a recording", cure), noise or 0.0)
    try_operator(damage, operator, choose_prior(o).rate)
    return undo("restore", recording, damage, [path, file], described, o)


def upsample(recording: Recording, rate: int, described: dict[str, Any], o: Repair) -> DamageJob:
    """The recording interpolated to the new rate, and the band above what the old rate kept brought back."""
    if PASSBAND * recording.rate >= choose_prior(o).rate:
        raise Misuse(
            f"A recording of {recording.rate} Hz has the whole band of the model.",
            "Give --cutoff in place of --rate if what lies above some frequency is missing all the same.",
        )
    lost, higher = BandLimit(PASSBAND * recording.rate / 2), plan_rate(recording, rate)
    fields = shared_fields("restore", higher, [recording.path], o)
    if left := list_lost(recording.path, recording.format, higher.format, other_rate=True):
        fields["warnings"] += (f"Not taken over at another rate: {', '.join(left)}.",)
    check_readable(recording)
    return make_job(lost, described, fields, source=recording)


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
    if isinstance(damage, ByChannel):
        own = getattr(damage.channels[0], "recipe", None)
    fields = shared_fields(command, recording, inputs, o, peaks=isinstance(damage, Clipping), recipe=own)
    check_readable(recording)
    return make_job(damage, described, fields)


def make_job(
    damage: Damage, described: dict[str, Any], fields: dict[str, Any], source: Recording | None = None
) -> DamageJob:
    """The job, whose stretches fit into the sounds of its pipeline."""
    job = DamageJob(damage=damage, described=described, source=source, **fields)
    OVERLAP.cut(job.recording, damage, job.pipeline)
    return job


def try_operator(damage: UserDamage, where: str, rate: int) -> None:
    """Refuse a function that fails on a second of soft noise, or whose values are not finite or have no gradient."""
    x = 0.01 * torch.randn(1, rate, generator=torch.Generator().manual_seed(0))
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
    level = max(float(np.square(as_float(raw)).mean(0).max()) for _, raw in recording.blocks()) ** 0.5
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
