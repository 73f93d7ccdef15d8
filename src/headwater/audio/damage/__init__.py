"""What may happen to a whole recording: noise, a room, clipping, a lost band, a function of the user's."""

from headwater.audio.damage.band import BandLimit
from headwater.audio.damage.base import ByChannel, Damage, DamageTask, Measurement
from headwater.audio.damage.clipping import Clipping
from headwater.audio.damage.noise import Noise
from headwater.audio.damage.room import Room
from headwater.audio.damage.user import UserDamage

__all__ = [
    "BandLimit",
    "ByChannel",
    "Clipping",
    "Damage",
    "DamageTask",
    "Measurement",
    "Noise",
    "Room",
    "UserDamage",
]
