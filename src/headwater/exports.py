"""What `import headwater` offers, from the rooms where it lives; imported at its first use."""

from __future__ import annotations

from headwater.dflow.control import control
from headwater.dflow.prior import ChiPrior, TargetLikelihood
from headwater.dflow.result import Event, Result, deadline
from headwater.dflow.start import blend, inversion, shell
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.gaussian import Gaussian, GaussianMixture
from headwater.flows.path import VP, BetaTable, CondOT, Cosine, Path
from headwater.optimizers import LBFGS, Adam, GradientDescent, Polyak
from headwater.optimizers.status import Status
from headwater.problem.batch import Each, WholeBatch
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit, NegativePSNR, Stop, WeightedSum, discrepancy, target_psnr
from headwater.recipes.estimate import Estimate
from headwater.recipes.one_evaluation import OneEvaluation
from headwater.recipes.paper import Paper
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.warm_start import WarmStart
from headwater.solvers import (
    DDIM,
    EULER,
    HEUN,
    MIDPOINT,
    RK4,
    invert,
    log_likelihood,
    logit_grid,
    solve,
    solve_adaptive,
    uniform_grid,
)
from headwater.solvers.differentiation import Auto, Checkpoint, Direct

__all__ = [
    "DDIM",
    "EULER",
    "HEUN",
    "LBFGS",
    "MIDPOINT",
    "RK4",
    "VP",
    "Adam",
    "Auto",
    "BetaTable",
    "Checkpoint",
    "ChiPrior",
    "CondOT",
    "Cosine",
    "Direct",
    "Event",
    "Flow",
    "Gaussian",
    "GaussianMixture",
    "GradientDescent",
    "Misfit",
    "Misuse",
    "NegativePSNR",
    "Path",
    "Polyak",
    "Result",
    "Status",
    "Stop",
    "TargetLikelihood",
    "WarmStart",
    "Paper",
    "Estimate",
    "OneEvaluation",
    "RecipeOptions",
    "Each",
    "WholeBatch",
    "compose",
    "WeightedSum",
    "blend",
    "control",
    "deadline",
    "discrepancy",
    "inversion",
    "invert",
    "log_likelihood",
    "logit_grid",
    "shell",
    "solve",
    "solve_adaptive",
    "target_psnr",
    "uniform_grid",
]
