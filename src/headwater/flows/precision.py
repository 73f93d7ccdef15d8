"""A network that multiplies in bfloat16, while states, times and sums stay as they are.

Convolutions and products of matrices are computed in bfloat16 where the hardware does so, in CPUs with AMX and in GPUs
since 2020; PyTorch's autocast keeps the rest in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.prediction import Velocity
from headwater.problem.batch import select


@dataclass(frozen=True, eq=False)
class InBfloat16:
    """A velocity that is evaluated under autocast to bfloat16 and returned in the precision of x."""

    velocity: Velocity

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.velocity(x, t).to(x.dtype)

    def select(self, index: Tensor) -> InBfloat16:
        """The velocity of the problems in `index` `[k]`."""
        return InBfloat16(select(self.velocity, index))


def in_bfloat16(flow: Flow) -> Flow:
    """The flow whose network multiplies in bfloat16; states, solver, misfit and cost keep their precision.

    v'(x, t) = v(x, t) (1 + e) with |e| about 2^-8: 6e-3 of the largest velocity for the shipped image prior.

    Parameters
    ----------
    flow
        A model in float32, with events `[*event]`.

    Returns
    -------
    flow
        With events `[*event]`, which takes and returns float32.

    Notes
    -----
    It pays on CPUs with AMX and on GPUs, in batches of several problems; other CPUs become slower. Gradients are those
    of the rounded network, so finite differences over small steps no longer agree with them.

    References
    ----------
    Micikevicius et al., "Mixed Precision Training", ICLR 2018.

    Examples
    --------
    >>> from headwater import image
    >>> flow = image.flow()
    >>> x, t = flow.noise([0]), torch.tensor(0.5)
    >>> v, rounded = flow(x, t), in_bfloat16(flow)(x, t)
    >>> rounded.dtype, bool((rounded - v).abs().max() < 0.02 * v.abs().max())
    (torch.float32, True)
    """
    return replace(flow, velocity=InBfloat16(flow.velocity))
