"""Gaps of a recording: only what is lost is made, at the file's rate, and it continues what is around it.

Gaps that repeat what is elsewhere in the recording are filled with that, if it predicts the sound beside them better
than linear prediction does (`signal.repetition`). Of the others, linear prediction fills those up to 50 ms. Longer
ones in speech, which the flow has never heard, fade to the tone of the room (`signal.speech`). In all others, at the
rate of the prior, prediction and the flow each fill in what they know (`signal.join`). What neither can know is all
that lies above the flow's band, and what its solve leaves unexplained: the residual on the known samples. Prediction
carries it into the gap from both sides, in phase, so that the filled part begins and ends on the waveform that is
there. Above the flow's band, where prediction soon dies away, noise of the right spectrum goes on (`signal.air`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.audio.io.channels import SILENCE, find_runs, from_mid_side, seeds_for, to_mid_side
from headwater.audio.io.files import Patch, Recording, Samples
from headwater.audio.io.resample import resample
from headwater.audio.io.segments import Gap, Segment, merge_gaps, segments_around
from headwater.audio.io.times import most_frames_within
from headwater.audio.latent import LatentCanvas, LatentPrior
from headwater.audio.operators import Gaps
from headwater.audio.prior import Canvas, Prior
from headwater.audio.restoration import Restoration, Solution, SolveOptions
from headwater.audio.signal.air import add_high_band_noise
from headwater.audio.signal.join import hold_level, join_flow
from headwater.audio.signal.prediction import carry_residual, predict_gaps
from headwater.audio.signal.prediction_error import find_errors
from headwater.audio.signal.repetition import repeat_gaps
from headwater.audio.signal.speech import VOICE, fade_to_room_tone, make_room_tone, sounds_like_speech
from headwater.flows.seeds import derive_seed
from headwater.recipes.problem import Problem
from headwater.recipes.warm_start import WarmStart


@dataclass(frozen=True)
class GapSettings:
    """How gaps are filled.

    Parameters
    ----------
    predicted
        Seconds of a gap up to which linear prediction fills it (the benchmark audio_recipe).
    recipe
        How the flow is asked; None is the prior's own `gap_recipe`.
    context
        Seconds of the recording on each side of a gap that the flow sees, at least.
    unsure
        Samples of the flow beside a gap in which it does not agree with the recording to the end (audio_recipe).
    band
        The share of its band that the flow fills; its resampling falls above (audio_air).
    apart
        Seconds beside a gap that the flow is not held to, since resampling mixes them with the gap.

    Examples
    --------
    >>> import headwater as hw
    >>> prediction = hw.audio.GapSettings(predicted=1.0)  # fills gaps up to a second by itself
    >>> recording, prior = hw.audio.examine(hw.audio.recordings.GUITAR), hw.audio.load_prior()
    >>> [r.filled_by for r in hw.audio.fill_gaps(prior, recording, [(120_000, 124_410)], settings=prediction)]
    ['linear prediction']
    """

    predicted: float = 0.05
    recipe: WarmStart | None = None
    context: float = 0.75
    unsure: int = 8
    band: float = 0.92
    apart: float = 0.0002


SETTINGS = GapSettings()
ROOM_TONE = "linear prediction and room tone"
"""What fills longer gaps in speech."""


def fill_gaps(
    prior: Prior | LatentPrior,
    recording: Recording,
    gaps: Iterable[Gap],
    options: SolveOptions | None = None,
    *,
    settings: GapSettings = SETTINGS,
) -> Iterator[Restoration]:
    """Fill the gaps of a recording, those that are near each other at once; each is made when it is asked for.

    Parameters
    ----------
    prior
        A flow of music, or a pipeline on latents.
    recording
        The file.
    gaps
        In frames of the recording: the first lost one, and the one after the last. Those that touch or overlap become
        one.
    options
        Seed, recipe and its options.
    settings
        What benchmarks chose.

    Yields
    ------
    restoration
        Its patch holds the filled frames `[frames, channels]`, and `filled_by` says what filled them; patches come in
        order.

    Raises
    ------
    Misuse
        A gap is not in whole frames, is empty or beyond the recording, or the recording is damaged elsewhere.

    Examples
    --------
    >>> import headwater as hw
    >>> recording, prior = hw.audio.examine(hw.audio.recordings.GUITAR), hw.audio.load_prior()
    >>> (restoration,) = hw.audio.fill_gaps(prior, recording, [(120_000, 120_400)])  # 9 ms
    >>> restoration.filled_by, restoration.patch.changed.sum(0).tolist()  # frames of each channel
    ('linear prediction', [400, 400])
    """
    lost = merge_gaps(gaps, recording.frames)
    recording = replace(recording, lost=tuple(lost))
    for segment in segments_around(lost, round(settings.context * recording.rate)):
        yield fill_segment(prior, recording, segment, options, settings=settings)


def fill_segment(
    prior: Prior | LatentPrior,
    recording: Recording,
    segment: Segment,
    options: SolveOptions | None = None,
    *,
    settings: GapSettings = SETTINGS,
) -> Restoration:
    """Fill the gaps of a segment in the way that suits them.

    A recipe in the options always asks the flow, and so does a pipeline, which was told what is to be heard.

    Parameters
    ----------
    prior
        A flow of music, or a pipeline on latents.
    recording, segment
        The file, and the part of it that holds the gaps.
    options
        Seed, recipe and its options.
    settings
        What benchmarks chose.

    Raises
    ------
    Misuse
        The recording is damaged.
    """
    options = options or SolveOptions()
    if options.recipe is not None or isinstance(prior, LatentPrior):
        return fill_by_flow(prior, recording, segment, options, settings=settings)
    repeated = repeat_gaps(recording, segment)
    if repeated is None:
        return _fill_new(prior, recording, segment, options, settings)
    rest = tuple(g for g in segment.gaps if not repeated.changed[g[0] - segment.start].any())
    if not rest:
        return Restoration(repeated, "repetition")
    lost = tuple(g for g in segment.lost if g in rest or g not in segment.gaps)
    known = PatchedRecording(**vars(recording), patch=repeated)
    filled = _fill_new(prior, known, replace(segment, gaps=rest, lost=lost), options, settings)
    join = ", " if " and " in filled.filled_by else " and "
    changed, patch = filled.patch.changed | repeated.changed, filled.patch
    samples = np.where(repeated.changed, repeated.samples, patch.samples)
    return replace(
        filled, patch=Patch(patch.start, samples, changed), filled_by=f"repetition{join}{filled.filled_by}"
    )


def _fill_new(
    prior: Prior | LatentPrior,
    recording: Recording,
    segment: Segment,
    options: SolveOptions,
    settings: GapSettings,
) -> Restoration:
    """Fill the gaps of a segment that repeat nothing."""
    if is_predictable(recording, segment, settings):
        task = GapTask.read(prior, recording, segment, options.seed, settings)
        return _describe(task.finish(None), "linear prediction")
    if is_speech(recording, segment):
        task = GapTask.read(prior, recording, segment, options.seed, settings)
        return _describe(task.finish_speech(), ROOM_TONE)
    return fill_by_flow(prior, recording, segment, options, settings=settings)


@dataclass(frozen=True)
class PatchedRecording(Recording):
    """A recording with a patch in it, as what is filled in next sees it."""

    patch: Patch | None = None

    def read(self, start: int, stop: int) -> Samples:
        """The frames from `start` to `stop`, float64 `[frames, channels]`."""
        x = super().read(start, stop)
        if self.patch is not None:
            first, changed = self.patch.start - start, self.patch.changed
            inside = slice(max(first, 0), max(first + len(changed), 0))
            part = slice(max(-first, 0), max(-first, 0) + len(x[inside]))
            x[inside] = np.where(changed[part], self.patch.samples[part], x[inside])
        return x


def fill_by_flow(
    prior: Prior | LatentPrior,
    recording: Recording,
    segment: Segment,
    options: SolveOptions | None = None,
    *,
    settings: GapSettings = SETTINGS,
) -> Restoration:
    """Fill the gaps of a segment by the flow and linear prediction, however short they are; as `fill_gaps`."""
    options = options or SolveOptions()
    task = GapTask.read(prior, recording, segment, options.seed, settings)
    problem = task.pose(prior)
    if problem is None:
        return _describe(task.finish(None), "linear prediction")
    seeds = [task.seeds[i] for i in task.audible]
    result = options.solve(problem, seeds)
    solution = Solution(result, problem.misfit)
    overflowed = not bool(solution.rms.isfinite().any())
    by = "linear prediction" if overflowed else "flow and linear prediction"
    return _describe(task.finish(result.x1), by, solution)


def is_predictable(recording: Recording, segment: Segment, settings: GapSettings = SETTINGS) -> bool:
    """Whether all of the gaps are short and have the recording on both sides."""
    longest = max(stop - start for start, stop in segment.gaps)
    at_an_end = segment.gaps[0][0] == 0 or segment.gaps[-1][1] >= recording.frames
    return longest <= most_frames_within(settings.predicted, recording.rate) and not at_an_end


def is_speech(recording: Recording, segment: Segment) -> bool:
    """Whether what is around the gaps sounds like one voice that speaks, which no prior of music has heard."""
    x, known = read_around(recording, segment)
    return sounds_like_speech(x[0], known, recording.rate)


def read_around(recording: Recording, segment: Segment) -> tuple[Samples, NDArray[np.bool_]]:
    """What is judged as speech or not: the signals `[signals, frames]`, and which frames are known, `[frames]`."""
    wide = segment.widen(round(VOICE.around * recording.rate))
    frames = np.arange(wide.start, wide.stop)
    known = (frames >= 0) & (frames < recording.frames) & ~wide.unknown
    x = recording.read(wide.start, wide.stop)
    return to_mid_side(x - x[known].mean(0) if known.any() else x), known


@dataclass(frozen=True)
class GapTask:
    """The gaps of a segment as a problem of the flow.

    Parameters
    ----------
    recording, segment
        The file, and the part of it that holds the gaps.
    canvas
        That of the prior for the segment.
    signals, mean
        The segment as `[signals, frames]`, mid and side if there are two channels, less the mean of each channel,
        `[channels]`.
    known
        Which frames lie in the recording and in no gap, `[frames]`.
    seed
        Of all noise.
    settings
        What benchmarks chose.
    """

    recording: Recording
    segment: Segment
    canvas: Canvas | LatentCanvas
    signals: Samples
    mean: Samples
    known: NDArray[np.bool_]
    seed: int = 0
    settings: GapSettings = SETTINGS

    @classmethod
    def read(
        cls,
        prior: Prior | LatentPrior,
        recording: Recording,
        segment: Segment,
        seed: int = 0,
        settings: GapSettings = SETTINGS,
    ) -> GapTask:
        """Read the segment from its file; what lies beyond the ends of the recording is not known."""
        x, frames = recording.read(segment.start, segment.stop), np.arange(segment.start, segment.stop)
        known = (frames >= 0) & (frames < recording.frames) & ~segment.unknown
        mean = x[known].mean(0) if known.any() else np.zeros(recording.channels)
        canvas = prior.canvas(-(-len(x) * prior.rate // recording.rate))
        return cls(recording, segment, canvas, to_mid_side(x - mean), mean, known, seed, settings)

    @cached_property
    def seeds(self) -> list[int]:
        """One for each signal."""
        return seeds_for(self.seed, self.segment.gaps[0][0], range(len(self.signals)))

    @cached_property
    def predicted(self) -> Samples:
        """The signals with linear prediction in their gaps, `[signals, frames]`."""
        lost, rate = self.segment.unknown, self.recording.rate
        return np.stack([predict_gaps(signal, lost, self.known, rate) for signal in self.signals])

    @cached_property
    def guesses(self) -> Samples:
        """The same at the prior's rate, `[signals, samples]`."""
        rates = self.recording.rate, self.canvas.rate
        return np.stack([resample(signal, *rates) for signal in self.predicted])

    @cached_property
    def known_to_flow(self) -> NDArray[np.bool_]:
        """Which samples at the prior's rate the flow is held to, `[samples]`."""
        apart = self.settings.apart * self.recording.rate
        return known_at_rate(self.known, self.recording.rate, self.canvas.rate, self.guesses.shape[1], apart)

    @cached_property
    def loudness(self) -> Samples:
        """The rms of each signal where it is known, `[signals]`."""
        if not self.known_to_flow.any():
            return np.zeros(len(self.signals))
        return np.asarray(np.sqrt(np.mean(np.square(self.guesses[:, self.known_to_flow]), axis=1)))

    @property
    def audible(self) -> list[int]:
        """The signals that are not silent: the rows of the problem."""
        return [int(i) for i in np.flatnonzero(self.loudness > SILENCE)]

    @property
    def guesses_at_one(self) -> Samples:
        """Those of the audible signals at unit loudness, `[rows, samples]`."""
        return np.asarray(self.guesses[self.audible] / self.loudness[self.audible, None])

    def pose(self, prior: Prior | LatentPrior) -> Problem | None:
        """The known samples of the audible signals are measured, without noise; None if all is silent."""
        if not self.audible:
            return None
        guess = torch.from_numpy(self.guesses_at_one).float().to(prior.device)
        operator = Gaps(torch.from_numpy(self.known_to_flow)[None].to(prior.device))
        return prior.pose(
            operator, operator(guess), 0.0, guess=guess, recipe=self.settings.recipe or prior.gap_recipe
        )

    @cached_property
    def errors(self) -> list[NDArray[np.float64]]:
        """What prediction misses beside each gap, `[stretches, rows, samples of the gap]`, at unit loudness."""
        known, rate = self.known_to_flow, self.canvas.rate
        each = [[find_errors(x, known, gap, rate) for x in self.guesses_at_one] for gap in self.gaps_of_flow]
        return [np.stack(rows, 1) for rows in each]

    @cached_property
    def gaps_of_flow(self) -> list[Gap]:
        """The gaps in samples at the prior's rate; those that touch are one."""
        share, first = self.canvas.rate / self.recording.rate, self.segment.start
        spans = [((start - first) * share, (stop - first) * share) for start, stop in self.segment.gaps]
        runs = find_runs(~self.known_to_flow).tolist()
        return [(start, stop) for start, stop in runs if any(start < b and a < stop for a, b in spans)]

    def draw_error(self, draw: int) -> Samples:
        """A draw of what prediction misses, `[rows, samples]`: in each gap what it misses beside it, of any sign."""
        found = np.zeros_like(self.guesses_at_one)
        generator = np.random.default_rng([self.seeds[0], draw])
        for (start, stop), errors in zip(self.gaps_of_flow, self.errors, strict=True):
            if len(errors):
                sign = generator.choice([-1.0, 1.0])
                found[:, start:stop] = sign * errors[generator.integers(len(errors))]
        return found

    def finish(self, x1: Tensor | None, draw: int | None = None) -> Patch:
        """The gaps at the recording's own rate.

        Parameters
        ----------
        x1
            The states that the flow found, `[rows, frames, bins]`. With None, and where they are not finite,
            prediction alone fills the gaps.
        draw
            The number of a draw of a posterior: what prediction fills then differs from that of other draws, by an
            error that it makes beside the gap, and so does the noise above the flow's band.

        Returns
        -------
        patch
            The segment; only the frames in its gaps are changed.
        """
        filled = self.predicted.copy()
        if x1 is not None:
            for i, signal in zip(self.audible, self._join(self.canvas(x1), draw), strict=True):
                filled[i] = signal
        return self._patch(self._add_air(filled, draw))

    def finish_speech(self) -> Patch:
        """The gaps faded from both sides to the tone of the room, as `finish`."""
        around, heard = read_around(self.recording, self.segment)
        rate, known = self.recording.rate, self.known
        tone = make_room_tone(around, heard, len(known), rate, seed=self.seeds[0])
        filled = [fade_to_room_tone(x, known, y, rate) for x, y in zip(self.predicted, tone, strict=True)]
        return self._patch(np.stack(filled))

    def _patch(self, filled: Samples) -> Patch:
        """The signals `[signals, frames]` as a patch of the gaps."""
        segment, frames = self.segment, np.arange(self.segment.start, self.segment.stop)
        changed = segment.to_fill & (frames >= 0)
        samples = from_mid_side(filled) + self.mean
        return Patch(segment.start, samples, np.repeat(changed[:, None], self.recording.channels, axis=1))

    def _join(self, waveforms: Tensor, draw: int | None) -> Samples:
        """The audible signals at the recording's rate, flow and prediction joined, `[rows, frames]`."""
        known, low, rate = self.known_to_flow, self.canvas.rate, self.recording.rate
        lost, count, unsure = self.segment.unknown, len(self.known), round(self.settings.unsure * rate / low)
        errors = [None] * len(self.audible) if draw is None else list(self.draw_error(draw))
        found = []
        for i, flow, guess, error in zip(self.audible, waveforms, self.guesses_at_one, errors, strict=True):
            if not bool(flow.isfinite().all()):  # a network may overflow
                found.append(self.predicted[i])
                continue
            held = hold_level(guess, known, low)
            joined = join_flow(flow.double().cpu().numpy(), held, known, low, error=error)
            signal = resample(joined * self.loudness[i], low, rate)[:count]
            rest = carry_residual(self.signals[i] - signal, lost, self.known, rate, unsure)
            found.append(signal + rest)
        return np.stack(found)

    def _add_air(self, filled: Samples, draw: int | None) -> Samples:
        """The signals with noise above the flow's band, where they are softer in the gaps than around."""
        above, rate = self.settings.band * self.canvas.rate / 2, self.recording.rate
        if 2 * above >= rate:
            return filled
        seeds = self.seeds if draw is None else [derive_seed(seed, draw + 1) for seed in self.seeds]
        return np.stack(
            [
                add_high_band_noise(x, self.known, rate, above=above, seed=seed)
                for x, seed in zip(filled, seeds, strict=True)
            ]
        )


def known_at_rate(
    known: NDArray[np.bool_], rate: int, wanted: int, count: int, apart: float
) -> NDArray[np.bool_]:
    """Which of `count` samples at the wanted rate are known: those further than `apart` frames from what is not."""
    unknown = np.flatnonzero(~known)
    at = np.arange(count) * rate / wanted
    if not len(unknown):
        return np.ones(count, dtype=bool)
    right = np.searchsorted(unknown, at)
    distance = np.minimum(
        np.abs(unknown[np.minimum(right, len(unknown) - 1)] - at),
        np.abs(unknown[np.maximum(right - 1, 0)] - at),
    )
    return np.asarray((distance > apart) & (at < len(known)))


def _describe(patch: Patch, filled_by: str, *solutions: Solution) -> Restoration:
    """The restoration; gaps that were filled with nothing are silent."""
    audible = bool(patch.samples[patch.changed].any())
    return Restoration(patch, filled_by if audible else "silence", solutions)
