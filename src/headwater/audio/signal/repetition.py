"""A gap filled by what was there at other times: loops, samples and copied bars repeat themselves.

With s a side of the gap and s_d what lies d samples from it, all signals taken together and only known samples
counted,

    rho(d) = <s, s_d> / (|s| |s_d|)

Lags are tried where the smaller rho of the two sides is largest, of the sound as it is and of its differences: the
one finds a loop under hiss, the other under bass. What stands in the gap is the mean of what lies at one lag or
several, each as loud as the sides are: times |s| / |s_d|, from the one side's to the other's. A mean of K keeps what
repeats, and of the power of all else a share of 1 / K. What the sides still differ by, prediction carries into the
gap.

Whether this is better than linear prediction alone is tried out: on trial gaps as long as the gap, in the known sound
beside it, which had no say in the choice of the lags. Both ways fill them, and the smaller error wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve, resample_poly

from headwater.audio.io.channels import SILENCE, from_mid_side, to_mid_side
from headwater.audio.io.files import Patch, Recording, Samples
from headwater.audio.io.segments import Gap, Segment
from headwater.audio.signal.prediction import PREDICTION, LinearPrediction, predict_gaps
from headwater.audio.signal.spectrum import TINY

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Repetition:
    """How repeats are looked for; times in seconds. The benchmark audio_repeats says what comes of it.

    Parameters
    ----------
    search
        How far before and after the gap.
    margin, beyond
        How much known sound lies between a trial gap and the gap, and beyond the trial gap. It chooses the lags.
    longest
        The longest trial gap; of those up to a third of `margin` there are two on each side.
    shortest
        Shorter gaps are left to linear prediction.
    lags
        How many lags are tried of the sound as it is, and of its differences.
    most
        The most repeats that are averaged.
    apart
        Lags that differ by less count as one.
    coarse
        The least rate in Hz at which the search runs.
    loudest
        By how much at most a repeat is made louder or softer.
    least
        The share of the power of the trial gaps that repeats explain, at least: music of one key is always a little
        like itself.
    better
        The error of repetition is less than this times that of prediction: in doubt, nothing is repeated.
    """

    search: float = 30.0
    margin: float = 0.15
    beyond: float = 0.15
    longest: float = 0.5
    shortest: float = 0.01
    lags: int = 6
    most: int = 4
    apart: float = 0.003
    coarse: int = 11_000
    loudest: float = 4.0
    least: float = 0.5
    better: float = 0.8


REPETITION = Repetition()
QUICK = replace(PREDICTION, short_memories=(0.08,))
"""Linear prediction in trial gaps: one prediction is as good a judge as the mean of three."""


def repeat_gaps(recording: Recording, segment: Segment, *, settings: Repetition = REPETITION) -> Patch | None:
    """The gaps of a segment that repeat what was there at other times.

    Parameters
    ----------
    recording, segment
        The file, and the part of it that holds the gaps.
    settings
        How repeats are looked for.

    Returns
    -------
    patch
        Its `changed` covers the gaps for which repetition is better than prediction. None if there is no such gap.
    """
    long = [g for g in segment.gaps if g[1] - g[0] >= settings.shortest * recording.rate]
    if not long:
        return None
    wide = segment.widen(round(settings.search * recording.rate))
    frames = np.arange(wide.start, wide.stop)
    known = (frames >= 0) & (frames < recording.frames) & ~wide.unknown
    x = to_mid_side(recording.read(wide.start, wide.stop))
    mean = (x @ known / max(known.sum(), 1))[:, None]
    x = np.subtract(x, mean, out=x)
    x[:, ~known] = 0.0
    near, repeated = slice(segment.start - wide.start, segment.stop - wide.start), []
    filled = x[:, near] + mean
    for gap in long:
        inside = gap[0] - wide.start, gap[1] - wide.start
        found = Surroundings(x, known, inside, recording.rate, settings).repeat()
        if found is not None:
            filled[:, gap[0] - segment.start : gap[1] - segment.start] = found + mean
            repeated.append(gap)
    if not repeated:
        return None
    changed = segment.mask(repeated) & (frames[near] >= 0)
    return Patch(
        segment.start, from_mid_side(filled), np.repeat(changed[:, None], recording.channels, axis=1)
    )


@dataclass(frozen=True)
class Surroundings:
    """A gap and the sound around it, in which repeats are looked for and tried.

    Parameters
    ----------
    x, known
        The signals `[signals, frames]`, zero where nothing is known, and which frames are known, `[frames]`.
    gap
        In frames; nothing is known in it.
    rate
        In Hz.
    settings
        How repeats are looked for.
    """

    x: Samples
    known: Mask
    gap: Gap
    rate: int
    settings: Repetition = REPETITION

    def repeat(self) -> Samples | None:
        """The gap `[signals, frames of it]` filled by repetition; None where prediction alone is as good."""
        copies = self.copies if self.trials else []
        if not copies:
            return None
        means = [mean_copies(copies[:count]) for count in range(1, len(copies) + 1)]
        best = min(means, key=lambda copy: self.error(copy.x, copy.known))
        if self.error(best.x, best.known) > 1 - self.settings.least or not self.is_better(best):
            return None
        first = self.window[0]
        return self.fill(best, [self.gap], PREDICTION)[:, self.gap[0] - first : self.gap[1] - first]

    def is_better(self, copy: Copy) -> bool:
        """Whether a copy fills the trial gaps better than prediction does."""
        ours, predicted = (self.error(self.fill(by, self.trials, QUICK), copy.known) for by in (copy, None))
        return ours < self.settings.better * predicted

    @cached_property
    def trials(self) -> list[Gap]:
        """The trial gaps, on each side where there is enough known sound."""
        (start, stop), (left, right), (margin, size, tries) = self.gap, self.known_beside, self.trial
        found = []
        for i in range(tries):
            first = margin + i * (size + margin)
            needed = first + size + round(self.settings.beyond * self.rate)
            found += [(start - first - size, start - first)] * (left >= needed)
            found += [(stop + first, stop + first + size)] * (right >= needed)
        return sorted(found)

    @property
    def trial(self) -> tuple[int, int, int]:
        """The margin before a trial gap, its size, and how many there are on each side.

        At an end of the recording prediction has one side, and so it has in the trial.
        """
        s, size = self.settings, self.gap[1] - self.gap[0]
        margin, size = round(s.margin * self.rate), min(size, round(s.longest * self.rate))
        return (margin, size, 1 + (3 * size <= margin)) if all(self.known_beside) else (0, size, 1)

    @cached_property
    def known_beside(self) -> tuple[int, int]:
        """How many known frames lie directly before and after the gap."""
        before, after = self.known[: self.gap[0]][::-1], self.known[self.gap[1] :]
        left, right = (len(k) if k.all() else int(np.argmin(k)) for k in (before, after))
        return left, right

    @cached_property
    def window(self) -> Gap:
        """The part that is worked on: the gap, the trial gaps, and what is beside them."""
        margin, size, tries = self.trial
        reach = tries * (margin + size) + round(self.settings.beyond * self.rate)
        return max(self.gap[0] - reach, 0), min(self.gap[1] + reach, len(self.known))

    @cached_property
    def sides(self) -> list[Side]:
        """The known sound on each side of the gap that chooses the lags: without the trial gaps."""
        counts = self.known.copy()
        for a, b in self.trials:
            counts[a:b] = False
        spans = (self.window[0], self.gap[0]), (self.gap[1], self.window[1])
        least = round(self.settings.beyond * self.rate)
        return [Side(a, counts[a:b]) for a, b in spans if counts[a:b].sum() >= least]

    @cached_property
    def copies(self) -> list[Copy]:
        """What lies at the best lags, the most like the sides first."""
        found = [c for d in self.find_lags() if (c := self.copy(d)) is not None]
        return sorted(found, key=lambda c: c.error)[: self.settings.most]

    def find_lags(self) -> list[int]:
        """The lags that are tried, in frames."""
        q = max(self.rate // self.settings.coarse, 1)
        x, known, sides, gap = self.x, self.known, self.sides, self.gap
        if q > 1:
            x, known, gap = resample_poly(x, 1, q, axis=1), thin(known, q), (gap[0] // q, -(-gap[1] // q))
            starts = [-(-side.start // q) for side in sides]
            counts = [
                thin(side.counts[first * q - side.start :], q)
                for first, side in zip(starts, sides, strict=True)
            ]
            sides = [Side(first, c) for first, c in zip(starts, counts, strict=True)]
        apart, found = max(round(self.settings.apart * self.rate / q), 1), list[int]()
        for difference in (False, True):
            likeness = compare_sides(x, known, sides, gap, difference=difference)
            found += find_peaks(likeness, self.settings.lags, apart)
        return sorted({self.refine(q * (k - len(known)), q) for k in found})

    def refine(self, lag: int, by: int) -> int:
        """The lag, at the full rate, at which the sides are most alike, at most `by` frames from a lag."""
        lags = range(lag - by + 1, lag + by)
        return max(lags, key=self.likeness) if len(lags) > 1 else lag

    def likeness(self, lag: int) -> float:
        """The smaller rho of the sides at a lag, of the sound as it is and of its differences together."""
        pairs = [self.pair(side, lag) for side in self.sides]
        return min(cosine(a, b) + cosine(np.diff(a), np.diff(b)) for a, b in pairs)

    def pair(self, side: Side, lag: int) -> tuple[Samples, Samples]:
        """The frames of a side that count, and those at a lag, `[signals, frames]`; none if they are beyond."""
        at = side.start + np.flatnonzero(side.counts)
        there = at + lag
        inside = (there >= 0) & (there < len(self.known))
        at, there = at[inside], there[inside]
        both = self.known[there]
        return self.x[:, at[both]], self.x[:, there[both]]

    def copy(self, lag: int) -> Copy | None:
        """What lies at a lag from the window, as loud as the sides are.

        None if it is far louder or softer than they are, or unknown in the gap.
        """
        pairs = [self.pair(side, lag) for side in self.sides]
        gains = [float(np.linalg.norm(a)) / max(float(np.linalg.norm(b)), TINY) for a, b in pairs]
        loudest = self.settings.loudest
        if not all(1 / loudest <= g <= loudest for g in gains):
            return None
        error = sum(
            float(np.sum((a - g * b) ** 2) / max(np.sum(a**2), TINY))
            for (a, b), g in zip(pairs, gains, strict=True)
        )
        frames = np.arange(*self.window)
        there = np.clip(frames + lag, 0, len(self.known) - 1)
        known = self.known[there] & (there == frames + lag)
        if not known[self.gap[0] - frames[0] : self.gap[1] - frames[0]].all():
            return None
        gain = np.interp(frames, self.gap, (gains[0], gains[-1]))
        return Copy(np.where(known, gain * self.x[:, there], 0.0), known, error)

    def fill(self, copy: Copy | None, gaps: Sequence[Gap], by: LinearPrediction) -> Samples:
        """The window with gaps filled by a copy and what prediction carries into them, or by prediction alone."""
        first, last = self.window
        near, known = self.x[:, first:last], self.known[first:last]
        base, there = (np.zeros_like(near), known) if copy is None else (copy.x, known & copy.known)
        lost = Segment(first, last, tuple(gaps)).to_fill
        known = there & ~lost
        rest = [predict_gaps(z, lost, known, self.rate, settings=by) for z in near - base]
        return np.asarray(base + np.stack(rest))

    def error(self, filled: Samples, judged: Mask) -> float:
        """The mean over the trial gaps of the error relative to the power; infinite if none can be judged.

        `filled` is the window `[signals, frames]`; trial gaps count that lie in its `judged` frames.
        """
        first, errors = self.window[0], []
        for a, b in self.trials:
            if not judged[a - first : b - first].all():
                continue
            truth = self.x[:, a:b]
            off = np.sum((filled[:, a - first : b - first] - truth) ** 2)
            errors.append(float(off / max(np.sum(truth**2), SILENCE**2 * truth.size)))
        return float(np.mean(errors)) if errors else float("inf")


@dataclass(frozen=True)
class Side:
    """Known sound beside a gap: the first frame, and which frames from there on count, `[frames]`."""

    start: int
    counts: Mask


@dataclass(frozen=True)
class Copy:
    """What is put into a gap: the window `[signals, frames]`, where that is known, and its error on the sides."""

    x: Samples
    known: Mask
    error: float = 0.0


def mean_copies(copies: Sequence[Copy]) -> Copy:
    """The mean of copies, known where all of them are."""
    known = np.logical_and.reduce([c.known for c in copies])
    return Copy(np.where(known, np.mean([c.x for c in copies], axis=0), 0.0), known)


def compare_sides(x: Samples, known: Mask, sides: Sequence[Side], gap: Gap, *, difference: bool) -> Samples:
    """The smaller rho of the sides of a gap at each lag, `[2 frames + 1]`: at k the lag is k - frames.

    It is -1 where what lies at the lag from the sides or the gap is not known. Of differences, the first frame after
    an unknown one is unknown.

    Examples
    --------
    >>> loop = np.random.default_rng(0).standard_normal(300)
    >>> known = np.arange(1200) // 50 != 10
    >>> sides = [Side(450, np.ones(50, dtype=bool)), Side(550, np.ones(50, dtype=bool))]
    >>> x = np.where(known, np.tile(loop, 4), 0.0)[None]
    >>> found = compare_sides(x, known, sides, (500, 550), difference=False)
    >>> (np.flatnonzero(found > 0.999) - 1200).tolist()
    [-300, 300, 600]
    """
    if difference:
        x, known = np.diff(x, axis=1, prepend=0.0), known & np.concatenate([[False], known[:-1]])
        sides = [Side(s.start, s.counts & np.concatenate([[False], s.counts[:-1]])) for s in sides]
    x = np.where(known, x, 0.0)
    frames, count = len(known), gap[1] - gap[0]
    lags = np.full(2 * frames + 1, -1.0)
    missing = np.concatenate([[0], np.cumsum(~known)])
    whole = np.flatnonzero(missing[count:] == missing[: frames - count + 1])  # where the gap would begin
    lags[frames - gap[0] + whole] = 1.0
    for side in sides:
        rho, first = correlate(x, known, side), frames - side.start
        lags[:first] = lags[first + len(rho) :] = -1.0
        np.minimum(lags[first : first + len(rho)], rho, out=lags[first : first + len(rho)])
    return lags


def correlate(x: Samples, known: Mask, side: Side, *, least: float = 0.4) -> Samples:
    """rho of a side with the signals from every frame on, `[frames - length + 1]`.

    It is 0 where there is silence, and -1 where less than a share of `least` of the side is known.
    """
    counts = side.counts.astype(np.float64)
    length = len(counts)
    s = np.where(side.counts, x[:, side.start : side.start + length], 0.0)
    product = sum(slide(signal, part) for signal, part in zip(x, s, strict=True))
    power = np.maximum(slide(np.square(x).sum(0), counts), 0.0)
    own, wanted = float(np.square(s).sum()), counts.sum()
    audible = np.minimum(power, own) > SILENCE**2 * wanted
    rho = np.where(audible, product / np.sqrt(np.maximum(power * own, TINY)), 0.0)
    return np.where(slide(known.astype(np.float64), counts) > least * wanted, rho, -1.0)


def slide(x: Samples, part: Samples) -> Samples:
    """The inner product of a part `[length]` with a signal `[frames]` from every frame on."""
    return np.asarray(oaconvolve(x, part[::-1], "valid"))


def find_peaks(x: Samples, count: int, apart: int) -> Iterable[int]:
    """The places of the largest positive values, at most `count`, more than `apart` from each other."""
    x, found = x.copy(), []
    for _ in range(count):
        k = int(x.argmax())
        if x[k] <= 0:
            break
        found.append(k)
        x[max(k - apart, 0) : k + apart + 1] = -1.0
    return found


def thin(mask: Mask, q: int) -> Mask:
    """Which of the frames at a q-th of the rate are marked: those of which all are."""
    padded = np.concatenate([mask, np.zeros(-len(mask) % q, dtype=bool)])
    return np.asarray(padded.reshape(-1, q).all(1))


def cosine(a: Samples, b: Samples) -> float:
    """<a, b> / (|a| |b|); 0 where there is silence."""
    return float(np.sum(a * b)) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), TINY)
