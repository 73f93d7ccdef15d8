"""A label track read back as findings, after someone has looked at it."""

from __future__ import annotations

import re
from pathlib import Path

from headwater.audio.check.kinds import CLIPPING, HUM, Finding
from headwater.audio.io.files import Recording
from headwater.audio.io.marks import read_labels, to_frames


def read_findings(path: str | Path, recording: Recording) -> list[Finding]:
    r"""Read a label track, such as `headwater audio check` or Audacity writes, as findings in a recording.

    Parameters
    ----------
    path : str or Path
        Lines of start, end (seconds) and text between tabs. Points in time are left out.
    recording
        The recording that the labels are of.

    Returns
    -------
    findings
        In the order of the file; the kind of those that no check wrote is their text. `select_gaps` takes these, and
        those without a text, for gaps.

    Raises
    ------
    Misuse
        The file cannot be read, is no label track, or a label lies beyond the recording.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import headwater as hw
    >>> labels = Path(tempfile.mkdtemp()) / "labels.txt"
    >>> _ = labels.write_text("0.5\t0.51\tcough\n1.0\t2.0\tclipping at 0.8\n")
    >>> findings = hw.audio.read_findings(labels, hw.audio.examine(hw.audio.recordings.GUITAR))
    >>> [(f.kind, f.start, f.stop, f.level) for f in findings]
    [('cough', 22050, 22491, None), ('clipping', 44100, 88200, 0.8)]
    """
    labels = read_labels(Path(path))
    spans = to_frames(labels.spans, recording)
    return [
        _finding(start, stop, text, recording.rate)
        for (start, stop), text in zip(spans, labels.texts, strict=True)
    ]


def _finding(start: int, stop: int, text: str, rate: int) -> Finding:
    lower = text.lower()
    numbers = re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", lower)
    number = float(numbers[0]) if numbers else None
    if lower.startswith(CLIPPING):
        return Finding(start, stop, CLIPPING, rate=rate, level=number)
    if lower.startswith(HUM):
        return Finding(start, stop, HUM, rate=rate, frequency=number)
    return Finding(start, stop, text, rate=rate)
