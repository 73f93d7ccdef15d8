"""DNO: optimising diffusion noise (Karunratanakul et al., CVPR 2024, arXiv 2312.11994).

    x0 ~ N(0, I)
    repeat
        x1 <- solve(x0), 10 steps of DDIM
        g  <- grad_x0 [cost(x1) + decorrelate R(x0)]
        x0 <- Adam step on g / |g|, with a rate that warms up and falls as a cosine
        x0 <- x0 + perturb rate N(0, I)

R is the sum over scales of the squared mean product of neighbours along the last axis, the time of a motion there;
from scale to scale neighbours are averaged in pairs. The paper's time runs from data to noise, ours the other way.
Checked against the authors' code (korrawe/Diffusion-Noise-Optimization, dno.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.seeds import draw_normal, make_generators
from headwater.optimizers import Adam
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.network import Network, draw_noise, follow_sources, misfit_gradient


@dataclass(frozen=True)
class DNO:
    """Adam on the source point with normalised gradients and a penalty on correlated noise.

    A gradient is a solve and its vector-Jacobian product. Nothing but the penalty keeps x0 near N(0, I): what the
    measurement leaves open stays where the draw put it, and what it fixes is fitted without regard to the noise. The
    cost is the misfit; `decorrelate` is in its units.

    Attributes
    ----------
    gradients
        Adam steps: 500 for refinement; the paper edits with 300.
    steps
        DDIM steps of a solve, as many evaluations.
    lr
        The largest step of Adam.
    warm_up
        Steps over which the rate rises from 0.
    decorrelate
        The weight of the penalty. It is made for long sequences: the mean product of d independent pairs is about
        d^-1/2, so in few dimensions it pulls the draw itself. 0 leaves it out.
    perturb
        The noise that is added after a step, in units of the rate. The authors' default is 0.

    References
    ----------
    Karunratanakul, Preechakul, Aksan, Beeler, Suwajanakorn & Tang, "Optimizing diffusion noise can serve as universal
    motion priors", CVPR 2024.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.1)
    >>> result = DNO(gradients=100)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.gradients.tolist(), result.evaluations.tolist(), result.status[0].name
    ([100], [1000], 'REACHED')
    """

    gradients: int = 500
    steps: int = 10
    lr: float = 0.05
    warm_up: int = 50
    decorrelate: float = 1000.0
    perturb: float = 0.0

    about: ClassVar[About] = About(
        name="dno",
        paper="Karunratanakul et al., Optimizing diffusion noise can serve as universal motion priors, 2024",
        takes="any operator",
        network_gradient=True,
        cost="1 gradient through a solve of 10 evaluations a step, 500 steps",
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
        """Solve a batch of inverse problems, x1 `[len(seeds), *event]`; see `Recipe`. The guess has no influence."""
        network, generators = Network(flow), make_generators(seeds)
        first = guess.expand(len(seeds), *flow.shape)
        pairs = self.pairs(network, misfit, draw_noise(flow, generators, first), generators, options)
        return follow_sources(network, pairs, misfit, first, options)

    def pairs(
        self,
        network: Network,
        misfit: Misfit,
        x0: Tensor,
        generators: Sequence[torch.Generator],
        options: RecipeOptions,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """x0 and x1 of every gradient, both `[batch, *event]`."""
        total, steps = options.gradients or self.gradients, options.steps or self.steps
        state = Adam(lr=self.lr).init(x0)
        for k in range(total):
            x0 = state.trial
            x1, value, slope = network.solve_with_gradient(x0, misfit, steps=steps, gradient=options.gradient)
            yield x0, x1
            if self.decorrelate > 0:
                slope = (
                    slope + self.decorrelate * misfit_gradient(lambda x: correlation(x, generators), x0)[1]
                )
            rate = min(1.0, k / self.warm_up if self.warm_up else 1.0)  # `warmup_scheduler`
            rate *= (math.cos(k / total * math.pi) + 1) / 2  # `cosine_decay_scheduler`
            # The first rate is 0: Adam then takes the moments in and does not move.
            optimizer = Adam(lr=max(self.lr * rate, 1e-30), normalized=True)
            state = optimizer.step(state, value, slope)
            trial = network.flow.project(state.trial)  # Adam scales each coordinate by itself
            if self.perturb > 0:
                trial = trial + self.perturb * rate * draw_noise(network.flow, generators, x0)
            state = replace(state, trial=trial)


def correlation(x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """The penalty R on neighbours of x `[batch, *event]` along the last axis that are correlated, `[batch]`.

    As `noise_regularize_1d`: the axis is filled up with new noise to a power of 2.
    """
    size = x.shape[-1]
    missing = 2 ** math.ceil(math.log2(size)) - size
    if missing:
        x = torch.cat([x, draw_normal((*x.shape[1:-1], missing), generators).to(x)], dim=-1)
    total = torch.zeros_like(x.flatten(1).sum(1))
    while True:
        total = total + (x * x.roll(1, -1)).flatten(1).mean(1).square()
        if x.shape[-1] <= 2:
            return total
        x = x.reshape(*x.shape[:-1], -1, 2).mean(-1)
