"""DiffPIR, diffusion models for plug-and-play restoration (Zhu et al., CVPR workshops 2023), Algorithm 1.

    u <- alpha x_guess + sigma N(0, I) at the noisiest level of DDPM
    for 100 levels from noisy to clean, s the next one
        xhat <- E[x1 | u]                                                       the network
        z    <- argmin_x |y - A x|^2 + rho |x - xhat|^2,   rho = lambda sigma_y^2 / (sigma / alpha)^2
        eps  <- (u - alpha z) / sigma                                           from the corrected z
        u    <- alpha_s z + sigma_s (sqrt(1 - zeta) eps + sqrt(zeta) N(0, I))

The paper's time is the index of DDPM, which falls from noise to data; u is its state, alpha^2 + sigma^2 = 1. In our
notation z is the proximal step with r = (sigma / alpha) / sqrt(lambda): the noise level cancels in r, and counts in
the misfit. `Estimate` is a relative: there r = sigma, and the noise is that which the denoiser saw.

No weight makes it exact, not even for a prior N(m, I): z is a mean and not a draw, and lambda > 1 trusts the network
more than the measurement. With the default, what was measured is wider than the posterior and drawn to the prior.
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
from headwater.flows.path import Path
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.estimate import solve_proximal
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, Draw, Level, ddpm_noise, find_levels, make_draw
from headwater.recipes.rivals.network import Network, follow_answers


@dataclass(frozen=True)
class DiffPIR:
    """Plug-and-play restoration along the levels of a diffusion: denoise, agree with y, return to the next level.

    Every step takes one evaluation without a gradient, 100 in all. Without an `adjoint` L-BFGS solves for z.

    Attributes
    ----------
    steps
        Steps, on the quadratic grid of the authors' configuration: larger where there is more noise.
    weight
        The lambda of rho; 7 is the authors' for deblurring with noise 0.05, 1 for inpainting.
    zeta
        The share of new noise, 0 to 1; 0.3 is the authors' for deblurring.
    iterations
        Conjugate gradient steps, or evaluations of L-BFGS, of every proximal step.

    References
    ----------
    Zhu et al., "Denoising Diffusion Models for Plug-and-Play Image Restoration", CVPR workshops 2023, Algorithm 1;
    settings from the authors' main_ddpir.py and configs/deblur.yaml.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[2.0]]), 0.1)
    >>> result = DiffPIR(steps=20)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.evaluations.tolist(), result.gradients.tolist(), bool(result.x1[0, 0] > 1)
    ([20], [0], True)
    """

    about: ClassVar[About] = About(
        name="diffpir",
        paper="Zhu et al., Denoising Diffusion Models for Plug-and-Play Image Restoration, 2023",
        takes="any operator",
        network_gradient=False,
        cost="1 evaluation and a proximal step a step, 100 steps",
    )

    steps: int = 100
    weight: float = 7.0
    zeta: float = 0.3
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

        The guess enters at the noisiest level, where it weighs 0.006.
        """
        network, first = Network(flow), guess.expand(len(seeds), *flow.shape)
        draw = make_draw(flow, seeds, guess)
        answers = self.sample(network, misfit, draw, first, options.steps or self.steps)
        return follow_answers(network, answers, misfit, first, options)

    def sample(
        self, network: Network, misfit: Misfit, draw: Draw, guess: Tensor, steps: int
    ) -> Iterator[Tensor]:
        """z `[batch, *event]` of every step; that of the last is the sample."""
        levels = [*quadratic_levels(network.flow.path, steps), CLEAN]
        u = levels[0].alpha * guess + levels[0].sigma * draw()
        for now, then in itertools.pairwise(levels):
            xhat = now.denoise(network, u)
            # Algorithm 1: argmin |y - A x|^2 + rho |x - xhat|^2, divided by 2 sigma_y^2: r^2 = sigma_y^2 / rho.
            z = solve_proximal(misfit, xhat, now.sigma / now.alpha / math.sqrt(self.weight), self.iterations)
            yield z
            if then is CLEAN:
                return
            eps = (u - now.alpha * z) / now.sigma
            noise = math.sqrt(1 - self.zeta) * eps + math.sqrt(self.zeta) * draw()
            u = then.alpha * z + then.sigma * noise


def quadratic_levels(path: Path, steps: int) -> list[Level]:
    """`steps` levels of DDPM from the noisiest to the least noisy, even in the square of 999 - index."""
    squares = torch.linspace(0, 999**2, steps, dtype=torch.float64)
    return find_levels(path, ddpm_noise((999 - squares.sqrt()).tolist()), power=2)
