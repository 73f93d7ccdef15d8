"""Gaps of a recording: only what is lost is made, at the file's rate, and it continues what is around it.

Around each gap, or group of gaps, a stretch of the recording is cut out. Two channels become mid and side, each a
problem of its own. At the rate of the prior the flow fills the gap; what the flow cannot know, all that lies above
its band and what its solve leaves unexplained, is the residual on the known samples, and linear prediction carries it
into the gap from both sides, in phase. So the filled part begins and ends on the waveform that is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import toeplitz
from scipy.signal import fftconvolve

from headwater.audio.autoregression import belief, bridge, interpolate
from headwater.audio.files import Patch, Samples, Source
from headwater.audio.operators import Gaps, PredictedGaps, Section
from headwater.audio.resample import resampled
from headwater.audio.restore import RESOLUTION, Prior, Restoration, restore
from headwater.errors import Misuse
from headwater.presets import Limits

CONTEXT = 0.75
"""Seconds of the recording on each side of a gap that the flow sees, at least."""
MEMORY = 0.2
"""Seconds on each side of a gap from which linear prediction learns."""
ORDER = 1000
"""Order of the linear prediction that fills."""
LIKELY = 500
"""Order of the one that is believed, at the rate of the prior."""
LEAST = 16
"""Below this order nothing is believed."""
SURE = 1.2
"""By how much the errors of a fitted prediction are larger on samples that it was not fitted to."""
VAGUE = 0.5
"""The standard deviation, at unit loudness, beyond which a prediction is not asked."""
SPREAD = 4
"""Samples at the rate of the prior by which a gap is widened there, as resampling blurs its edges."""
SHORT = 0.1
"""Seconds of a gap up to which both sides predict it together; in a longer one each fades out."""
SILENCE = 1e-5
"""A stretch below this rms (-100 dB of full scale) is silent; its gaps stay so."""
SOFTNESS = 0.0002
"""Seconds beside a gap that the flow is not held to, since resampling mixes them with the gap."""

Gap = tuple[int, int]


@dataclass(frozen=True)
class Region:
    """A stretch of the recording from frame `start` to `stop`, and its gaps: (first frame, frame after the last).

    `others` are gaps in the stretch that belong to another region: lost as well, but not filled here.
    """

    start: int
    stop: int
    gaps: tuple[Gap, ...]
    others: tuple[Gap, ...] = ()

    def mask(self, gaps: Iterable[Gap]) -> NDArray[np.bool_]:
        """Which frames of the stretch lie in these gaps."""
        found = np.zeros(self.stop - self.start, dtype=bool)
        for start, stop in gaps:
            found[max(start - self.start, 0) : max(stop - self.start, 0)] = True
        return found


def merged(gaps: Iterable[Gap], frames: int) -> list[Gap]:
    """The gaps in order, those that touch or overlap as one.

    >>> merged([(5, 9), (20, 30), (8, 12)], 100)
    [(5, 12), (20, 30)]

    Raises
    ------
    Misuse
        A gap is empty or beyond the recording, or nothing is left of it.
    """
    found: list[Gap] = []
    for start, stop in sorted(gaps):
        if not 0 <= start < stop <= frames:
            raise Misuse(
                f"The gap from frame {start} to {stop} is empty or beyond the recording of {frames} frames.",
                "Give a start before its end, both in the recording.",
            )
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    if found == [(0, frames)]:
        raise Misuse("The gap is the whole recording.", "Leave something to continue.")
    return found


def regions(gaps: Sequence[Gap], context: int, longest: int | None = None) -> list[Region]:
    """Stretches with `context` frames around the gaps; gaps nearer than that share one. They may begin before 0.

    A stretch of several gaps is not longer than `longest`, by default 8 contexts; then each sees the other's gaps.
    """
    longest = 8 * context if longest is None else longest
    groups: list[list[Gap]] = []
    for gap in gaps:
        near = bool(groups) and gap[0] - groups[-1][-1][1] < context
        if near and gap[1] - groups[-1][0][0] <= longest:
            groups[-1].append(gap)
        else:
            groups.append([gap])
    found = []
    for group in groups:
        start, stop = group[0][0] - context, group[-1][1] + context
        others = tuple(g for g in gaps if start < g[1] and g[0] < stop and g not in group)
        found.append(Region(start, stop, tuple(group), others))
    return found


def fill(
    prior: Prior,
    source: Source,
    region: Region,
    *,
    seed: int = 0,
    preset: str = "default",
    limits: Limits | None = None,
) -> tuple[Patch, Restoration | None]:
    """The patch that fills the gaps of a region, and the restoration behind it (None where all is silence)."""
    x = source.read(region.start, region.stop)
    here = np.arange(region.start, region.stop)
    wanted, lost = region.mask(region.gaps), region.mask((*region.gaps, *region.others))
    inside = (here >= 0) & (here < source.frames) & ~lost
    level = x[inside].mean(0) if inside.any() else np.zeros(source.channels)
    x = x - level
    tracks = [bridged(track, lost, inside, source.rate) for track in to_tracks(x)]
    guesses = np.stack([resampled(track, source.rate, prior.rate) for track in tracks])
    known = kept(inside, source.rate, prior.rate, guesses.shape[1])
    loudness = (
        np.sqrt(np.mean(np.square(guesses[:, known]), axis=1)) if known.any() else np.zeros(len(tracks))
    )
    heard = np.nonzero(loudness > SILENCE)[0]
    done = None
    if len(heard):
        guess = guesses[heard] / loudness[heard, None]
        gaps = lowered(region, source.rate, prior.rate, len(known))
        believed = [beliefs(track, known, gaps, prior.rate) for track in guess]
        operator, y = measured(guess, known, believed)
        done = restore(
            prior,
            operator,
            y.float(),
            0.0,
            guess=torch.from_numpy(guess).float(),
            seeds=seeds_of(seed, region.gaps[0][0], heard),
            preset=preset,
            limits=limits,
        )
        for i, waveform, each in zip(heard, done.waveforms.double().numpy(), believed, strict=True):
            for b in each:
                waveform = b.joined(waveform)
            low = resampled(waveform * loudness[i], prior.rate, source.rate)[: len(x)]
            track = to_tracks(x)[i]
            tracks[i] = low + bridged(track - low, lost, inside, source.rate)
    changed = np.repeat((wanted & (here >= 0))[:, None], source.channels, axis=1)
    return Patch(region.start, from_tracks(np.stack(tracks)) + level, changed), done


def seeds_of(seed: int, place: int, tracks: Iterable[int]) -> list[int]:
    """A seed for every track of a stretch: with the same noise in mid and side one channel would stay empty."""
    return [int(np.random.SeedSequence([seed, place, int(t)]).generate_state(1)[0]) for t in tracks]


@dataclass(frozen=True, eq=False)
class Belief:
    """What linear prediction believes of a stretch of a track, from sample `start` on.

    A Gaussian with a `mean` `[n]` and, along the orthogonal columns of `directions` `[n, n]`, standard `deviations`
    `[n]`; `unknown` `[n]` is the share of the variance along each that prediction leaves open, 0 to 1.
    """

    start: int
    mean: Samples
    directions: Samples
    deviations: Samples
    unknown: Samples

    @classmethod
    def of(cls, near: Samples, start: int, gap: Gap, sides: str) -> Belief:
        """Of the gap in the stretch `near` that begins at sample `start` of the track."""
        mean, precision = belief(near, *gap, min(LIKELY, (len(near) - gap[1] + gap[0]) // 4), sides=sides)
        values, directions = np.linalg.eigh(precision)
        deviations = SURE / np.sqrt(np.maximum(values, 1e-12))
        lags = fftconvolve(near, near[::-1])[len(near) - 1 :][: len(mean)] / len(near)
        variance = np.sum(directions * (toeplitz(lags) @ directions), axis=0)
        unknown = np.minimum(deviations**2 / np.maximum(variance, 1e-12), 1.0)
        return cls(start + gap[0], mean, directions, deviations, unknown)

    def weights(self) -> torch.Tensor:
        """The directions `[k, n]` it is sure enough of, weighted for the noise `RESOLUTION`; none above 1."""
        weight = RESOLUTION / self.deviations
        kept = weight > RESOLUTION / VAGUE
        return torch.from_numpy(np.minimum(weight[kept], 1.0)[:, None] * self.directions[:, kept].T)

    def joined(self, x: Samples) -> Samples:
        """The track with the mean where prediction knows, itself where it does not: `unknown`^2 of the difference."""
        here = slice(self.start, self.start + len(self.mean))
        x = x.copy()
        difference = self.directions.T @ (x[here] - self.mean)
        x[here] = self.mean + self.directions @ (self.unknown**2 * difference)
        return x


def beliefs(track: Samples, known: NDArray[np.bool_], gaps: Sequence[Gap], rate: int) -> list[Belief]:
    """What prediction believes of the gaps: of a short one, or of both edges of a long one."""
    found = []
    memory = round(MEMORY * rate)
    for start, stop in gaps:
        for at, end, sides in edges_of(start, stop, round(SHORT * rate)):
            left = min(_run(known[:start][::-1]), memory) if sides != "after" else 0
            right = min(_run(known[stop:]), memory) if sides != "before" else 0
            if (left + right) // 4 >= LEAST:
                near = track[at - left : end + right]
                found.append(Belief.of(near, at - left, (left, left + end - at), sides))
    return found


def measured(
    tracks: Samples, known: NDArray[np.bool_], believed: Sequence[Sequence[Belief]]
) -> tuple[PredictedGaps, torch.Tensor]:
    """What is known of the tracks `[tracks, samples]` at the prior's rate, and its measurement.

    The samples outside the gaps, and what linear prediction believes of a short gap, or of the edges of a long one:
    the directions of which it is surer than `VAGUE`, none more than the solve resolves.
    """
    x = torch.from_numpy(tracks)
    gaps = Gaps(torch.from_numpy(known)[None])
    sections, values = [], []
    for each in zip(*believed, strict=True):
        weights = stacked([b.weights() for b in each])
        sections.append(Section(weights, each[0].start, len(known)))
        mean = torch.from_numpy(np.stack([b.mean for b in each]))
        values.append((weights @ mean[..., None])[..., 0])
    return PredictedGaps(gaps, tuple(sections)), torch.cat([gaps(x), *values], dim=1)


def lowered(region: Region, rate: int, low: int, samples: int) -> list[Gap]:
    """All gaps of a region at the prior's rate, a little wider, within so many samples."""
    found = []
    for gap in (*region.gaps, *region.others):
        start, stop = (round((g - region.start) * low / rate) for g in gap)
        found.append((max(start - SPREAD, 0), min(stop + SPREAD, samples)))
    return found


def edges_of(start: int, stop: int, short: int) -> list[tuple[int, int, str]]:
    """The parts of a gap of which prediction may know something, and from which sides."""
    if stop - start <= short:
        return [(start, stop, "both")]
    reach = min(short // 2, (stop - start) // 2)
    return [(start, start + reach, "before"), (stop - reach, stop, "after")]


def stacked(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Weights of several tracks, the missing directions empty."""
    most = max(len(w) for w in weights)
    return torch.stack([torch.nn.functional.pad(w, (0, 0, 0, most - len(w))) for w in weights])


def to_tracks(x: Samples) -> Samples:
    """What is restored, `[tracks, frames]`: mid and side of two channels, else the channels."""
    if x.shape[1] == 2:
        return np.stack([(x[:, 0] + x[:, 1]) / 2, (x[:, 0] - x[:, 1]) / 2])
    return x.T


def from_tracks(tracks: Samples) -> Samples:
    """The channels `[frames, channels]` again."""
    if len(tracks) == 2:
        return np.stack([tracks[0] + tracks[1], tracks[0] - tracks[1]], axis=1)
    return tracks.T


def bridged(x: Samples, lost: NDArray[np.bool_], inside: NDArray[np.bool_], rate: int) -> Samples:
    """The track with linear prediction in its gaps, from first to last, and zero beyond the recording."""
    x, there = np.where(inside, x, 0.0), inside.copy()
    memory = round(MEMORY * rate)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]])))
    for start, stop in edges.reshape(-1, 2):
        left = _run(there[max(start - memory, 0) : start][::-1])
        right = _run(there[stop : stop + memory])
        near = slice(start - left, stop + right)
        if min(left, right) >= 16 and stop - start <= SHORT * rate:
            this = np.zeros(len(x), dtype=bool)
            this[start:stop] = True
            x[near] = interpolate(x[near], this[near], ORDER, iterations=2)
        else:
            order = min(ORDER, memory // 6)  # far from the sides a long model rings
            x[start:stop] = bridge(x[near][:left], x[near][left + stop - start :], stop - start, order)
        there[start:stop] = True
    return x


def _run(known: NDArray[np.bool_]) -> int:
    """How many samples from the start are known."""
    return int(np.argmin(known)) if not known.all() else len(known)


def kept(inside: NDArray[np.bool_], rate: int, wanted: int, count: int) -> NDArray[np.bool_]:
    """Which samples at the other rate are known: those no nearer than `SOFTNESS` to what is not."""
    unknown = np.flatnonzero(~inside)
    places = np.arange(count) * rate / wanted
    if not len(unknown):
        return np.ones(count, dtype=bool)
    right = np.searchsorted(unknown, places)
    distance = np.minimum(
        np.abs(unknown[np.minimum(right, len(unknown) - 1)] - places),
        np.abs(unknown[np.maximum(right - 1, 0)] - places),
    )
    return np.asarray((distance > SOFTNESS * rate) & (places < len(inside)))
