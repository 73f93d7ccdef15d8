"""Solving dx/dt = v(x, t): fixed grids, adaptive steps, inversion and likelihood."""

from headwater.solve.adaptive import AdaptiveResult, solve_adaptive
from headwater.solve.fixed import backward, invert, logit_grid, power_grid, solve, uniform_grid
from headwater.solve.likelihood import bits_per_dimension, log_likelihood
from headwater.solve.method import (
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

__all__ = [
    "DDIM",
    "DOPRI5",
    "EULER",
    "HEUN",
    "METHODS",
    "MIDPOINT",
    "RK4",
    "AdaptiveResult",
    "Exponential",
    "Method",
    "RungeKutta",
    "backward",
    "bits_per_dimension",
    "invert",
    "log_likelihood",
    "logit_grid",
    "power_grid",
    "solve",
    "solve_adaptive",
    "uniform_grid",
]
