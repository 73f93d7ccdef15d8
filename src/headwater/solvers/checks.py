"""What a solve asks of a velocity before it trusts it: evaluation mode, and problems that follow their data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.precision import is_in_bfloat16

TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3, torch.float16: 3e-3, torch.bfloat16: 1e-2}
"""How far two evaluations may differ, relative to their size, by the lowest precision that is computed in.

Rounding depends on the size of the batch, since other kernels add up in another order: 3e-7 for the shipped image
prior in float32, whose bfloat16 is off by 6e-3. A wrong class label, a weak guide, changes it by 1e-2 to 4e-2.
"""


def require_evaluation_mode(flow: Flow) -> None:
    """Refuse dropout and batch statistics in training mode, with which v is not a function of x and t."""
    for module in flow.modules:
        for part in module.modules():
            random = isinstance(part, _DropoutNd) and part.p > 0
            if part.training and (random or (isinstance(part, _BatchNorm) and part.track_running_stats)):
                raise Misuse(
                    f"The network's {type(part).__name__} is in training mode, so the velocity is random or drifts.",
                    "Call net.eval() first.",
                )


def choose_tolerance(flow: Flow, z: Tensor) -> float:
    """The tolerance of the lowest precision among the state z, the network and an autocast around or in it."""
    found = {z.dtype, flow.dtype} | {p.dtype for m in flow.modules for p in m.parameters()}
    if is_in_bfloat16(flow):
        found.add(torch.bfloat16)
    if torch.is_autocast_enabled(z.device.type):
        found.add(torch.get_autocast_dtype(z.device.type))
    return max(TOLERANCE.get(dtype, 0.0) for dtype in found if dtype is not None)


def check_follows(flow: Flow, x: Tensor, t: Tensor) -> None:
    """Refuse a velocity whose data does not follow its problems, at x `[batch, *event]` and t.

    The problems are turned by one place, which keeps the size of the batch and with it every rounding: what is bound
    to places and not to problems then has another value.

    Raises
    ------
    Misuse
        If it has, for any problem.
    """
    order = torch.arange(len(x), device=x.device).roll(1)
    with torch.no_grad():
        turned, expected = flow.select(order)(x[order], t), flow(x, t)[order]
    if bool((relative_distance(turned, expected) > choose_tolerance(flow, x)).any()):
        raise Misuse(
            "The velocity holds data of all problems, which do not follow the problems that still run.",
            "Declare the data, Each(velocity, name=tensor), or give the object a method select(index).",
        )


def relative_distance(a: Tensor, b: Tensor) -> Tensor:
    """rms(a - b) / max(rms a, rms b) of every problem, `[k]`; 0 where both are equal, NaN and infinity included."""
    a, b = (x.detach().reshape(len(x), -1).to(torch.float64) for x in (a, b))
    same = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(same, 0.0, a - b).square().mean(1).sqrt()
    size = torch.maximum(a.square().mean(1), b.square().mean(1)).sqrt()
    return torch.where(gap == 0, 0.0, torch.where(size.isfinite() & gap.isfinite(), gap / size, torch.inf))
