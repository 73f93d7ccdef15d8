"""A part of a computation that keeps only its input and is computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse

Map = Callable[[Tensor], Tensor]


def recompute(function: Map, x: Tensor) -> Tensor:
    """function(x), which keeps only x for the backward pass and evaluates the function again there.

    Parameters
    ----------
    function
        A deterministic map of one tensor, of any shape.
    x
        Its argument; without a gradient the function is simply evaluated.

    Raises
    ------
    Misuse
        In the backward pass, if the function gives another value than before: its gradient would not be that of x1.

    References
    ----------
    Griewank & Walther, Evaluating Derivatives (2008), chapter 12.

    Examples
    --------
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> recompute(lambda z: z**3, x).backward()
    >>> x.grad.item()
    12.0
    """
    if not (x.requires_grad and torch.is_grad_enabled()):
        return function(x)
    return _Recompute.apply(function, x)  # type: ignore[no-untyped-call,no-any-return]


class _Recompute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Map, x: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x)
        kind = x.device.type  # the backward pass may run outside the caller's autocast
        ctx.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        out = function(x.detach())
        ctx.projection = fingerprint(out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        (x,) = ctx.saved_tensors
        again = torch.is_grad_enabled()  # create_graph: the gradient is differentiated once more
        z = x.view_as(x) if again else x.detach().requires_grad_()
        kind, dtype, enabled = ctx.autocast
        with torch.enable_grad(), torch.autocast(kind, dtype, enabled=enabled):
            out = ctx.function(z)
        (before, size), (now, _) = ctx.projection, fingerprint(out)
        # In half precision kernels with and without a graph differ by up to 1e-2, another dropout mask by far more.
        if bool((now - before).abs() > 3e-2 * size):
            raise Misuse(
                "The velocity gave two answers for one input, so its gradient is not that of x1.",
                "Put the network into evaluation mode with net.eval(), and take all randomness out of it.",
            )
        return None, torch.autograd.grad(out, z, gradient, create_graph=again)[0]


def fingerprint(x: Tensor) -> tuple[Tensor, Tensor]:
    """The inner product of an output of any shape with a fixed direction, and its norm; two scalars.

    Two outputs that differ at random by a share of their norm have inner products that differ by about that share.
    """
    flat = x.detach().flatten()
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    direction = torch.cos(torch.arange(len(flat), dtype=flat.dtype, device=flat.device))
    return flat @ direction, flat.norm()
