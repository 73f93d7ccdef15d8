"""Solving dx/dt = v(x, t): fixed grids, adaptive steps, inversion and likelihood."""

from headwater.solvers.adaptive import AdaptiveResult, solve_adaptive
from headwater.solvers.dual_conditional import invert_dual_conditional
from headwater.solvers.fixed import invert, logit_grid, reverse_grid, solve, uniform_grid
from headwater.solvers.fixed_point import FixedPointInversion, invert_fixed_point
from headwater.solvers.likelihood import bits_per_dimension, log_likelihood
from headwater.solvers.method import (
    DDIM,
    DOPRI5,
    EULER,
    HEUN,
    METHODS,
    MIDPOINT,
    RK4,
    Exponential,
    Method,
    RungeKutta,
)
from headwater.solvers.reversible import Pair, Reversible
from headwater.solvers.stochastic import Ancestral, EulerMaruyama, Transition, Transitions, solve_stochastic

__all__ = [
    "Ancestral",
    "EulerMaruyama",
    "Transition",
    "Transitions",
    "solve_stochastic",
    "DDIM",
    "DOPRI5",
    "EULER",
    "HEUN",
    "METHODS",
    "MIDPOINT",
    "RK4",
    "AdaptiveResult",
    "FixedPointInversion",
    "invert_dual_conditional",
    "invert_fixed_point",
    "Pair",
    "Reversible",
    "Exponential",
    "Method",
    "RungeKutta",
    "reverse_grid",
    "bits_per_dimension",
    "invert",
    "log_likelihood",
    "logit_grid",
    "solve",
    "solve_adaptive",
    "uniform_grid",
]
