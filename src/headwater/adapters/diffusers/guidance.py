"""How families combine the outputs with and without the condition."""

from __future__ import annotations

import functools

from torch import Tensor

from headwater.adapters.diffusers.convention import Convention
from headwater.flows.conditioned import Combine


def combine_of(convention: Convention, rescale: float) -> Combine | None:
    """The rule of a family; None means the usual one."""
    if convention.normalised:
        return keep_norm
    return functools.partial(rescale_spread, share=rescale) if rescale else None


def keep_norm(null: Tensor, v: Tensor, guidance: float) -> Tensor:
    """The guided output with the norm of the conditional one along the last axis, `[batch, ..., n]` (Lumina 2)."""
    guided = null + guidance * (v - null)
    ratio: Tensor = v.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True)
    return guided * ratio


def rescale_spread(null: Tensor, v: Tensor, guidance: float, share: float) -> Tensor:
    """A share of the guided output has the standard deviation of the conditional one, per problem `[batch, ...]`.

    Lin et al., "Common diffusion noise schedules and sample steps are flawed", WACV 2024, section 3.4.
    """
    guided = null + guidance * (v - null)
    axes = tuple(range(1, v.ndim))
    same = guided * (v.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True))
    return share * same + (1 - share) * guided
