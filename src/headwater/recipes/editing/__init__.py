"""Edits of real data: change the condition, or raise a reward, and keep the rest of the original."""

from headwater.recipes.editing.boundary import Boundary, BoundaryEdit, find_boundary
from headwater.recipes.editing.dual import DualVelocityEdit
from headwater.recipes.editing.edit import EditResult
from headwater.recipes.editing.h_edit import HEdit
from headwater.recipes.editing.inverted import InversionEdit
from headwater.recipes.editing.rectified import RectifiedStochasticEdit
from headwater.recipes.editing.reward import RewardEdit
from headwater.recipes.editing.stochastic import StochasticEdit
from headwater.recipes.editing.trajectory import TrajectoryEdit

__all__ = [
    "Boundary",
    "BoundaryEdit",
    "DualVelocityEdit",
    "EditResult",
    "HEdit",
    "InversionEdit",
    "RectifiedStochasticEdit",
    "RewardEdit",
    "StochasticEdit",
    "TrajectoryEdit",
    "find_boundary",
]
