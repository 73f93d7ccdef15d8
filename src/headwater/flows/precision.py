"""A network that multiplies in bfloat16, while states, times and sums stay as they are.

Convolutions and products of matrices are in bfloat16, which CPUs with AMX and GPUs since 2020 compute in hardware;
PyTorch's autocast keeps the rest in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from types import MethodType
from typing import TypeVar

import torch
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.flows.conditioned import Guided
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.flows.prediction import ConvertedVelocity
from headwater.problem.batch import select

Model = TypeVar("Model", bound=Flow | LatentModel)


MOST_PARTS = 500
"""Objects that a velocity is searched for; a canvas, a watch and a guidance are five."""


@dataclass(frozen=True, eq=False)
class InBfloat16:
    """A map of x `[batch, ...]`, a velocity or a decoder, under autocast to bfloat16; it returns x's dtype."""

    inner: Callable[..., Tensor]

    def __call__(self, x: Tensor, *rest: Tensor, **condition: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.inner(x, *rest, **condition).to(x.dtype)

    def select(self, index: Tensor) -> InBfloat16:
        """The map of the problems in `index` `[k]`."""
        return InBfloat16(select(self.inner, index))


def in_bfloat16(model: Model) -> Model:
    """The model whose networks multiply in bfloat16; states, solver, misfit and cost keep their precision.

    v' = v + e, with |e| up to 6e-3 of the largest velocity for the shipped image prior. On 8 pictures the default
    answers changed by 0.02 dB at most, in 0.5 to 0.9 of the seconds; through a decoder one drawing of 4 changed by
    0.27 dB (benchmarks/decisions/results/bfloat16.md).

    Parameters
    ----------
    model
        A flow in float32, with events `[*event]`, or one on latents with its decoder.

    Returns
    -------
    model
        Of the same kind. It takes and returns float32.

    Raises
    ------
    Misuse
        It is neither a flow nor a model on latents, or its network computes in float16 or float64.

    Notes
    -----
    It pays where hardware multiplies in bfloat16, as CPUs with AMX do, in batches or windows of several; other CPUs
    become slower. Gradients are those of the rounded network, so finite differences over small steps no longer agree
    with them. The graph of every evaluation holds a copy of the weights, so a gradient of one problem takes more
    memory than in float32 (`forecast`).

    References
    ----------
    Micikevicius et al., "Mixed Precision Training", ICLR 2018.

    Examples
    --------
    >>> import torch
    >>> from headwater import image
    >>> flow = image.flow()
    >>> x, t = flow.noise([0]), torch.tensor(0.5)
    >>> v, rounded = flow(x, t), in_bfloat16(flow)(x, t)
    >>> rounded.dtype, bool((rounded - v).abs().max() < 0.02 * v.abs().max())
    (torch.float32, True)
    """
    if isinstance(model, LatentModel):
        decode, encode = InBfloat16(model.decode), InBfloat16(model.encode)
        return replace(model, flow=in_bfloat16(model.flow), decode=decode, encode=encode)
    if not isinstance(model, Flow):
        raise Misuse(
            f"A {type(model).__name__} is no flow and no model on latents.",
            "Give hw.Flow(network, shape=(...)).",
        )
    require_float32(model)
    velocity = model.velocity
    if isinstance(getattr(velocity, "network", velocity), InBfloat16):
        return model
    if not isinstance(velocity, Guided | ConvertedVelocity):
        return replace(model, velocity=InBfloat16(velocity))
    velocity = copy(velocity)
    velocity.network = InBfloat16(velocity.network)  # guidance and conversion stay in float32
    return replace(model, velocity=velocity)


def require_float32(flow: Flow) -> None:
    """Refuse networks that autocast leaves as they are, float64, or mixes with bfloat16, float16.

    Raises
    ------
    Misuse
        If a weight, or the dtype of the flow, is one of these.
    """
    found = {flow.dtype} | {p.dtype for m in flow.modules for p in m.parameters()}
    if wrong := found & {torch.float64, torch.float16}:
        raise Misuse(
            f"The network computes in {', '.join(sorted(map(str, wrong)))}, and only one in float32 can multiply in "
            "bfloat16.",
            "Leave it as it is, or cast its weights to float32.",
        )


def is_in_bfloat16(flow: Flow) -> bool:
    """Whether a network of the flow is one of `in_bfloat16`, on a canvas, watched or part of a sum as well."""
    found: list[object] = [flow.velocity]
    seen: set[int] = set()
    while found and len(seen) < MOST_PARTS:
        thing = found.pop()
        if isinstance(thing, InBfloat16):
            return True
        if id(thing) in seen or isinstance(thing, nn.Module | type):
            continue
        seen.add(id(thing))
        if isinstance(thing, MethodType):
            found.append(thing.__self__)
        parts = thing if isinstance(thing, list | tuple) else getattr(thing, "__dict__", {}).values()
        found.extend(part for part in parts if callable(part) or isinstance(part, list | tuple))
    return False
