"""A room or a device whose impulse response is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.signal import fftconvolve

from headwater.audio.damage.base import Measurement, std_in_band
from headwater.audio.io.channels import Signal
from headwater.audio.io.files import Samples
from headwater.audio.io.resample import FILTER, resample, upsample
from headwater.audio.operators import Reverb
from headwater.audio.prior import Prior, warm_start
from headwater.audio.signal.deconvolution import deconvolve, remove_room
from headwater.audio.signal.suppression import subtract_noise
from headwater.recipes.warm_start import WarmStart


@dataclass(frozen=True, eq=False)
class Room:
    """A room or a device of known impulse response, with which the sound was convolved.

    Parameters
    ----------
    impulse
        The response `[1 or channels, taps]`, one for all channels or one for each.
    rate
        Its rate, Hz, which must be that of the recording `[frames, channels]`.
    noise
        The std of white noise in the recording, full scale being 1; 0 if it is not known.
    begins
        Whether there is silence before the segment; else its first samples have reverberation from before.
    recipe
        A misfit of 2 suffices, as least squares finish the estimate (docs/notes/audio.md).

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> room = hw.audio.Room(np.array([[1.0, 0.0, 0.5]]), rate=48_000)  # an echo after 2 frames, half as loud
    >>> round(room.gain, 3), round(1000 * room.reach, 4)  # and the length in ms
    (1.118, 0.0625)
    """

    impulse: Samples
    rate: int
    noise: float = 0.0
    begins: bool = True
    recipe: WarmStart = field(default_factory=lambda: warm_start(tau=2.0))

    @property
    def reach(self) -> float:
        """The length of the response, seconds."""
        return float(self.impulse.shape[1] / self.rate)

    @property
    def mixes(self) -> bool:
        """Mid and side have one response if the channels have; noise is of each channel."""
        return len(self.impulse) == 1 and not self.noise

    def for_segment(self, first: int, last: int) -> Room:
        """The room itself, as it is the same at every time."""
        return self

    def for_signal(self, number: int, begins: bool) -> Room:
        """The room of the channel `number`, and whether there is silence before the segment."""
        impulse = self.impulse if len(self.impulse) == 1 else self.impulse[number : number + 1]
        return replace(self, impulse=impulse, begins=begins)

    @property
    def gain(self) -> float:
        """The norm of the response, by which the sound without the room is softer than the recording."""
        return float(np.linalg.norm(self.impulse[0]))

    @property
    def response(self) -> Signal:
        """The response `[taps]` with a gain of 1, so that the sound without the room is as loud as with it."""
        return np.asarray(self.impulse[0] / self.gain)

    def measure(self, x: Signal, rate: int, prior: Prior, scale: float) -> Measurement:
        """The convolution of a signal `[frames]` at the prior's rate; arguments as of `Damage.measure`."""
        x = x - x.mean()
        y, guess = (resample(z, rate, prior.rate) for z in (x, deconvolve(x, self.response)))
        sigma = std_in_band(self.noise, rate, prior.rate) / scale
        reverb = self.reverb(prior.rate)
        return Measurement(operator=reverb, y=y, sigma=sigma, guess=guess, recipe=self.recipe)

    def reverb(self, low: int) -> Reverb:
        """The operator on signals `[batch, samples]` at the rate `low`, Hz.

        Its low-pass needs some taps before the direct sound.
        """
        common = math.gcd(self.rate, low)
        up, down = low // common, self.rate // common
        before = -(-FILTER * max(up, down) // (up * down)) if self.rate != low else 0
        padded = np.pad(self.response, (before * down, before * down))
        h = resample(padded, self.rate, low) * self.rate / low
        return Reverb.from_impulse(torch.from_numpy(h), before * up)

    def finish(self, measurement: Measurement, x: Signal, estimate: Signal, rate: int, low: int) -> Signal:
        """The signal `[frames]` without the room: the mean of two least-squares solutions, less noise.

        One begins with the estimate and one with silence, and their errors differ.
        The estimate has the regularised deconvolution of what it leaves, less noise, added.
        """
        h = self.response
        past = 0 if self.begins else min(len(h) - 1, len(x) // 2)
        e = upsample(estimate, low, rate, len(x))
        e += deconvolve(subtract_noise(x - fftconvolve(e, h)[: len(x)], self.noise, rate), h)
        both = [remove_room(x, h, start, self.noise, rate, past) for start in (e, np.zeros_like(e))]
        return np.asarray(np.mean(both, axis=0) / self.gain)
