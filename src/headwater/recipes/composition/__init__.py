"""Several priors at once: mixtures, equal densities, products, negations, and parts that are coupled."""

from headwater.recipes.composition.focus import FOCUS, SeparatedSubjects
from headwater.recipes.composition.product import Annealed, AnnealedProduct
from headwater.recipes.composition.projected import Projected
from headwater.recipes.composition.superposition import Superposed, Superposition
from headwater.recipes.composition.weighted_product import WeightedParticles, WeightedProduct

__all__ = [
    "FOCUS",
    "SeparatedSubjects",
    "Annealed",
    "AnnealedProduct",
    "Projected",
    "Superposed",
    "Superposition",
    "WeightedParticles",
    "WeightedProduct",
]
