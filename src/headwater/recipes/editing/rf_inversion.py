"""RF-Inversion: controlled ODEs to the noise and back, by a linear quadratic regulator (Rout et al. 2024).

    z ~ N(0, I);  x <- x1
    backwards:  eps <- (1 - gamma) eps(x, t) + gamma z             algorithm 1
    forwards:   xhat <- (1 - eta_t) xhat(x, t) + eta_t x1          algorithm 2

On a straight path the control towards y at the time 1 is (y - x) / (1 - t), the optimal one of theorem 3.1 as its
penalty of the end grows. A share eta of it is the same as a share eta of y in the denoiser, which is how it is
stepped here: the last step then has no division by zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.path import Path
from headwater.problem.rewards import Reward
from headwater.recipes.editing.edit import ROUNDING, EditResult, Session, pairs_of, refuse
from headwater.solvers.fixed import full_grid, reverse_grid
from headwater.solvers.method import DDIM
from headwater.solvers.stochastic import Ancestral

Eta = float | Callable[[float], float]
"""A number, or a function of the time."""


@dataclass(frozen=True)
class RFInversion:
    """Carries the original to a source point near a draw, and solves the target, held to the original at first.

    Parameters
    ----------
    gamma
        How far the source point is drawn to a draw z: 0 is the plain inversion, 1 is z itself.
    eta
        How strongly a part is held to the original until the time 1 - strength, 0 to 1: a number or a function of
        the time. 1 ends at the original where it holds to the end.
    noise
        0 solves ODEs; above, a share of the ancestral noise on the way to the target.
    steps
        Of each way, or the times.

    Notes
    -----
    With gamma = 0, eta = 0 and the target equal to the flow it is the plain inversion and back. With eta = 1 and
    strength 0 it is the original. On a Gaussian flow with a constant eta the ODE has a closed solution, which the
    tests hold it to. Held parts are near the original, not at it, where eta is below 1: compose with the map where
    they have to be the same.

    References
    ----------
    Rout et al., "Semantic image inversion and editing using rectified stochastic differential equations", ICLR 2025,
    algorithms 1 and 2.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.tensor([1.0])).flow
    >>> target = Gaussian(torch.tensor([5.0]), torch.tensor([1.0])).flow
    >>> hold = RFInversion(eta=1.0)
    >>> [round(hold(flow, torch.ones(1, 1), [0], target=target, strength=s).x1.item(), 1) for s in (0.0, 0.5, 1.0)]
    [1.0, 3.3, 6.5]
    """

    gamma: float = 0.5
    eta: Eta = 0.9
    noise: float = 0.0
    steps: int | Sequence[float] = 24

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise Misuse(
                f"gamma is {self.gamma:g}.", "Give 0, a plain inversion, to 1, a draw of the source."
            )
        Ancestral(self.noise)
        for t in full_grid(self.steps)[:-1]:
            self.eta_at(t)

    def eta_at(self, t: float) -> float:
        """Eta at a time; a `Misuse` where it leaves [0, 1]."""
        value = float(self.eta(t)) if callable(self.eta) else float(self.eta)
        if not 0 <= value <= 1:
            raise Misuse(f"eta is {value:g} at t = {t:g}.", "Give 0, which holds nothing, to 1.")
        return value

    def __call__(
        self,
        flow: Flow,
        x1: Tensor,
        seeds: Sequence[int],
        *,
        target: Flow | None = None,
        reward: Reward | None = None,
        strength: float | Tensor = 0.75,
    ) -> EditResult:
        """Edited samples x1 `[batch, *event]` of originals `[batch, *event]`; it takes no reward."""
        refuse("RF-Inversion", reward=reward)
        session, grid = Session.begin(flow, x1, seeds, target, strength), full_grid(self.steps)
        with torch.no_grad():
            x = self.invert(session, flow.noise(seeds).to(x1))
            law, every = Ancestral(self.noise), torch.arange(len(x))
            for t, t_next in pairs_of(grid):
                eta = self.eta_at(float(t)) * (session.strength < 1 - t - ROUNDING).to(x1)
                v = mix_denoiser(flow.path, session.target(x, t), x, session.x1, t, eta)
                move = law.transition(flow.path, x, v, t.clamp(*flow.path.span), t_next)
                x = move.move(session.draw(every))
                session.evaluations += 1
        return session.result(x)

    def invert(self, session: Session, z: Tensor) -> Tensor:
        """The source point of the originals under the flow, drawn to z `[batch, *event]` by gamma."""
        x, path, flow = session.x1, session.flow.path, session.flow

        def field(x: Tensor, t: Tensor) -> Tensor:
            v = flow(x, t)
            return v + self.gamma * (path.v_from_eps(x, z, t) - v)

        for t, t_next in pairs_of(reverse_grid(full_grid(self.steps))):
            x = DDIM.step(field, path, x, t, t_next)
            session.evaluations += 1
        return x


def mix_denoiser(path: Path, v: Tensor, x: Tensor, original: Tensor, t: Tensor, eta: Tensor) -> Tensor:
    """The velocity `[batch, *event]` whose denoiser is (1 - eta) xhat + eta original; eta broadcasts to x."""
    t = t.clamp(*path.span)
    return v + eta * (path.v_from_xhat(x, original, t) - v)
