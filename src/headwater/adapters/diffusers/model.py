"""`LatentModel`: the flow of a pipeline with its decoder, its encoder and its times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from headwater.flows.flow import Flow


@dataclass(frozen=True)
class LatentModel:
    """A pipeline as a flow on its latents, with its decoder and the times of its scheduler.

    `hw.solve(model.flow, x0, method=hw.EULER, steps=model.steps)` gives the latents that the pipeline gives from the
    noise x0, and `model.decode` its pixels.

    Attributes
    ----------
    flow
        The flow on latents, events `[C, h, w]` (sound: `[C, length]`). `flow.noise([seed])` is what the pipeline
        draws with `generator=[torch.Generator("cpu").manual_seed(seed)]`, for weights in float32.
    steps
        The times of the scheduler from 0 to 1, for `steps=` of `solve` and `control`, with `method=EULER`.
    decode
        From latents `[batch, C, h, w]` to pixels `[batch, 3, H, W]` in `range`, not clamped (sound: to samples
        `[batch, channels, samples]`, or `[batch, samples]` of one channel); differentiable.
    encode
        From pixels to latents, the mode where the encoder gives a distribution; differentiable.
    range
        The range of the pixels.
    family
        What the family is called.
    exact
        Whether Euler's steps are those of the pipeline's scheduler, or only those of the same flow.
    notes
        What was changed, cut off or cannot be as in the pipeline, in sentences.

    Examples
    --------
    By hand, of a flow and a decoder of one's own; `load` makes it of a pipeline.

    >>> from headwater import EULER, Flow, solve
    >>> same = lambda z: z
    >>> model = LatentModel(Flow(lambda x, t: -x, (4,)), (0.0, 0.5, 1.0), same, same, (-1.0, 1.0), "halves", True)
    >>> model.decode(solve(model.flow, torch.ones(1, 4), method=EULER, steps=model.steps)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    flow: Flow
    steps: tuple[float, ...]
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    range: tuple[float, float]
    family: str
    exact: bool
    notes: tuple[str, ...] = ()
