"""A room or a device whose impulse response is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.signal import fftconvolve

from headwater.audio.damage.base import Measurement, check_std, std_in_band
from headwater.audio.io.channels import Signal
from headwater.audio.io.files import CHANNELS, Samples
from headwater.audio.io.resample import FILTER, resample, upsample
from headwater.audio.latent import LatentPrior
from headwater.audio.operators import Reverb
from headwater.audio.prior import Prior, warm_start
from headwater.audio.signal.deconvolution import deconvolve, remove_room
from headwater.audio.signal.suppression import subtract_noise
from headwater.errors import Misuse
from headwater.recipes.warm_start import WarmStart


@dataclass(frozen=True, eq=False)
class Room:
    """A room or a device of known impulse response, with which the sound was convolved.

    Parameters
    ----------
    impulse
        The response `[1 or channels, taps]`, one for all channels or one for each; `[taps]` is one for all.
    rate
        Its rate, Hz, which must be that of the recording `[frames, channels]`.
    noise
        The std of white noise in the recording, full scale being 1; 0 if it is not known.
    begins
        Whether there is silence before the segment; else its first samples have reverberation from before.
    recipe
        A misfit of 2 suffices, as least squares finish the estimate (docs/notes/audio.md).

    Raises
    ------
    Misuse
        The response is silent, not finite or of another shape, its rate is not positive, or the noise is negative,
        NaN or infinite.

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

    def __post_init__(self) -> None:
        h = np.atleast_2d(np.asarray(self.impulse, dtype=np.float64))
        # one tap in each of many rows is a response as files hold it, [frames, channels]
        if h.ndim != 2 or not h.size or len(h) > CHANNELS:
            raise Misuse(
                f"An impulse response of shape {list(np.shape(self.impulse))} is not understood.",
                "Give [1 or channels, taps]; that of a file, [frames, channels], is turned by .T.",
            )
        if not np.isfinite(h).all() or not h.any(1).all():
            raise Misuse("The impulse response is silent or not finite.", "Give another one.")
        if not self.rate > 0:
            raise Misuse(
                f"A rate of {self.rate} Hz is not positive.", "Give the rate of the impulse response."
            )
        check_std(self.noise)
        object.__setattr__(self, "impulse", h)

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
        """The room of the channel `number`, and whether there is silence before the segment.

        Raises
        ------
        Misuse
            There is no response for this channel.
        """
        if 1 < len(self.impulse) <= number:
            raise Misuse(
                f"The impulse response has {len(self.impulse)} channels, and the recording more.",
                "Give one response for all channels, or one for each.",
            )
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

    def measure(self, x: Signal, rate: int, prior: Prior | LatentPrior, scale: float) -> Measurement:
        """The convolution of a signal `[frames]` at the prior's rate; arguments as of `Damage.measure`.

        Raises
        ------
        Misuse
            The signal has another rate than the response.
        """
        if rate != self.rate:
            raise Misuse(
                f"The impulse response has {self.rate} Hz and the recording {rate} Hz.",
                "Give both at the same rate.",
            )
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
