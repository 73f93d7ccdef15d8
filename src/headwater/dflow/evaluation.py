"""One line of Algorithm 1: from source points to samples, costs and gradients, for the problems that still run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.batch import can_restrict, select
from headwater.problem.cost import Cost, Stop, check_values
from headwater.solvers.fixed import solve

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """A gradient evaluation of k problems.

    Attributes
    ----------
    x0, x1
        The source points and their samples `[k, *event]`, detached.
    cost
        C(x1) + R(x0) `[k]`, float64.
    gradient
        Its gradient in the optimised variable z `[k, *event]`.
    measure
        The measure of the stop `[k]`, float64; NaN without a stop.
    """

    x0: Tensor
    x1: Tensor
    cost: Tensor
    gradient: Tensor
    measure: Tensor

    def take(self, index: Tensor) -> Evaluation:
        """The evaluation of the rows in `index` `[j]`."""
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
        Whether every part can be evaluated for some of the problems; if not, ended problems are evaluated, too.
    problems
        The indices `[k]` of the problems it is restricted to, None for all; for messages.
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
    def from_parts(
        cls,
        flow: Flow,
        cost: Cost,
        prior: Cost | None,
        stop: Stop | None,
        constraint: Map | None,
        solver: dict[str, Any],
    ) -> Objective:
        """The objective of all problems."""
        with ErrorNote("select", torch.zeros(1, dtype=torch.long)):
            parts = can_restrict(flow, cost, prior, stop, constraint)
        return cls(flow, cost, prior, stop, constraint, solver, parts)

    def evaluate_problems(self, index: Tensor, z: Tensor) -> Evaluation:
        """The evaluation of the problems in `index` `[k]` at their rows of z `[batch, *event]`."""
        if len(index) == len(z):
            return self.evaluate(z)
        if not self.restrictable:
            return self.evaluate(z).take(index)
        with ErrorNote("select", index):
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
            x0 = self.map_to_source(z)
            with self.annotate("velocity"):
                x1 = solve(self.flow, x0, **self.solver)
            value = self.evaluate_cost("cost", self.cost, x1)
            if self.prior is not None:
                value = value + self.evaluate_cost("prior", self.prior, x0)
            with self.annotate("gradient"):
                # No problem's value depends on another's z, so the gradient of the sum is each problem's own.
                (gradient,) = torch.autograd.grad(value.sum(), z)
        x1 = x1.detach()
        # float64, because near the minimum a line search compares costs that differ in their last digits.
        cost = value.detach().to(torch.float64)
        return Evaluation(x0.detach(), x1, cost, gradient, self.evaluate_measure(x1))

    def map_to_source(self, z: Tensor) -> Tensor:
        """x0 = constraint(z), projected on the flow's support; z and x0 `[k, *event]`."""
        if self.constraint is None:
            return self.flow.project(z)
        with self.annotate("constraint"):
            return self.flow.project(self.constraint(z))

    def evaluate_cost(self, part: str, cost: Cost, x: Tensor) -> Tensor:
        """The values `[k]` of a cost at x `[k, *event]`, checked; `part` names it in messages."""
        with self.annotate(part):
            version = x._version
            value = check_values(cost, cost(x), len(x), x)
            if x._version != version:
                raise Misuse(
                    f"The {part} changes its argument in place, so the sample would no longer be that of x0.",
                    "Use x.clamp(...) and its like in place of x.clamp_(...).",
                )
            return value

    def evaluate_measure(self, x1: Tensor) -> Tensor:
        """The measure of the stop `[k]` at x1 `[k, *event]`, float64; NaN without a stop."""
        if self.stop is None:
            return torch.full((len(x1),), torch.nan, dtype=torch.float64, device=x1.device)
        with torch.no_grad():
            return self.evaluate_cost("stop", self.stop.measure, x1).to(torch.float64)

    def annotate(self, part: str) -> ErrorNote:
        """A context whose exceptions say that this part raised them, and for which problems."""
        return ErrorNote(part, self.problems)


class ErrorNote:
    """A context that adds a note to any exception: which part of the objective raised it, for which problems.

    Parameters
    ----------
    part
        "velocity", "cost", "prior", "stop", "constraint", "gradient" or "select".
    problems
        The indices `[k]` of the problems evaluated; None means all.

    Examples
    --------
    >>> try:
    ...     with ErrorNote("cost", torch.tensor([2, 5])):
    ...         raise ValueError("no gradient")
    ... except ValueError as error:
    ...     print(error.__notes__[0])
    Raised in the cost, evaluated for the problems [2, 5].
    """

    def __init__(self, part: str, problems: Tensor | None) -> None:
        self.part, self.problems = part, problems

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            which = "all problems" if self.problems is None else f"the problems {self.problems.tolist()}"
            error.add_note(f"Raised in the {self.part}, evaluated for {which}.")
