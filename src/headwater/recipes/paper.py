"""D-Flow as published: midpoint 6, L-BFGS, and a blend of the inverted observation with noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from headwater.dflow.control import control
from headwater.dflow.result import Result
from headwater.dflow.start import blend
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers import LBFGS, Optimizer
from headwater.problem.cost import Misfit, discrepancy
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions, require_misfit, result_without_control
from headwater.solvers.fixed import invert


@dataclass(frozen=True)
class Paper:
    """D-Flow with the settings of the paper (Ben-Hamu et al., ICML 2024).

    y0 is the inversion of the guess, z a draw of N(0, I), and control starts from x0 = sqrt(a) y0 + sqrt(1 - a) z.

    Parameters
    ----------
    steps
        Midpoint steps of the control and of the inversion of the guess.
    a
        The share of the inverted guess in the start, 0 to 1 (section 3.3).
    gradients
        The most gradient evaluations per problem.
    tau
        The discrepancy level at which a problem is solved, in units of the noise.
    optimizer
        L-BFGS with a strong Wolfe line search.

    Notes
    -----
    It is called as any `Recipe`; x0 and x1 of the `Result` are `[len(seeds), *event]`. A problem that converges above
    `tau` ends as MISSED.

    Raises
    ------
    Misuse
        When it is called: if `a` is outside of [0, 1], or as `control` and `invert` do.

    References
    ----------
    Ben-Hamu et al., "D-Flow: Differentiating through Flows for Controlled Generation", ICML 2024, Algorithm 1. The
    share a is that of its re-implementations; the discrepancy stands for the paper's target PSNR.

    Examples
    --------
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x, torch.tensor([[0.5, -0.5]]), 0.01)
    >>> result = Paper()(flow, misfit, seeds=[0], guess=torch.zeros(1, 2))
    >>> result.status[0].name, [round(x, 1) for x in result.x1[0].tolist()]
    ('REACHED', [0.5, -0.5])
    """

    about: ClassVar[About] = About(
        name="paper",
        paper="Ben-Hamu et al., D-Flow, ICML 2024, Algorithm 1",
        takes="any operator",
        network_gradient=True,
        cost="12 evaluations, then up to 200 gradients of 12",
    )
    steps: int = 6
    a: float = 0.1
    gradients: int = 200
    tau: float = 1.05
    optimizer: Optimizer[Any] = field(default_factory=LBFGS)

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
        require_misfit(misfit)
        steps = options.steps or self.steps
        z = flow.noise(seeds, device=guess.device)
        guess, tau = guess.expand_as(z), self.tau if options.tau is None else options.tau
        try:
            y0 = invert(flow, guess, steps=steps)
            result = control(
                flow,
                misfit,
                blend(y0, z, self.a),
                stop=discrepancy(misfit, tau),
                steps=steps,
                gradients=options.gradients or self.gradients,
                optimizer=self.optimizer,
                gradient=options.gradient,
                callback=options.callback,
            )
        except Ended as ended:
            return result_without_control(misfit, guess, ended.status, 0)
        return replace(result, preparation=2 * steps)  # the inversion: a midpoint step evaluates twice
