"""What a posterior will cost, before it starts: counted evaluations and gradients, the peak of its memory, seconds.

One network evaluation of a group of chains is timed; of a sampler that takes gradients, one with its vector-Jacobian
product too, and of one that makes estimates, a proximal step. What they count to gives the seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.evaluation import Objective
from headwater.dflow.forecast import forecast, time_least
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.networks import device_of
from headwater.problem.cost import Cost
from headwater.recipes.estimate import Estimate, solve_proximal
from headwater.recipes.posterior.chains import Sampler
from headwater.recipes.posterior.groups import fit_chains, held_bytes, result_bytes, step_bytes
from headwater.recipes.posterior.optimise import require_measurement
from headwater.recipes.posterior.perturb_and_map import calls_of_estimate
from headwater.recipes.posterior.start import count_start
from headwater.solvers.differentiation import Auto, Checkpoint, Direct
from headwater.solvers.fixed import rising_grid
from headwater.solvers.method import MIDPOINT, Method


@dataclass(frozen=True)
class PosteriorForecast:
    """What `posterior` will need.

    Attributes
    ----------
    evaluations, gradients
        Network evaluations and gradient evaluations per problem, those of the start included, at most: an
        optimisation may converge earlier. Evaluations count those of gradients.
    bytes
        Tensors at the peak for all problems, in bytes, on top of the network's weights.
    seconds
        Of the whole run, group after group, if every call takes as long as the one that was timed.
    at_once
        How many chains are stepped at once; the others wait for their turn in every step.

    Examples
    --------
    >>> from headwater import PCN, Flow, forecast_posterior
    >>> flow = Flow(lambda x, t: -x, shape=(1000,))
    >>> need = forecast_posterior(flow, lambda x1: x1.square().sum(1), 1, method=PCN(10, thin=5), chains=2, draws=3)
    >>> need.evaluations, need.gradients  # two chains, one start and 25 steps, 12 evaluations each
    (624, 0)
    """

    evaluations: int
    gradients: int
    bytes: int
    seconds: float
    at_once: int


def forecast_posterior(
    flow: Flow,
    misfit: Cost,
    problems: int,
    *,
    method: Sampler,
    chains: int = 4,
    draws: int = 16,
    steps: int | Sequence[float] = 6,
    solver: Method = MIDPOINT,
    gradient: Direct | Checkpoint | Auto | None = None,
    start: Tensor | Estimate | None = None,
) -> PosteriorForecast:
    """Predict what `posterior(flow, misfit, seeds)` takes with these settings and as many seeds as problems.

    It evaluates the network a few times, on as many chains as are stepped at once, and asks for no gradient that the
    sampler does not take. The calls are the most that there can be, as optimisations may end early; the memory is
    that of one step of these chains, of all chains and of the draws; the seconds are those of the calls and of the
    proximal steps of estimates. `RandomiseThenOptimise` takes m gradients more a draw, for m measurements of d
    numbers, and holds d (d + m) numbers a chain more, `Preconditioned` m gradients a chain, and d^2 numbers.

    Parameters
    ----------
    flow, misfit
        As in `posterior`, for a batch of `problems`.
    problems
        How many.
    method, chains, draws, steps, solver, gradient
        As in `posterior`.
    start
        As in `posterior`, `[problems, *event]` or `[problems, chains, *event]` if it is a tensor.

    Returns
    -------
    forecast
        Calls per problem; bytes and seconds in all.

    Raises
    ------
    Misuse
        If there is no problem, chain or draw, and as `headwater.forecast`.

    Examples
    --------
    >>> from headwater import Flow, InfinityHMC
    >>> flow = Flow(lambda x, t: -x, shape=(1000,))
    >>> method = InfinityHMC(burn_in=10, thin=1, leaps=5)
    >>> need = forecast_posterior(flow, lambda x1: x1.square().sum(1), 1, method=method, chains=1, draws=10)
    >>> need.gradients, need.bytes > 10 * 2 * 4000  # 20 of the start, 1, and 20 steps of 5
    (121, True)
    """
    if min(problems, chains, draws) < 1:
        raise Misuse(
            f"{problems} problems of {chains} chains and {draws} draws need nothing.",
            "Give at least 1 of each.",
        )
    grid, rows = rising_grid(steps), torch.arange(problems).repeat_interleave(chains)
    options = {"method": solver, "steps": grid, "gradient": gradient or Auto()}
    every = Objective.from_parts(flow, misfit, None, None, None, options).select(rows)
    x0 = flow.noise(range(len(rows)), device=device_of(flow.modules))
    way: Any
    at_once, way = fit_chains(every, x0, method, draws)
    group = every if at_once == len(rows) else every.select(torch.arange(at_once))
    nfe = (len(grid) - 1) * solver.evaluations
    step, first = method.calls_per_step(), method.calls_to_begin()
    count = method.burn_in + draws * method.thin
    gradients = count * step.gradients + first.gradients + (count_start(method) if start is None else 0)
    evaluations = nfe * (count * step.solves + first.solves) + count * step.evaluations + first.evaluations
    evaluations += calls_of_estimate(start) if isinstance(start, Estimate) else 0
    x, seconds = x0[:at_once], 0.0
    if gradients:
        one = forecast(group.flow, group.cost, at_once, method=solver, steps=grid, gradient=way)
        way, seconds = one.strategy, gradients * one.seconds_per_gradient
    peak = max(step_bytes(group, x, method, way) + held_bytes(x0, draws), result_bytes(x0, draws))
    seconds += evaluations * time_evaluation(group.flow, x)
    for estimate, times in ((getattr(method, "estimate", None), count), (start, 1)):
        if isinstance(estimate, Estimate):
            seconds += times * estimate.times * time_proximal(group, x, estimate)
    return PosteriorForecast(
        evaluations=chains * (nfe * gradients + evaluations),
        gradients=chains * gradients,
        bytes=peak,
        seconds=seconds * math.ceil(len(rows) / at_once),
        at_once=at_once,
    )


def time_evaluation(flow: Flow, x: Tensor) -> float:
    """Seconds of one evaluation of the network at x `[chains, *event]`, without a gradient."""
    with torch.no_grad():
        return time_least(lambda: flow(x, torch.tensor(0.5)), x.device)


def time_proximal(objective: Objective, x: Tensor, estimate: Estimate) -> float:
    """Seconds of one proximal step of an estimate at x `[chains, *event]`, through a decoder if there is one."""
    misfit, path = require_measurement(objective.cost), objective.flow.path
    t = torch.tensor(0.5, dtype=torch.float64)
    root = estimate.covariance.root(objective.flow, float(path.alpha(t)), float(path.sigma(t)))
    with torch.no_grad():
        return time_least(lambda: solve_proximal(misfit, x, root, estimate.iterations), x.device)
