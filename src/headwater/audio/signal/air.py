"""The band above the flow's: noise that goes on in a gap, as loud at both edges as the sound beside them is.

In the short-time spectrum, with P the power of what is filled in and S that of what is expected, both smoothed,

    X = G + sqrt(max(0, 1 - P / S)) F        G what is filled in, F white noise with the power S in every bin

as powers of what is independent add up. S is worked out in dB. Let E be the line from the power just before the gap
to that just after it, and B the line from the power between attacks, the geometric mean over more of the sound, on
one side to that on the other. Then with t the time to the nearer edge

    S = M + (E - M) exp(-t / tau)            M = min(E, B)

So a cymbal that was just struck dies away to what is between its strokes, and silence stays silent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from headwater.audio.io.channels import SILENCE, Signal, find_runs
from headwater.audio.signal.join import interpolate_in_db
from headwater.audio.signal.spectrum import TINY, Power, Spectrum


@dataclass(frozen=True)
class Air:
    """How the band above the flow's goes on; times in seconds. The benchmark audio_air measures it.

    Parameters
    ----------
    window
        Of the short-time spectrum: short, so that it sees little of a gap at its edges.
    edge
        What counts as just before or just after a gap.
    around
        The sound on each side whose power between attacks counts.
    decay
        tau, the time in which a loud edge falls to that.
    smooth
        Bins and frames over which power is averaged.
    """

    window: float = 0.006
    edge: float = 0.02
    around: float = 0.2
    decay: float = 0.06
    smooth: tuple[int, int] = (7, 3)


AIR = Air()


def add_high_band_noise(
    filled: Signal,
    known: NDArray[np.bool_],
    rate: int,
    *,
    above: float,
    seed: int,
    settings: Air = AIR,
) -> Signal:
    """A signal with filled gaps, with noise above a frequency where it is softer there than expected.

    Parameters
    ----------
    filled, known
        The signal with filled gaps, and which of its samples lie in no gap, `[samples]`.
    rate
        In Hz.
    above
        In Hz.
    seed
        Of the noise.

    Examples
    --------
    >>> x = np.random.default_rng(1).standard_normal(16_000)
    >>> known = np.arange(16_000) // 4000 != 1
    >>> y = add_high_band_noise(np.where(known, x, 0.0), known, 16_000, above=4000.0, seed=0)
    >>> f"{np.std(y[~known]):.1f} of 0.7"  # half of the band
    '0.7 of 0.7'
    """
    spectrum = Spectrum(len(filled), rate, settings.window)
    g = spectrum(filled)
    power = uniform_filter(np.abs(g) ** 2, settings.smooth, mode="nearest").clip(min=0)
    complete = spectrum((~known).astype(np.float64))[0].real < 1e-9
    expected = expect_power(power, complete, spectrum, settings)
    share = np.clip(1 - power / np.maximum(expected, TINY), 0, 1)
    share[spectrum.frequencies < above] = 0.0
    share[expected < SILENCE**2 * spectrum.noise_power] = 0.0
    noise = spectrum(np.random.default_rng(seed).standard_normal(len(filled)))
    missing = np.sqrt(share * expected / spectrum.noise_power) * noise
    return np.where(known, filled, filled + spectrum.inverse(missing))


def expect_power(power: Power, complete: NDArray[np.bool_], spectrum: Spectrum, settings: Air = AIR) -> Power:
    """S `[bins, frames]`: what the power in the gaps is expected to be, and the power itself in `complete` frames."""
    found, hop = power.copy(), spectrum.hop / spectrum.rate
    for start, stop in find_runs(~complete).tolist():
        count, reach = stop - start, round(settings.around / hop)
        spans = np.arange(start)[::-1][:reach], np.arange(stop, len(complete))[:reach]
        sides = [power[:, span[complete[span]]] for span in spans]
        heard = [side for side in sides if side.shape[1]]
        if not heard:
            continue
        near = max(round(settings.edge / hop), 1)
        edges = [side[:, :near].mean(1) for side in heard]
        between = [np.exp(np.log(np.maximum(side, TINY)).mean(1)) for side in heard]
        line = np.log(interpolate_in_db(edges[0], edges[-1], count))
        middle = np.minimum(line, np.log(interpolate_in_db(between[0], between[-1], count)))
        at = np.arange(count)
        ends = [at] * bool(sides[0].shape[1]) + [at[::-1]] * bool(sides[1].shape[1])
        weight = np.exp(-np.minimum.reduce(ends) * hop / settings.decay)
        found[:, start:stop] = np.exp(middle + (line - middle) * weight)
    return found
