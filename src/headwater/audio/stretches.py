"""Damage all over a recording, undone stretch by stretch, so that any length fits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from headwater.audio.damage import Damage
from headwater.audio.io.files import Patch, Samples, Source
from headwater.audio.io.tracks import SILENCE, from_tracks, seeds_of, to_tracks
from headwater.audio.restore import How, Prior, Restoration, restore

STRETCH = 8.0
"""Seconds that are restored at once."""
MARGIN = 0.5
"""Seconds more on both sides, whose result is thrown away but for the fade."""
SAME = 1e-12
"""Samples that differ by less are as they were, but for rounding."""
FADE = 0.02
"""Seconds over which a stretch fades into the next; both agree with the recording there."""


def spans(frames: int, size: int) -> list[tuple[int, int]]:
    """The stretches of a recording: equal parts of at most `size` frames.

    >>> spans(10, 4)
    [(0, 3), (3, 6), (6, 10)]
    """
    count = max(-(-frames // size), 1)
    edges = [i * frames // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


Told = Callable[[int, int, list[Restoration]], bool]


def restored(
    prior: Prior,
    source: Source,
    damage: Damage,
    how: How | None = None,
    told: Told = lambda k, n, done: False,
) -> Iterator[Patch]:
    """The restored recording as patches, in order, made when they are asked for.

    `told(k, n, done)` hears that the k-th of n stretches is done, and may end the run; the rest then stays as it is.
    """
    how = how or How()
    fade = max(round(FADE * source.rate), 1)
    margin = round(max(MARGIN, 2 * damage.reach + 2 * FADE) * source.rate)
    todo = spans(source.frames, round(STRETCH * source.rate))
    tail: Samples | None = None
    for k, (start, stop) in enumerate(todo):
        first, last = max(start - margin, 0), min(stop + margin, source.frames)
        done: list[Restoration] = []
        x = source.read(first, last)
        seeds = seeds_of(how.seed, start, range(source.channels))
        whole = _stretch(prior, x, source.rate, damage, how, seeds, done, begins=first == 0)
        begin = start if tail is None else start - fade
        x, y = x[begin - first : stop - first], whole[begin - first : stop - first]
        if tail is not None:
            ramp = np.linspace(0, 1, fade, endpoint=False)[:, None]
            y[:fade] = (1 - ramp) * tail + ramp * y[:fade]
        ended = told(k + 1, len(todo), done) and stop < source.frames
        if ended:  # the rest stays as it is: fade into it
            ramp = np.linspace(0, 1, min(fade, len(y)))[:, None]
            y[len(y) - len(ramp) :] += ramp * (x - y)[len(y) - len(ramp) :]
        last_one = ended or stop == source.frames
        kept = len(y) if last_one else len(y) - fade
        tail = y[kept:]
        yield Patch(begin, y[:kept], np.abs(y - x)[:kept] > SAME)
        if last_one:
            return


def _stretch(
    prior: Prior,
    x: Samples,
    rate: int,
    damage: Damage,
    how: How,
    seeds: Sequence[int],
    done: list[Restoration],
    *,
    begins: bool,
) -> Samples:
    """One stretch `[frames, channels]`, restored, every track for itself; what is whole or silent stays as it is."""
    found = []
    for i, track in enumerate(to_tracks(x) if damage.stereo else x.T):
        scale, this = float(track.std()), damage.of(i, begins)
        posed = this.pose(track, rate, prior.rate, scale) if scale > SILENCE else None
        if posed is not None:
            estimate = posed.guess
            if not posed.good or how.preset != "default":
                y, guess = (torch.from_numpy(z / scale).float()[None] for z in (posed.y, posed.guess))
                options: dict[str, Any] = {"seeds": [seeds[i]], "preset": how.preset, "guess": guess}
                options |= {"limits": how.ending(posed.tau), "fresh": posed.fresh}
                done.append(restore(prior, posed.operator, y, posed.sigma, **options))
                estimate = done[-1].waveforms[0].double().numpy() * scale
            track = this.finish(posed, track, estimate, rate, prior.rate)
        found.append(track)
    together = np.stack(found)
    return from_tracks(together) if damage.stereo else together.T.copy()
