"""The curvature pairs of L-BFGS: a ring of long vectors, their small products, and the two-loop recursion.

The direction is that of Nocedal & Wright (2nd ed.), Algorithm 7.4, carried out on coefficients: with the products
s_i.y_j and y_i.y_j at hand both loops run on `[batch, memory]` numbers, and the long vectors are read only for S^T g,
Y^T g and one combination (as in Chen, Wang & Zhou, "Large-scale L-BFGS using MapReduce", NIPS 2014). The long vectors
stay where they are in the ring; the products are kept in order of age.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.problem.batch import per_problem

_LONG = 65536
"""Above this many coordinates the ring is read pair by pair: a product of the whole ring would be as large as it.

Below, one operation on the ring is faster than `memory` small ones. 2^16 float32 are 256 KiB, about a core's cache.
"""


@dataclass(frozen=True)
class Memory:
    """The pairs of every problem; the fields of `LBFGSState` of the same names."""

    s: Tensor  # [batch, m, *event], in ring order
    y: Tensor  # [batch, m, *event], in ring order
    sy: Tensor  # [batch, m, m] float64: s_i.y_j for i <= j, newest last
    yy: Tensor  # [batch, m, m] float64: y_i.y_j, newest last
    head: Tensor  # [batch] int64, the slot written next, which is the oldest of a full ring
    count: Tensor  # [batch] int64, pairs in use

    def slots(self) -> Tensor:
        """The slot of the ring `[batch, m]` of each pair, newest last."""
        m = self.s.shape[1]
        return (self.head[:, None] + torch.arange(m, device=self.head.device)) % m

    def used(self) -> Tensor:
        """Which places hold a pair, bool `[batch, m]`, newest last."""
        m = self.s.shape[1]
        return torch.arange(m, device=self.head.device) >= m - self.count[:, None]


def push_pair(memory: Memory, s: Tensor, y: Tensor, keep: Tensor) -> Memory:
    """A new memory with the pair s, y `[batch, *event]` appended in the rows `keep`, bool `[batch]`."""
    m = memory.s.shape[1]
    ring = torch.arange(m, device=keep.device) == memory.head[:, None]
    write = (keep[:, None] & ring).reshape(*ring.shape, *(1,) * (s.ndim - 1))
    step = keep.to(memory.head.dtype)
    new = replace(
        memory,
        s=torch.where(write, s[:, None], memory.s),
        y=torch.where(write, y[:, None], memory.y),
        head=(memory.head + step) % m,
        count=(memory.count + step).clamp(max=m),
    )
    slots, used = new.slots(), new.used()
    s_y = torch.where(used, inner_products(new.s, y).gather(1, slots), 0.0)
    y_y = torch.where(used, inner_products(new.y, y).gather(1, slots), 0.0)
    sy, yy = torch.zeros_like(memory.sy), torch.zeros_like(memory.yy)
    # One pair older: the products move up and to the left, and the oldest falls out.
    sy[:, :-1, :-1], yy[:, :-1, :-1] = memory.sy[:, 1:, 1:], memory.yy[:, 1:, 1:]
    sy[:, :, -1], yy[:, :, -1], yy[:, -1, :] = s_y, y_y, y_y
    rows = keep[:, None, None]
    return replace(new, sy=torch.where(rows, sy, memory.sy), yy=torch.where(rows, yy, memory.yy))


def apply_two_loop(memory: Memory, gradient: Tensor) -> Tensor:
    """H g by the two-loop recursion, for g = `gradient`, both `[batch, *event]`; zero in rows without a pair.

    References
    ----------
    Nocedal & Wright (2006), Algorithm 7.4.

    Examples
    --------
    >>> s = torch.tensor([[2.0, 0.0]])
    >>> small, zero = torch.zeros(1, 1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    >>> empty = Memory(s[:, None] * 0, s[:, None] * 0, small, small, zero, zero)
    >>> apply_two_loop(push_pair(empty, s, 4 * s, zero == 0), torch.tensor([[8.0, 8.0]]))
    tensor([[2., 2.]])
    """
    m = memory.s.shape[1]
    slots, used = memory.slots(), memory.used()
    s_g = torch.where(used, inner_products(memory.s, gradient).gather(1, slots), 0.0)
    y_g = torch.where(used, inner_products(memory.y, gradient).gather(1, slots), 0.0)
    diagonal = memory.sy.diagonal(dim1=1, dim2=2)
    rho = torch.where(used, 1 / diagonal, 0.0)  # (7.17)
    gamma = torch.where(used[:, -1], diagonal[:, -1] / memory.yy[:, -1, -1], 0.0)[:, None]  # (7.20)
    coupling = torch.triu(memory.sy * rho[:, None, :], diagonal=1)  # rho_j s_i.y_j for i < j

    # First loop, newest to oldest: column i of `q` holds s_i.q when its turn comes; alpha_i = rho_i s_i.q.
    q = s_g
    for q_i, column in zip(torch.split(q, 1, 1)[:0:-1], coupling.unbind(2)[:0:-1], strict=True):
        q -= q_i * column
    alpha = rho * q
    # y_i.(gamma q), the part of y_i.r that is known before the second loop.
    y_r = gamma * (y_g - (memory.yy * alpha[:, None, :]).sum(-1))
    # Second loop, oldest to newest: column i of `weight` holds alpha_i - beta_i when its turn comes.
    weight = alpha - rho * y_r
    for weight_i, row in zip(torch.split(weight, 1, 1)[: m - 1], coupling.unbind(1)[: m - 1], strict=True):
        weight -= weight_i * row
    # r = gamma q + sum_i (alpha_i - beta_i) s_i with q = g - sum_i alpha_i y_i; coefficients return to ring order.
    back = slots.argsort(1)
    r = combine_ring(memory.s, weight.gather(1, back)) - combine_ring(
        memory.y, (gamma * alpha).gather(1, back)
    )
    return per_problem(gamma[:, 0], gradient) * gradient + r


def inner_products(ring: Tensor, v: Tensor) -> Tensor:
    """The inner products `[batch, m]` in float64 of ring `[batch, m, *event]` with v `[batch, *event]`."""
    size, m, length = ring.shape[0], ring.shape[1], v[:1].numel() or 1
    if length > _LONG:
        return torch.stack([(r * v).reshape(size, length).sum(-1) for r in ring.unbind(1)], dim=1).double()
    return (ring * v[:, None]).reshape(size, m, length).sum(-1).double()


def combine_ring(ring: Tensor, coefficient: Tensor) -> Tensor:
    """sum_i c_i r_i `[batch, *event]` over a ring `[batch, m, *event]` with coefficients c `[batch, m]`."""
    if ring[:1, :1].numel() > _LONG:
        total = torch.zeros_like(ring[:, 0])
        for r, c in zip(ring.unbind(1), coefficient.unbind(1), strict=True):
            total += per_problem(c, r) * r
        return total
    c = coefficient.to(ring.dtype).reshape(*coefficient.shape, *(1,) * (ring.ndim - 2))
    return (c * ring).sum(1)
