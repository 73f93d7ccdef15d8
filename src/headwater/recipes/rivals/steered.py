"""Steered Diffusion (Nair et al., ICCV 2023): conditions plugged into ancestral sampling at the denoised sample.

    u ~ N(0, I)
    for the 1,000 levels of DDPM from noisy to clean, s the next one
        repeat `loops` times
            xhat <- E[x1 | u]                                       the network
            xhat <- xhat + A^+ (y - A xhat)                         a linear condition: it holds exactly
                    xhat - weight sigma_s grad_u C(xhat(u))         any other, through the network
            v    <- the ancestral step from u to s with this xhat and the noise that belongs to it, fresh noise
            u    <- back from s to the level of u by fresh noise    not after the last repeat
        u <- v

The steps are those of the authors' code (gaussian_diffusion.py, conditional_sample), with C their sum of losses of
networks; here C = |A x - y|^2 / 2 in the units of y. The way back is the law of the path, r u + sqrt(
sigma^2 - r^2 sigma_s^2) n; the code scales the noise by beta in place of its root.

Nothing in it knows the noise level of y: a linear measurement is fitted with its noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.estimate import solve_proximal
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, Draw, Level, count_steps, ddim_step, ddpm_levels, make_draw
from headwater.recipes.rivals.linear import residual_gradient
from headwater.recipes.rivals.network import Network, follow_answers

FAR = 1e3
"""A deviation of xhat beside which every measurement is exact."""


@dataclass(frozen=True)
class SteeredDiffusion:
    """Ancestral steps whose denoised sample agrees with a linear measurement, or is pulled down a cost.

    A linear measurement takes one evaluation a step and no gradient, any other one with a gradient.

    Attributes
    ----------
    steps
        Steps, even in the index of the 1,000 levels of DDPM.
    loops
        How often each step is taken.
    weight
        The factor of the gradient of |A xhat - y|^2 / 2, for operators that are not linear.
    iterations
        Conjugate gradient steps of every A^+.

    Raises
    ------
    Misuse
        If a number is below 1, or the weight is negative.

    References
    ----------
    Nair et al., "Steered Diffusion: A Generalized Framework for Plug-and-Play Conditional Image Synthesis",
    ICCV 2023.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> class First:
    ...     def __call__(self, x):
    ...         return x[:, :1]
    ...     def adjoint(self, y):
    ...         return torch.cat([y, torch.zeros_like(y)], 1)
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(First(), torch.tensor([[2.0]]), 0.1)
    >>> result = SteeredDiffusion(steps=50)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> round(result.x1[0, 0].item(), 3), result.evaluations.item()
    (2.0, 50)
    """

    about: ClassVar[About] = About(
        name="steered",
        paper="Nair et al., Steered Diffusion for Plug-and-Play Conditional Image Synthesis, ICCV 2023",
        takes="any operator",
        network_gradient=True,
        cost="1 evaluation a step, 1,000 steps; with a gradient where the operator is not linear",
    )

    steps: int = 1000
    loops: int = 1
    weight: float = 1.0
    iterations: int = 16

    def __post_init__(self) -> None:
        if min(self.steps, self.loops, self.iterations) < 1 or not self.weight >= 0:
            raise Misuse(
                f"{self.steps} steps, {self.loops} loops or the weight {self.weight} are out of range.",
                "Give at least 1 of each, and a weight of 0 or more.",
            )

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
        draw = make_draw(flow, seeds, guess)
        answers = self.sample(network, misfit, draw, count_steps(options, self.steps))
        return follow_answers(network, answers, misfit, first, options)

    def sample(self, network: Network, misfit: Misfit, draw: Draw, steps: int) -> Iterator[Tensor]:
        """xhat `[batch, *event]` of every step, at last the sample."""
        u = draw()
        for now, then in itertools.pairwise([*ddpm_levels(network.flow.path, steps), CLEAN]):
            for loop in range(self.loops):
                xhat = self.steer(network, misfit, u, now, then)
                v = ddim_step(u, xhat, now, then, 1.0, draw)
                if loop + 1 < self.loops:
                    ratio = now.alpha / then.alpha
                    u = ratio * v + max(now.sigma**2 - (ratio * then.sigma) ** 2, 0.0) ** 0.5 * draw()
            u = v
            yield u if then is CLEAN else xhat

    def steer(self, network: Network, misfit: Misfit, u: Tensor, now: Level, then: Level) -> Tensor:
        """xhat of a state u `[batch, *event]`, with the condition."""
        if getattr(misfit.operator, "adjoint", None) is not None:
            return solve_proximal(misfit, now.denoise(network, u), FAR, self.iterations)
        xhat, pull = now.linearise(network, u)
        return xhat - self.weight * then.sigma * pull(residual_gradient(misfit, xhat))
