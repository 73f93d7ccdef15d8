"""Rewards of sound: loudness, brightness, likeness, rules with a gradient; and a judge of what rewards did.

Sounds are x `[batch, samples]`, one channel each, full scale 1, at a rate in Hz. Larger rewards are better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.audio.io import times
from headwater.audio.io.files import as_float, examine
from headwater.audio.io.resample import resample
from headwater.audio.metrics import cdpam_embedding, spectrogram
from headwater.audio.rules import read_curve, read_onsets, read_pitch_classes
from headwater.errors import Misuse, suggest
from headwater.metrics.strangeness import Strangeness
from headwater.problem.rewards import Reward

WINDOW, LOWEST = 0.032, 100.0
"""Seconds of a window, where the sound is as long; Hz of the lowest band, which then has a frequency of its own."""


def powers(x: Tensor, rate: int) -> Tensor:
    """The power spectrogram `[batch, frequencies, frames]` of sounds `[batch, samples]`, at least 16 samples long."""
    if x.ndim != 2 or x.shape[1] < 16:
        raise Misuse(
            f"A reward of sound got the shape {list(x.shape)}.", "Give [batch, samples], at least 16 of them."
        )
    return spectrogram(x, min(max(round(WINDOW * rate), 16), x.shape[1]))


@dataclass(frozen=True)
class Loudness:
    """The level in dB of full scale, `[batch]`: 10 log10 of the mean square; with a target, -(level - target)^2.

    Parameters
    ----------
    target
        A level in dB, such as -20; None asks for as much as possible.

    Raises
    ------
    Misuse
        If the target is not finite.

    Examples
    --------
    >>> tone = torch.full((1, 100), 0.1)
    >>> round(Loudness()(tone).item(), 3), round(Loudness(-18.0)(tone).item(), 3)
    (-20.0, -4.0)
    """

    target: float | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not math.isfinite(self.target):
            raise Misuse(f"The loudness {self.target} is not finite.", "Give dB of full scale, such as -20.")

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, samples]`, `[batch]`."""
        level = 10 * (x.square().mean(1) + 1e-12).log10()
        return level if self.target is None else -(level - self.target).square()


@dataclass(frozen=True)
class Brightness:
    """The centroid of the power spectrum in kHz, `[batch]`; with a target minus the square of the gap.

    The centroid is sum_f f P(f) / sum_f P(f), with P the power averaged over time.

    Parameters
    ----------
    rate
        Of the sounds, Hz.
    target
        A centroid in Hz; None asks for as much as possible.

    Raises
    ------
    Misuse
        If the target is not between 0 and half of the rate.

    References
    ----------
    Grey & Gordon, "Perceptual effects of spectral modifications on musical timbres", JASA 63 (1978).

    Examples
    --------
    >>> t = torch.arange(8000, dtype=torch.float64) / 8000
    >>> tone = torch.sin(2 * torch.pi * 1000 * t)[None]
    >>> round(Brightness(8000)(tone).item(), 2)
    1.0
    """

    rate: int
    target: float | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not 0 < self.target < self.rate / 2:
            raise Misuse(
                f"Sounds of {self.rate} Hz have no brightness of {self.target:g} Hz.",
                f"Give a frequency between 0 and {self.rate / 2:g} Hz.",
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, samples]`, `[batch]`."""
        power = powers(x, self.rate).mean(2)
        frequency = torch.linspace(0, self.rate / 2000, power.shape[1]).to(x)
        centroid = (power * frequency).sum(1) / (power.sum(1) + 1e-12)
        return centroid if self.target is None else -(centroid - self.target / 1000).square()


@dataclass(frozen=True, eq=False)
class Likeness:
    """Minus the distance of a sound's colour and movement to those of a recording, `[batch]`: 0 for itself.

    The features are the mean and the standard deviation over time of the power in each third of an octave, in dB,
    without the level of the whole (`describe_bands`); the distance is the mean of their squares in (10 dB)^2.

    Parameters
    ----------
    recording
        `[1, samples]` of any length.
    rate
        Of it and of the sounds, Hz.

    Raises
    ------
    Misuse
        If it is no single signal, or silent.

    Examples
    --------
    >>> hiss = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    >>> like = Likeness(hiss[:1], rate=8000)
    >>> like(0.1 * hiss[:1]).abs().item() < 1e-6, bool(like(hiss[1:]) > like(hiss[1:].cumsum(1)))
    (True, True)
    """

    recording: Tensor
    rate: int
    _bands: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.recording.ndim != 2 or len(self.recording) != 1:
            raise Misuse(
                f"The recording to resemble has the shape {list(self.recording.shape)}.", "Give [1, samples]."
            )
        if not bool(self.recording.abs().max() > 0):
            raise Misuse("The recording to resemble is silent.", "Give one with sound in it.")
        object.__setattr__(self, "_bands", describe_bands(self.recording.double(), self.rate))

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, samples]`, `[batch]`."""
        gap = describe_bands(x, self.rate) - self._bands.to(x)
        return -(gap / 10).square().mean(1)


def describe_bands(x: Tensor, rate: int) -> Tensor:
    """Mean and standard deviation over time of the power in thirds of an octave, in dB, `[batch, 2 bands]`.

    The sound is first scaled to an rms of 1. The bands go from 100 Hz up to half of the rate; what is
    below is left out.

    Examples
    --------
    >>> describe_bands(torch.ones(1, 4000), 8000).shape  # 16 bands from 100 to 4000 Hz
    torch.Size([1, 32])
    """
    power = powers(x / (x.square().mean(1, keepdim=True) + 1e-12).sqrt(), rate)
    frequency = torch.linspace(0, rate / 2, power.shape[1], dtype=torch.float64)
    heard = frequency >= LOWEST
    count = max(round(3 * math.log2(rate / 2 / LOWEST)), 1)
    band = (3 * (frequency[heard] / LOWEST).log2()).floor().clamp(max=count - 1).long().to(x.device)
    total = power.new_zeros(len(x), count, power.shape[2]).index_add(1, band, power[:, heard.to(x.device)])
    level = 10 * (total + 1e-6).log10()
    return torch.cat([level.mean(2), (level.var(2, correction=0) + 1e-6).sqrt()], 1)


@dataclass(frozen=True, eq=False)
class SoundJudge:
    """Compares sounds with draws of the model, by CDPAM, a network that no named reward uses.

    Parameters
    ----------
    draws
        Draws without a reward, `[n, samples]`, at least 3.
    rate
        Of them, Hz.

    Raises
    ------
    Misuse
        If there are fewer than three draws, or the extra `cdpam` is not installed.

    References
    ----------
    Manocha et al., "CDPAM: Contrastive learning for perceptual audio similarity", ICASSP 2021.

    Examples
    --------
    >>> noise = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0))
    >>> judge = SoundJudge(noise.cumsum(1), rate=16000)
    >>> bool((judge.strangeness(noise[:1]) > judge.strangeness(noise[:1].cumsum(1))).all())
    True
    """

    draws: Tensor
    rate: int
    _distance: Strangeness = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_distance", Strangeness(self.embed(self.draws)))

    @property
    def farthest(self) -> float:
        """The largest strangeness of a draw among the others."""
        return self._distance.farthest

    def embed(self, x: Tensor) -> Tensor:
        """CDPAM's embedding `[batch, 512]` of sounds `[batch, samples]`, each scaled to an rms of 0.1."""
        with torch.no_grad():
            level = (x.square().mean(1, keepdim=True) + 1e-12).sqrt()
            return cdpam_embedding((0.1 * x / level).cpu(), self.rate)

    def strangeness(self, x: Tensor) -> Tensor:
        """How far sounds x `[batch, samples]` are from the nearest draw, `[batch]`; 1 is as far as draws are."""
        return self._distance(self.embed(x))


def read_recording(path: Path, rate: int) -> Tensor:
    """A recording of any format as one signal `[1, samples]` at a rate in Hz, the mean of its channels.

    Raises
    ------
    Misuse
        As `headwater.audio.examine`; or it is longer than ten minutes.
    """
    recording = examine(path)
    if recording.frames > 600 * recording.rate:
        raise Misuse(f"{path} is longer than ten minutes.", "Cut out what the sounds should resemble.")
    x = as_float(recording.read(0, recording.frames)).mean(1)
    return torch.from_numpy(np.ascontiguousarray(resample(x, recording.rate, rate))).float()[None]


def _loudness(argument: str, rate: int) -> Reward:
    if not argument:
        return Loudness()
    try:
        return Loudness(float(argument.lower().removesuffix("db")))
    except ValueError:
        raise Misuse(f"The loudness {argument!r} is no number.", "Write it as in loudness: -20.") from None


def _brightness(argument: str, rate: int) -> Reward:
    return Brightness(rate, times.parse_hertz(argument) if argument else None)


def _like(argument: str, rate: int) -> Reward:
    if not argument:
        raise Misuse("The reward 'like' does not say of what.", "Write like: and a file of sound.")
    return Likeness(read_recording(Path(argument), rate), rate)


NAMES: Mapping[str, Callable[[str, int], Reward]] = {
    "loudness": _loudness,
    "brightness": _brightness,
    "like": _like,
    "chroma": read_pitch_classes,
    "curve": read_curve,
}
"""What makes a reward of the words after its name, and of the rate of the sounds."""
SCORES: Mapping[str, Callable[[str, int], Reward]] = {**NAMES, "onsets": read_onsets}
"""The same with what has no gradient."""


def read_reward(text: str, rate: int, *, gradient: bool = True) -> Reward:
    """The reward of sounds that "NAME" or "NAME: ARGUMENT" asks for, without its weight.

    Parameters
    ----------
    text
        loudness, loudness: DB, brightness, brightness: HZ, like: FILE, chroma: NOTES, curve: LEVELS; onsets or
        onsets: RATE where no `gradient` is needed.
    rate
        Of the sounds, Hz.
    gradient
        Whether a gradient must lead to it.

    Returns
    -------
    reward
        x `[batch, samples]` -> `[batch]`.

    Raises
    ------
    Misuse
        If there is no reward of that name, it has no gradient, it needs an argument, or its argument is wrong.

    Examples
    --------
    >>> read_reward("brightness: 2kHz", 16000)
    Brightness(rate=16000, target=2000.0)
    """
    name, _, argument = (part.strip() for part in text.partition(":"))
    if name not in SCORES:
        kind = "reward" if gradient else "score"
        raise Misuse(
            f"There is no {kind} of sound named {name!r}.", suggest(name, NAMES if gradient else SCORES)
        )
    if gradient and name not in NAMES:
        raise Misuse(
            f"No gradient leads to {name}, so it is no reward.", f"Ask for it with --score '{name}'."
        )
    return SCORES[name](argument, rate)
