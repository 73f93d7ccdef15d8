"""Headwater controls a pre-trained flow or diffusion model from its source (D-Flow, Ben-Hamu et al. 2024).

>>> import torch, headwater as hw
>>> flow = hw.Gaussian(torch.zeros(2), torch.tensor([1.0, 2.0])).flow   # or Flow(your_network, shape=...)
>>> y, sigma_y = torch.tensor([[0.5]]), 0.05
>>> misfit = hw.Misfit(lambda x1: x1[:, :1], y, sigma_y)
>>> result = hw.control(flow, misfit, flow.noise(seeds=[0]), stop=hw.discrepancy(misfit))
>>> result.status[0].name
'REACHED'
"""

# ruff: noqa: F405 (the names below come from `exports`)
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.exports import *  # noqa: F403

__version__ = "0.1.0"

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


def __getattr__(name: str) -> Any:
    """Import what is asked for: torch takes seconds, and help, refusals and Ctrl-C need none of it (PEP 562)."""
    if name.startswith("_") or "." in name:
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")
    exports = importlib.import_module("headwater.exports")
    if name in __all__:
        return getattr(exports, name)
    try:
        return importlib.import_module(f"headwater.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"headwater.{name}":
            raise
        raise AttributeError(f"module 'headwater' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
