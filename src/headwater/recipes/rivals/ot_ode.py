"""OT-ODE, linear inverse problems by flows (Pokle, Muckley, Chen and Karrer, TMLR 2024).

    u <- t x_guess + (1 - t) N(0, I) at the time t = 0.2
    for t in steps of 0.01, s the next time
        xhat <- E[x1 | u]                                                   the network
        g    <- (d xhat / d u)' A' (r^2 A A' + sigma_y^2 I)^-1 (y - A xhat)      through the network
        v    <- (xhat - u) / (1 - t) + (1 - t) / t gamma g                       eq. 12 for Cond-OT
        u    <- u + (s - t) v                                               Euler

with r^2 = (1 - t)^2 / ((1 - t)^2 + t^2), eq. 13: PiGDM's guidance in a deterministic flow. The paper's time is ours,
and u is the state of Cond-OT, whatever the path of the flow: as in the paper's Algorithm 1, a network of another path
is evaluated at the same noise. For a prior N(m, I) g is exact, and the bias is that of the start from the guess.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.estimate import solve_proximal
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, Draw, cond_ot_levels, count_steps, make_draw
from headwater.recipes.rivals.linear import require_adjoint
from headwater.recipes.rivals.network import Network, follow_answers
from headwater.solvers.fixed import uniform_grid


@dataclass(frozen=True)
class OTODE:
    """Pseudoinverse guidance in the velocity of a flow, Euler from a blend of the guess and noise.

    Every step takes one evaluation with a gradient, 80 in all. The operator has to be linear, with an `adjoint`.

    Attributes
    ----------
    steps
        Euler steps from `start` to 1: the default is steps of 0.01.
    start
        The time t of Cond-OT at which the blend t x_guess + (1 - t) eps enters.
    gamma
        The weight of the guidance; 1 is that of the score.
    iterations
        Conjugate gradient steps of every linear system.

    References
    ----------
    Pokle et al., "Training-free Linear Image Inverses via Flows", TMLR 2024, Algorithm 1, eq. 12 and 13. The start,
    the weight and the step are those of Martin et al., "PnP-Flow", ICLR 2025 (config/method_config/ot_ode.yaml).

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> class First:
    ...     def __call__(self, x):
    ...         return x[:, :1]
    ...     def adjoint(self, y):
    ...         return torch.cat([y, torch.zeros_like(y)], 1)
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> result = OTODE()(flow, Misfit(First(), torch.tensor([[2.0]]), 0.1), [0], guess=torch.zeros(1, 2))
    >>> result.gradients.tolist(), bool((result.x1[0, 0] - 2).abs() < 0.4)
    ([80], True)
    """

    about: ClassVar[About] = About(
        name="ot-ode",
        paper="Pokle et al., Training-free Linear Image Inverses via Flows, TMLR 2024",
        takes="linear operator",
        network_gradient=True,
        cost="1 evaluation with a gradient a step, 80 steps",
    )

    steps: int = 80
    start: float = 0.2
    gamma: float = 1.0
    iterations: int = 16

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """Sample a batch, x1 `[len(seeds), *event]`; see `Recipe`.

        The guess is A' y in the authors' and in others' comparisons.
        """
        require_adjoint(misfit, "OT-ODE")
        network, first = Network(flow), guess.expand(len(seeds), *flow.shape)
        draw = make_draw(flow, seeds, guess)
        answers = self.sample(network, misfit, draw, first, count_steps(options, self.steps))
        return follow_answers(network, answers, misfit, first, options)

    def sample(
        self, network: Network, misfit: Misfit, draw: Draw, guess: Tensor, steps: int
    ) -> Iterator[Tensor]:
        """xhat `[batch, *event]` of every step, at last the sample."""
        levels = [*cond_ot_levels(network.flow.path, uniform_grid(steps, start=self.start)[:-1]), CLEAN]
        u = levels[0].alpha * guess + levels[0].sigma * draw()
        for now, then in itertools.pairwise(levels):
            t, s = now.alpha, then.alpha
            xhat, pull = now.linearise(network, u)
            r2 = (1 - t) ** 2 / ((1 - t) ** 2 + t**2)  # eq. 13
            # The proximal step is xhat + r^2 A' (r^2 A A' + sigma_y^2 I)^-1 (y - A xhat).
            g = pull((solve_proximal(misfit, xhat, r2**0.5, self.iterations) - xhat) / r2)
            v = (xhat - u) / (1 - t) + (1 - t) / t * self.gamma * g  # eq. 12
            u = u + (s - t) * v
            yield u if then is CLEAN else xhat
