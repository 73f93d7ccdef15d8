"""Models and operators of other libraries as a `Flow` or an `Operator`, one file a library."""

from __future__ import annotations

from headwater.doors import open_door

__getattr__, __dir__ = open_door(__name__)
