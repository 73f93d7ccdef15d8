"""The exit codes under their former address."""

from headwater.cli.shared.exit_codes import INTERRUPTED, MISUSE

__all__ = ["INTERRUPTED", "MISUSE"]
