"""Goals without a gradient: any function of a sample that gives a number, raised by search or by steering."""

from headwater.recipes.blackbox.best_of import BestOf
from headwater.recipes.blackbox.blockwise import CoDe, StochasticControl
from headwater.recipes.blackbox.evolution import CMAES
from headwater.recipes.blackbox.feynman_kac import FeynmanKac, ParticleResult
from headwater.recipes.blackbox.natural import NaturalEvolution
from headwater.recipes.blackbox.result import BlackBoxResult

__all__ = [
    "BestOf",
    "BlackBoxResult",
    "CMAES",
    "CoDe",
    "FeynmanKac",
    "NaturalEvolution",
    "ParticleResult",
    "StochasticControl",
]
