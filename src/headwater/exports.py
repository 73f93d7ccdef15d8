"""What `import headwater` offers, from the rooms where it lives; imported at its first use."""

from __future__ import annotations

from headwater.dflow.control import control
from headwater.dflow.forecast import forecast
from headwater.dflow.prior import ChiPrior, GaussianPrior, NearDraw, TargetLikelihood
from headwater.dflow.result import Event, Result, deadline
from headwater.dflow.start import blend, inversion, shell
from headwater.errors import Misuse
from headwater.flows.conditioned import Guided
from headwater.flows.flow import Flow
from headwater.flows.gaussian import Gaussian, GaussianMixture
from headwater.flows.latent import LatentModel
from headwater.flows.path import VP, BetaTable, CondOT, Cosine, Path
from headwater.flows.precision import in_bfloat16
from headwater.flows.watched import watch_flow
from headwater.optimizers import LBFGS, Adam, GradientDescent, Polyak
from headwater.optimizers.status import Status
from headwater.problem.batch import Each, WholeBatch
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit, NegativePSNR, Stop, WeightedSum, discrepancy, target_psnr
from headwater.problem.operator import Identity, LinearOperator, Operator
from headwater.problem.rewards import Ramp, RewardSum
from headwater.recipes.average import Average
from headwater.recipes.covariance import White
from headwater.recipes.estimate import Estimate
from headwater.recipes.map import MAP
from headwater.recipes.map_from_noise import MAPFromNoise
from headwater.recipes.methods import find_method
from headwater.recipes.one_evaluation import OneEvaluation, find_time_of_noise
from headwater.recipes.paper import Paper
from headwater.recipes.posterior.chains import Sampler
from headwater.recipes.posterior.decoupled_annealing import DecoupledAnnealing
from headwater.recipes.posterior.forecast import PosteriorForecast, forecast_posterior
from headwater.recipes.posterior.hmc import InfinityHMC
from headwater.recipes.posterior.mala import InfinityMALA
from headwater.recipes.posterior.pcn import PCN
from headwater.recipes.posterior.perturb_and_map import PerturbAndMAP
from headwater.recipes.posterior.preconditioned import Preconditioned
from headwater.recipes.posterior.result import Posterior, Sampling
from headwater.recipes.posterior.rto import RandomiseThenOptimise
from headwater.recipes.posterior.sample import posterior
from headwater.recipes.posterior.sgld import SGLD
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.reward import MaximiseReward
from headwater.recipes.warm_start import WarmStart
from headwater.solvers import (
    DDIM,
    EULER,
    HEUN,
    MIDPOINT,
    RK4,
    bits_per_dimension,
    invert,
    log_likelihood,
    logit_grid,
    solve,
    solve_adaptive,
    solve_stochastic,
    uniform_grid,
)
from headwater.solvers.differentiation import Auto, Checkpoint, Direct

__all__ = [
    "Adam",
    "Auto",
    "Average",
    "BetaTable",
    "Checkpoint",
    "ChiPrior",
    "CondOT",
    "Cosine",
    "DDIM",
    "DecoupledAnnealing",
    "Direct",
    "EULER",
    "Each",
    "Estimate",
    "Event",
    "Flow",
    "Gaussian",
    "GaussianMixture",
    "GaussianPrior",
    "GradientDescent",
    "Guided",
    "HEUN",
    "Identity",
    "InfinityHMC",
    "InfinityMALA",
    "LBFGS",
    "LinearOperator",
    "MAP",
    "MAPFromNoise",
    "MIDPOINT",
    "LatentModel",
    "MaximiseReward",
    "Misfit",
    "Misuse",
    "NearDraw",
    "NegativePSNR",
    "OneEvaluation",
    "Operator",
    "PCN",
    "Paper",
    "Path",
    "PerturbAndMAP",
    "Polyak",
    "Posterior",
    "PosteriorForecast",
    "Preconditioned",
    "RK4",
    "RandomiseThenOptimise",
    "RecipeOptions",
    "Result",
    "Ramp",
    "RewardSum",
    "SGLD",
    "Sampler",
    "Sampling",
    "Status",
    "Stop",
    "TargetLikelihood",
    "VP",
    "WarmStart",
    "WeightedSum",
    "White",
    "WholeBatch",
    "bits_per_dimension",
    "blend",
    "compose",
    "control",
    "deadline",
    "discrepancy",
    "find_method",
    "find_time_of_noise",
    "forecast",
    "forecast_posterior",
    "in_bfloat16",
    "inversion",
    "invert",
    "log_likelihood",
    "logit_grid",
    "posterior",
    "shell",
    "solve",
    "solve_adaptive",
    "solve_stochastic",
    "target_psnr",
    "uniform_grid",
    "watch_flow",
]
