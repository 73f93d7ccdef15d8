"""D-Flow from the inversion of a fast estimate: the recipe that the commands use by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.control import control
from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers import LBFGS
from headwater.optimizers.status import Status
from headwater.problem.batch import select
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit, discrepancy
from headwater.recipes.about import About
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate, EstimateWatch, Estimator
from headwater.recipes.recipe import RecipeOptions, result_without_control
from headwater.solvers.fixed import invert, logit_grid, solve


@dataclass(frozen=True)
class WarmStart:
    """D-Flow from the inversion of an `Estimate`, on a time grid fit for images.

    1. The estimate is an x1 whose misfit is near the noise level.
    2. Its inversion is the start, close to the answer; plain noise, or a blend with a poor back-projection, is still
       far off after 100 gradients. The inversion uses a finer grid than the control, so that the coarser way back
       damps what the flow finds implausible.
    3. L-BFGS with a small first step lowers the cost until the discrepancy principle stops it.

    Parameters
    ----------
    estimate
        How the estimate is made: one, the mean of some, or whatever has their `sample`.
    correct_round_trip
        The way to x0 and back loses a little of the estimate e. The correction adds it again: the samples are
        x1 = solve(x0) + e - solve(invert(e)), which is e itself at the start. It serves measurements that are more
        accurate than the coarse solver. Events of the callback show solve(x0) alone.
    steps
        Midpoint steps of the control, on `logit_grid`.
    finer
        Steps of the inversion per step of the control.
    gradients
        The most gradient evaluations per problem.
    first_step
        The first step of L-BFGS, rms per coordinate of x0.
    tau
        The discrepancy level: with n measurements the true x1 has rms 1 +- 1/sqrt(2n), in units of the noise.
    keep_estimate
        The least misfit, in units of the noise, at which an estimate that has reached `tau` is the answer: then there
        is no inversion and no control. Otherwise control runs. Its sample replaces an estimate below `keep_estimate`;
        of an estimate above `tau` and its control, the one whose misfit is nearer to the goal is returned. None means
        that control always runs. It serves pictures of which everything was measured: there control takes twice the
        time and loses a little. With 0 any estimate up to `tau` is the answer, and control only mends the others.

    Notes
    -----
    `benchmarks/ablation.py` and `benchmarks/decisions/audio_recipe.py` chose the settings. It is called as any
    `Recipe`; x0 and x1 of the `Result` are `[len(seeds), *event]`. A problem that converges above `tau` ends as
    MISSED. `Result.preparation` counts the estimate and the inversion.

    Raises
    ------
    Misuse
        When it is called: as `control` and `invert` do.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, Algorithm 1, for the control; `Estimate` for the start.

    Examples
    --------
    >>> from headwater import Gaussian, Identity, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(Identity(), torch.tensor([[0.5, -0.5]]), 0.01)
    >>> result = WarmStart(gradients=20)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.status[0].name, bool(misfit.rms(result.x1) <= 1.05)
    ('REACHED', True)
    >>> result.preparation  # 32 of the estimate and 12 midpoint steps of the inversion
    56
    """

    about: ClassVar[About] = About(
        name="warm-start",
        paper="D-Flow from the inverted estimate, down to the noise level",
        takes="any operator",
        network_gradient=True,
        cost="56 evaluations, then up to 60 gradients of 16",
    )
    estimate: Estimator = field(default_factory=Estimate)
    correct_round_trip: bool = False
    steps: int = 8
    finer: float = 1.5
    gradients: int = 60
    first_step: float = 0.005
    tau: float = 1.05
    keep_estimate: float | None = None

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
        e = self.estimate.sample(flow, misfit, seeds, guess=guess, watch=watch)
        if watch.ended is not None:
            return result_without_control(misfit, e, watch.ended, watch.evaluations)
        if self.keep_estimate is None:
            return self.improve(e, flow, misfit, watch.evaluations, options)
        rms, tau = misfit.rms(e), self.tau if options.tau is None else options.tau
        kept = (rms >= self.keep_estimate) & (rms <= tau)
        # The misfit of a mean is below the noise by nature, so it says nothing of fitted noise.
        kind = Status.COMPUTED if isinstance(self.estimate, Average) else Status.REACHED
        answer = result_without_control(misfit, e, kind, watch.evaluations)
        rows = torch.nonzero(~kept).flatten()
        if len(rows) == 0:
            return answer
        found = self.improve(e[rows], select(flow, rows), misfit.select(rows), watch.evaluations, options)
        worse = (rms[rows] >= self.keep_estimate) & (found.measure > torch.clamp(rms[rows], min=tau))
        return join_results(answer, found, rows, ~worse)

    def improve(self, e: Tensor, flow: Flow, misfit: Misfit, spent: int, options: RecipeOptions) -> Result:
        """Control from the estimate e `[batch, *event]`; e itself if a watched flow ends the run."""
        try:
            return self.control_from(e, flow, misfit, spent, options)
        except Ended as ended:
            return result_without_control(misfit, e, ended.status, spent)

    def control_from(
        self, e: Tensor, flow: Flow, misfit: Misfit, spent: int, options: RecipeOptions
    ) -> Result:
        """Control from the inversion of the estimate e `[batch, *event]`, which took `spent` evaluations."""
        steps = options.steps or self.steps
        finer, grid = logit_grid(int(self.finer * steps)), logit_grid(steps)
        x0 = invert(flow, e, steps=finer)
        spent += 2 * (len(finer) - 1)  # a midpoint step evaluates twice
        # e - solve(invert(e)): the solver's error and what the flow finds implausible in e.
        lost = torch.zeros_like(e)
        if self.correct_round_trip:
            lost = e - solve(flow, x0, steps=grid)
            spent += 2 * steps
            misfit = compose(misfit, Shift(lost))
        tau = self.tau if options.tau is None else options.tau
        result = control(
            flow,
            misfit,
            x0,
            stop=discrepancy(misfit, tau),
            steps=grid,
            gradients=options.gradients or self.gradients,
            optimizer=LBFGS(first_step=self.first_step),
            gradient=options.gradient,
            callback=options.callback,
        )
        return replace(
            result,
            x1=result.x1 + lost,
            preparation=spent,
            on_flow=not self.correct_round_trip,
        )


def join_results(answer: Result, found: Result, rows: Tensor, better: Tensor) -> Result:
    """The result of a batch: `found` for its problems in `rows` `[k]`, the sample only where it is `better` `[k]`."""
    status, preparation = list(answer.status), torch.full_like(answer.gradients, int(answer.preparation))
    for i, new in zip(rows.tolist(), found.status, strict=True):
        status[i] = new
    preparation[rows] = torch.as_tensor(found.preparation, device=rows.device)
    gradients = answer.gradients.index_copy(0, rows, found.gradients)
    trace = torch.full((len(found.trace), 2, len(status)), torch.nan).to(found.trace)
    trace[:, :, rows] = found.trace
    chosen, rows = torch.nonzero(better).flatten(), rows[better]
    parts = {name: getattr(answer, name).index_copy(0, rows, getattr(found, name)[chosen]) for name in SAMPLE}
    return replace(
        answer,
        **parts,
        status=tuple(status),
        gradients=gradients,
        nfe_per_gradient=found.nfe_per_gradient,
        trace=trace,
        preparation=preparation,
    )


SAMPLE = ("x0", "x1", "cost", "measure")


@dataclass(frozen=True, eq=False)
class Shift:
    """x -> x + by, with `by` `[batch, *event]`."""

    by: Tensor

    def select(self, index: Tensor) -> Shift:
        """The shift of the problems in `index`."""
        return Shift(self.by[index])

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.by
