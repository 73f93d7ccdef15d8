"""Blind restoration by turns: x1 with the operator so far, then the operator that suits x1.

    phi <- start
    for level in levels                                   coarse to fine: the noise is raised at first
        x1  <- samples of the flow that agree with y by A_phi up to level * sigma_y
        phi <- argmin_phi E |A_phi x1 - y|^2 / (2 (level sigma_y)^2) - log p(phi)
    x1 <- the answer for A_phi

With exact draws of the posterior of x1 the two steps are Monte Carlo EM (Wei & Tanner, JASA 1990; with diffusion
models Laroche et al., "Fast diffusion EM", WACV 2024, Algorithm 1) and phi goes to the maximum of the marginal
likelihood. With the posterior mean of a Gaussian law they are coordinate descent, and x1 and phi go to their joint
mode, which for blurs favours no blur at all (Levin et al., CVPR 2009). While the operator is wrong, A_phi x1 misses y
by more than the noise; the levels above 1 say so, and keep the error of the operator out of x1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed
from headwater.optimizers.status import Status
from headwater.recipes.average import Average
from headwater.recipes.blind.result import BlindResult, with_operator
from headwater.recipes.blind.unknown import BlindMisfit
from headwater.recipes.estimate import Estimate
from headwater.recipes.recipe import Recipe, RecipeOptions


@dataclass(frozen=True)
class Alternate:
    """Restoration and operator by turns, without a gradient of the network.

    Parameters
    ----------
    restore
        The recipe of x1 within a round: short and cheap, and rather a draw than a mean.
    answer
        The recipe of the last x1; None means no other than that of the last round.
    levels
        One round each: how many times the noise of y the misfit may be.
    draws
        Samples of x1 in a round, of which the operator sees all.

    Raises
    ------
    Misuse
        There is no round or no draw, or a level is not positive and finite.

    Notes
    -----
    `Result.preparation` counts all rounds. A callback hears every round, and may end the run.

    References
    ----------
    Wei & Tanner, "A Monte Carlo implementation of the EM algorithm", JASA 85 (1990); Laroche, Almansa & Coupete,
    "Fast diffusion EM", WACV 2024; Levin et al., "Understanding and evaluating blind deconvolution algorithms", CVPR
    2009.

    Examples
    --------
    The flow knows that x1 is near 2, so y = 3 tells a gain of 1.5:

    >>> import torch
    >>> from headwater import Gaussian
    >>> from headwater.recipes.blind import BlindMisfit, UnknownGain
    >>> flow = Gaussian(torch.full((64,), 2.0), torch.full((64,), 0.1)).flow
    >>> problem = BlindMisfit(UnknownGain(), torch.full((1, 64), 3.0), 0.2)
    >>> result = Alternate(levels=(4, 2, 1))(flow, problem, [0], guess=problem.y)
    >>> result.parameters.round(decimals=1).tolist(), result.path.shape
    ([[1.5]], torch.Size([3, 1, 1]))
    """

    restore: Recipe = field(default_factory=lambda: Estimate(times=8))
    answer: Recipe | None = field(default_factory=lambda: Average(Estimate(times=16)))
    levels: Sequence[float] = (16.0, 12.0, 8.0, 6.0, 4.0)
    draws: int = 1

    def __post_init__(self) -> None:
        if not self.levels or self.draws < 1 or not all(0 < level < math.inf for level in self.levels):
            raise Misuse(
                f"Levels {tuple(self.levels)} and {self.draws} draws find no operator.",
                "Give at least one positive level, and at least one draw.",
            )

    def __call__(
        self,
        flow: Flow,
        problem: BlindMisfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> BlindResult:
        """Solve a batch of blind problems, one per seed, from a `guess` `[batch or 1, *event]`.

        Raises
        ------
        Misuse
            If there is neither one measurement nor one for every seed; else as the recipes do.
        """
        problem = problem.expand(len(seeds))
        phi = problem.unknown.start(problem.y)
        sigma = torch.as_tensor(problem.sigma_y).to(problem.y)
        path: list[Tensor] = []
        spent: Any = 0
        for number, level in enumerate(self.levels):
            misfit, draws = problem.at(phi, level), []
            for k in range(self.draws):
                own = [derive_seed(seed, 1 + number * self.draws + k) for seed in seeds]
                result = self.restore(flow, misfit, own, guess=guess, options=options)
                spent = spent + result.evaluations
                draws.append(result.x1.detach())
                if ended := _ended(result.status):
                    done = replace(result, preparation=spent - result.gradients * result.nfe_per_gradient)
                    return with_operator(_end(done, ended), problem, phi, [*path, phi])
            phi = problem.unknown.fit(phi, draws, problem.y, level * sigma)
            path.append(phi)
        if self.answer is not None:
            result = self.answer(flow, problem.at(phi), seeds, guess=guess, options=options)
            spent = spent + result.evaluations
        with torch.no_grad():
            misfit = problem.at(phi)
            cost, rms = misfit(result.x1).to(torch.float64), misfit.rms(result.x1).to(torch.float64)
        status = result.status if self.answer is not None else (Status.COMPUTED,) * len(seeds)
        done = replace(
            result,
            cost=cost,
            measure=rms,
            status=status,
            preparation=spent - result.gradients * result.nfe_per_gradient,
        )
        return with_operator(done, problem, phi, path)


def _ended(status: Sequence[Status]) -> Status | None:
    """What ended a whole run early, if something did."""
    return status[0] if status[0] in (Status.SECONDS, Status.CANCELLED) else None


def _end(result: Any, status: Status) -> Any:
    return replace(result, status=(status,) * len(result.status))
