"""Damage all over a recording, undone in overlapping segments, so that any length fits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from headwater.audio.damage import Damage, DamageTask
from headwater.audio.io.channels import from_mid_side, seeds_for, to_mid_side
from headwater.audio.io.files import Patch, Recording, Samples
from headwater.audio.latent import LatentPrior
from headwater.audio.prior import Prior
from headwater.audio.restoration import Restoration, Solution, SolveOptions
from headwater.errors import Misuse

SAME = 1e-12
"""Samples that differ by less are as they were, but for rounding in float64."""


@dataclass(frozen=True)
class Overlap:
    """How a recording is cut into segments; times in seconds.

    Parameters
    ----------
    segment
        The most that is restored at once, for memory.
    margin
        More on both sides, whose result is thrown away but for the fade.
    fade
        A segment fades into the next over this; both agree with the recording there.
    """

    segment: float = 8.0
    margin: float = 0.5
    fade: float = 0.02

    def margin_of(self, damage: Damage, rate: int) -> int:
        """Frames of the margin: as far as the damage reaches, on both sides, and its fade, if that is more."""
        return round(max(self.margin, 2 * damage.reach + 2 * self.fade) * rate)

    def cut(
        self, recording: Recording, damage: Damage, pipeline: LatentPrior | None = None
    ) -> list[tuple[int, int]]:
        """The segments of a recording: equal parts, each its first frame and the one after its last.

        Those of a pipeline fit with their margins into its longest sound.

        Raises
        ------
        Misuse
            A pipeline makes too short a sound for a segment with its margins.
        """
        size = round(self.segment * recording.rate)
        if pipeline is not None:
            margin = self.margin_of(damage, recording.rate)
            room = pipeline.longest * recording.rate // pipeline.rate - 2 * margin
            if room < max(2 * round(self.fade * recording.rate), 1):
                raise Misuse(
                    f"The model makes {pipeline.longest / pipeline.rate:.2f} s at once, and a stretch has"
                    f" {margin / recording.rate:.2f} s beside it on both sides.",
                    "Give a model of longer sounds.",
                )
            size = min(size, room)
        return equal_parts(recording.frames, size)


OVERLAP = Overlap()


def undo_damage(
    prior: Prior | LatentPrior,
    recording: Recording,
    damage: Damage,
    options: SolveOptions | None = None,
    *,
    overlap: Overlap = OVERLAP,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Restoration]:
    """Restore a recording segment by segment, in order; each is made when it is asked for.

    Parameters
    ----------
    prior
        A flow of music, or a pipeline on latents, which is always asked, as it was told what is to be heard.
    recording
        The file.
    damage
        What happened to it.
    options
        Seed, recipe and its options.
    overlap
        How it is cut into segments.
    stop
        Asked after each segment: if it is True, that segment fades into the recording and is the last.

    Yields
    ------
    restoration
        Its patch of samples `[frames, channels]` begins where the one before ends.

    Raises
    ------
    Misuse
        The recording is damaged, the damage cannot be undone at the prior's rate, or it has another rate or fewer
        channels than the recording; or a pipeline makes too short a sound for a segment.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> path = Path(tempfile.mkdtemp()) / "clipped.wav"
    >>> tone = np.sin(np.arange(1000) / 5)[:, None]  # [frames, 1]
    >>> _ = hw.audio.write_new(path, tone.clip(-0.5, 0.5), rate=16_000)
    >>> clipped, damage = hw.audio.examine(path), hw.audio.Clipping.at_level(0.5)
    >>> (restoration,) = hw.audio.undo_damage(hw.audio.load_prior(), clipped, damage)
    >>> restoration.patch.samples.shape, bool(restoration.patch.samples.max() > 0.8)
    ((1000, 1), True)
    """
    options = options or SolveOptions()
    fade = max(round(overlap.fade * recording.rate), 1)
    margin = overlap.margin_of(damage, recording.rate)
    tail: Samples | None = None
    for start, end in overlap.cut(recording, damage, prior if isinstance(prior, LatentPrior) else None):
        first, last = max(start - margin, 0), min(end + margin, recording.frames)
        x = recording.read(first, last)
        seeds = seeds_for(options.seed, start, range(recording.channels))
        here = damage.for_segment(first, last)
        restored, solutions = restore_segment(
            prior, x, recording.rate, here, seeds, options, begins=not first
        )
        begin = start if tail is None else start - fade
        x, y = x[begin - first : end - first], restored[begin - first : end - first]
        if tail is not None:
            y[:fade] = cross_fade(tail, y[:fade])
        ends_early = end < recording.frames and stop()
        if ends_early:
            y[-fade:] = cross_fade(y[-fade:], x[-fade:], last=True)
        count = len(y) if ends_early or end == recording.frames else len(y) - fade
        tail = y[count:]
        changed = np.abs(y - x)[:count] > SAME
        yield Restoration(Patch(begin, y[:count], changed), solutions=tuple(solutions))
        if ends_early:
            return


def restore_segment(
    prior: Prior | LatentPrior,
    x: Samples,
    rate: int,
    damage: Damage,
    seeds: list[int],
    options: SolveOptions,
    *,
    begins: bool,
) -> tuple[Samples, list[Solution]]:
    """A segment `[frames, channels]` restored, every signal for itself; what is whole or silent stays as it is."""
    found: list[Samples] = []
    solutions: list[Solution] = []
    signals = to_mid_side(x) if damage.mixes else x.T
    # all at once: what does not fit the recording is refused before the first solve
    damages = [damage.for_signal(i, begins) for i in range(len(signals))]
    for i, signal in enumerate(signals):
        task = DamageTask.read(prior, damages[i], signal, rate)
        if task is None:
            found.append(signal)
            continue
        x1 = None
        if task.measurement.improvable or options.recipe is not None or isinstance(prior, LatentPrior):
            problem = task.pose(prior)
            result = options.solve(problem, [seeds[i]])
            solutions.append(Solution(result, problem.misfit))
            x1 = result.x1
        found.append(task.finish(x1))
    together = np.stack(found)
    return from_mid_side(together) if damage.mixes else together.T.copy(), solutions


def cross_fade(before: Samples, after: Samples, *, last: bool = False) -> Samples:
    """From one `[frames, channels]` to the other, linearly; with `last` its last frame is that of the other.

    >>> cross_fade(np.zeros((4, 1)), np.ones((4, 1))).ravel().tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    ramp = np.linspace(0, 1, len(before), endpoint=last)[:, None]
    return np.asarray((1 - ramp) * before + ramp * after)


def equal_parts(frames: int, size: int) -> list[tuple[int, int]]:
    """Equal parts of at most `size` frames.

    >>> equal_parts(10, 4)
    [(0, 3), (3, 6), (6, 10)]
    """
    count = max(-(-frames // size), 1)
    edges = [i * frames // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))
