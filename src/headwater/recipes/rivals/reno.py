"""ReNO: reward-based noise optimisation (Eyring et al., NeurIPS 2024, arXiv 2406.04312).

    x0 ~ N(0, I), u <- 0
    repeat
        x1 <- G(x0), a model of one or few steps
        keep the x0 with the least cost
        g  <- grad_x0 [cost(x1) + lambda (|x0|^2 / 2 - (d - 1) log |x0|)]
        g  <- g min(1, clip / |g|)
        u  <- momentum u + g;  x0 <- x0 - lr (g + momentum u)          Nesterov

The regulariser is the negative log density of the norm of a normal vector, the law chi^d. The cost takes the place of
the negative rewards. Checked against the authors' code (ExplainableML/ReNO, training/trainer.py, training/optim.py
and arguments.py). For rewards, as in the paper, `headwater.recipes.reward.MaximiseReward.as_reno()` is this
descent by `headwater.control`.
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
from headwater.problem.batch import per_problem
from headwater.problem.cost import Cost, Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.network import Network, draw_noise, follow_sources


@dataclass(frozen=True)
class ReNO:
    """Nesterov's gradient descent on the source point of a few-step solve, clipped; the best of all points is kept.

    A gradient is a solve of few evaluations and its vector-Jacobian product. A flow is no one-step model: its Euler
    step from t = 0 gives the mean of the data for any x0, so the default is 4 steps.

    Attributes
    ----------
    gradients
        Iterations.
    steps
        DDIM steps of a solve, as many evaluations. The paper has 1, with models distilled for it.
    lr, momentum, clip
        Of the descent. A clipped gradient moves x0 by lr clip = 0.5 in norm, in the paper in 16,384 dimensions, where
        |x0| is 128; with momentum up to 10 times as far. In few dimensions it only wanders: scale `lr` by
        sqrt(d / 16384).
    weight
        lambda, of the regulariser.

    References
    ----------
    Eyring, Karthik, Roth, Dosovitskiy & Akata, "ReNO: Enhancing one-step text-to-image models through reward-based
    noise optimization", NeurIPS 2024.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.1)
    >>> result = ReNO(lr=0.05)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.gradients.tolist(), result.evaluations.tolist(), result.status[0].name
    ([50], [200], 'REACHED')
    """

    gradients: int = 50
    steps: int = 4
    lr: float = 5.0
    momentum: float = 0.9
    clip: float = 0.1
    weight: float = 0.01

    about: ClassVar[About] = About(
        name="reno",
        paper="Eyring et al., ReNO: Enhancing one-step text-to-image models through reward-based noise optimization, "
        "2024",
        takes="any operator",
        network_gradient=True,
        cost="1 gradient through a solve of 4 evaluations a step, 50 steps",
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
        network = Network(flow)
        first = guess.expand(len(seeds), *flow.shape)
        x0 = draw_noise(flow, make_generators(seeds), first)
        return follow_sources(network, self.pairs(network, misfit, x0, options), misfit, first, options)

    def pairs(
        self, network: Network, cost: Cost, x0: Tensor, options: RecipeOptions
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The best x0 so far and its x1 after every gradient, both `[batch, *event]`; any cost of x1 will do."""
        steps, u = options.steps or self.steps, torch.zeros_like(x0)
        best = best0 = best1 = None
        for _ in range(options.gradients or self.gradients):
            x1, value, slope = network.solve_with_gradient(x0, cost, steps=steps, gradient=options.gradient)
            if best is None or best0 is None or best1 is None:
                best, best0, best1 = value, x0, x1
            else:  # `best_loss`, of the rewards alone
                better = value < best
                rows = per_problem(better, x0)
                best = torch.where(better, value, best)
                best0, best1 = torch.where(rows, x0, best0), torch.where(rows, x1, best1)
            yield best0, best1
            g = self.clip_norm(slope + self.weight * norm_prior_gradient(network.flow, x0))
            u = self.momentum * u + g
            x0 = x0 - self.lr * (g + self.momentum * u)

    def clip_norm(self, g: Tensor) -> Tensor:
        """Each problem's g `[batch, *event]` with a norm of at most `clip`."""
        norm = g.flatten(1).norm(dim=1)
        return g * per_problem((self.clip / norm.clamp(min=1e-12)).clamp(max=1.0), g)


def norm_prior_gradient(flow: Flow, x0: Tensor) -> Tensor:
    """The gradient of |x0|^2 / 2 - (d - 1) log |x0| `[batch, *event]`."""
    square = x0.flatten(1).square().sum(1).clamp(min=1e-12)
    return x0 - per_problem((torch.as_tensor(flow.source_dimension).to(x0) - 1) / square, x0) * x0
