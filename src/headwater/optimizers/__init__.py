"""Batched optimisers as state machines: every step consumes one evaluation per problem."""

from headwater.optimizers.first_order import (
    Adam,
    AdamState,
    GradientDescent,
    GradientDescentState,
    Polyak,
)
from headwater.optimizers.lbfgs import LBFGS, LBFGSState
from headwater.optimizers.line_search import StrongWolfe
from headwater.optimizers.state import (
    CONVERGED,
    DIVERGED,
    RUNNING,
    STALLED,
    STATUS,
    Optimizer,
    OptimizerState,
    put_rows,
    take_rows,
)

__all__ = [
    "Adam",
    "AdamState",
    "CONVERGED",
    "DIVERGED",
    "GradientDescent",
    "GradientDescentState",
    "LBFGS",
    "LBFGSState",
    "Optimizer",
    "OptimizerState",
    "Polyak",
    "RUNNING",
    "STALLED",
    "STATUS",
    "StrongWolfe",
    "put_rows",
    "take_rows",
]
