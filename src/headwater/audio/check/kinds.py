"""The kinds of damage that a check finds, and which command mends each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

NOT_FINITE, CLICK, DROPOUT, CLIPPING, HUM = "not finite", "click", "drop-out", "clipping", "hum"
GAPS = (NOT_FINITE, CLICK, DROPOUT)
"""What `inpaint` mends: short, and nothing is left of the sound."""


@dataclass(frozen=True, order=True)
class Finding:
    """Damage in a recording.

    Parameters
    ----------
    start, stop
        The first frame and the one after the last.
    kind
        "click", "drop-out", "not finite", "clipping" or "hum"; of a label that a user named, its text.
    rate
        Frames a second of the recording, Hz.
    level
        Of clipping: how far the rail lies from zero, full scale being 1.
    frequency
        Of hum: that of the mains, Hz.

    Examples
    --------
    >>> import headwater as hw
    >>> finding = hw.audio.Finding(22_050, 44_100, "clipping", rate=44_100, level=0.5)
    >>> finding.seconds, finding.text
    ((0.5, 1.0), 'clipping at 0.5')
    """

    start: int
    stop: int
    kind: str
    rate: int = field(kw_only=True, compare=False)
    level: float | None = field(default=None, kw_only=True, compare=False)
    frequency: float | None = field(default=None, kw_only=True, compare=False)

    @property
    def seconds(self) -> tuple[float, float]:
        """When it begins and ends."""
        return self.start / self.rate, self.stop / self.rate

    @property
    def detail(self) -> str:
        """The level or the frequency in words; empty for other kinds."""
        if self.level is not None:
            return f"at {self.level:.3g}"
        return "" if self.frequency is None else f"{self.frequency:.0f} Hz"

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


def select_gaps(findings: Iterable[Finding]) -> list[tuple[int, int]]:
    """The gaps among findings, as `fill_gaps` takes them: all but clipping and hum.

    Parameters
    ----------
    findings
        From `find_damage` or `read_findings`.

    Returns
    -------
    gaps
        The first frame of each and the one after its last, in order.

    Examples
    --------
    >>> import headwater as hw
    >>> click = hw.audio.Finding(5, 9, "click", rate=8000)
    >>> clipping = hw.audio.Finding(0, 800, "clipping", rate=8000)
    >>> hw.audio.select_gaps([clipping, click])
    [(5, 9)]
    """
    return sorted((f.start, f.stop) for f in findings if is_gap(f.kind))
