"""DPS, diffusion posterior sampling (Chung et al., ICLR 2023), Algorithm 1 (Gaussian noise).

    u ~ N(0, I)
    for the 1,000 levels of DDPM from noisy to clean, s the next one
        xhat <- E[x1 | u]                                         the network
        u    <- the ancestral step from u to s with xhat, fresh noise
        u    <- u - zeta grad_u |y - A xhat(u)|                   through the network

The paper's time i runs from N - 1 (noise) to 0; u is its state, alpha^2 + sigma^2 = 1. Line 7 has the gradient of the
square with the step zeta' / |y - A xhat|; the authors' code has the step zeta' on the norm, half of it, and so has
this. The code also clips xhat to the range of pixels; this does not.

Nothing in it knows the noise level of y: the width of the samples is that of the step, not that of the posterior, and
a single number that says little of two modes may decide between them. The step is a length in the space of events of
256 x 256 x 3 numbers; in few dimensions it is long.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, Draw, count_steps, ddim_step, ddpm_levels, make_draw
from headwater.recipes.rivals.network import Network, follow_answers, misfit_gradient


@dataclass(frozen=True)
class DPS:
    """Diffusion posterior sampling: ancestral steps, each followed by a step on |y - A xhat| through the network.

    Every step takes one evaluation with a gradient, 1,000 in all. The operator may be any differentiable function.

    Attributes
    ----------
    steps
        Steps, even in the index of the 1,000 levels of DDPM.
    zeta
        The step zeta' on the norm of the residual, in the units of the event: 1 in the paper for all linear tasks on
        FFHQ with noise 0.05, 0.3 and 0.5 in the configurations of the authors' code. With fewer steps y counts less.

    References
    ----------
    Chung et al., "Diffusion Posterior Sampling for General Noisy Inverse Problems", ICLR 2023, Algorithm 1
    and appendix D.1.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[2.0]]), 0.1)
    >>> result = DPS(steps=100)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.gradients.tolist(), bool((result.x1[0, 0] - 2).abs() < 1.5)
    ([100], True)
    """

    about: ClassVar[About] = About(
        name="dps",
        paper="Chung et al., Diffusion Posterior Sampling for General Noisy Inverse Problems, ICLR 2023",
        takes="any operator",
        network_gradient=True,
        cost="1 evaluation with a gradient a step, 1,000 steps",
    )

    steps: int = 1000
    zeta: float = 1.0

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
        u = draw()  # line 1
        for now, then in itertools.pairwise([*ddpm_levels(network.flow.path, steps), CLEAN]):
            xhat, pull = now.linearise(network, u)  # lines 3 and 4
            slope = pull(norm_gradient(misfit, xhat))
            u = ddim_step(u, xhat, now, then, 1.0, draw) - self.zeta * slope  # lines 5 to 7
            yield u if then is CLEAN else xhat


def norm_gradient(misfit: Misfit, x: Tensor) -> Tensor:
    """grad_x |A x - y|, of each problem, in the units of y; zero where the residual is."""
    value, gradient = misfit_gradient(misfit, x)  # |r|^2 / (2 sigma_y^2), and A' r / sigma_y^2
    sigma_y = torch.as_tensor(misfit.sigma_y).to(value)
    length = (2 * value).sqrt()  # |r| / sigma_y
    tiny = torch.finfo(value.dtype).tiny
    return per_problem(sigma_y / length.clamp(min=tiny), gradient) * gradient
