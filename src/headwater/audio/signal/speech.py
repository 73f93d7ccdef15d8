"""Speech: how it is told from music, and what fills a gap in it: the tone of the room.

A voice that speaks glides. Its pitch is never still, notes are; it comes and goes, and in pauses nearly nothing is
left. So the pitch of 64 ms frames 10 ms apart is taken from the largest peak of the normalised autocorrelation, at 8
kHz (Boersma, Proc. Institute of Phonetic Sciences Amsterdam 17, 1993). It is speech if a middling share of the frames
has a pitch that moves by a tenth of a semitone a frame, seldom jumps, and begins and ends a few times a second, and
if a share of the frames is 20 dB softer than the loud ones. A voice that sings alone may pass for one that speaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from headwater.audio.io.channels import SILENCE, Signal
from headwater.audio.io.files import Samples
from headwater.audio.io.resample import resample
from headwater.audio.signal.spectrum import TINY, Spectrum


@dataclass(frozen=True)
class Voice:
    """What counts as speech; set by hand on recorded and synthetic voices and on music (docs/notes/audio.md).

    Parameters
    ----------
    around
        Seconds before and after a gap that are judged.
    rate, frame, hop
        Of the analysis, in Hz and seconds.
    pitches
        The range of the pitch, in Hz.
    periodic
        The least peak of the autocorrelation of a frame with a pitch.
    soft, softer
        Frames so many dB below the loud ones have no pitch, and are part of a pause.
    voiced
        The least and the greatest share of frames that have a pitch.
    paused
        The least share of pauses.
    turns
        The least number of times a second that a pitch begins or ends.
    glide
        The least median of the semitones by which the pitch moves from frame to frame.
    jumps
        The greatest share of moves of more than a semitone.
    """

    around: float = 3.0
    rate: int = 8000
    frame: float = 0.064
    hop: float = 0.01
    pitches: tuple[float, float] = (70.0, 350.0)
    periodic: float = 0.6
    soft: float = 25.0
    softer: float = 20.0
    voiced: tuple[float, float] = (0.3, 0.85)
    paused: float = 0.1
    turns: float = 2.0
    glide: float = 0.09
    jumps: float = 0.12


VOICE = Voice()


@dataclass(frozen=True)
class RoomTone:
    """How a gap fades to the tone of the room.

    Parameters
    ----------
    fade
        Seconds in which what is predicted from each side of a gap fades out.
    onset
        Seconds from the edges of a gap in which the tone sets in: prediction continues no noise for longer.
    quietest
        Frames are taken for the room alone that are louder than the softest by less dB, as a mean over the spectrum.
    window
        Seconds of a frame: shorter than most pauses.
    """

    fade: float = 0.1
    onset: float = 0.002
    quietest: float = 2.0
    window: float = 0.032


ROOM_TONE = RoomTone()


def sounds_like_speech(x: Signal, known: NDArray[np.bool_], rate: int, *, settings: Voice = VOICE) -> bool:
    """Whether what is known of a signal sounds like one voice that speaks.

    Parameters
    ----------
    x, known
        The signal, and which of its samples are known, `[samples]`.
    rate
        In Hz.

    Examples
    --------
    >>> tone = np.sin(0.1 * np.arange(32_000)) * (np.arange(32_000) % 4000 < 2500)
    >>> sounds_like_speech(tone, np.ones(32_000, dtype=bool), 8000)
    False
    """
    s, size, hop = settings, round(settings.frame * settings.rate), round(settings.hop * settings.rate)
    y = resample(np.where(known, x, 0.0), rate, s.rate)
    at = (np.arange(len(y)) * rate / s.rate).astype(int).clip(max=len(known) - 1)
    if len(y) < size or not known.any():
        return False
    frames, heard = (np.lib.stride_tricks.sliding_window_view(z, size)[::hop] for z in (y, known[at]))
    frames = frames[heard.all(1)]
    level = 10 * np.log10(np.mean(frames**2, axis=1) + SILENCE**2)
    if len(level) < s.around / s.hop / 2 or level.max() < 20 * np.log10(SILENCE) + s.soft:
        return False
    loud = np.percentile(level, 95)
    pitch, peak = find_pitches(frames, s)
    voiced = (level > loud - s.soft) & (peak > s.periodic)
    moves = np.abs(12 * np.log2(pitch[1:] / pitch[:-1]))[voiced[1:] & voiced[:-1]]
    near = moves[moves < 1]
    return bool(
        s.voiced[0] <= voiced.mean() <= s.voiced[1]
        and np.mean(level < loud - s.softer) >= s.paused
        and np.mean(voiced[1:] != voiced[:-1]) >= s.turns * s.hop
        and len(near) >= (1 - s.jumps) * len(moves)
        and np.median(near) >= s.glide
    )


def find_pitches(frames: NDArray[np.float64], settings: Voice = VOICE) -> tuple[Signal, Signal]:
    """The pitch of frames `[frames, samples]` in Hz, and the peak of the normalised autocorrelation, `[frames]`.

    >>> partials = 147.3 * np.arange(1, 8)[:, None]
    >>> pitch, peak = find_pitches(np.cos(2 * np.pi * partials / 8000 * np.arange(512)).sum(0)[None])
    >>> f"{pitch[0]:.0f} {peak[0]:.1f}"
    '147 1.0'
    """
    size, window = frames.shape[1], np.hanning(frames.shape[1])
    both = np.fft.rfft(np.stack([(frames - frames.mean(1, keepdims=True)) * window]), 4 * size)[0]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 4 * size)) ** 2)
    first, last = (round(settings.rate / f) for f in settings.pitches[::-1])
    lags = slice(first - 1, last + 2)
    found = np.fft.irfft(np.abs(both) ** 2)
    r = found[:, lags] / own[lags] / np.maximum(found[:, :1] / own[0], TINY)
    k = 1 + r[:, 1:-1].argmax(1)
    i = np.arange(len(r))
    a, b, c = r[i, k - 1], r[i, k], r[i, k + 1]
    bend = np.minimum(a - 2 * b + c, -1e-12)  # of the parabola through the peak
    shift = np.clip(0.5 * (a - c) / bend, -1, 1)
    return settings.rate / (first - 1 + k + shift), b


def fade_to_room_tone(
    filled: Signal,
    known: NDArray[np.bool_],
    tone: Signal,
    rate: int,
    *,
    settings: RoomTone = ROOM_TONE,
) -> Signal:
    """A signal whose gaps fade from each side to the tone of the room, `[samples]`.

    Parameters
    ----------
    filled, known
        The signal with its gaps predicted, and which samples lie in no gap, `[samples]`.
    tone
        That of the room, `[samples]`.
    rate
        In Hz.
    """
    inside = distance_transform_edt(~known) / rate
    fade = np.cos(np.pi / 2 * np.clip(inside / settings.fade, 0, 1)) ** 2
    return np.where(known, filled, fade * filled + np.clip(inside / settings.onset, 0, 1) * tone)


def make_room_tone(
    x: Samples,
    known: NDArray[np.bool_],
    count: int,
    rate: int,
    *,
    seed: int,
    settings: RoomTone = ROOM_TONE,
) -> Samples:
    """Noise as loud, as coloured and as alike in all signals as the quietest frames are; silence if there are none.

    Of each bin, with P_i the power in signal i and C the matrix of coherences, it is P_i^(1/2) sum_j L_ij n_j with
    L L' = C and independent white noises n.

    Parameters
    ----------
    x, known
        Signals `[signals, samples]`, and which of their samples are known, `[samples]`.
    count
        How many samples are made.
    rate
        In Hz.
    seed
        Of the noise.

    Returns
    -------
    tone
        `[signals, count]`.

    Examples
    --------
    >>> x = 0.01 * np.random.default_rng(1).standard_normal((1, 40_000))
    >>> x[0, 10_000:25_000] += np.sin(np.arange(15_000))
    >>> f"{np.std(make_room_tone(x, np.ones(40_000, dtype=bool), 9000, 16_000, seed=0)):.3f}"
    '0.010'
    """
    spectrum, new = (Spectrum(n, rate, settings.window) for n in (x.shape[1], count))
    frames = find_quiet_frames(
        np.stack([spectrum(np.where(known, z, 0.0)) for z in x]), known, spectrum, settings
    )
    if not frames.shape[2]:
        return np.zeros((len(x), count))
    power = np.median(np.abs(frames) ** 2, axis=2) / np.log(
        2
    )  # a mean that the tail of a vowel does not lift
    cross = np.einsum("ifk,jfk->fij", frames, frames.conj())
    own = np.sqrt(np.maximum(np.einsum("fii->fi", cross).real, TINY))
    alike = cross / own[:, :, None] / own[:, None, :] + 1e-6 * np.eye(len(x))
    noise = np.random.default_rng(seed).standard_normal((len(x), count))
    white = np.einsum("fij,jfk->ifk", np.linalg.cholesky(alike), np.stack([new(n) for n in noise]))
    return np.stack([new.inverse(z) for z in np.sqrt(power / new.noise_power)[..., None] * white])


def find_quiet_frames(
    frames: NDArray[np.complex128], known: NDArray[np.bool_], spectrum: Spectrum, settings: RoomTone
) -> NDArray[np.complex128]:
    """Of the short-time spectra `[signals, bins, frames]` of known sound those in which the room is alone."""
    complete = spectrum((~known).astype(np.float64))[0].real < 1e-9
    middle = np.arange(len(complete)) * spectrum.hop
    complete &= (middle >= spectrum.size) & (middle <= len(known) - spectrum.size)
    frames = frames[:, :, complete]
    level = (10 * np.log10(np.maximum((np.abs(frames) ** 2).sum(0), TINY))).mean(0)  # hardly varies in noise
    return frames[:, :, level <= level.min(initial=np.inf) + settings.quietest]
