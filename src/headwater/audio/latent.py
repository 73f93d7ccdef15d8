"""A pipeline on latents as the prior of a recording: what is known is compared through the decoder.

Waveforms here are `[batch, samples]`, one signal each, with an rms near 1, as those of the model of music are
(`prior`). A pipeline of stereo hears each signal as the middle of its two channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headwater.audio.prior import Prior
from headwater.errors import Misuse
from headwater.flows.latent import LatentModel
from headwater.flows.networks import device_of
from headwater.problem.operator import Operator
from headwater.recipes.estimate import Estimate
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe
from headwater.recipes.through_decoder import pose_through_decoder
from headwater.recipes.warm_start import WarmStart


@dataclass(frozen=True)
class LatentCanvas:
    """The map from latents `[batch, C, length]` to waveforms `[batch, samples]` in the middle of what they decode to.

    Only the latents around the waveform are decoded: those beyond `margin` more on either side are heard too little
    to pay for.

    Parameters
    ----------
    model
        The flow with its autoencoder, whose decoder makes `[batch, channels, samples]`.
    samples
        Of a waveform.
    level
        The rms of the pipeline's sounds that counts as 1.
    margin
        Latents more that are decoded on both sides.
    """

    model: LatentModel
    samples: int
    level: float
    margin: int = 8

    @property
    def rate(self) -> int:
        """Of the waveforms, Hz."""
        assert self.model.rate is not None  # `LatentPrior` takes no other
        return self.model.rate

    @property
    def decoded(self) -> slice:
        """The latents that are decoded."""
        factor, length = self.model.factor, self.model.flow.shape[-1]
        first = (length - -(-self.samples // factor)) // 2
        last = first + -(-self.samples // factor)
        return slice(max(first - self.margin, 0), min(last + self.margin, length))

    @property
    def place(self) -> slice:
        """The samples of the waveform in those that are decoded."""
        factor, decoded = self.model.factor, self.decoded
        first = (self.model.flow.shape[-1] - -(-self.samples // factor)) // 2 - decoded.start
        return slice(first * factor, first * factor + self.samples)

    def __call__(self, z: Tensor) -> Tensor:
        """The waveforms of latents; differentiable."""
        return self.model.decode(z[..., self.decoded]).mean(1)[:, self.place] / self.level

    def encode(self, x: Tensor) -> Tensor:
        """The latents of waveforms, zero where they are not decoded."""
        decoded, length = self.decoded, self.model.flow.shape[-1]
        count = (decoded.stop - decoded.start) * self.model.factor
        around = (self.place.start, count - self.place.stop)
        x = torch.nn.functional.pad(self.level * x, around)[:, None].expand(-1, self.model.shape[0], -1)
        return torch.nn.functional.pad(self.model.encode(x), (decoded.start, length - decoded.stop))


@dataclass(frozen=True)
class LatentPrior:
    """A flow on the latents of sounds as what a recording is repaired by, in the place of a `Prior`.

    Parameters
    ----------
    model
        A pipeline of sound with an encoder, as `hw.adapters.diffusers.load` gives it, of its longest sound.
    level
        The rms of its sounds that a recording is brought to, 20 dB below full scale.
    resolution
        The finest misfit at unit loudness, as that of a `Prior`; the error of the autoencoder is added.
    gap_recipe
        How gaps are filled. A proximal step through the decoder costs far more than an evaluation of the flow, so the
        times are few, as for pictures. With no new noise the estimate keeps the loudness of a draw.

    Raises
    ------
    Misuse
        The model makes no sound.

    Examples
    --------
    An autoencoder that keeps the mean of each pair of samples:

    >>> import torch
    >>> import headwater as hw
    >>> model = hw.LatentModel(
    ...     hw.Flow(lambda z, t: -z, shape=(1, 100)),
    ...     decode=lambda z: z.repeat_interleave(2, -1),
    ...     encode=lambda x: (x[..., ::2] + x[..., 1::2]) / 2,
    ...     rate=8000,
    ... )
    >>> prior = hw.audio.LatentPrior(model)
    >>> canvas, x = prior.canvas(60), torch.ones(1, 60)
    >>> prior.longest, canvas.encode(x).shape, torch.allclose(canvas(canvas.encode(x)), x)
    (200, torch.Size([1, 1, 100]), True)
    """

    model: LatentModel
    level: float = 0.1
    resolution: float = Prior.resolution
    gap_recipe: WarmStart = field(
        default_factory=lambda: WarmStart(Estimate(times=8, fresh=0.0), keep_estimate=0.0)
    )

    def __post_init__(self) -> None:
        if self.model.rate is None:
            raise Misuse(
                f"{self.model.family or 'The model'} makes no sound.", "Give a model of sound, with a rate."
            )

    @property
    def rate(self) -> int:
        """Of the waveforms, Hz."""
        return self.canvas(1).rate

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return device_of(self.model.flow.modules)

    @property
    def longest(self) -> int:
        """The most samples that are made at once."""
        return self.model.flow.shape[-1] * self.model.factor

    def canvas(self, samples: int) -> LatentCanvas:
        """The map from latents to waveforms `[batch, samples]`.

        Raises
        ------
        Misuse
            They are longer than the sounds of the model.
        """
        if samples > self.longest:
            has, wanted = (n / (self.model.rate or 1) for n in (self.longest, samples))
            raise Misuse(
                f"The gap and what is around it are {wanted:.2f} s, and the model makes {has:.2f} s at once.",
                "Ask for a shorter gap.",
            )
        return LatentCanvas(self.model, samples, self.level)

    def shorten(self, recipe: WarmStart) -> WarmStart:
        """The recipe of some damage in as few times as `gap_recipe`; the rest of it is kept."""
        least, estimate = self.gap_recipe, recipe.estimate
        if isinstance(least.estimate, Estimate) and isinstance(estimate, Estimate):
            estimate = replace(estimate, times=least.estimate.times)
        return replace(recipe, estimate=estimate, correct_round_trip=least.correct_round_trip)

    def pose(
        self, operator: Operator, y: Tensor, sigma_y: float, *, guess: Tensor, recipe: Recipe | None = None
    ) -> Problem:
        """The problem of finding waveforms x with A(x) = y up to noise, one per row of y `[batch, ...]`.

        The arguments are those of `Prior.pose`. The samples of its flow are latents, and the guess
        `[batch, samples]` is encoded.

        Raises
        ------
        Misuse
            The waveforms are longer than the sounds of the model.
        """
        canvas = self.canvas(guess.shape[1])
        model = replace(self.model, decode=canvas, encode=canvas.encode)
        unit = max(sigma_y, self.resolution)
        return pose_through_decoder(operator, y, unit, guess, model, recipe or self.gap_recipe)
