"""Pipelines of diffusers as a `Flow` on their latents, with their decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.doors import open_door

if TYPE_CHECKING:
    from headwater.adapters.diffusers.exports import *  # noqa: F403

__getattr__, __dir__ = open_door(__name__)
