"""How many chains are stepped at once: as many as fit into memory; in every step the others wait for their turn.

A chain of a sampler with gradients needs what one problem of `control` needs (`dflow.forecast`), another one what a
solve needs. The memory is that of `Auto`, less what all chains and their draws hold. If a chain fits with the graph
of its solve kept, groups are as large as that allows: two groups are faster than one that solves everything twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from headwater.dflow.evaluation import Objective
from headwater.dflow.forecast import peak_bytes
from headwater.flows.flow import Flow
from headwater.problem.cost import Cost, Misfit
from headwater.recipes.posterior.chains import Sampler
from headwater.recipes.posterior.potential import Potential
from headwater.solvers.differentiation import Auto, Checkpoint, Direct, Strategy, activations_of_one
from headwater.solvers.memory import PeakMemory, cost_bytes, kept_bytes

FEW = 0.1
"""The share of the memory up to which no exact count is needed, which takes seconds at first."""
STATES_PER_CHAIN = 6
"""States `[*event]` held for each chain: x0, x1 and gradient, at the start and now."""
STATES_OF_PROXIMAL = 30
"""States `[*event]` held for each chain by a proximal step without an adjoint: L-BFGS and its five pairs."""
STATES_PER_DRAW = 6
"""States `[*event]` held for each kept draw at the end: x0 and x1 in the list, in the result and in its `state`."""


def held_bytes(x0: Tensor, draws: int) -> int:
    """Bytes that all chains at x0 `[chains, *event]` and the list of their draws hold beside a step."""
    return (STATES_PER_CHAIN + 2 * draws) * x0.numel() * x0.element_size()


def result_bytes(x0: Tensor, draws: int) -> int:
    """Bytes that all chains at x0 `[chains, *event]` and their draws hold at the end."""
    return (STATES_PER_CHAIN + STATES_PER_DRAW * draws) * x0.numel() * x0.element_size()


def fit_chains(objective: Objective, x0: Tensor, sampler: Sampler, draws: int) -> tuple[int, Strategy]:
    """How many of the chains at x0 `[chains, *event]` fit into memory at once, and how their solve is differentiated.

    At least one; all, if a rough count of what they need is far below the memory.
    Otherwise `Auto` becomes `Direct`, or `Checkpoint` if not even one chain fits with that; another strategy stays.
    The network and the cost are evaluated for one chain.

    Parameters
    ----------
    objective
        Of all chains.
    x0
        Points like those of the chains.
    sampler, draws
        What is drawn, and how many draws of each chain.
    """
    gradient = objective.solver["gradient"]
    one, most = objective.select(torch.tensor([0])), 0
    auto = gradient if isinstance(gradient, Auto) else Auto()
    room = auto.budget(x0.device) - held_bytes(x0, draws)
    if len(x0) * rough_bytes(one, x0[:1], sampler) < FEW * room:
        return len(x0), gradient
    ways: list[Strategy] = [Direct(), Checkpoint()] if gradient is auto else [gradient]
    for way in ways:
        most = math.floor(room / step_bytes(one, x0[:1], sampler, way))
        if most >= 1:
            break
    return min(max(most, 1), len(x0)), way


def takes_gradients(sampler: Sampler) -> bool:
    """Whether a sampler ever takes a gradient: `Preconditioned(PCN())` does where it begins."""
    return sampler.calls_per_step().gradients + sampler.calls_to_begin().gradients > 0


def rough_bytes(one: Objective, x0: Tensor, sampler: Sampler) -> float:
    """Bytes of one chain at x0 `[1, *event]`, roughly: what autograd keeps of its whole solve and cost.

    A sampler that takes no gradient needs what an evaluation and the cost need, which may know nothing of gradients.
    """
    if not takes_gradients(sampler):
        return bytes_without_gradient(one, x0, sampler)
    evaluations = (len(one.solver["steps"]) - 1) * one.solver["method"].evaluations
    return float(evaluations * activations_of_one(one.flow, x0) + kept_bytes(one.cost, x0))


def step_bytes(objective: Objective, x0: Tensor, sampler: Sampler, way: Strategy) -> int:
    """Bytes at the peak of a step of all chains of an objective, at points x0 `[chains, *event]`."""
    if not takes_gradients(sampler):
        return bytes_without_gradient(objective, x0, sampler)
    known = way if isinstance(way, Direct | Checkpoint) else Direct()
    steps = len(objective.solver["steps"]) - 1
    return peak_bytes(objective.flow, objective.cost, x0, known, steps, objective.solver["method"])


def bytes_without_gradient(objective: Objective, x0: Tensor, sampler: Sampler) -> int:
    """Bytes at the peak of a step of chains at x0 `[chains, *event]` that takes no gradient of the network.

    The proximal steps of an annealing take gradients of the cost where its operator has no adjoint, as a decoder.
    """
    cost, need = objective.cost, solve_bytes(objective.flow, objective.cost, x0)
    if not (sampler.calls_per_step().evaluations and isinstance(cost, Misfit)):
        return need
    if hasattr(cost.operator, "adjoint"):
        return need
    held = STATES_OF_PROXIMAL * x0.numel() * x0.element_size()
    return max(need, cost_bytes(cost, x0) + held)


def solve_bytes(flow: Flow, cost: Cost, x: Tensor) -> int:
    """Bytes at the peak of a solve from x `[batch, *event]` and of its cost, without a gradient."""
    with torch.no_grad(), PeakMemory() as memory:
        flow(x, torch.tensor(0.5))
        cost(x)
    peak: int = memory.peak
    return peak + STATES_PER_CHAIN * x.numel() * x.element_size()


def split(potential: Potential, first: int, count: int, at_once: int) -> Iterator[tuple[slice, Potential]]:
    """The chains from `first` to `count` in groups of at most `at_once`, alike in size, each with its potential."""
    left = count - first
    if left == count <= at_once:
        yield slice(0, count), potential
        return
    for rows in torch.arange(first, count).tensor_split(math.ceil(left / at_once)):
        yield slice(int(rows[0]), int(rows[-1]) + 1), potential.select(rows)
