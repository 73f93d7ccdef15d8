"""Samples of the posterior of the source: all chains of all problems, at once or in groups that fit into memory.

x0 of every chain <- a start near the measurement
repeat
    x0 of every chain <- one step of the sampler, which leaves exp(-Phi(x0)) N(x0; 0, I) as it is
keep every thin-th x0 after the burn-in
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headwater.dflow.evaluation import ErrorNote, Objective
from headwater.flows.flow import Flow
from headwater.problem.cost import Cost
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.chains import Sampler
from headwater.recipes.posterior.checks import check_counts, check_rows
from headwater.recipes.posterior.perturb_and_map import PerturbAndMAP
from headwater.recipes.posterior.potential import Potential
from headwater.recipes.posterior.result import Posterior
from headwater.recipes.posterior.run import Run, Watcher
from headwater.solvers.differentiation import Auto, Strategy
from headwater.solvers.fixed import rising_grid
from headwater.solvers.method import MIDPOINT, Method


def posterior(
    flow: Flow,
    misfit: Cost,
    seeds: Sequence[int],
    *,
    method: Sampler = PerturbAndMAP(),  # noqa: B008 (frozen)
    chains: int = 4,
    draws: int = 16,
    steps: int | Sequence[float] = 6,
    solver: Method = MIDPOINT,
    gradient: Strategy | None = None,
    callback: Watcher | None = None,
    state: Posterior | dict[str, Tensor] | None = None,
    start: Tensor | Estimate | None = None,
) -> Posterior:
    """Draw from the posterior exp(-misfit(x1(x0))) N(x0; 0, I) of the source, each problem by itself.

    All chains are stepped at once, or, if they do not fit into memory, in groups, one after another in every step.
    The draws are the same within rounding (`forecast_posterior` says how many go together).

    Parameters
    ----------
    flow
        The prior, with events `[*event]`.
    misfit
        Minus the log likelihood, x1 `[batch, *event]` -> `[batch]`: a `Misfit` (whose sigma_y for complex y is that
        of each part), or any cost in that unit.
    seeds
        One whole number per problem; a problem's draws depend on its own seed alone.
    method
        The sampler. The default one is exact for linear problems and needs many gradients on large networks, where
        `DecoupledAnnealing` does without.
    chains
        Chains per problem, at least 1. R-hat compares them.
    draws
        Draws kept of every chain, at least 1.
    steps
        Steps of the solve from x0 to x1, or its times, rising within [0, 1]. The posterior is that of the discrete
        solve.
    solver
        The rule for one step of the solve.
    gradient
        How the solve is differentiated; None means `Auto()`, whose memory also bounds how many chains are stepped at
        once.
    callback
        `callback(event)` after every step, with a `Sampling`; it ends the run by returning a `Status`, as
        `deadline(seconds)` does. Draws so far are returned.
    state
        An earlier result, or its `state`, to go on from with the same flow, misfit, seeds, method and chains. `draws`
        counts those of all runs: the result is that of one run without a break, and of the first `draws` if there are
        more.
    start
        Source points `[problems, *event]` or `[problems, chains, *event]` to begin at; None means draws of the
        source that up to 20 gradients brought near the measurement, each near one of its own (`PerturbAndMAP`). A
        sampler without gradients, as `PCN`, begins at draws of the source. An `Estimate` means the source points of
        estimates of a `Misfit`, from the noise of each chain.

    Returns
    -------
    posterior
        Draws `[problems, chains, draws, *event]`, their moments, and whether the chains agree.

    Raises
    ------
    Ended
        A watched flow (`watch_flow`) ended the run before the first evaluation was complete. Later, what was drawn so
        far is returned.
    Misuse
        If there are no chains or draws; if the misfit or the flow holds data of another number of problems; if the
        start has another shape; if `state` is of another method, other seeds or chains; and as `control`.

    References
    ----------
    Cotter, Roberts, Stuart & White, Statistical Science 28 (2013), for a Gaussian prior and its potential.

    Examples
    --------
    The law is N(0, 4) for two numbers. The first was measured, as 1 with noise 0.5: it is 0.94 +- 0.49, and the other
    one 0 +- 2.

    >>> import torch
    >>> from headwater import EULER, Flow, Misfit, PCN, posterior
    >>> flow = Flow(lambda x, t: x, (2,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1[:, :1], torch.tensor([[1.0]]), 0.5)
    >>> found = posterior(flow, misfit, [0], method=PCN(200, thin=10), draws=100, steps=1, solver=EULER)
    >>> bool(((found.mean - torch.tensor([0.94, 0.0])).abs() < torch.tensor([0.2, 0.6])).all())
    True
    """
    check_counts(seeds, chains, draws)
    check_rows((misfit, flow.velocity), len(seeds))
    grid = rising_grid(steps)
    rows = torch.arange(len(seeds)).repeat_interleave(chains)
    options = {"method": solver, "steps": grid, "gradient": gradient or Auto()}
    objective = Objective.from_parts(flow, misfit, None, None, None, options)
    with ErrorNote("select", rows):
        objective = replace(objective.select(rows), problems=None)
    potential = Potential(objective, (len(grid) - 1) * solver.evaluations)
    run = Run(method, potential, seeds, chains, draws, callback)
    if state is not None:
        run.resume(state.state if isinstance(state, Posterior) else state)
    else:
        run.begin(start)
    run.sample()
    return run.build_result()
