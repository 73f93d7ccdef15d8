"""OC-Flow: guidance by optimal control along the path (Wang et al., ICLR 2025, arXiv 2410.18070).

    x_0 ~ N(0, I), u <- 0, a control for every time and one, u_N, for the source
    repeat
        x   <- x_0 + u_N;  x <- x + (v(x, t_n) + u_n) / N,  n = 0 .. N - 1           the state, forwards
        lam <- grad cost(x_N);  lam <- lam + (dv/dx)' lam / N,  n = N - 1 .. 0       the co-state, backwards
        grad_u_n <- (lam_(n+1) + gamma u_n) / N,  grad_u_N <- lam_0
        u   <- L-BFGS step on cost(x_N) + gamma / 2 sum_n |u_n|^2 / N

The paper's time is ours. Checked against the authors' code (WangLuran/Guided-Flow-Matching-with-Optimal-Control,
molecule/guided_sample.py, `oc_opt_du`), which has gradient descent with a rate for its own reward and L-BFGS; here it
is L-BFGS, which needs no rate for the scale of a misfit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.recompute import recompute
from headwater.flows.seeds import make_generators
from headwater.optimizers import LBFGS
from headwater.optimizers.state import RUNNING
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.network import Network, draw_noise, follow_answers, misfit_gradient
from headwater.solvers.differentiation import Auto, Checkpoint
from headwater.solvers.method import EULER


@dataclass(frozen=True)
class OCFlow:
    """A control at every time of an Euler solve, with a running cost, by the co-state and L-BFGS.

    A gradient is a controlled solve of `steps` evaluations and its co-state. x1 is no sample of the flow itself, so
    x0 is not returned. The source's own control has no cost, as in the authors' code.

    Attributes
    ----------
    gradients
        L-BFGS evaluations: the authors' 5 rounds of 5.
    steps
        Euler steps: N.
    gamma
        The weight of the running cost, for the authors' molecules.

    References
    ----------
    Wang, Cheng, Liao, Qu & Liu, "Training free guided flow matching with optimal control", ICLR 2025.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.1)
    >>> result = OCFlow()(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> bool(result.gradients[0] <= 25), result.nfe_per_gradient, result.status[0].name
    (True, 50, 'REACHED')
    """

    gradients: int = 25
    steps: int = 50
    gamma: float = 0.01

    about: ClassVar[About] = About(
        name="oc-flow",
        paper="Wang, Cheng, Liao, Qu & Liu, Training free guided flow matching with optimal control, 2025",
        takes="any operator",
        network_gradient=True,
        cost="1 gradient through a solve of 50 evaluations a step, 25 steps",
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
        return follow_answers(network, self.answers(network, misfit, x0, options), misfit, first, options)

    def answers(
        self, network: Network, misfit: Misfit, x0: Tensor, options: RecipeOptions
    ) -> Iterator[Tensor]:
        """x1 of the best controls so far, `[batch, *event]`, after every gradient."""
        steps = options.steps or self.steps
        strategy = options.gradient or Auto()
        if isinstance(strategy, Auto):
            strategy = strategy.choose(network.flow, EULER, x0, steps)
        optimizer = LBFGS()
        state = optimizer.init(x0.new_zeros(len(x0), steps + 1, *x0.shape[1:]))
        best = None
        for _ in range(options.gradients or self.gradients):
            x1, value, slope = self.control_gradient(
                network, misfit, x0, state.trial, isinstance(strategy, Checkpoint)
            )
            state = optimizer.step(state, value, slope)
            best = x1 if best is None else torch.where(per_problem(state.accepted, x1), x1, best)
            yield best
            if not bool((state.code == RUNNING).any()):
                return

    def control_gradient(
        self, network: Network, misfit: Misfit, x0: Tensor, u: Tensor, lean: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x1 `[batch, *event]`, the objective `[batch]`, and its gradient in the controls u `[batch, N + 1, *event]`.

        `lean` keeps the states alone and evaluates the network again on the way back.
        """
        flow, steps = network.flow, u.shape[1] - 1
        times = torch.arange(steps, dtype=torch.float64) / steps
        x, kept = x0 + u[:, steps], []
        for n, t in enumerate(times):
            state = x.detach().requires_grad_()
            with torch.enable_grad():
                v = recompute(partial(flow, t=t), state) if lean else flow(state, t)
            kept.append((state, v))
            x = state.detach() + (v.detach() + u[:, n]) / steps
        value, costate = misfit_gradient(misfit, x)
        slope = torch.empty_like(u)
        for n in reversed(range(steps)):
            slope[:, n] = (flow.project(costate) + self.gamma * u[:, n]) / steps
            state, v = kept.pop()
            costate = costate + torch.autograd.grad(v, state, costate)[0] / steps
        slope[:, steps] = flow.project(costate)
        network.gradients, network.per_gradient = network.gradients + 1, steps
        running = u[:, :steps].flatten(1).square().sum(1) / steps
        return x, value + 0.5 * self.gamma * running, slope
