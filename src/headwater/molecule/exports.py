"""What `headwater.molecule` offers."""

from __future__ import annotations

from headwater.molecule.checks.physics import Physics, check_physics
from headwater.molecule.chemistry.soundness import Chemistry, examine, is_sound
from headwater.molecule.io.card import Card, Line
from headwater.molecule.io.files import read_molecules
from headwater.molecule.io.sdf import write_sdf
from headwater.molecule.io.viewer import write_page
from headwater.molecule.io.xyz import write_xyz
from headwater.molecule.model.models import Networks
from headwater.molecule.sheet import write_sheet
from headwater.molecule.structure.interval import Interval
from headwater.molecule.structure.molecule import Molecule, to_batch, to_molecules
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.cards import make_cards
from headwater.molecule.targets.design import design, generate, score
from headwater.molecule.targets.edit import EditSearch
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.result import Design
from headwater.molecule.targets.rewards import PropertyReward, RewardCost, reward_cost
from headwater.molecule.targets.scores import StructureScore
from headwater.molecule.targets.search import Control, Search, SearchThenControl
from headwater.molecule.targets.target import Target

__all__ = [
    "Card",
    "Chemistry",
    "Control",
    "Design",
    "EditSearch",
    "Interval",
    "Line",
    "Molecule",
    "MoleculeBatch",
    "Networks",
    "Physics",
    "PropertyReward",
    "Request",
    "RewardCost",
    "Search",
    "SearchThenControl",
    "StructureScore",
    "Target",
    "check_physics",
    "design",
    "examine",
    "generate",
    "is_sound",
    "make_cards",
    "read_molecules",
    "reward_cost",
    "score",
    "to_batch",
    "to_molecules",
    "write_page",
    "write_sdf",
    "write_sheet",
    "write_xyz",
]
