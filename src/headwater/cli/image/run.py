"""The exit codes under their former address."""

from headwater.cli.shared.job import INTERRUPTED, MISUSE

__all__ = ["INTERRUPTED", "MISUSE"]
