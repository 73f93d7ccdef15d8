"""What `headwater.adapters` offers: nothing but its modules."""

from __future__ import annotations

__all__: list[str] = []
