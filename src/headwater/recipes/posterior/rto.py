"""Randomise-then-optimise: optimisation whose draws have a known density, and so exact weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation
from headwater.errors import Misuse
from headwater.recipes.posterior.chains import Calls, ChainState, count, initial_fields
from headwater.recipes.posterior.linearise import jacobian, linearise, require_small, residual, unwhiten
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.optimise import minimise
from headwater.recipes.posterior.perturb_and_map import keep_draw
from headwater.recipes.posterior.potential import Potential
from headwater.solvers.fixed import solve
from headwater.text import counted

SOLVED = 1e-2
"""The rms up to which Q' H(x0) = v counts as solved; v has an rms of 1."""


FEW = 0.02
"""The share of draws up to which nothing is said of those without a solution."""


@dataclass(frozen=True, kw_only=True)
class RTOState(ChainState):
    """Chains with the linearisation at their most likely points.

    Attributes
    ----------
    mode
        The most likely point x*, `[chains, *event]`.
    q, r
        The QR factors of the Jacobian of H at x*, `[chains, d + m, d]` and `[chains, d, d]`.
    unconverged
        Draws without a solution, or at a place where the map has turned back, int64 `[chains]`.
    """

    mode: Tensor
    q: Tensor
    r: Tensor
    unconverged: Tensor


@dataclass(frozen=True)
class RandomiseThenOptimise:
    """Solves Q' H(x0) = v for v ~ N(0, I), with H = (x0, (A x1(x0) - y) / sigma_y), and weighs the draws.

    exp(-|H|^2 / 2) is the posterior. With J = Q R the Jacobian of H at the most likely point x*, the draws have the
    density |det(Q' J(x0))| exp(-|Q' H|^2 / 2), so the weights

        w = exp(-|H|^2 / 2 + |Q' H|^2 / 2) / |det(Q' J(x0))|

    are exact. The equation is solved by least squares in w with x0 = x* + R^-1 w, beginning at w = v, which is exact
    for a linear problem. A draw that was not solved has no weight. A Jacobian takes as many gradients as there are
    measurements, so it is for small problems.

    The weights are exact where x0 -> Q' H(x0) is one-to-one. Where the map from x0 to the measurement turns back on
    itself the determinant changes its sign, some equations have no solution, and of others one of several is found.
    Then the draws miss a part of the posterior, and `Posterior.verdict` says so.

    Parameters
    ----------
    gradients
        The most gradients of a draw, and of the search for x*.
    first_step
        The first step of L-BFGS, rms per coordinate.

    Raises
    ------
    Misuse
        If there is no gradient; when it is called, if the cost is no `Misfit`, x0 has more than 1,000 entries, or the
        flow has a support.

    References
    ----------
    Bardsley, Solonen, Haario & Laine, "Randomize-then-optimize: a method for sampling from posterior distributions in
    nonlinear inverse problems", SIAM J. Sci. Comput. 36 (2014), sections 3 and 4.

    Examples
    --------
    x1 = 2 x0 was measured as 2 with noise 1: it is 8 / 5 on average.

    >>> from headwater import EULER, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 1.0)
    >>> found = posterior(flow, misfit, [0], method=RandomiseThenOptimise(), draws=50, steps=1, solver=EULER)
    >>> abs(found.mean.item() - 1.6) < 0.2
    True
    """

    state: ClassVar[type[Any]] = RTOState
    needs_start: ClassVar[bool] = True
    caveat: ClassVar[str] = ""
    burn_in: ClassVar[int] = 0
    thin: ClassVar[int] = 1
    gradients: int = 30
    first_step: float = 0.05

    def __post_init__(self) -> None:
        if self.gradients < 1:
            raise Misuse(f"{self.gradients} gradients make no draw.", "Give at least 1.")

    def calls_per_step(self) -> Calls:
        """One solve and the gradients; the Jacobian, which depends on the measurement, comes on top."""
        return Calls(1, self.gradients)

    def calls_to_begin(self) -> Calls:
        """One solve, and the gradients of the search for x*; the Jacobian there comes on top."""
        return Calls(1, 4 * self.gradients)

    def init(self, x0: Tensor, potential: Potential) -> RTOState:
        """The state at the most likely point that is found from x0 `[chains, *event]`.

        Raises
        ------
        Misuse
            If the cost is no `Misfit`, x0 has more than 1,000 entries, or the flow has a support.
        """
        require_small(potential, x0)
        mode, q, r, gradients = linearise(potential, x0, self.calls_to_begin()[1], self.first_step)
        fields = initial_fields(potential.value(mode), potential.nfe, 0)
        state = RTOState(**fields, mode=mode, q=q, r=r, unconverged=torch.zeros_like(gradients))
        return count(state, potential.nfe * gradients, gradients)

    def advance(self, state: RTOState, potential: Potential, noise: Noise, adapt: bool) -> RTOState:
        """The next draw of every chain, with its weight."""
        v = noise.normal((state.r.shape[1],))
        equation = Equation(state, potential, v)
        found = minimise(equation.evaluate, v, self.gradients, self.first_step)
        x0 = equation.point(found.x, slice(None))
        state = keep_draw(state, potential.value(x0), found.evaluations, potential.nfe)
        j = jacobian(potential, x0)
        rows = j.shape[1] - j.shape[2]
        state = count(state, potential.nfe * rows, rows)
        h = torch.cat([x0.flatten(1), residual(potential, state.x1)], 1).double()
        projected = project(state.q.double(), h)
        sign, log_det = torch.linalg.slogdet(state.q.double().mT @ j.double())
        log_w = 0.5 * (projected.square().sum(1) - h.square().sum(1)) - log_det
        solved = (projected - v.double()).square().mean(1).sqrt() < SOLVED
        right = solved & log_w.isfinite()
        turned = (
            sign * state.r.double().diagonal(dim1=1, dim2=2).sign().prod(1) < 0
        )  # the sign at x* is that of R
        return replace(
            state,
            log_weight=torch.where(right, log_w, -torch.inf),
            unconverged=state.unconverged + (~right | turned),
        )

    def describe_unconverged(self, unconverged: int, all_: int) -> str:
        """A sentence on the draws that speak against a one-to-one map; empty if they are few.

        Examples
        --------
        >>> RandomiseThenOptimise().describe_unconverged(0, 64)
        ''
        >>> RandomiseThenOptimise().describe_unconverged(30, 64)[:34]
        '30 of 64 equations were not solved'
        """
        if unconverged <= FEW * all_:
            return ""
        return (
            f"{unconverged:,} of {counted(all_, 'equation')} were not solved, or were solved where the map from x0 "
            "has turned back, so the draws may miss a part of the posterior: take InfinityHMC()."
        )


@dataclass(frozen=True)
class Equation:
    """|Q' H(x* + R^-1 w) - v|^2 / 2, of w and v `[chains, d]`."""

    state: RTOState
    potential: Potential
    v: Tensor

    def point(self, w: Tensor, rows: Any) -> Tensor:
        """x0 = x* + R^-1 w, `[k, *event]`."""
        return unwhiten(self.state.mode[rows], self.state.r[rows], w)

    def evaluate(self, rows: Tensor, w: Tensor) -> Evaluation:
        """Value and gradient of the rows `[k]` at w `[chains, d]`."""
        part = self.potential if len(rows) == len(w) else self.potential.select(rows)
        w = w[rows].detach().requires_grad_()
        with torch.enable_grad():
            x0 = self.point(w, rows)
            x1 = solve(part.flow, x0, **part.objective.solver)
            h = torch.cat([x0.flatten(1), residual(part, x1)], 1)
            off = project(self.state.q[rows], h) - self.v[rows]
            value = 0.5 * off.square().sum(1)
            (gradient,) = torch.autograd.grad(value.sum(), w)
        cost = value.detach().double()
        return Evaluation(x0.detach(), x1.detach(), cost, gradient, torch.full_like(cost, torch.nan))


def project(q: Tensor, h: Tensor) -> Tensor:
    """Q' h of q `[chains, d + m, d]` and h `[chains, d + m]`, `[chains, d]`."""
    return (q * h[..., None]).sum(1)
