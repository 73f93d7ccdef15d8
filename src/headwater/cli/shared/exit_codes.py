"""How a command ends."""

DONE, DIVERGED, MISUSE, INTERRUPTED = 0, 1, 2, 130
