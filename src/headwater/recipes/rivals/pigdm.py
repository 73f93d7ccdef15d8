"""PiGDM, pseudoinverse-guided diffusion (Song, Vahdat, Mardani and Kautz, ICLR 2023).

    u ~ N(0, I)
    for 100 levels of DDPM from noisy to clean, s the next one
        xhat <- E[x1 | u]                                                   the network
        g    <- (d xhat / d u)' A' (r^2 A A' + sigma_y^2 I)^-1 (y - A xhat)      through the network
        u    <- DDIM step from u to s with xhat, plus alpha_s alpha_t r^2 g

with r^2 = sigma_t^2 / (sigma_t^2 + alpha_t^2), the variance of x1 given u if x1 ~ N(0, I): g is then the gradient of
log p(y | u), and exact for every prior N(m, I). The paper's time runs from noise to data as the index of DDPM falls;
u is its state, alpha^2 + sigma^2 = 1. The noise is that of the paper's noisy linear case; r^2 is its adaptive weight.

The weight alpha_s alpha_t r^2 is not that of the score, which replaces xhat by xhat + (sigma_t^2 / alpha_t) g in all
of the step: with it the method is biased even for N(m, I), however many steps. `adaptive=False` has the other.
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
from headwater.recipes.rivals.levels import CLEAN, Draw, count_steps, ddim_step, ddpm_levels, make_draw
from headwater.recipes.rivals.linear import require_adjoint
from headwater.recipes.rivals.network import Network, follow_answers


@dataclass(frozen=True)
class PiGDM:
    """Pseudoinverse-guided diffusion: DDIM with the gradient of a Gaussian approximation of p(y | x_t).

    Every step takes one evaluation with a gradient, 100 in all. The operator has to be linear, with an `adjoint`.

    Attributes
    ----------
    steps
        Steps, even in the index of the 1,000 levels of DDPM.
    eta
        The share of fresh noise in a step: 0 is the deterministic DDIM, 1 the ancestral step.
    adaptive
        Whether the guidance has the paper's weight, or that of the score, which is exact for N(m, I) and many steps.
    iterations
        Conjugate gradient steps of every linear system.

    References
    ----------
    Song et al., "Pseudoinverse-Guided Diffusion Models for Inverse Problems", ICLR 2023. The step and its weight are
    those of the authors' code (NVlabs/RED-diff, algos/pgdm.py, `awd`), and so are eta = 1 and 100 steps, for noisy
    inpainting (sample_batch.sh).

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
    >>> result = PiGDM()(flow, Misfit(First(), torch.tensor([[2.0]]), 0.1), [0], guess=torch.zeros(1, 2))
    >>> result.gradients.tolist(), bool((result.x1[0, 0] - 2).abs() < 0.4)
    ([100], True)
    """

    about: ClassVar[About] = About(
        name="pigdm",
        paper="Song et al., Pseudoinverse-Guided Diffusion Models for Inverse Problems, ICLR 2023",
        takes="linear operator",
        network_gradient=True,
        cost="1 evaluation with a gradient a step, 100 steps",
    )

    steps: int = 100
    eta: float = 1.0
    adaptive: bool = True
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

        The guess is returned if the run ends before the first step.
        """
        require_adjoint(misfit, "PiGDM")
        network, first = Network(flow), guess.expand(len(seeds), *flow.shape)
        draw = make_draw(flow, seeds, guess)
        answers = self.sample(network, misfit, draw, count_steps(options, self.steps))
        return follow_answers(network, answers, misfit, first, options)

    def sample(self, network: Network, misfit: Misfit, draw: Draw, steps: int) -> Iterator[Tensor]:
        """xhat `[batch, *event]` of every step, at last the sample."""
        u = draw()
        for now, then in itertools.pairwise([*ddpm_levels(network.flow.path, steps), CLEAN]):
            xhat, pull = now.linearise(network, u)
            r = now.sigma  # r^2 = sigma^2 / (sigma^2 + alpha^2)
            # The proximal step is xhat + r^2 A' (r^2 A A' + sigma_y^2 I)^-1 (y - A xhat), so this is r^2 g.
            guidance = pull(solve_proximal(misfit, xhat, r, self.iterations) - xhat)
            if self.adaptive:  # the guidance is added after the step, which does not know of it
                u = ddim_step(u, xhat, now, then, self.eta, draw) + then.alpha * now.alpha * guidance
            else:  # E[x1 | u, y] = xhat + (sigma^2 / alpha) g
                u = ddim_step(u, xhat + guidance / now.alpha, now, then, self.eta, draw)
            yield u if then is CLEAN else xhat
