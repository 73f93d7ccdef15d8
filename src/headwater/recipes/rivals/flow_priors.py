"""Flow Priors: iterative corrupted trajectory matching (Zhang et al., NeurIPS 2024, arXiv 2405.18816).

    x = x0 ~ N(0, I)
    for t = 0, 1/N, ..., 1 - 1/N and s = t + 1/N
        y_s <- alpha_s y + sigma_s A x0                              the measurement, corrupted as the path is
        repeat K times: an Adam step in x on the local objective
            lambda |A (x + v(x, t) / N) - y_s|^2 + tr dv/dx / N - log p_t(x)
        x <- x + v(x, t) / N

-log p_t is |x|^2 / 2 at t = 0; later its gradient is minus the score, by Tweedie's formula. The trace is
Hutchinson's, with one Rademacher probe. The paper's time is ours. Checked against the authors' code
(YasminZhang/ICTM, sampling.py, `ours_xx`) and the version of PnP-Flow's authors (annegnx/PnP-Flow,
pnpflow/methods/flow_priors.py and scripts/script_test.sh), which has settings for noisy tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import make_generators
from headwater.optimizers import Adam
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.network import Network, draw_noise, follow_answers, noise_level
from headwater.solvers.fixed import uniform_grid
from headwater.solvers.likelihood import divergence


@dataclass(frozen=True)
class FlowPriors:
    """Local maximum a posteriori steps along the trajectory, with the trace of the velocity's Jacobian.

    A time takes K gradients, each differentiated twice (the trace is a gradient itself), and one evaluation. With
    K = 1 the Adam step is `lr` times the sign of the gradient, so x moves by at most `lr` a coordinate and time.

    Attributes
    ----------
    steps
        Times, equally spaced: N.
    inner
        Adam steps per time: K.
    weight
        lambda; 1 / (2 sigma_y^2) is that of the noise. The scripts of PnP-Flow's authors have 100 for denoising,
        1,000, the default, for deblurring and 10,000 for masks and super-resolution.
    lr
        Of Adam; 0.1 for super-resolution there.

    References
    ----------
    Zhang, Yu, Zhu, Chang, Gao, Wu & Leong, "Flow priors for linear inverse problems via iterative corrupted
    trajectory matching", NeurIPS 2024.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[1.0]]), 0.1)
    >>> result = FlowPriors(lr=0.05)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.gradients.tolist(), result.evaluations.tolist(), bool((result.x1[0, 0] - 1).abs() < 0.2)
    ([100], [200], True)
    """

    steps: int = 100
    inner: int = 1
    weight: float = 1000.0
    lr: float = 0.01

    about: ClassVar[About] = About(
        name="flow-priors",
        paper="Zhang et al., Flow priors for linear inverse problems via iterative corrupted trajectory matching, "
        "2024",
        takes="linear operator",
        network_gradient=True,
        cost="1 gradient, differentiated twice, and 1 evaluation a step, 100 steps",
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
        """Solve a batch of inverse problems, x1 `[len(seeds), *event]`; see `Recipe`.

        Raises
        ------
        Misuse
            If the operator is not linear.
        """
        network, generators = Network(flow), make_generators(seeds)
        first = guess.expand(len(seeds), *flow.shape)
        x0 = draw_noise(flow, generators, first)
        require_linear(misfit, x0)
        answers = self.answers(network, misfit, x0, generators, options.steps or self.steps)
        return follow_answers(network, answers, misfit, first, options)

    def answers(
        self, network: Network, misfit: Misfit, x0: Tensor, generators: Sequence[torch.Generator], steps: int
    ) -> Iterator[Tensor]:
        """xhat of each time, `[batch, *event]`, and x at t = 1 in the end."""
        path, x = network.flow.path, x0
        with torch.no_grad():
            origin = misfit.operator(x0)
        for time, later in itertools.pairwise(uniform_grid(steps)):
            t, s = (torch.tensor(one, dtype=torch.float64) for one in (time, later))
            alpha, sigma = float(path.alpha(s)), float(path.sigma(s))
            corrupted = replace(misfit, y=alpha * misfit.y + sigma * origin)  # `y_next`
            optimizer = Adam(lr=self.lr)  # a new one at every time
            state = optimizer.init(x)
            for _ in range(self.inner):
                value, slope = self.local_objective(
                    network, corrupted, state.trial, t, later - time, generators
                )
                state = optimizer.step(state, value, slope)
                # Adam scales each coordinate by itself, which leaves the flow's support.
                state = replace(state, trial=network.flow.project(state.trial))
            x = state.trial
            v = network.velocity(x, t)
            x, xhat = x + (later - time) * v, path.xhat_from_v(x, v, t)
            yield xhat if later < 1 else x

    def local_objective(
        self,
        network: Network,
        misfit: Misfit,
        x: Tensor,
        t: Tensor,
        h: float,
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """The value `[batch]`, without log p_t where t > 0, and the gradient of the local objective at x."""
        flow = network.flow
        probes = flow.project(draw_noise(flow, generators, x).sign())[None]
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            v, trace = divergence(flow, x, t, probes, graph=True)
            # weight |A x - y|^2 = 2 weight sigma_y^2 times the misfit.
            scale = 2 * self.weight * noise_level(misfit, trace) ** 2
            value = scale * misfit(x + h * v) + h * trace
            if float(t) == 0:
                value = value + 0.5 * x.flatten(1).square().sum(1)
            (slope,) = torch.autograd.grad(value.sum(), x)
        network.gradients += 1
        if float(t) > 0:  # `grad_xt_lik`: minus the score, eps / sigma
            slope = slope - flow.path.score_from_v(x.detach(), v.detach(), t)
        return value.detach(), slope


def require_linear(misfit: Misfit, x: Tensor) -> None:
    """Refuse an operator for which A(2 x) is not 2 A x, at points x `[batch, *event]`."""
    if hasattr(misfit.operator, "adjoint"):
        return
    with torch.no_grad():
        once, twice = misfit.operator(x), misfit.operator(2 * x)
    off, size = (values.abs().flatten(1).amax(1) for values in (twice - 2 * once, once))
    if bool((off > 1e-3 * size + 1e-6).any()):
        raise Misuse(
            "Flow Priors needs a linear operator, and this one is not: A(2 x) is not 2 A(x).",
            "Use a method that takes any cost, such as DNO or RED-diff.",
        )
