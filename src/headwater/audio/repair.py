"""Gaps of a recording: only what is lost is made, at the file's rate, and it continues what is around it.

Around each gap, or group of gaps, a stretch of the recording is cut out. Two channels become mid and side, each a
problem of its own. Linear prediction fills the gap; up to 50 ms nothing does that better. In a longer one, at the
rate of the prior, prediction and the flow each fill in what they know (`join`); what neither can know, all that lies
above the flow's band and what its solve leaves unexplained, is the residual on the known samples, and prediction
carries it into the gap from both sides, in phase. So the filled part begins and ends on the waveform that is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.audio.autoregression import bridge, interpolate
from headwater.audio.files import Patch, Samples, Source
from headwater.audio.join import joined
from headwater.audio.operators import Gaps
from headwater.audio.resample import resampled
from headwater.audio.restore import Prior, Restoration, restore
from headwater.errors import Misuse
from headwater.presets import Limits

CONTEXT = 0.75
"""Seconds of the recording on each side of a gap that the flow sees, at least."""
MEMORY = 0.2
"""Seconds on each side of a gap from which linear prediction learns."""
ORDER = 1000
"""Order of the linear prediction that fills."""
SHORT = 0.1
"""Seconds of a gap up to which both sides predict it together; in a longer one each fades out."""
PREDICTED = 0.05
"""Seconds of a gap up to which linear prediction fills it alone (`benchmarks/results/audio_recipe.md`)."""
FRESH = 0.0
"""The share of new noise in the estimate: with none it is as loud as what is around, which the join sees to."""
FEW = 16
"""The least samples on the shorter side with which both sides predict a gap together."""
DENSE = 1000
"""The most samples of a gap near an end that are solved for together: memory grows with their square."""
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
    """The patch that fills the gaps of a region, and the restoration behind it.

    There is none where all is silence, nor, with the preset `default`, where linear prediction needs no help.
    """
    x = source.read(region.start, region.stop)
    here = np.arange(region.start, region.stop)
    wanted, lost = region.mask(region.gaps), region.mask((*region.gaps, *region.others))
    inside = (here >= 0) & (here < source.frames) & ~lost
    level = x[inside].mean(0) if inside.any() else np.zeros(source.channels)
    truth = to_tracks(x - level)
    tracks = np.stack([bridged(track, lost, inside, source.rate) for track in truth])
    done = None
    if preset != "default" or not predictable(region, source):
        low = np.stack([resampled(track, source.rate, prior.rate) for track in tracks])
        known = kept(inside, source.rate, prior.rate, low.shape[1])
        seeds = seeds_of(seed, region.gaps[0][0], range(len(low)))
        heard, low, done = with_flow(prior, low, known, seeds=seeds, preset=preset, limits=limits)
        for i in heard:
            track = resampled(low[i], prior.rate, source.rate)[: len(x)]
            tracks[i] = track + bridged(truth[i] - track, lost, inside, source.rate)
    changed = np.repeat((wanted & (here >= 0))[:, None], source.channels, axis=1)
    return Patch(region.start, from_tracks(tracks) + level, changed), done


def predictable(region: Region, source: Source) -> bool:
    """Whether all of the gaps are short and have the recording on both sides."""
    longest = max(stop - start for start, stop in region.gaps)
    ends = region.gaps[0][0] == 0 or region.gaps[-1][1] >= source.frames
    return longest <= PREDICTED * source.rate and not ends


def with_flow(
    prior: Prior, guesses: Samples, known: NDArray[np.bool_], *, seeds: Sequence[int], **how: Any
) -> tuple[NDArray[np.intp], Samples, Restoration | None]:
    """Which tracks are not silent, and the tracks `[n, samples]`, their prediction joined with the flow's filling."""
    loudness = np.zeros(len(guesses))
    if known.any():
        loudness = np.sqrt(np.mean(np.square(guesses[:, known]), axis=1))
    heard = np.flatnonzero(loudness > SILENCE)
    if not len(heard):
        return heard, guesses, None
    at_one = guesses[heard] / loudness[heard, None]
    rough, operator = torch.from_numpy(at_one).float(), Gaps(torch.from_numpy(known)[None])
    done = restore(
        prior,
        operator,
        operator(rough),
        0.0,
        guess=rough,
        fresh=FRESH,
        seeds=[seeds[int(i)] for i in heard],
        **how,
    )
    found = guesses.copy()
    for i, flow, guess in zip(heard, done.waveforms.double().numpy(), at_one, strict=True):
        found[i] = joined(flow, guess, known, prior.rate) * loudness[i]
    return heard, found, done


def seeds_of(seed: int, place: int, tracks: Iterable[int]) -> list[int]:
    """A seed for every track of a stretch: with the same noise in mid and side one channel would stay empty."""
    return [int(np.random.SeedSequence([seed, place, int(t)]).generate_state(1)[0]) for t in tracks]


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
        near, count = slice(start - left, stop + right), stop - start
        most = min(ORDER, (left + count + right) // 3)  # the order: samples that a prediction needs
        shorter, longer = sorted((left, right))
        bounded = shorter >= most or (longer >= most and shorter >= FEW and count <= DENSE)
        if bounded and count <= SHORT * rate:
            this = np.zeros(len(x), dtype=bool)
            this[start:stop] = True
            way = slice(None, None, 1 if left >= right else -1)  # predicted from the longer side
            x[near] = interpolate(x[near][way], this[near][way], most, iterations=2)[way]
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
