"""Flower: destination, refinement, progression along the flow (Pourya et al., ICLR 2026, arXiv 2509.26287).

    x ~ N(0, I)
    for t = 0, 1/N, ..., 1 - 1/N and s = t + 1/N
        xhat <- E[x1 | x_t = x]                                                 destination estimate
        nu^2 <- sigma_t^2 / (alpha_t^2 + sigma_t^2)                             what p1 = N(m, I) leaves open
        x1   <- argmin_x |x - xhat|^2 / (2 nu^2) + |A x - y|^2 / (2 sigma_y^2)    refinement (gamma = 0), or
        x1   ~  the Gaussian with this mean and its covariance                     (gamma = 1)
        x    <- alpha_s x1 + sigma_s eps                                        progression with new noise

The paper's time is ours. Checked against the authors' code (mehrsapo/Flower, pnpflow/methods/flower.py, and its
README for gamma). For p1 = N(m, I) with gamma = 1 each step draws x1 from p(x1 | x_t, y), so the result is a draw of
the posterior for any number of steps. gamma = 0 leaves the covariance out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.seeds import draw_normal, make_generators
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.estimate import solve_proximal
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.network import Network, draw_noise, follow_answers
from headwater.solvers.fixed import uniform_grid


@dataclass(frozen=True)
class Flower:
    """Denoise, agree with the measurement by a proximal step, return to the path with new noise.

    A step takes one evaluation and no gradient of the network, 100 in all by default. Operators without an adjoint
    are beyond the paper: their proximal step is L-BFGS.

    Attributes
    ----------
    steps
        Times, equally spaced.
    covariance
        Whether the refinement draws from its Gaussian, gamma = 1 of the paper. The default is gamma = 0, as in the
        authors' comparisons.
    iterations
        Conjugate gradient steps of a refinement at most.

    References
    ----------
    Pourya, El Rawas & Unser, "Flower: A flow-matching solver for inverse problems", ICLR 2026.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.1)
    >>> result = Flower(steps=20)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.evaluations.tolist(), bool((result.x1[0, 0] - 1).abs() < 0.2)
    ([20], True)
    """

    steps: int = 100
    covariance: bool = False
    iterations: int = 50

    about: ClassVar[About] = About(
        name="flower",
        paper="Pourya, El Rawas & Unser, Flower: A flow-matching solver for inverse problems, 2026",
        takes="any operator",
        network_gradient=False,
        cost="1 evaluation and a proximal step of the misfit a step, 100 steps",
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
        """Solve a batch of inverse problems, one per seed; see `Recipe`. `guess` is `[batch or 1, *event]`."""
        network, generators = Network(flow), make_generators(seeds)
        first = guess.expand(len(seeds), *flow.shape)
        answers = self.answers(network, misfit, first, generators, options.steps or self.steps)
        return follow_answers(network, answers, misfit, first, options)

    def answers(
        self,
        network: Network,
        misfit: Misfit,
        like: Tensor,
        generators: Sequence[torch.Generator],
        steps: int,
    ) -> Iterator[Tensor]:
        """The refined destination of each step, `[batch, *event]`; that of the last one is the result."""
        flow, path = network.flow, network.flow.path
        x = draw_noise(flow, generators, like)
        grid = uniform_grid(steps)
        for time, later in itertools.pairwise(grid):
            t, s = (torch.tensor(one, dtype=torch.float64) for one in (time, later))
            xhat = network.denoise(x, t)
            nu = float(path.sigma(t) / (path.alpha(t) ** 2 + path.sigma(t) ** 2).sqrt())  # `sigma_r`
            x1 = self.refine(flow, misfit, xhat, nu, generators)
            yield x1
            if later < 1:
                x = path.interpolate(draw_noise(flow, generators, like), x1, s)

    def refine(
        self, flow: Flow, misfit: Misfit, xhat: Tensor, nu: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """The mean of N(xhat, nu^2 I) given y, `[batch, *event]`; with `covariance` a draw."""
        if self.covariance:
            # With noise of their own levels in xhat and in y the minimiser has the mean and covariance of the
            # Gaussian (nu^-2 I + A'A / sigma_y^2)^-1: a draw without a square root.
            xhat = xhat + nu * draw_noise(flow, generators, xhat)
            misfit = perturb_measurement(misfit, generators)
        return flow.project(solve_proximal(misfit, xhat, nu, self.iterations))


def perturb_measurement(misfit: Misfit, generators: Sequence[torch.Generator]) -> Misfit:
    """The misfit to y + sigma_y n, with new noise n for every problem.

    n is N(0, 1), for complex y in its real and in its imaginary part, so that its density is that of exp(-misfit).
    """
    y = misfit.y
    noise = draw_normal(y.shape[1:], generators).to(y.device)
    if y.is_complex():
        noise = torch.complex(noise, draw_normal(y.shape[1:], generators).to(y.device))
    sigma = torch.as_tensor(misfit.sigma_y, device=y.device).reshape(-1, *[1] * (y.ndim - 1))
    return replace(misfit, y=y + sigma.to(noise.real.dtype) * noise.to(y.dtype))
