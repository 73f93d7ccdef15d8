"""Operators with unknown parameters, found beside the sample: by turns, or in one optimisation."""

from headwater.recipes.blind.alternate import Alternate
from headwater.recipes.blind.blind_dps import BlindDPS
from headwater.recipes.blind.clip import Limiter, UnknownClip
from headwater.recipes.blind.dmplug import DMPlug
from headwater.recipes.blind.gain import Gain, UnknownGain
from headwater.recipes.blind.joint import Joint
from headwater.recipes.blind.result import BlindResult
from headwater.recipes.blind.unknown import BlindMisfit, Unknown

__all__ = [
    "Alternate",
    "BlindDPS",
    "BlindMisfit",
    "BlindResult",
    "DMPlug",
    "Gain",
    "Joint",
    "Limiter",
    "Unknown",
    "UnknownClip",
    "UnknownGain",
]
