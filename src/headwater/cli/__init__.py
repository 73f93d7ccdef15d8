"""The command line: `headwater image inpaint photo.png --mask mask.png -o fixed.png`.

The modules of this folder import torch, and what stands on it, only inside the commands.
"""

from __future__ import annotations

import sys

try:
    from headwater.cli.app import main
except KeyboardInterrupt:  # Ctrl-C while the commands are still imported
    print("\nInterrupted. Nothing was done.", file=sys.stderr)
    raise SystemExit(130) from None

__all__ = ["main"]
