"""What `headwater.audio` offers."""

from __future__ import annotations

from headwater.audio.check.check import find_damage
from headwater.audio.check.kinds import Finding, select_gaps
from headwater.audio.check.labels import read_findings
from headwater.audio.check.rails import find_clipping
from headwater.audio.damage import BandLimit, ByChannel, Clipping, Damage, Noise, Room, UserDamage
from headwater.audio.gaps import GapSettings, fill_gaps
from headwater.audio.io import recordings
from headwater.audio.io.files import Patch, Recording, examine
from headwater.audio.io.write import Written, write_new, write_patched
from headwater.audio.latent import LatentPrior
from headwater.audio.metrics import log_spectral_distance, si_sdr
from headwater.audio.model.models import load_prior
from headwater.audio.prior import Prior
from headwater.audio.restoration import Restoration, SolveOptions
from headwater.audio.sheet import draw_sheet, write_sheet
from headwater.audio.undo import undo_damage

__all__ = [
    "BandLimit",
    "ByChannel",
    "Clipping",
    "Damage",
    "Finding",
    "GapSettings",
    "recordings",
    "LatentPrior",
    "Noise",
    "Patch",
    "Prior",
    "Recording",
    "Restoration",
    "Room",
    "SolveOptions",
    "UserDamage",
    "Written",
    "draw_sheet",
    "examine",
    "fill_gaps",
    "find_clipping",
    "find_damage",
    "load_prior",
    "log_spectral_distance",
    "read_findings",
    "select_gaps",
    "si_sdr",
    "undo_damage",
    "write_new",
    "write_patched",
    "write_sheet",
]
