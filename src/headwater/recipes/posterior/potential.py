"""The potential Phi(x0) = misfit(x1(x0)) of many chains at once, with its gradient or without."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation, Objective
from headwater.flows.flow import Flow
from headwater.problem.cost import Cost
from headwater.solvers.fixed import solve


@dataclass(frozen=True)
class Potential:
    """Phi(x0) = cost(x1(x0)) of rows, each of which is a chain.

    Attributes
    ----------
    objective
        The flow, the cost and the solver of these rows.
    nfe
        Network evaluations of one solve.
    """

    objective: Objective
    nfe: int

    @property
    def flow(self) -> Flow:
        """The flow of these rows."""
        return self.objective.flow

    @property
    def cost(self) -> Cost:
        """The cost of these rows."""
        return self.objective.cost

    def select(self, index: Tensor) -> Potential:
        """The potential of the rows in `index` `[k]`."""
        return Potential(self.objective.select(index), self.nfe)

    def with_gradient(self, x0: Tensor) -> Evaluation:
        """x1, Phi and grad Phi at x0 `[rows, *event]`: one gradient evaluation."""
        return self.objective.evaluate(x0)

    def value(self, x0: Tensor) -> Evaluation:
        """x1 and Phi at x0 `[rows, *event]`, one solve; the gradient is zero and was not computed."""
        o = self.objective
        with torch.no_grad():
            x0 = o.map_to_source(x0)
            with o.annotate("velocity"):
                x1 = solve(o.flow, x0, **o.solver)
            phi = o.evaluate_cost("cost", o.cost, x1).to(torch.float64)
        return Evaluation(x0, x1, phi, torch.zeros_like(x0), torch.full_like(phi, torch.nan))
