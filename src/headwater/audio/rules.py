"""Rules of sound: which notes are heard, how often something begins, how the loudness moves.

Sounds are x `[batch, samples]`, one channel each, at a rate in Hz. Larger is better. Notes and loudness have a
gradient, onsets have none. Rules of this kind, on scores of notes, steer music in Huang et al., "Symbolic music
generation with non-differentiable rule guided diffusion", ICML 2024; here they are heard.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.audio.metrics import spectrogram
from headwater.errors import Misuse
from headwater.extras import import_optional

NOTES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
NOTE = re.compile(r"([A-G])([#b]?)")
LOWEST, HIGHEST = 200.0, 2000.0
"""Hz between which a window of 0.13 s tells a semitone from the next."""


@dataclass(frozen=True)
class PitchClasses:
    """The share of the power that lies in some of the twelve pitch classes, in all octaves, `[batch]`.

    A frequency f belongs to the class round(12 log2(f / 440 Hz)) + 9 mod 12, with C = 0. White noise has 0.05 (C)
    to 0.12 (A sharp) of a single class, since higher semitones are wider.

    Parameters
    ----------
    notes
        The classes, 0 for C to 11 for B; some, not all.
    rate
        Of the sounds, Hz, at least 800.

    Raises
    ------
    Misuse
        If there is no note, or all, or one outside 0 to 11; or the rate is lower.

    References
    ----------
    Fujishima, "Realtime chord recognition of musical sound", ICMC 1999.

    Examples
    --------
    >>> t = torch.arange(8000, dtype=torch.float64) / 8000
    >>> a4 = torch.sin(2 * torch.pi * 440 * t)[None]
    >>> [round(PitchClasses((note,), 8000)(a4).item(), 1) for note in (9, 10)]
    [1.0, 0.0]
    """

    notes: tuple[int, ...]
    rate: int

    def __post_init__(self) -> None:
        if not 0 < len(set(self.notes)) < 12 or not set(self.notes) <= set(range(12)):
            raise Misuse(
                f"The notes {list(self.notes)} are no choice.", "Give some of 0 (C) to 11 (B), not all."
            )
        if self.rate < 4 * LOWEST:
            raise Misuse(
                f"At {self.rate} Hz no notes are heard.", f"Give sounds of {4 * LOWEST:g} Hz or more."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The share of x `[batch, samples]`, `[batch]`; 0 of silence."""
        power = spectrogram(x, check_length(x, round(0.128 * self.rate))).mean(2)
        frequency = torch.linspace(0, self.rate / 2, power.shape[1], dtype=torch.float64)
        heard = (frequency >= LOWEST) & (frequency <= HIGHEST)
        classes = (12 * (frequency[heard] / 440).log2()).round().long().add(9) % 12
        chosen = torch.isin(classes, torch.tensor(self.notes)).to(x.device)
        power = power[:, heard.to(x.device)]
        share: Tensor = (power * chosen).sum(1) / (power.sum(1) + 1e-12)
        return share


@dataclass(frozen=True)
class OnsetRate:
    """How many notes or strokes begin in a second, `[batch]`; with a target minus the gap to it.

    Peaks of the spectral flux: what the power in thirds of an octave rises by within 32 ms, in dB, with a floor 60 dB
    below the loudest. A peak counts if it is above 1 dB + 2 times the median of the second around it, a mean over the
    bands, and 60 ms or more after the last. White noise has 0.02 onsets a second or fewer, and its beginning.
    There is no gradient.

    Parameters
    ----------
    rate
        Of the sounds, Hz.
    target
        Onsets a second; None asks for as many as possible.

    Raises
    ------
    Misuse
        If the target is below 0 or above 15, or scipy is not installed.

    References
    ----------
    Dixon, "Onset detection revisited", DAFx 2006, for the flux; Bello et al., "A tutorial on onset detection in music
    signals", IEEE Transactions on Speech and Audio Processing 13 (2005), section IV-B, for the threshold
    delta + lambda median.

    Examples
    --------
    >>> t = torch.arange(16000, dtype=torch.float64) / 8000
    >>> strokes = (torch.sin(2 * torch.pi * 600 * t) * torch.exp(-20 * (t % 0.25)))[None]  # four a second
    >>> OnsetRate(8000)(strokes).item(), OnsetRate(8000, 3.0)(strokes).item()
    (4.0, -1.0)
    """

    rate: int
    target: float | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not 0 <= self.target <= 15:
            raise Misuse(f"{self.target:g} onsets a second are not heard.", "Give a number from 0 to 15.")

    def __call__(self, x: Tensor) -> Tensor:
        """The score of x `[batch, samples]`, float64 `[batch]`; nothing begins in silence, and NaN has NaN."""
        hop, flux = self.hop(x), self.flux(x)
        counts = [
            self.count_peaks(each, hop) if finite else math.nan
            for finite, each in zip(x.isfinite().all(1).tolist(), flux, strict=True)
        ]
        many = torch.tensor(counts, dtype=torch.float64) / (x.shape[1] / self.rate)
        return many if self.target is None else -(many - self.target).abs()

    def count_peaks(self, flux: Tensor, hop: float) -> int:
        """The peaks of a flux `[frames]`, in dB, that are onsets; frames are `hop` seconds apart."""
        find_peaks = import_optional("scipy.signal", "audio").find_peaks
        median_filter = import_optional("scipy.ndimage", "audio").median_filter
        around = median_filter(flux.numpy(), size=2 * round(0.5 / hop) + 1, mode="nearest")
        distance = max(round(0.06 / hop), 1)
        peaks, _ = find_peaks(flux.numpy(), height=1 + 2 * around, prominence=1.0, distance=distance)
        return len(peaks)

    def window(self, x: Tensor) -> int:
        """Samples of a frame of x `[batch, samples]`: 64 ms where it is as long; frames are a quarter of it apart."""
        return check_length(x, round(0.064 * self.rate))

    def hop(self, x: Tensor) -> float:
        """Seconds from frame to frame of x `[batch, samples]`."""
        return self.window(x) // 4 / self.rate

    def flux(self, x: Tensor) -> Tensor:
        """The mean rise of a band over two frames in dB, float64 `[batch, frames]`; before the sound is silence."""
        power = spectrogram(x.detach().double().cpu(), self.window(x))
        band = assign_bands(power.shape[1], self.rate)
        bands = power.new_zeros(len(power), int(band.max()) + 1, power.shape[2]).index_add(1, band, power)
        loudest = bands.amax((1, 2), keepdim=True).clamp(min=1e-12)
        level = (10 * (bands / loudest + 1e-6).log10()).clamp(min=-60)
        level = torch.nn.functional.pad(level, (2, 0), value=-60.0)
        rise = (level[..., 2:] - level[..., :-2]).clamp(min=0).mean(1)
        return torch.nn.functional.pad(rise[:, :-2], (1, 1))  # a sound that is cut off begins nothing


def assign_bands(bins: int, rate: float) -> Tensor:
    """Which band each of the bins from 0 to rate / 2 belongs to, int64 `[bins]`.

    Bands are thirds of an octave from 100 Hz on, and at least six bins wide: noise jumps in narrower ones.

    Examples
    --------
    >>> assign_bands(65, 8000).bincount().tolist()  # bins of 62.5 Hz
    [2, 6, 6, 6, 6, 7, 8, 11, 13]
    """
    step = rate / 2 / (bins - 1)
    edges = [100.0]
    while edges[-1] < rate / 2:
        edges.append(max(edges[-1] * 2 ** (1 / 3), edges[-1] + 6 * step))
    frequency = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    band = torch.bucketize(frequency, torch.tensor(edges, dtype=torch.float64))
    occupied = band.bincount() > 0
    return (occupied.cumsum(0) - 1)[band]


@dataclass(frozen=True)
class LoudnessCurve:
    """Minus the rms gap in dB between how the loudness of a sound moves and how it should, `[batch]`.

    The sound is cut into as many equal parts as there are levels; the mean of either curve is taken away, so that
    the loudness of the whole does not count.

    Parameters
    ----------
    levels
        dB, one for each part, at least two; -20, -10, -20 is louder in the middle.

    Raises
    ------
    Misuse
        If there are fewer, or one is not finite.

    Examples
    --------
    >>> swell = torch.cat([torch.full((1, 100), level) for level in (0.1, 0.316, 0.1)], 1)
    >>> [round(LoudnessCurve(levels)(swell).item(), 1) for levels in ((-30.0, -20.0, -30.0), (0.0, 0.0, 0.0))]
    [-0.0, -4.7]
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.levels) < 2 or not all(map(math.isfinite, self.levels)):
            raise Misuse(
                f"The levels {list(self.levels)} are no curve.",
                "Give two or more in dB, as in curve: -30 -20 -30.",
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, samples]`, `[batch]`; a `Misuse` with fewer than 16 samples for each level."""
        if check_length(x, 16 * len(self.levels)) < 16 * len(self.levels):
            raise Misuse(
                f"A sound of {x.shape[1]} samples is too short for {len(self.levels)} levels.",
                "Give fewer levels, or a longer sound.",
            )
        parts = x.tensor_split(len(self.levels), 1)
        level = torch.stack([10 * (p.square().mean(1) + 1e-9).log10() for p in parts], 1)
        gap = level - torch.tensor(self.levels).to(x)
        return -(gap - gap.mean(1, keepdim=True)).square().mean(1).clamp(min=1e-12).sqrt()


def check_length(x: Tensor, window: int) -> int:
    """The samples of a window for sounds x `[batch, samples]`: `window`, or all where the sound is shorter.

    Raises
    ------
    Misuse
        If x is no batch of sounds of at least 16 samples.
    """
    if x.ndim != 2 or x.shape[1] < 16:
        raise Misuse(
            f"A rule of sound got the shape {list(x.shape)}.", "Give [batch, samples], at least 16 of them."
        )
    return min(max(window, 16), x.shape[1])


def read_pitch_classes(argument: str, rate: int) -> PitchClasses:
    """The rule of "C E G", sharps as F#, flats as Bb.

    >>> read_pitch_classes("C E G", 16000).notes, read_pitch_classes("Bb, F#", 16000).notes
    ((0, 4, 7), (10, 6))
    """
    notes = []
    for word in argument.replace(",", " ").split():
        found = NOTE.fullmatch(word)
        if found is None:
            raise Misuse(f"{word!r} is no note.", "Write notes as in chroma: C E G, with F# or Bb.")
        notes.append((NOTES[found[1]] + {"": 0, "#": 1, "b": -1}[found[2]]) % 12)
    if not notes:
        raise Misuse("The rule 'chroma' does not say which notes.", "Write them as in chroma: C E G.")
    return PitchClasses(tuple(notes), rate)


def read_onsets(argument: str, rate: int) -> OnsetRate:
    """The rule of "4", onsets a second, or of nothing: as many as possible."""
    try:
        return OnsetRate(rate, float(argument) if argument else None)
    except ValueError as error:
        if isinstance(error, Misuse):
            raise
        raise Misuse(f"{argument!r} onsets a second are no number.", "Write them as in onsets: 4.") from None


def read_curve(argument: str, rate: int) -> LoudnessCurve:
    """The rule of "-30 -20 -30", levels in dB of equal parts."""
    words = argument.replace(",", " ").split()
    try:
        return LoudnessCurve(tuple(float(word) for word in words))
    except ValueError as error:
        if isinstance(error, Misuse):
            raise
        raise Misuse(
            f"The levels {argument!r} are no numbers.", "Write them as in curve: -30 -20 -30."
        ) from None
