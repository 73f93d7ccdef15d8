"""RED-diff: regularisation by denoising diffusion, a variational method (Mardani et al. 2024, arXiv 2305.04391).

    mu <- guess
    for t from noise to data
        x_t <- alpha_t mu + sigma_t eps, eps ~ N(0, I)
        loss <- mean |A mu - y|^2 / 2 + lambda w_t mean sg[eps_hat(x_t, t) - eps] . mu,     w_t = sigma_t / alpha_t
        mu <- Adam step on the loss

with sg the stop of gradients, so that the network is never differentiated. The paper's time runs from data, 0, to
noise, T; ours is 1 - t / T. Checked against the authors' code (NVlabs/RED-diff, algos/reddiff.py and
_configs/algo/reddiff.yaml), whose sums are means over the entries of y and of mu.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.seeds import make_generators
from headwater.optimizers import Adam
from headwater.optimizers.state import DIVERGED
from headwater.problem.batch import per_problem
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


@dataclass(frozen=True)
class REDDiff:
    """Adam on a misfit and a penalty by the denoiser, each level of noise once, from noise to data.

    A step takes one evaluation and no gradient of the network, 1,000 in all by default. The noise level has no
    influence: the weight of the prior is lambda for any sigma_y. The result is an estimate near the mode, not a draw;
    its spread over seeds is what is left of the noise of the steps.

    Attributes
    ----------
    steps
        Times, equally spaced; 1,000 are the levels of the authors' table.
    weight
        lambda, the weight of the prior; 0.25 for images in [-1, 1].
    lr, betas
        Of Adam, as in the authors' configuration. The example in their README has 100 steps with a rate of 0.5.
    first
        The first time, at most; w_t is infinite at t = 0 of Cond-OT. 0.0064 gives 155, that of the noisiest level of
        DDPM's table.

    References
    ----------
    Mardani, Song, Kautz & Vahdat, "A variational perspective on solving inverse problems with diffusion models",
    ICLR 2024.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.1)
    >>> result = REDDiff(steps=100)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.evaluations.tolist(), bool((result.x1[0, 0] - 1).abs() < 0.2)
    ([100], True)
    """

    steps: int = 1000
    weight: float = 0.25
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    first: float = 0.0064

    about: ClassVar[About] = About(
        name="red-diff",
        paper="Mardani, Song, Kautz & Vahdat, A variational perspective on solving inverse problems with diffusion "
        "models, 2024",
        takes="any operator",
        network_gradient=False,
        cost="1 evaluation and a gradient of the misfit a step, 1,000 steps",
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
        """mu after each step, `[batch, *event]`."""
        flow, path = network.flow, network.flow.path
        variance = noise_level(misfit, x).flatten() ** 2

        def observe(mu: Tensor) -> Tensor:
            """`loss_obs`: mean |A mu - y|^2 / 2, without sigma_y."""
            return 0.5 * variance * misfit.mean_square(mu)

        optimizer = Adam(lr=self.lr, betas=self.betas)
        state = optimizer.init(x)
        for time in torch.linspace(self.first, 1 - 1 / steps, steps, dtype=torch.float64):
            t, mu = time.clamp(*path.span), state.trial
            eps = draw_noise(flow, generators, x)
            noisy = path.interpolate(eps, mu, t)
            eps_hat = path.eps_from_v(noisy, network.velocity(noisy, t), t)
            # `loss_noise`, of which (eps_hat - eps) is the gradient, and `denoise_term_weight: linear`.
            weight = self.weight * float(path.sigma(t) / path.alpha(t))
            value, slope = misfit_gradient(observe, mu)
            slope = slope + weight * (eps_hat - eps) / flow.event_size
            state = optimizer.step(state, value, slope)
            state = replace(state, trial=flow.project(state.trial))  # Adam scales each coordinate by itself
            # Adam keeps the last finite point; a network that gives NaN is no answer.
            yield torch.where(per_problem(state.code == DIVERGED, x), torch.nan, state.trial)
