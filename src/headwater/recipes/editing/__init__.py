"""Edits of real data: change the condition, or raise a reward, and keep the rest of the original."""

from headwater.recipes.editing.boundary import Boundary, BoundaryEdit, find_boundary
from headwater.recipes.editing.edit import EditResult
from headwater.recipes.editing.flow_edit import FlowEdit
from headwater.recipes.editing.h_edit import HEdit
from headwater.recipes.editing.inverted import InversionEdit
from headwater.recipes.editing.reward import RewardEdit
from headwater.recipes.editing.rf_inversion import RFInversion
from headwater.recipes.editing.stochastic import StochasticEdit
from headwater.recipes.editing.trajectory import TrajectoryEdit

__all__ = [
    "Boundary",
    "BoundaryEdit",
    "FlowEdit",
    "EditResult",
    "HEdit",
    "InversionEdit",
    "RFInversion",
    "RewardEdit",
    "StochasticEdit",
    "TrajectoryEdit",
    "find_boundary",
]
