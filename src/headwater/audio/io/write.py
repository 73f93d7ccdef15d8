"""Writing recordings: the samples that a patch changes, and every other bit as it was.

Nothing is resampled or mixed here. Repaired samples are rounded to the depth of the file; files are written block by
block beside their name and moved there when they are whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headwater.atomic import write_atomically
from headwater.audio.io.encode import Encoder, is_possible
from headwater.audio.io.files import (
    BLOCK,
    CHANNELS,
    FLOATS,
    LOUDEST,
    RATES,
    SUFFIXES,
    Patch,
    Recording,
    Samples,
    as_float,
    as_stored,
)
from headwater.audio.io.metadata import carry_bytes, carry_tags, stays
from headwater.errors import Misuse
from headwater.text import counted

DEFAULT = {"OGG": "VORBIS", "FLAC": "PCM_24"}
"""The coding of a format that lacks the one of the recording."""


def write_patched(
    recording: Recording,
    patches: Iterable[Patch],
    output: str | Path,
    *,
    frames: int | None = None,
    peaks: bool = False,
    overwrite: bool = False,
) -> Written:
    """Write a copy of the file with the patches in it, block by block, and say what it is.

    The patches come in the order of their starts. They are asked for as late as can be, so that they may be made on
    the way and only a few are held.

    The format follows the name of the output; rate and channels stay, and so does the subtype where the format has
    it. Samples that no patch changes are bit-identical if the new format `holds` the old one.

    Parameters
    ----------
    recording
        The file to copy.
    patches
        In the order of their starts; samples `[frames, channels]` with the channels of the recording.
    output : str or Path
        The new file. Its suffix gives the format: .wav, .flac, .ogg, .aiff, .aif, .w64 or .caf.
    frames
        The length of the copy, if it is longer than the recording: it goes on silent but for the patches.
    peaks
        Whether integers become floats, which hold them and what is beyond full scale.
    overwrite
        Whether an existing file is replaced.

    Returns
    -------
    written
        The new `file` as a `Recording`; `over`, how many samples were cut off at full scale; and `exact`, whether the
        samples that no patch changed are as they were.

    Raises
    ------
    Misuse
        The output cannot be written, its format is unknown or has no such subtype, the recording is damaged, or a
        patch has other channels.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> folder = Path(tempfile.mkdtemp())
    >>> silence = hw.audio.write_new(folder / "silence.wav", np.zeros((4, 1)), rate=8000)
    >>> patch = hw.audio.Patch(1, np.full((2, 1), 0.5), np.array([[True], [False]]))
    >>> hw.audio.write_patched(hw.audio.examine(folder / "silence.wav"), [patch], folder / "new.wav").exact
    True
    >>> hw.audio.examine(folder / "new.wav").read(0, 4).ravel().tolist()
    [0.0, 0.5, 0.0, 0.0]
    """
    output = Path(output)
    target = replace(output_format(recording, output, peaks=peaks), frames=max(frames or 0, recording.frames))
    over = 0
    with write_atomically(output, overwrite=overwrite) as temporary:
        with Encoder(temporary, *encoding(target)) as after:
            if not stays(recording.format, target.format):
                with recording.open() as before:
                    carry_tags(before, after)
            queue = PatchQueue(patches)
            for start, raw in itertools.chain(recording.blocks(), silent_blocks(recording, target.frames)):
                same = recording.dtype == target.dtype and target.holds(recording)
                block = raw if same else convert(raw, target)
                over += count_over_full_scale(raw) if target.depth else 0
                for patch in queue.overlapping(start + len(block)):
                    check_patch(patch, recording)
                    over += _insert(block, start, patch, target.depth)
                after.write(block)
        carry_bytes(recording.path, temporary)
    return Written(target, over, target.lossless and target.holds(recording))


def check_patch(patch: Patch, recording: Recording) -> None:
    """Refuse a patch with other channels than the recording.

    Raises
    ------
    Misuse
        It has.
    """
    found = patch.samples.shape[1]
    if found != recording.channels:
        raise Misuse(
            f"A patch has {counted(found, 'channel')} and the recording {recording.channels}.",
            "Give samples [frames, channels] with the channels of the recording.",
        )


def encoding(target: Recording) -> tuple[int, int, str, str, str]:
    """A format as libsndfile's encoder takes it."""
    return target.rate, target.channels, target.subtype, target.endian, target.format


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Parameters
    ----------
    file
        What it is.
    over
        How many samples were over full scale and cut off there.
    exact
        Whether samples that no patch changed are as they were.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import headwater as hw
    >>> guitar = hw.audio.examine(hw.audio.recordings.GUITAR)
    >>> written = hw.audio.write_patched(guitar, [], Path(tempfile.mkdtemp()) / "copy.flac")
    >>> written.file.frames == guitar.frames, written.over, written.exact
    (True, 0, True)
    """

    file: Recording
    over: int
    exact: bool


def convert(raw: Samples, target: Recording) -> Samples:
    """Samples as another format stores them."""
    return as_stored(as_float(raw), target.depth)


def count_over_full_scale(x: Samples) -> int:
    """How many float samples are beyond full scale."""
    return int(np.count_nonzero(np.abs(x) > 1)) if x.dtype.kind == "f" else 0


def write_new(output: str | Path, x: Samples, rate: int, *, overwrite: bool = False) -> Recording:
    """Write samples as a new recording: 24 bit where the format has it.

    Parameters
    ----------
    output : str or Path
        The new file. Its suffix gives the format, as of `write_patched`.
    x
        Finite samples `[frames, channels]`, full scale 1; what is beyond is cut off where the format has integers.
    rate
        Frames a second, Hz.
    overwrite
        Whether an existing file is replaced.

    Returns
    -------
    recording
        What the file is.

    Raises
    ------
    Misuse
        The output cannot be written, its format is unknown or cannot hold such samples, or they are not
        `[frames, channels]`, not floats, or not finite, or the rate is that of no recording.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> tone = 0.5 * np.sin(np.arange(800) / 10)[:, None]  # [frames, 1]
    >>> recording = hw.audio.write_new(Path(tempfile.mkdtemp()) / "tone.flac", tone, rate=8000)
    >>> recording.seconds, recording.depth
    (0.1, 24)
    """
    output, x = Path(output), np.asarray(x)
    check_new(x, rate)
    target = output_format(Recording(Path(), rate, len(x), x.shape[1], "", "PCM_24"), output)
    with (
        write_atomically(output, overwrite=overwrite) as temporary,
        Encoder(temporary, *encoding(target)) as file,
    ):
        file.write(as_stored(x, target.depth) if target.depth else x)
    return target


def check_new(x: Samples, rate: int) -> None:
    """Refuse what is no sound, or what `examine` would refuse.

    Raises
    ------
    Misuse
        The samples are not `[frames, channels]`, not floats, not finite, or far beyond full scale; or the rate or
        the number of channels are those of no recording.
    """
    low, high = RATES
    if not (isinstance(rate, int | np.integer) and low <= rate <= high):
        raise Misuse(
            f"A rate of {rate} Hz is that of no recording.", f"Give a whole number from {low} to {high}."
        )
    if x.ndim != 2 or not x.size:
        cure = "One channel is x[:, None]." if x.ndim == 1 and x.size else "Give at least one frame."
        raise Misuse(f"Samples of shape {list(x.shape)} are not [frames, channels].", cure)
    if x.shape[1] > CHANNELS:
        raise Misuse(f"There are {x.shape[1]} channels.", f"Give [frames, channels], at most {CHANNELS}.")
    if x.dtype.kind != "f":
        raise Misuse(
            f"The samples are {x.dtype}, not floats.", "Give floats with full scale 1, as in x / 32768."
        )
    if not (np.abs(x) < LOUDEST).all():
        raise Misuse(
            "A sample is not finite, or is far beyond full scale.", "Replace such samples; full scale is 1."
        )


class PatchQueue:
    """Patches in the order of their starts, handed out block by block and asked for as late as can be."""

    def __init__(self, patches: Iterable[Patch]) -> None:
        self.coming, self.held = iter(patches), list[Patch]()
        self.next: Patch | None = next(self.coming, None)

    def overlapping(self, stop: int) -> list[Patch]:
        """The patches that overlap the block that ends at frame `stop`; blocks come in order."""
        while self.next is not None and self.next.start < stop:
            self.held.append(self.next)
            self.next = next(self.coming, None)
        wanted = list(self.held)
        self.held = [p for p in self.held if p.start + len(p.samples) > stop]
        return wanted


def output_format(recording: Recording, output: Path, *, peaks: bool = False) -> Recording:
    """What the output will be, by its name; with `peaks` it can hold more than full scale.

    Raises
    ------
    Misuse
        The suffix is unknown, or the format cannot hold such samples.
    """
    kind = SUFFIXES.get(output.suffix.lower())
    if kind is None:
        raise Misuse(
            f"The output {output} is of an unknown kind.", f"Give one of: {', '.join(sorted(SUFFIXES))}."
        )
    kind = recording.format if SUFFIXES.get(recording.path.suffix.lower()) == kind else kind
    if peaks and recording.subtype not in FLOATS:
        floats = "FLOAT" if (recording.depth or 0) <= 24 else "DOUBLE"
        found = Recording(output, recording.rate, recording.frames, recording.channels, kind, floats)
        if not is_possible(*encoding(found)):
            raise Misuse(f"{kind} cannot hold peaks beyond full scale.", "Name a .wav file as output.")
        return found
    endian = recording.endian if kind == recording.format else "FILE"
    for subtype in (recording.subtype, DEFAULT.get(kind), "FLOAT"):
        if subtype:
            found = Recording(
                output, recording.rate, recording.frames, recording.channels, kind, subtype, endian
            )
            if is_possible(*encoding(found)):
                bits = (
                    recording.bits if subtype == recording.subtype and stays(recording.format, kind) else None
                )
                return replace(found, bits=bits)
    raise Misuse(
        f"{kind} cannot hold {recording.subtype} samples in {recording.channels} channels at {recording.rate} Hz.",
        "Name a .wav file as output.",
    )


def silent_blocks(recording: Recording, frames: int) -> Iterator[tuple[int, Samples]]:
    """Zeros from the end of the recording up to `frames`, block by block, each with its first frame."""
    size = max(BLOCK // recording.channels, 1)
    for start in range(recording.frames, frames, size):
        yield start, np.zeros((min(size, frames - start), recording.channels), dtype=recording.dtype)


def _insert(raw: Samples, start: int, patch: Patch, depth: int | None) -> int:
    """Write the part of a patch that falls into a block, in place; how many samples had to be cut."""
    first, last = max(patch.start, start), min(patch.start + len(patch.samples), start + len(raw))
    if first >= last:
        return 0
    inside, there = slice(first - patch.start, last - patch.start), slice(first - start, last - start)
    x, changed = patch.samples[inside], patch.changed[inside]
    raw[there] = np.where(changed, as_stored(x, depth), raw[there])
    return count_over_full_scale(x[changed]) if depth else 0
