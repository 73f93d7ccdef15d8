"""The most likely source point: the misfit and the exact prior of x0 in one cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from headwater.dflow.control import control
from headwater.dflow.prior import GaussianPrior
from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers import LBFGS
from headwater.optimizers.status import Status
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.average import Average
from headwater.recipes.estimate import EstimateWatch
from headwater.recipes.recipe import RecipeOptions, result_without_control
from headwater.solvers.fixed import invert, logit_grid


@dataclass(frozen=True)
class MAP:
    """D-Flow with the prior of the source: min over x0 of |A x1 - y|^2 / (2 sigma_y^2) + |x0|^2 / 2.

    x0 ~ N(0, I) exactly, so this is minus the log posterior of x0, and its minimum the most likely source point. A
    control that stops at the noise level leaves the prior to the start. The start here is the inverted mean of some
    estimates; a fixed number of gradients follows.

    Attributes
    ----------
    start
        Whose inversion is the start.
    steps
        Midpoint steps of the control, on `logit_grid`.
    finer
        Steps of the inversion per step of the control.
    gradients
        Gradient evaluations per problem, unless the optimiser converges before.
    first_step
        The first step of L-BFGS, rms per coordinate of x0.
    tau
        The misfit, in units of the noise, up to which the result counts as REACHED; nothing stops there.

    Examples
    --------
    For a Gaussian law it is the posterior mean, s^2 / (s^2 + sigma_y^2) y.

    >>> import torch
    >>> from headwater import Gaussian, Identity, MAP, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(Identity(), torch.tensor([[1.0, -1.0]]), 0.5)
    >>> [round(x, 2) for x in MAP(gradients=10)(flow, misfit, [0], guess=misfit.y).x1[0].tolist()]
    [0.8, -0.8]
    """

    about: ClassVar[About] = About(
        name="map",
        paper="the most likely source point, from the inverted mean of four estimates",
        takes="any operator",
        network_gradient=True,
        cost="152 evaluations, then 10 gradients of 16",
    )
    start: Average = field(default_factory=Average)
    steps: int = 8
    finer: float = 1.5
    gradients: int = 10
    first_step: float = 0.005
    tau: float = 1.05

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
        watch = EstimateWatch(misfit, options.callback)
        e = self.start.sample(flow, misfit, seeds, guess=guess, watch=watch)
        if watch.ended is not None:
            return result_without_control(misfit, e, watch.ended, watch.evaluations)
        try:
            return self.control_from(e, flow, misfit, watch.evaluations, options)
        except Ended as ended:
            return result_without_control(misfit, e, ended.status, watch.evaluations)

    def control_from(
        self, e: Tensor, flow: Flow, misfit: Misfit, spent: int, options: RecipeOptions
    ) -> Result:
        """Control from the inversion of the start e `[batch, *event]`, which took `spent` evaluations."""
        steps = options.steps or self.steps
        finer = logit_grid(int(self.finer * steps))
        result = control(
            flow,
            misfit,
            invert(flow, e, steps=finer),
            prior=GaussianPrior(),
            steps=logit_grid(steps),
            gradients=options.gradients or self.gradients,
            optimizer=LBFGS(first_step=self.first_step),
            gradient=options.gradient,
            callback=options.callback,
        )
        rms, tau = misfit.rms(result.x1.detach()).double(), options.tau or self.tau
        ran = (Status.EVALUATIONS, Status.CONVERGED, Status.STALLED)
        status = tuple(
            (Status.REACHED if value <= tau else Status.MISSED) if s in ran else s
            for s, value in zip(result.status, rms.tolist(), strict=True)
        )
        return replace(result, status=status, measure=rms, preparation=spent + 2 * (len(finer) - 1))
