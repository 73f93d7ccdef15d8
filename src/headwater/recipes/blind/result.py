"""What the blind recipes return."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.recipes.blind.unknown import BlindMisfit


@dataclass(frozen=True, kw_only=True)
class BlindResult(Result):
    """A `Result` with the parameters of the operator.

    Attributes
    ----------
    x0, x1, cost, measure, status, gradients, nfe_per_gradient, trace, state, preparation, on_flow
        As in `Result`; cost and measure are those of the operator that was found.
    phi
        The parameters `[batch, p]`.
    parameters
        What the user sees of them, `[batch, ...]`: a kernel, a gain.
    path
        phi after every round, `[rounds, batch, p]`.
    warnings
        What is doubtful about the operator: sentences for each problem, such as that the kernel is a point.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, OneEvaluation
    >>> from headwater.recipes.blind import Alternate, BlindMisfit, UnknownGain
    >>> flow = Gaussian(torch.full((64,), 2.0), torch.full((64,), 0.1)).flow
    >>> problem = BlindMisfit(UnknownGain(), torch.full((1, 64), 3.0), 0.05)
    >>> Alternate()(flow, problem, [0], guess=problem.y).parameters.round(decimals=1).tolist()
    [[1.5]]
    """

    phi: Tensor
    parameters: Tensor
    path: Tensor
    warnings: tuple[tuple[str, ...], ...]


def with_operator(result: Result, problem: BlindMisfit, phi: Tensor, path: list[Tensor]) -> BlindResult:
    """A result of a known operator with the parameters phi `[batch, p]` that made it known."""
    values: dict[str, Any] = {field.name: getattr(result, field.name) for field in fields(Result)}
    return BlindResult(
        **values,
        phi=phi,
        parameters=problem.unknown.parameters(phi),
        path=torch.stack(path),
        warnings=tuple(problem.unknown.warnings(phi)),
    )
