"""`headwater audio ...`: signatures and help of the commands; the modules beside this one make jobs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

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
from headwater.errors import Misuse
from headwater.extras import import_optional

if TYPE_CHECKING:
    from headwater.cli.audio.repair import RepairJob

Options = TypeVar("Options", bound=Repair)


def require_packages() -> None:
    """Name the extra if a package of it is missing, before a module that needs it is imported."""
    for package in ("scipy", "soundfile"):
        import_optional(package, "audio")


audio = App(name="audio", help="Repair and generate recordings of any length, rate and format.")


@audio.command
def check(*recordings: Path, files: Files = NO_FILES) -> int:
    """Find clicks, drop-outs, clipping, samples that are not finite and hum; write them as label tracks.

    The labels open in Audacity; 'inpaint --labels' and 'declip --labels' take them. The commands to run are printed.

    Parameters
    ----------
    recordings
        WAV, FLAC, OGG or AIFF files, or folders of them.
    """
    require_packages()
    from headwater.cli.audio.check import check, plan_checks
    from headwater.cli.shared.job import run_each

    return run_each(plan_checks(recordings, files), check)


@audio.command
def inpaint(*recordings: Path, options: GapOptions = NO_GAPS) -> int:
    """Fill gaps: --gap, --labels or --mask say where. In lossless formats all other samples stay identical.

    Parameters
    ----------
    recordings
        WAV, FLAC, OGG or AIFF files, or folders of them.
    """
    require_packages()
    from headwater.cli.audio import gaps

    return _repair(recordings, options, lambda recording, o: gaps.inpaint(recording, o))


@audio.command
def extend(
    *recordings: Path,
    by: Annotated[float, word(times.parse_seconds, "TIME", limits=(0.001, 3600.0))] = 1.0,
    options: Repair = NO_REPAIR,
) -> int:
    """Continue a recording after its end.

    Parameters
    ----------
    recordings
        WAV, FLAC, OGG or AIFF files, or folders of them.
    by
        By how much it becomes longer, as in 1.5 or 800ms.
    """
    require_packages()
    from headwater.cli.audio import gaps

    return _repair(recordings, options, lambda recording, o: gaps.extend(recording, by, o))


@audio.command
def declip(
    *recordings: Path, level: Level = None, labels: LabelTrack = None, options: Repair = NO_REPAIR
) -> int:
    """Recover peaks that were cut off. Samples below the level stay as they are, to the bit.

    Parameters
    ----------
    recordings
        WAV, FLAC, OGG or AIFF files, or folders of them.
    level
        Where it was cut off, as in 0.9 or -1dB. By default the level of the plateaus, for each clipped part of a
        channel.
    labels
        A label track, as 'check' writes it: only its regions of clipping are looked at, each with its own level.
    """
    require_packages()
    from headwater.cli.audio import damage

    return _repair(
        recordings, options, lambda recording, o: damage.declip(recording, level, labels, o), peaks=True
    )


@audio.command
def denoise(
    *recordings: Path, noise: Level = None, profile: Profile = None, options: Repair = NO_REPAIR
) -> int:
    """Remove noise: white noise, whose level is estimated unless --noise says it, or noise like that of a --profile.

    Parameters
    ----------
    recordings
        WAV, FLAC, OGG or AIFF files, or folders of them.
    noise
        Standard deviation (rms) of white noise, as in 0.01 or -40dB of full scale.
    profile
        Where the recording has noise alone, as in 0.2-1.4. It may have any colour, and hum.
    """
    require_packages()
    from headwater.cli.audio import damage

    return _repair(recordings, options, lambda recording, o: damage.denoise(recording, noise, profile, o))


@audio.command
def dereverb(
    *recordings: Path, impulse: Path | None = None, noise: Level = None, options: Repair = NO_REPAIR
) -> int:
    """Remove a room or a device whose impulse response is known, --impulse.

    Parameters
    ----------
    recordings
        WAV, FLAC, OGG or AIFF files, or folders of them.
    impulse
        A file of sound of the same rate: the response of the room to a click, direct sound first.
    noise
        Standard deviation (rms) of the noise in the recording, as in 0.001 or -60dB.
    """
    require_packages()
    from headwater.cli.audio import damage

    return _repair(recordings, options, lambda recording, o: damage.dereverb(recording, impulse, noise, o))


@audio.command
def restore(
    *recordings: Path,
    cutoff: Annotated[float | None, word(times.parse_hertz, "HZ", limits=(1.0, 1e6))] = None,
    rate: Annotated[float | None, word(times.parse_hertz, "HZ", limits=(1.0, 1e6))] = None,
    operator: str | None = None,
    noise: Level = None,
    options: Repair = NO_REPAIR,
) -> int:
    """Bring back a lost upper band, --cutoff or --rate, or undo any damage that is a function, --operator.

    Parameters
    ----------
    recordings
        WAV, FLAC, OGG or AIFF files, or folders of them.
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

    return _repair(
        recordings, options, lambda recording, o: damage.restore(recording, cutoff, rate, operator, noise, o)
    )


@audio.command
def generate(*, options: Draw = NO_DRAW) -> int:
    """Draw music from the model, or sounds of a pipeline from words; with --reward or --score what has more of it.

    NAME.flac, numbered if there are several, comes with NAME.flac.json and a sheet of spectrograms.
    """
    require_packages()
    from headwater.cli.shared.job import run

    if options.score:
        from headwater.cli.audio.scored import score_job as scored

        return run(scored(options))
    if options.search is not None or options.draws is not None:
        raise Misuse("Nothing is scored, so there is no search.", "Give a --score.")
    if options.reward:
        from headwater.cli.audio.rewarded import reward_job

        return run(reward_job(options))
    if options.strength is not None or options.gradients is not None:
        raise Misuse("Nothing is rewarded, so there is no strength and no gradient.", "Give a --reward.")
    from headwater.cli.audio import generate

    return run(generate.generate(options))


def _repair(
    recordings: Sequence[Path],
    options: Options,
    make_job: Callable[[Path, Options], RepairJob],
    *,
    peaks: bool = False,
) -> int:
    """Repair each recording; the exit code. `peaks`: the results may exceed full scale."""
    from headwater.audio.io.files import SUFFIXES
    from headwater.cli.audio.repair import name_result
    from headwater.cli.shared.batch import plan_batch
    from headwater.cli.shared.job import run_each

    def name(source: Path) -> str:
        return name_result(source, peaks=peaks)

    return run_each(plan_batch(recordings, options, suffixes=SUFFIXES, name_result=name), make_job)
