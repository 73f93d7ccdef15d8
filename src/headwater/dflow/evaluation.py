"""One line of Algorithm 1: from source points to samples, costs and gradients, for the problems that still run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.problem.batch import restrictable, select
from headwater.problem.cost import Cost, Stop, check_values
from headwater.solvers.fixed import solve

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """A gradient evaluation of some problems: x0, x1 `[k, *event]`, cost `[k]` float64, its gradient, the measure."""

    x0: Tensor
    x1: Tensor
    cost: Tensor
    gradient: Tensor
    measure: Tensor

    def take(self, index: Tensor) -> Evaluation:
        """The rows in `index`."""
        return Evaluation(**{name: value[index] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Objective:
    """C(x1(x0)) + R(x0) with x0 = constraint(z), and the measure of the stop.

    Attributes
    ----------
    flow, cost, prior, stop, constraint
        As `control` takes them.
    solver
        Keyword arguments of `solve`.
    restrictable
        Whether its parts can be had for some problems; if not, ended problems are evaluated, too.
    problems
        The indices of the problems it is restricted to, None for all; for messages.
    """

    flow: Flow
    cost: Cost
    prior: Cost | None
    stop: Stop | None
    constraint: Map | None
    solver: dict[str, Any]
    restrictable: bool = True
    problems: Tensor | None = None

    @classmethod
    def of(
        cls,
        flow: Flow,
        cost: Cost,
        prior: Cost | None,
        stop: Stop | None,
        constraint: Map | None,
        solver: dict[str, Any],
    ) -> Objective:
        """The objective of all problems."""
        with Naming("select", torch.zeros(1, dtype=torch.long)):
            parts = restrictable(flow, cost, prior, stop, constraint)
        return cls(flow, cost, prior, stop, constraint, solver, parts)

    def evaluate_some(self, index: Tensor, z: Tensor) -> Evaluation:
        """The evaluation of the problems in `index` at their rows of z `[batch, *event]`."""
        if len(index) == len(z):
            return self.evaluate(z)
        if not self.restrictable:
            return self.evaluate(z).take(index)
        with Naming("select", index):
            part = self.select(index)
        return part.evaluate(z[index])

    def select(self, index: Tensor) -> Objective:
        """The objective of the problems in `index`."""
        return replace(
            self,
            flow=self.flow.select(index),
            cost=select(self.cost, index),
            prior=select(self.prior, index),
            stop=select(self.stop, index),
            constraint=select(self.constraint, index),
            problems=index,
        )

    def evaluate(self, z: Tensor) -> Evaluation:
        """Solve, cost, gradient and measure at z `[k, *event]`."""
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            x0 = self.source(z)
            with self.naming("velocity"):
                x1 = solve(self.flow, x0, **self.solver)
            value = self.value("cost", self.cost, x1)
            if self.prior is not None:
                value = value + self.value("prior", self.prior, x0)
            with self.naming("gradient"):
                (gradient,) = torch.autograd.grad(value.sum(), z)
        x1 = x1.detach()
        return Evaluation(x0.detach(), x1, value.detach().to(torch.float64), gradient, self.measure(x1))

    def source(self, z: Tensor) -> Tensor:
        """x0 = constraint(z), in the flow's support."""
        if self.constraint is None:
            return self.flow.project(z)
        with self.naming("constraint"):
            return self.flow.project(self.constraint(z))

    def value(self, part: str, cost: Cost, x: Tensor) -> Tensor:
        """The values of a cost `[k]`, checked."""
        with self.naming(part):
            return check_values(cost, cost(x), len(x), x)

    def measure(self, x1: Tensor) -> Tensor:
        """The measure of the stop `[k]` float64, NaN without one."""
        if self.stop is None:
            return torch.full((len(x1),), torch.nan, dtype=torch.float64, device=x1.device)
        with torch.no_grad():
            return self.value("stop", self.stop.measure, x1).to(torch.float64)

    def naming(self, part: str) -> Naming:
        """Whatever is raised inside says which part and which problems it belongs to."""
        return Naming(part, self.problems)


class Naming:
    """Adds to an exception that passes through which part of the objective raised it, and for which problems."""

    def __init__(self, part: str, problems: Tensor | None) -> None:
        self.part, self.problems = part, problems

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            which = "all problems" if self.problems is None else f"the problems {self.problems.tolist()}"
            error.add_note(f"Raised in the {self.part}, evaluated for {which}.")
