"""Markov chains in the coordinates of the Gauss-Newton approximation, for thin posteriors of few numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.recipes.posterior.chains import Calls, count, tensors_of
from headwater.recipes.posterior.hmc import InfinityHMC
from headwater.recipes.posterior.linearise import linearise, require_small, unwhiten
from headwater.recipes.posterior.mala import InfinityMALA
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.pcn import PCN
from headwater.recipes.posterior.potential import Potential
from headwater.recipes.posterior.step_length import TunedState

Walk = PCN | InfinityMALA | InfinityHMC
SEARCH = 120
"""The most gradients of the search for x*, as many as those of `RandomiseThenOptimise`."""


@dataclass(frozen=True, kw_only=True)
class WhiteState(TunedState):
    """Chains with their coordinates: x0 = mode + R^-1 w.

    Attributes
    ----------
    w, psi
        The coordinates `[chains, *event]` and their potential, float64 `[chains]`; `gradient` is that of psi in w.
    mode, r
        x* `[chains, *event]` and R `[chains, d, d]`.
    """

    w: Tensor
    psi: Tensor
    mode: Tensor
    r: Tensor


@dataclass(frozen=True)
class Preconditioned:
    """A walk in w with x0 = x* + R^-1 w, where R'R = I + J'J at the most likely point x*.

    J is the Jacobian of (A x1 - y) / sigma_y. In w the posterior is exp(-Psi(w)) N(w; 0, I), with

        Psi(w) = Phi(x0) + |x0|^2 / 2 - |w|^2 / 2

    which is constant for a linear measurement: steps may be long where the noise is small. The walk is exact for any
    x* and R, but these belong to the place where a chain begins. Where the posterior bends they are right for a part
    of it only, and the walk by itself may do as well. With `PCN` it is the generalised pCN of Rudolf & Sprungk.

    x* takes up to 120 gradients and J one for each measurement, once for each chain, so it is for small problems.

    Parameters
    ----------
    walk
        `PCN`, `InfinityMALA` or `InfinityHMC`, with its own settings.

    Raises
    ------
    Misuse
        If the walk is something else; when it is called, if the cost is no `Misfit`, x0 has more than 1,000 entries,
        or the flow has a support.

    References
    ----------
    Rudolf & Sprungk, "On a generalization of the preconditioned Crank-Nicolson Metropolis algorithm", Found. Comput.
    Math. 18 (2018); Cui, Law & Marzouk, "Dimension-independent likelihood-informed MCMC", J. Comput. Phys. 304
    (2016).

    Examples
    --------
    x1 = 2 x0 was measured as 2 with noise 0.001.

    >>> from headwater import EULER, PCN, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 0.001)
    >>> method = Preconditioned(PCN(20, thin=1))
    >>> found = posterior(flow, misfit, [0], method=method, draws=50, steps=1, solver=EULER)
    >>> abs(found.mean.item() - 2) < 0.0005, abs(found.std.item() - 0.001) < 0.0003
    (True, True)
    """

    state: ClassVar[type[Any]] = WhiteState
    needs_start: ClassVar[bool] = True
    caveat: ClassVar[str] = ""
    walk: Walk = InfinityHMC()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        if not isinstance(self.walk, Walk):
            raise Misuse(
                f"{type(self.walk).__name__} has no step length of its own in other coordinates.",
                "Give PCN(), InfinityMALA() or InfinityHMC().",
            )

    @property
    def burn_in(self) -> int:
        """Steps that are not kept."""
        return self.walk.burn_in

    @property
    def thin(self) -> int:
        """Steps from one kept draw to the next."""
        return self.walk.thin

    def calls_per_step(self) -> Calls:
        """As the walk."""
        return self.walk.calls_per_step()

    def calls_to_begin(self) -> Calls:
        """As the walk, and the gradients of the search for x*; the Jacobian there comes on top."""
        calls = self.walk.calls_to_begin()
        return calls._replace(gradients=calls.gradients + SEARCH)

    def init(self, x0: Tensor, potential: Potential) -> WhiteState:
        """The state at x0 `[chains, *event]`, with the coordinates at the most likely point that is found from it."""
        require_small(potential, x0)
        mode, _, r, spent = linearise(potential, x0, SEARCH, first_step=0.05)
        w = (r @ (x0 - mode).flatten(1)[..., None])[..., 0].reshape(x0.shape)
        white: Any = Whitened(potential, mode, r)
        inner = self.walk.init(w, white)
        return count(restore(inner, mode, r), potential.nfe * spent, spent)

    def advance(self, state: WhiteState, potential: Potential, noise: Noise, adapt: bool) -> WhiteState:
        """The state one step later; `adapt` during burn-in."""
        values = tensors_of(state) | {"x0": state.w, "potential": state.psi}
        inner = TunedState(**{name: values[name] for name in TunedState.__dataclass_fields__})
        white: Any = Whitened(potential, state.mode, state.r)
        return restore(self.walk.advance(inner, white, noise, adapt), state.mode, state.r)


@dataclass(frozen=True)
class Whitened:
    """Psi of rows, each of which is a chain, with the methods of a `Potential` that walks ask for."""

    potential: Potential
    mode: Tensor
    r: Tensor

    @property
    def nfe(self) -> int:
        """Network evaluations of one solve."""
        return self.potential.nfe

    @property
    def flow(self) -> Flow:
        """The flow of these rows."""
        return self.potential.flow

    def with_gradient(self, w: Tensor) -> Evaluation:
        """x1, Psi and its gradient at w `[rows, *event]`: one gradient evaluation."""
        e = self.potential.with_gradient(unwhiten(self.mode, self.r, w.flatten(1)))
        g = (e.gradient + e.x0).flatten(1)[..., None]
        g = torch.linalg.solve_triangular(self.r.mT, g, upper=False)[..., 0].reshape(w.shape)
        return replace(e, x0=w, cost=e.cost + excess(e.x0, w), gradient=g - w)

    def value(self, w: Tensor) -> Evaluation:
        """x1 and Psi at w `[rows, *event]`, one solve."""
        e = self.potential.value(unwhiten(self.mode, self.r, w.flatten(1)))
        return replace(e, x0=w, cost=e.cost + excess(e.x0, w))


def excess(x0: Tensor, w: Tensor) -> Tensor:
    """|x0|^2 / 2 - |w|^2 / 2 of both `[chains, *event]`, float64 `[chains]`."""
    return 0.5 * (x0.flatten(1).double().square().sum(1) - w.flatten(1).double().square().sum(1))


def restore(inner: TunedState, mode: Tensor, r: Tensor) -> WhiteState:
    """The state whose x0 and potential are those of the source, from one in w."""
    x0 = unwhiten(mode, r, inner.x0.flatten(1))
    phi = inner.potential - excess(x0, inner.x0)
    values = tensors_of(inner) | {"x0": x0, "potential": phi}
    return WhiteState(**values, w=inner.x0, psi=inner.potential, mode=mode, r=r)
