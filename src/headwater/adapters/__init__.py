"""Other people's models as a `Flow`: one file or folder for each library."""

from __future__ import annotations

from headwater.doors import open_door

__getattr__, __dir__ = open_door(__name__)
