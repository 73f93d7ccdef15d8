"""The command line: `headwater image inpaint photo.png --mask mask.png -o fixed.png`.

The modules of this folder import torch, and what stands on it, only inside the commands.
"""

from __future__ import annotations

from headwater.cli.app import main

__all__ = ["main"]
