"""Gaps of a recording: only what is lost is made, at the file's rate, and it continues what is around it.

Up to 50 ms linear prediction fills a gap; nothing does that better. What repeats itself is repeated (`repetition`).
Else, at the rate of the prior, prediction and the flow each fill in what they know (`join`); what neither can know,
all that lies above the flow's band and what its solve leaves unexplained, is the residual on the known samples, and
prediction carries it into the gap from both sides, in phase. So the filled part begins and ends on the waveform that
is there. Above the flow's band, where prediction soon dies away, noise of the right spectrum goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.audio.io.files import Patch, Samples, Source
from headwater.audio.io.regions import Region
from headwater.audio.io.resample import resampled
from headwater.audio.io.times import frames_within
from headwater.audio.io.tracks import SILENCE, from_tracks, seeds_of, to_tracks
from headwater.audio.operators import Gaps
from headwater.audio.restore import How, Prior, Restoration, restore
from headwater.audio.signal.join import joined, steadied
from headwater.audio.signal.prediction import bridged, carried, textured
from headwater.audio.signal.repetition import repetition

PREDICTED = 0.05
"""Seconds of a gap up to which linear prediction fills it alone (`benchmarks/decisions/results/audio_recipe.md`)."""
FRESH = 0.0
"""The share of new noise in the estimate: with none it is as loud as what is around, which the join sees to."""
UNSURE = 8
"""Samples of the flow beside a gap in which it does not agree with the recording to the end."""
HEARD = 0.92
"""The share of its band that the flow fills; its resampling falls above."""
SOFTNESS = 0.0002
"""Seconds beside a gap that the flow is not held to, since resampling mixes them with the gap."""


@dataclass(frozen=True)
class Filling:
    """The patch that fills the gaps of a region, what made it, and the restoration behind it, if there was one."""

    patch: Patch
    by: str
    restoration: Restoration | None = None


def fill(prior: Prior, source: Source, region: Region, how: How | None = None) -> Filling:
    """Fill the gaps of a region in the way that suits them; a preset other than `default` always asks the flow."""
    how = how or How()
    alone = how.preset == "default" and predictable(region, source)
    if how.preset == "default" and not alone and (again := repetition(source, region)) is not None:
        return Filling(again, "repetition")
    draft = predicted(source, region) if alone else played(prior, source, region, how)
    return draft.textured(prior.rate, how.seed).filling()


def predictable(region: Region, source: Source) -> bool:
    """Whether all of the gaps are short and have the recording on both sides."""
    longest = max(stop - start for start, stop in region.gaps)
    ends = region.gaps[0][0] == 0 or region.gaps[-1][1] >= source.frames
    return longest <= frames_within(PREDICTED, source.rate) and not ends


@dataclass(frozen=True)
class Stretch:
    """A region as it was read: tracks without the level of each channel; which frames are lost, and which there."""

    source: Source
    region: Region
    tracks: Samples
    level: Samples
    lost: NDArray[np.bool_]
    there: NDArray[np.bool_]

    @classmethod
    def read(cls, source: Source, region: Region) -> Stretch:
        """The stretch of the file; beyond its ends there is nothing."""
        x, lost = source.read(region.start, region.stop), region.missing
        here = np.arange(region.start, region.stop)
        there = (here >= 0) & (here < source.frames) & ~lost
        level = x[there].mean(0) if there.any() else np.zeros(source.channels)
        return cls(source, region, to_tracks(x - level), level, lost, there)

    def bridged(self, track: Samples) -> Samples:
        """A track with linear prediction in the gaps."""
        return bridged(track, self.lost, self.there, self.source.rate)

    def carried(self, rest: Samples, low: int) -> Samples:
        """What a flow of the rate `low` leaves of a track, carried into the gaps by linear prediction."""
        unsure = round(UNSURE * self.source.rate / low)
        return carried(rest, self.lost, self.there, self.source.rate, unsure)

    def seeds(self, seed: int) -> list[int]:
        """One for every track."""
        return seeds_of(seed, self.region.gaps[0][0], range(len(self.tracks)))


@dataclass(frozen=True)
class Draft:
    """The tracks of a stretch with their gaps filled, what filled them, and the restoration behind it."""

    stretch: Stretch
    tracks: Samples
    by: str
    restoration: Restoration | None = None

    def textured(self, low: int, seed: int) -> Draft:
        """With noise above the band of a flow of the rate `low`, where tracks are softer in the gaps than around."""
        s, above = self.stretch, HEARD * low / 2
        if 2 * above >= s.source.rate:
            return self
        found = [
            textured(x, filled, s.lost, s.there, s.source.rate, above=above, seed=k)
            for x, filled, k in zip(s.tracks, self.tracks, s.seeds(seed), strict=True)
        ]
        return replace(self, tracks=np.stack(found))

    def filling(self) -> Filling:
        """The gaps of the region as they are in these tracks."""
        s, region = self.stretch, self.stretch.region
        changed = region.wanted & (np.arange(region.start, region.stop) >= 0)
        samples = from_tracks(self.tracks) + s.level
        by = self.by if samples[changed].any() else "silence"
        patch = Patch(region.start, samples, np.repeat(changed[:, None], s.source.channels, axis=1))
        return Filling(patch, by, self.restoration)


def predicted(source: Source, region: Region) -> Draft:
    """The gaps filled by linear prediction alone."""
    s = Stretch.read(source, region)
    return Draft(s, np.stack([s.bridged(track) for track in s.tracks]), "linear prediction")


def played(prior: Prior, source: Source, region: Region, how: How) -> Draft:
    """The gaps filled by the flow and linear prediction; by prediction alone where all is silence."""
    draft = predicted(source, region)
    s, tracks = draft.stretch, draft.tracks.copy()
    low = np.stack([resampled(track, source.rate, prior.rate) for track in tracks])
    known = kept(s.there, source.rate, prior.rate, low.shape[1])
    heard, low, done = with_flow(prior, low, known, seeds=s.seeds(how.seed), how=how)
    if done is None:
        return draft
    for i in heard:
        track = resampled(low[i], prior.rate, source.rate)[: tracks.shape[1]]
        tracks[i] = track + s.carried(s.tracks[i] - track, prior.rate)
    return Draft(s, tracks, "flow and linear prediction", done)


def with_flow(
    prior: Prior, guesses: Samples, known: NDArray[np.bool_], *, seeds: Sequence[int], how: How
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
        preset=how.preset,
        limits=how.limits,
    )
    found = guesses.copy()
    for i, flow, guess in zip(heard, done.waveforms.double().numpy(), at_one, strict=True):
        held = steadied(guess, known, prior.rate)
        found[i] = joined(flow, held, known, prior.rate) * loudness[i]
    return heard, found, done


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
