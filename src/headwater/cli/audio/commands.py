"""`headwater audio ...`: signatures and help of the commands; the modules beside this one make jobs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App

from headwater.audio.io import times
from headwater.cli.audio.options import (
    NO_DRAW,
    NO_FILES,
    NO_GAPS,
    NO_REPAIR,
    Draw,
    GapOptions,
    LabelTrack,
    Level,
    Profile,
    Repair,
)
from headwater.cli.shared.options import Files, word
from headwater.extras import import_optional


def require_packages() -> None:
    """Name the extra if a package of it is missing, before a module that needs it is imported."""
    for package in ("scipy", "soundfile"):
        import_optional(package, "audio")


audio = App(name="audio", help="Repair and generate recordings of any length, rate and format.")


@audio.command
def check(recording: Path, /, *, files: Files = NO_FILES) -> int:
    """Find clicks, drop-outs, clipping, samples that are not finite and hum; write them as a label track.

    The labels open in Audacity; 'inpaint --labels' and 'declip --labels' take them. The commands to run are printed.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    """
    require_packages()
    from headwater.cli.audio.check import check
    from headwater.cli.shared.job import run

    return run(check(recording, files))


@audio.command
def inpaint(recording: Path, /, *, options: GapOptions = NO_GAPS) -> int:
    """Fill gaps: --gap, --labels or --mask say where. In lossless formats all other samples stay identical.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    """
    require_packages()
    from headwater.cli.audio import gaps
    from headwater.cli.shared.job import run

    return run(gaps.inpaint(recording, options))


@audio.command
def extend(
    recording: Path,
    /,
    *,
    by: Annotated[float, word(times.parse_seconds, "TIME", limits=(0.001, 3600.0))] = 1.0,
    options: Repair = NO_REPAIR,
) -> int:
    """Continue a recording after its end.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    by
        By how much it becomes longer, as in 1.5 or 800ms.
    """
    require_packages()
    from headwater.cli.audio import gaps
    from headwater.cli.shared.job import run

    return run(gaps.extend(recording, by, options))


@audio.command
def declip(
    recording: Path, /, *, level: Level = None, labels: LabelTrack = None, options: Repair = NO_REPAIR
) -> int:
    """Recover peaks that were cut off. Samples below the level stay as they are, to the bit.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    level
        Where it was cut off, as in 0.9 or -1dB. By default the extremes of every channel, where runs of samples are
        as far out.
    labels
        A label track, as 'check' writes it: only its regions of clipping are looked at, each with its own level.
    """
    require_packages()
    from headwater.cli.audio import damage
    from headwater.cli.shared.job import run

    return run(damage.declip(recording, level, labels, options))


@audio.command
def denoise(
    recording: Path, /, *, noise: Level = None, profile: Profile = None, options: Repair = NO_REPAIR
) -> int:
    """Remove noise: white noise, whose level is estimated unless --noise says it, or noise like that of a --profile.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    noise
        Standard deviation (rms) of white noise, as in 0.01 or -40dB of full scale.
    profile
        Where the recording has noise alone, as in 0.2-1.4. It may have any colour, and hum.
    """
    require_packages()
    from headwater.cli.audio import damage
    from headwater.cli.shared.job import run

    return run(damage.denoise(recording, noise, profile, options))


@audio.command
def dereverb(
    recording: Path, /, *, impulse: Path | None = None, noise: Level = None, options: Repair = NO_REPAIR
) -> int:
    """Remove a room or a device whose impulse response is known, --impulse.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    impulse
        A file of sound of the same rate: the response of the room to a click, direct sound first.
    noise
        Standard deviation (rms) of the noise in the recording, as in 0.001 or -60dB.
    """
    require_packages()
    from headwater.cli.audio import damage
    from headwater.cli.shared.job import run

    return run(damage.dereverb(recording, impulse, noise, options))


@audio.command
def restore(
    recording: Path,
    /,
    *,
    cutoff: Annotated[float | None, word(times.parse_hertz, "HZ", limits=(1.0, 1e6))] = None,
    rate: Annotated[float | None, word(times.parse_hertz, "HZ", limits=(1.0, 1e6))] = None,
    operator: str | None = None,
    noise: Level = None,
    options: Repair = NO_REPAIR,
) -> int:
    """Bring back a lost upper band, --cutoff or --rate, or undo any damage that is a function, --operator.

    Parameters
    ----------
    recording
        A WAV, FLAC, OGG or AIFF file.
    cutoff
        Everything above it was lost, as in 4000 or 4kHz; what is below stays.
    rate
        The new rate of a recording of a low one, as in 16kHz: the band that the low rate cut off is brought back.
    operator
        FILE.py or FILE.py:NAME with a differentiable function operator(x) of signals [batch, samples] at the rate of
        the model, which returns what the recording is.
    noise
        Standard deviation (rms) of the noise in the recording, for --operator.
    """
    require_packages()
    from headwater.cli.audio import damage
    from headwater.cli.shared.job import run

    return run(damage.restore(recording, cutoff, rate, operator, noise, options))


@audio.command
def generate(*, options: Draw = NO_DRAW) -> int:
    """Draw music from the model: what it would fill gaps with if nothing were around them.

    NAME.flac, numbered if there are several, comes with NAME.flac.json and a sheet of spectrograms.
    """
    require_packages()
    from headwater.cli.audio import generate
    from headwater.cli.shared.job import run

    return run(generate.generate(options))
