"""PnP-Flow: plug-and-play restoration with the flow's own denoiser (Martin et al., ICLR 2025, arXiv 2410.02423).

    for t = 0, 1/N, ..., 1 - 1/N
        z   <- x - step_t grad F(x)                   a gradient step on the misfit F
        x_t <- alpha_t z + sigma_t eps_k              back to the path with new noise, k = 1 .. averages
        x   <- mean_k E[x1 | x_t]                     the mean of some denoisings

with step_t = step sigma_y^2 (1 - t)^exponent. The paper's time is ours. Checked against the authors' code
(annegnx/PnP-Flow, pnpflow/methods/pnp_flow.py). At t = 0 of Cond-OT x_t is noise alone: the guess has no influence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.seeds import make_generators
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.network import (
    Network,
    draw_noise,
    follow_answers,
    misfit_gradient,
    noise_level,
)
from headwater.solvers.fixed import uniform_grid


@dataclass(frozen=True)
class PnPFlow:
    """Gradient steps on the misfit, noise, and the mean of some denoisings, along t.

    Each time takes `averages` evaluations, 500 in all by default, and no gradient of the network. The step
    sigma_y^2 grad F is A'(A x - y) for a linear A, so the noise level has no influence; it fits operators with a norm
    of about 1. The result is an estimate between mean and mode, not a draw.

    Attributes
    ----------
    steps
        The times.
    averages
        Denoisings per time, each with its own noise.
    exponent
        The step is step (1 - t)^exponent, sigma_t in place of 1 - t on other paths. The authors' scripts have 0.8 for
        denoising, 0.01 for deblurring and random masks, 0.3 for super-resolution and 0.5, the default, for boxes.
    step
        The first step, in units of sigma_y^2.

    References
    ----------
    Martin, Gagneux, Hagemann & Steidl, "PnP-Flow: Plug-and-play image restoration with flow matching", ICLR 2025.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.1)
    >>> result = PnPFlow(steps=20)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.evaluations.tolist(), bool((result.x1[0, 0] - 1).abs() < 0.2)
    ([100], True)
    """

    steps: int = 100
    averages: int = 5
    exponent: float = 0.5
    step: float = 1.0

    about: ClassVar[About] = About(
        name="pnp-flow",
        paper="Martin, Gagneux, Hagemann & Steidl, PnP-Flow: Plug-and-play image restoration with flow matching, "
        "2025",
        takes="any operator",
        network_gradient=False,
        cost="5 evaluations and a gradient of the misfit a step, 100 steps",
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
        x = guess.expand(len(seeds), *flow.shape)
        answers = self.answers(network, misfit, x, generators, options.steps or self.steps)
        return follow_answers(network, answers, misfit, x, options)

    def answers(
        self, network: Network, misfit: Misfit, x: Tensor, generators: Sequence[torch.Generator], steps: int
    ) -> Iterator[Tensor]:
        """x1 after each time, `[batch, *event]`."""
        path, scale = network.flow.path, self.step * noise_level(misfit, x) ** 2
        for time in uniform_grid(steps)[:-1]:
            t = torch.tensor(time, dtype=torch.float64)
            # `learning_rate_strat`, alpha_1_minus_t: the step falls as (1 - t)^exponent.
            rate = float(path.sigma(t)) ** self.exponent
            z = x - rate * scale * network.flow.project(misfit_gradient(misfit, x)[1])
            total = torch.zeros_like(x)
            for _ in range(self.averages):
                noisy = path.interpolate(
                    draw_noise(network.flow, generators, x), z, t
                )  # `interpolation_step`
                total = total + network.denoise(noisy, t)  # `denoiser`, x + (1 - t) v
            x = total / self.averages
            yield x
