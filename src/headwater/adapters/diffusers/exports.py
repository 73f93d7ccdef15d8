"""What `headwater.adapters.diffusers` offers."""

from __future__ import annotations

from headwater.adapters.diffusers.line import Line
from headwater.adapters.diffusers.model import load

__all__ = ["Line", "load"]
