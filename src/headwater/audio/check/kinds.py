"""The kinds of damage that a check finds, and which command mends each."""

from __future__ import annotations

from dataclasses import dataclass

NOT_FINITE, CLICK, DROPOUT, CLIPPING, HUM = "not finite", "click", "drop-out", "clipping", "hum"
GAPS = (NOT_FINITE, CLICK, DROPOUT)
"""What `inpaint` mends: short, and nothing is left of the sound."""


@dataclass(frozen=True, order=True)
class Finding:
    """Damage from frame `start` to before `stop`; the `kind` is one of the above, `detail` says more."""

    start: int
    stop: int
    kind: str
    detail: str = ""

    @property
    def text(self) -> str:
        """What stands in the label."""
        return f"{self.kind} {self.detail}".strip()


def is_gap(text: str) -> bool:
    """Whether a label names a gap; all do but those of a check for clipping and hum.

    >>> is_gap("click"), is_gap("cough"), is_gap("clipping"), is_gap("hum 50 Hz")
    (True, True, False, False)
    """
    return not text.lower().startswith((CLIPPING, HUM))
