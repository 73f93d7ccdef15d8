"""Operators with unknown parameters, found beside the sample: by turns, or in one optimisation."""

from headwater.recipes.blind.alternate import Alternate
from headwater.recipes.blind.gain import Gain, UnknownGain
from headwater.recipes.blind.joint import Joint
from headwater.recipes.blind.result import BlindResult
from headwater.recipes.blind.unknown import BlindMisfit, Unknown

__all__ = ["Alternate", "BlindMisfit", "BlindResult", "Gain", "Joint", "Unknown", "UnknownGain"]
