"""Audio: recordings, what happens to them, and a flow of music.

>>> import headwater as hw
>>> recording = hw.audio.examine(hw.audio.recordings.GUITAR)
>>> (repair,) = hw.audio.fill_gaps(hw.audio.load_prior(), recording, [(60_000, 61_000)])  # frames; 23 ms
>>> repair.filled_by, repair.patch.samples.shape[1]
('linear prediction', 2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.doors import open_door

if TYPE_CHECKING:
    from headwater.audio.exports import *  # noqa: F403

__getattr__, __dir__ = open_door(__name__)
