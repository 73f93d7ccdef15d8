"""FlowDPS, flow-driven posterior sampling (Kim, Kim and Ye, ICCV 2025), Algorithm 1.

    u ~ N(0, I)
    for 28 noise levels sigma from 1 to 0, then the next one
        xhat, eps <- the clean and the noise part of u           the network, u = (1 - sigma) xhat + sigma eps
        z    <- 3 gradient steps from xhat on |A'(y - A x)|
        z    <- (1 - sigma) xhat + sigma z
        eps  <- sqrt(sigma_then) eps + sqrt(1 - sigma_then) N(0, I)
        u    <- (1 - sigma_then) z + sigma_then eps

The paper's time is the noise level, 1 - t; u is the state of Cond-OT, whatever the path of the flow. There is no
gradient of the network. The paper works in the latent space of Stable Diffusion 3, with a decoder before the operator
and guidance by a text; here any differentiable operator acts on the state of the flow, such as a decoder and then a
mask. The length of the authors' gradient steps, 15, belongs to their latents; here a step goes to the minimum along
the gradient. Without an adjoint A' is left out: the steps are those on |y - A(x)|, as a mask after a decoder has them
with it.

The weight of the data falls with sigma, so the last steps are those of the prior alone, and the noise level of y is
not used: what was measured is neither fitted to the noise nor as wide as the posterior. What was not measured is
narrower than the prior, since the estimated eps has less than the variance of noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.problem.least_squares import squared_norm
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, Draw, Level, cond_ot_levels, make_draw
from headwater.recipes.rivals.linear import residual_gradient
from headwater.recipes.rivals.network import Network, follow_answers, misfit_gradient


@dataclass(frozen=True)
class FlowDPS:
    """Steps of a flow in its clean and its noise part: data steps on the one, fresh noise in the other.

    Every step takes one evaluation without a gradient, 28 in all. The operator may be any differentiable function.

    Attributes
    ----------
    steps
        Steps, on the shifted grid of Stable Diffusion 3.
    shift
        sigma = shift s / (1 + (shift - 1) s) for even s; 1 is the uniform grid.
    data_steps
        Gradient steps on |A'(y - A x)| in every step of the flow; on |y - A(x)| if A has no `adjoint`.

    References
    ----------
    Kim et al., "FlowDPS: Flow-Driven Posterior Sampling for Inverse Problems", ICCV 2025, Algorithm 1; settings from
    the authors' solve_arbitrary.py and sd3_sampler.py.

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
    >>> misfit = Misfit(First(), torch.tensor([[2.0]]), 0.1)
    >>> result = FlowDPS()(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.evaluations.tolist(), result.gradients.tolist(), bool(result.x1[0, 0] > 1)
    ([28], [0], True)
    """

    about: ClassVar[About] = About(
        name="flow-dps",
        paper="Kim et al., FlowDPS: Flow-Driven Posterior Sampling for Inverse Problems, ICCV 2025",
        takes="any operator",
        network_gradient=False,
        cost="1 evaluation and 3 steps on the misfit a step, 28 steps",
    )

    steps: int = 28
    shift: float = 4.0
    data_steps: int = 3

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
        levels = [*cond_ot_levels(flow.path, shifted_times(options.steps or self.steps, self.shift)), CLEAN]
        answers = self.sample(network, misfit, make_draw(flow, seeds, guess), levels)
        return follow_answers(network, answers, misfit, first, options)

    def sample(self, network: Network, misfit: Misfit, draw: Draw, levels: list[Level]) -> Iterator[Tensor]:
        """The corrected clean part z `[batch, *event]` of every step; that of the last is the sample."""
        u = draw()
        for now, then in itertools.pairwise(levels):
            xhat = now.denoise(network, u)
            eps = (u - now.alpha * xhat) / now.sigma
            z = now.alpha * xhat + now.sigma * self.fit_data(misfit, xhat)
            yield z
            if then is CLEAN:
                return
            eps = math.sqrt(then.sigma) * eps + math.sqrt(1 - then.sigma) * draw()
            u = then.alpha * z + then.sigma * eps

    def fit_data(self, misfit: Misfit, x: Tensor) -> Tensor:
        """x `[batch, *event]` after the data steps."""
        if getattr(misfit.operator, "adjoint", None) is None:
            for _ in range(self.data_steps):
                x = step_down(misfit, x)
            return x
        for _ in range(self.data_steps):
            back = residual_gradient(misfit, x)  # A'(A x - y)
            slope = residual_gradient(misfit, x + back) - back  # A' A back, along the gradient of |back|
            change = residual_gradient(misfit, x + slope) - back  # of back, per step along it
            square = squared_norm(change).clamp(min=torch.finfo(x.dtype).tiny)
            x = x - per_problem((back * change).flatten(1).sum(1) / square, x) * slope
        return x


def step_down(misfit: Misfit, x: Tensor) -> Tensor:
    """x `[batch, *event]` after a step to the minimum of the misfit along its gradient, exact for a linear A.

    The curvature comes from the misfit where its tangent falls to 0. x stays where the misfit has no slope, as beyond
    the ends of a clamped operator, or is not finite there.
    """
    value, slope = misfit_gradient(misfit, x)
    half = (value / squared_norm(slope)).nan_to_num(0.0, posinf=0.0)
    with torch.no_grad():
        bend = misfit(x - per_problem(half, x) * slope)  # half^2 / 2 times the curvature, for a linear A
    share = torch.where(bend > 0, value / (2 * bend), 1.0).clamp(max=2.0)
    share = torch.where(bend.isfinite(), share, 0.0)
    return x - per_problem(share * half, x) * slope


def shifted_times(steps: int, shift: float) -> list[float]:
    """The times t = 1 - sigma, sigma = shift s / (1 + (shift - 1) s) for `steps` even s from 1 to 0.003.

    Where the grid of diffusers' FlowMatchEulerDiscreteScheduler for Stable Diffusion 3 ends before sigma = 0.

    Examples
    --------
    >>> [round(t, 3) for t in shifted_times(3, 4.0)]
    [0.0, 0.199, 0.988]
    """
    ends = torch.linspace(1, 0.003, steps, dtype=torch.float64).tolist()
    return [1 - shift * s / (1 + (shift - 1) * s) for s in ends]
