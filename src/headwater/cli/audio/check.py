"""`headwater audio check`: what is damaged, as a label track, and the commands that mend it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from headwater.audio.check.check import find_damage
from headwater.audio.check.kinds import CLIPPING, GAPS, HUM, Finding
from headwater.audio.check.quiet import find_noise_alone
from headwater.audio.io.files import SUFFIXES, Recording, examine
from headwater.audio.io.marks import write_labels
from headwater.cli.shared.batch import Batch, find_files, plan_batch
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.options import Files
from headwater.cli.shared.outputs import check_outputs
from headwater.cli.shared.progress import Watch, clock
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse


@dataclass(kw_only=True)
class CheckJob(Job):
    """A recording checked; labels are written if there is anything to label.

    Attributes
    ----------
    recording, labels
        What is checked, and the label track.
    findings
        The damage that was found.
    """

    recording: Recording
    labels: Path
    findings: list[Finding] = field(default_factory=list)
    quiet_span: tuple[float, float] | None = None

    rows: ClassVar[str] = "findings"
    packages: ClassVar[tuple[str, ...]] = ("scipy", "soundfile")
    most_told: ClassVar[int] = 12

    def work(self) -> None:
        """Look at the recording from end to end."""
        whole = clock(self.recording.seconds)
        self.findings = find_damage(
            self.recording,
            tell=lambda seconds: self.watch.tell(f"check  {clock(seconds)} of {whole}"),
            stop=lambda: self.watch.over,
        )
        if any(f.kind == HUM for f in self.findings):
            self.quiet_span = find_noise_alone(self.recording)
        if self.findings:
            write_labels(self.labels, [(f.seconds, f.text) for f in self.findings], overwrite=self.overwrite)

    def entries(self) -> Sequence[Entry]:
        """A row for each finding."""
        spans = [[round(t, 6) for t in f.seconds] for f in self.findings]
        rows = zip(self.findings, spans, strict=True)
        return [
            Entry(f.kind, {"start": a, "stop": b, "kind": f.kind, "detail": f.detail, "level": f.level})
            for f, (a, b) in rows
        ]

    def facts(self) -> Mapping[str, Any]:
        """The files, and what to run."""
        labels = str(self.labels) if self.findings else None
        return {"labels": labels, "seconds_checked": self.recording.seconds, "commands": self.commands()}

    def commands(self) -> list[str]:
        """The commands that mend what was found, each of the result of the one before."""
        kinds = {f.kind for f in self.findings}
        file, found = self.recording.path, []
        for command, wanted, options in (
            ("inpaint", set(GAPS), f"--labels {quote(self.labels)}"),
            ("declip", {CLIPPING}, f"--labels {quote(self.labels)}"),
            ("denoise", {HUM} if self.quiet_span else set(), self._profile()),
        ):
            if kinds & wanted:
                found.append(f"headwater audio {command} {quote(file)} {options}")
                suffix = file.suffix if file.suffix.lower() in SUFFIXES else ".wav"
                lossless = suffix.lower() not in (".flac", ".ogg")
                file = file.with_name(
                    f"{file.stem}-{command}{suffix if command != 'declip' or lossless else '.wav'}"
                )
        return found

    def _profile(self) -> str:
        return "--profile {:.2f}-{:.2f}".format(*self.quiet_span) if self.quiet_span else ""

    def tell(self, report: Mapping[str, Any]) -> None:
        """What was found, where, and what to run."""
        if not self.findings:
            say(f"{self.recording.path}: no damage found in {clock(self.recording.seconds)}")
            return
        say(f"{self.labels}: {summarise_kinds(self.findings)}")
        for finding in self.findings[: self.most_told]:
            a, b = finding.seconds
            say(f"  {a:10.4f} s  {1000 * (b - a):9.2f} ms  {finding.text}")
        if len(self.findings) > self.most_told:
            say(f"  and {len(self.findings) - self.most_told} more")
        if commands := self.commands():
            say("To mend it, in this order:")
        for line in commands:
            say(f"  {line}")
        if self.quiet_span is None and any(f.kind == HUM for f in self.findings):
            say(
                "No second with the hum alone was found: name one, headwater audio denoise --profile START-END."
            )


def quote(file: Path) -> str:
    """A file as it is written in a shell.

    >>> quote(Path("-a b.wav"))
    "'./-a b.wav'"
    """
    return shlex.quote(f"./{file}" if str(file).startswith("-") else str(file))


def summarise_kinds(findings: Sequence[Finding]) -> str:
    """How many of each kind.

    >>> clicks = [Finding(a, a + 1, "click", rate=8000) for a in (0, 3)]
    >>> summarise_kinds([*clicks, Finding(5, 9, "hum", rate=8000, frequency=50.0)])
    '2 x click, hum 50 Hz'
    """
    counts = Counter(f.text if f.kind == HUM else f.kind for f in findings)
    return ", ".join(f"{n} x {kind}" if n > 1 else kind for kind, n in counts.items())


def name_labels(source: Path) -> str:
    """The name of the label track of a file.

    >>> name_labels(Path("takes/a.flac"))
    'a-check.txt'
    """
    return f"{source.stem}-check.txt"


def plan_checks(recordings: Sequence[Path], files: Files) -> Batch[Files]:
    """The files that are checked, each with the name of its label track.

    Raises
    ------
    Misuse
        There is no file, two label tracks would have one name, or there is one for several files.
    """
    if files.output and files.output.suffix.lower() == ".txt":
        count = len(find_files(recordings, SUFFIXES))
        if count > 1:
            raise Misuse(
                f"The output {files.output} is one file for {count} inputs.",
                "Name a folder, as in -o out/.",
            )
    return plan_batch(recordings, files, suffixes=SUFFIXES, name_result=name_labels)


def check(path: Path, files: Files) -> CheckJob:
    """The job that checks a recording.

    Raises
    ------
    Misuse
        The recording cannot be read, or the labels cannot be written.
    """
    recording = examine(path)
    labels = files.output or path.with_name(name_labels(path))
    report = labels.with_suffix(".json")
    check_outputs((labels, report), (path,), overwrite=files.overwrite)
    return CheckJob(
        command="audio check",
        inputs=(path,),
        report=report,
        warnings=tuple(_notes(recording)),
        overwrite=files.overwrite,
        quiet=files.quiet,
        watch=Watch("check", quiet=files.quiet),
        recording=recording,
        labels=labels,
    )


def _notes(recording: Recording) -> Iterator[str]:
    if recording.note:
        yield recording.note
