"""The velocity of a network that predicts the noise, the data, their mixture, or the score."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headwater.flows.path import BetaTable, Path
from headwater.problem.batch import select

Velocity = Callable[[Tensor, Tensor], Tensor]

EDGE = 1e-3
"""The distance that a prediction keeps from an end of the path at which it gives no velocity.

v_from_eps divides by alpha, which is 0 at t = 0, and v_from_xhat by sigma, which is 0 at t = 1; of a score, which is
-eps / sigma, both hold. At this distance the difference that is divided, x - alpha xhat of the size of sigma, still
has four digits in float32.
"""


class ConvertedVelocity:
    """The velocity of a network that predicts another quantity, converted in the dtype of the state."""

    def __init__(
        self,
        network: Velocity,
        path: Path,
        formula: Callable[[Tensor, Tensor, Tensor], Tensor],
        dtype: torch.dtype | None,
    ) -> None:
        self.network, self.path, self.formula, self.dtype = network, path, formula, dtype
        low, high = (torch.tensor(t, dtype=torch.float64) for t in path.span)
        by_alpha = formula in (path.v_from_eps, path.v_from_score)
        by_sigma = formula in (path.v_from_xhat, path.v_from_score)
        early = EDGE if by_alpha and float(path.alpha(low)) == 0 else float(low)
        late = 1 - EDGE if by_sigma and float(path.sigma(high)) == 0 else float(high)
        self.within = (early, late)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.clamp(*self.within)
        clock = self.path.index(t).to(t) if isinstance(self.path, BetaTable) else t
        # An in-place network gets copies: the formula needs x and t as they are.
        state = x.clone() if self.dtype in (None, x.dtype) else x.to(self.dtype)
        prediction = self.network(state, clock.clone())
        return self.formula(x, prediction.to(x.dtype), t)

    def select(self, index: Tensor) -> ConvertedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return ConvertedVelocity(select(self.network, index), self.path, self.formula, self.dtype)
