"""`headwater audio ...`: signatures and help of the commands; the work is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App

from headwater.audio import times
from headwater.cli.audio.options import NO_LOST, NO_REPAIR, Lost, Repair
from headwater.cli.options import word

audio = App(name="audio", help="Repair and generate recordings of any length, rate and format.")


@audio.command
def inpaint(recording: Path, /, *, options: Lost = NO_LOST) -> int:
    """Fill gaps: --gap, --labels or --mask say where. Every other sample stays as it is, to the bit.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    """
    from headwater.cli.audio.gaps import inpaint as run

    return run(recording, options)


@audio.command
def extend(
    recording: Path,
    /,
    *,
    by: Annotated[float, word(times.seconds, "TIME")] = 1.0,
    options: Repair = NO_REPAIR,
) -> int:
    """Go on after the end of a recording.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    by
        How much longer it becomes, as in 1.5 or 800ms.
    """
    from headwater.cli.audio.gaps import extend as run

    return run(recording, by, options)
