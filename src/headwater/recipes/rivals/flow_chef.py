"""FlowChef, steering of rectified flows (Patel, Wen, Metaxas and Yang, ICCV 2025), Algorithm 1.

    u ~ N(0, I)
    for t in 200 steps from 0 to 1, s the next time
        v    <- (xhat - u) / (1 - t),  xhat = E[x1 | u]          the network
        u    <- u - step A' (A xhat - y)                         the gradient of the cost at xhat, as if d xhat / d u
                                                                 were 1 (eq. 9); not in the last step
        u    <- u + (s - t) v                                    Euler, with the old v

The paper's time is 1 - t, from noise to data. u is the state of Cond-OT, whatever the path of the flow. There is no
gradient of the network. Nothing in it knows the noise level of y, or how far xhat may be off: y is fitted as far as
the steps go. The flow is deterministic, so that what was not measured keeps about the width that the flow gives it.
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
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, cond_ot_levels
from headwater.recipes.rivals.linear import residual_gradient
from headwater.recipes.rivals.network import Network, follow_answers
from headwater.solvers.fixed import uniform_grid


@dataclass(frozen=True)
class FlowChef:
    """Euler steps of the flow, each with a gradient step of the misfit at xhat that skips the network.

    Every step takes one evaluation without a gradient, 200 in all. The operator may be any differentiable function.

    Attributes
    ----------
    steps
        Euler steps from 0 to 1.
    step
        The factor of A'(A xhat - y), for measurements of as many numbers as the event has. The authors' step is 500
        times the gradient of the mean square over y, for events of 3 x 64 x 64 numbers: 2 * 500 / 12288 = 0.081.
        For n measured numbers the mean makes it 0.081 d / n, as here.

    References
    ----------
    Patel et al., "FlowChef: Steering of Rectified Flow Models for Controlled Generations", ICCV 2025
    (arXiv 2412.00100), Algorithm 1 with N = 1, eq. 9 and Table 6; the last step as in the authors'
    generate_inverseproblems_flowchef.py.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[2.0]]), 0.1)
    >>> result = FlowChef()(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.evaluations.tolist(), result.gradients.tolist(), bool((result.x1[0, 0] - 2).abs() < 0.3)
    ([200], [0], True)
    """

    about: ClassVar[About] = About(
        name="flow-chef",
        paper="Patel et al., FlowChef: Steering of Rectified Flow Models for Controlled Generations, ICCV 2025",
        takes="any operator",
        network_gradient=False,
        cost="1 evaluation a step, 200 steps",
    )

    steps: int = 200
    step: float = 0.081

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

        The guess is returned if the run ends before the first step.
        """
        network, first = Network(flow), guess.expand(len(seeds), *flow.shape)
        noise = flow.noise(seeds).to(guess)
        answers = self.sample(network, misfit, noise, options.steps or self.steps)
        return follow_answers(network, answers, misfit, first, options)

    def sample(self, network: Network, misfit: Misfit, noise: Tensor, steps: int) -> Iterator[Tensor]:
        """xhat `[batch, *event]` of every step, at last the sample."""
        levels = [*cond_ot_levels(network.flow.path, uniform_grid(steps)[:-1]), CLEAN]
        step = self.step * network.flow.event_size / misfit.y[:1].numel()
        u = noise
        for now, then in itertools.pairwise(levels):
            t, s = now.alpha, then.alpha
            xhat = now.denoise(network, u)  # line 7, with v of line 3
            v = (xhat - u) / (1 - t)
            if then is not CLEAN:
                u = u - step * residual_gradient(misfit, xhat)  # line 9
            u = u + (s - t) * v  # line 10
            yield u if then is CLEAN else xhat
