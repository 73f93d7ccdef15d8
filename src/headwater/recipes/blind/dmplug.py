"""DMPlug for operators that are not known (Wang et al., NeurIPS 2024, arXiv 2405.16749).

    x0 ~ N(0, I), phi ~ N(0, I)
    repeat 10,000 times
        x1 <- clamp(G(x0)), G three steps of DDIM
        (x0, phi) <- Adam of mean |A_phi x1 - y|^2, with the rates 0.01 and 0.1

There is no prior of x0 or phi but the shape of the parameters (a softmax for kernels), and nothing stops at the
noise: the paper stops early by the variance of the iterates; the authors' code (sun-umn/DMPlug, bid.py), from which
the rates and counts are, reports the iterate that is nearest to the truth. Here it is that with the least loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.seeds import draw_normal, make_generators
from headwater.optimizers import Adam
from headwater.recipes.blind.joint import Descent
from headwater.recipes.blind.result import BlindResult
from headwater.recipes.blind.unknown import BlindMisfit
from headwater.recipes.recipe import RecipeOptions
from headwater.solvers.fixed import uniform_grid
from headwater.solvers.method import DDIM


@dataclass(frozen=True)
class DMPlug:
    """Adam on the source point and the operator's parameters, through three steps of DDIM.

    Attributes
    ----------
    gradients
        Iterations.
    steps
        DDIM steps of a solve, as many evaluations.
    lr, lr_phi
        Adam's rates of x0 and of phi.

    References
    ----------
    Wang, Zhang, Li, Wan, Chen & Sun, "DMPlug: A plug-in method for solving inverse problems with diffusion models",
    NeurIPS 2024.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian
    >>> from headwater.recipes.blind import BlindMisfit, UnknownGain
    >>> flow = Gaussian(torch.full((8,), 2.0), torch.full((8,), 0.1)).flow
    >>> problem = BlindMisfit(UnknownGain(), torch.full((1, 8), 3.0), 0.05)
    >>> result = DMPlug(gradients=100)(flow, problem, [0], guess=problem.y)
    >>> result.gradients.tolist(), bool(result.measure < 2)
    ([100], True)
    """

    gradients: int = 10_000
    steps: int = 3
    lr: float = 0.01
    lr_phi: float = 0.1

    def __call__(
        self,
        flow: Flow,
        problem: BlindMisfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> BlindResult:
        """Solve a batch of blind problems, x1 `[len(seeds), *event]`; the guess has no influence.

        Raises
        ------
        Misuse
            If there is neither one measurement nor one for every seed.
        """
        problem, generators = problem.expand(len(seeds)), make_generators(seeds)
        first = guess.expand(len(seeds), *flow.shape)
        x0 = flow.project(draw_normal(flow.shape, generators).to(first))
        phi = draw_normal(problem.unknown.start(problem.y).shape[1:], generators).to(first)

        def loss(x0: Tensor, x1: Tensor, at: Tensor) -> Tensor:
            misfit = problem.at(at)
            return misfit.mean_square(x1) * torch.as_tensor(misfit.sigma_y).to(x1) ** 2

        steps = tuple(uniform_grid(options.steps or self.steps))
        count = options.gradients or self.gradients
        descent = Descent(flow, loss, Adam(lr=self.lr), DDIM, steps, count, self.lr_phi / self.lr, flow.range)
        return descent.run(problem, x0, phi, first, options)
