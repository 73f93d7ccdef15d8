"""A flow on the latents of an autoencoder, with the way to data and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.networks import device_of

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LatentModel:
    """A flow on latents z, of which `decode` makes data x = D(z).

    A cost of x is one of z by `hw.compose(cost, model.decode)`; whatever solves or controls `model.flow` then works
    through the decoder.

    Attributes
    ----------
    flow
        The flow on latents, with events `[C, h, w]` (sound: `[C, length]`).
    decode
        From latents `[batch, C, h, w]` to data, such as pixels `[batch, 3, H, W]` in `range`, not clamped;
        differentiable.
    encode
        From data to latents, the mode where the encoder gives a distribution; differentiable.
    range
        The range of the data.
    steps
        The times from 0 to 1 of the solver that the model was made for, for `steps=` with `method=hw.EULER`; None
        means any.
    family
        What the kind of model is called.
    exact
        Whether Euler's steps at these times are those of the model's own sampler, or only those of the same flow.
    notes
        What was changed, cut off or cannot be as in the model's own sampler, in sentences.
    rate
        Of a sound, samples per second; None of anything else.
    fixed
        Whether the flow is the map of a sampler of few steps, which means something with `hw.EULER` at `steps` alone.

    Examples
    --------
    An autoencoder that keeps every second number:

    >>> import headwater as hw
    >>> model = LatentModel(
    ...     hw.Flow(lambda z, t: -z, shape=(1, 2, 2)),
    ...     decode=lambda z: z.repeat_interleave(2, -1).repeat_interleave(2, -2),
    ...     encode=lambda x: x[..., ::2, ::2],
    ... )
    >>> model.shape, model.factor
    ((1, 4, 4), 2)
    >>> misfit = hw.compose(hw.Misfit(hw.Identity(), torch.zeros(1, 1, 4, 4), 0.1), model.decode)
    >>> misfit.rms(torch.ones(1, 1, 2, 2))
    tensor([10.])
    """

    flow: Flow
    decode: Map
    encode: Map
    range: tuple[float, float] = (-1.0, 1.0)
    steps: tuple[float, ...] | None = None
    family: str = ""
    exact: bool = True
    notes: tuple[str, ...] = ()
    rate: int | None = None
    fixed: bool = False

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of one event of data; the decoder is asked for it once."""
        with torch.no_grad():
            z = torch.zeros(1, *self.flow.shape, device=device_of(self.flow.modules))
            return tuple(self.decode(z).shape[1:])

    @cached_property
    def factor(self) -> int:
        """Data entries per latent along the last axis.

        Raises
        ------
        Misuse
            Data and latents differ by no whole factor, or by another one along each axis.
        """
        large, small = self.shape[1:], self.flow.shape[1:]
        factors = {n / m for n, m in zip(large, small, strict=True)} if len(large) == len(small) else set()
        if len(factors) != 1 or (factor := factors.pop()) != int(factor):
            raise Misuse(
                f"The decoder makes {list(large)} of latents {list(small)}.",
                "Give a decoder that enlarges every axis by the same whole number.",
            )
        return int(factor)
