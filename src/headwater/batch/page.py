"""The report of a run: one HTML file with pictures, which works without a network and asks for nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from headwater.atomic import write_atomically
from headwater.batch.summary import Row, Summary
from headwater.extras import import_optional
from headwater.text import counted, printable

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class PageLimits:
    """How much a page holds.

    Attributes
    ----------
    pictures
        Of the first so many jobs.
    rows
        So many, those that went wrong first; the table has all.
    width
        Of a picture, in pixels.
    """

    pictures: int = 400
    rows: int = 2000
    width: int = 480


def write_page(
    summary: Summary, path: str | Path, *, title: str = "Results", limits: PageLimits | None = None
) -> Path:
    """Write what became of every job: failures first, then pictures and numbers.

    The pictures are small copies within the file; links lead to the folders beside it.

    Parameters
    ----------
    summary
        What `run` returned.
    path
        The HTML file in the folder of results, which is replaced.
    title
        The heading.
    limits
        How much it holds.

    Raises
    ------
    Misuse
        jinja2 is not installed, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from headwater.batch import Function, Job, run, write_page
    >>> folder = tempfile.mkdtemp()
    >>> summary = run(Function(lambda options, folder: None, version="1"), [Job({"value": 3})], folder)
    >>> "1 done" in write_page(summary, folder + "/report.html").read_text()
    True
    """
    jinja2 = import_optional("jinja2", "batch")
    limits = limits or PageLimits()
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (files("headwater.batch") / "page.html").read_text(encoding="utf-8")
    )
    wrong = [row for row in summary.rows if row.status != "done"]
    good = [row for row in summary.rows if row.status == "done"][: max(0, limits.rows - len(wrong))]
    cards = [describe(row, summary.folder, number, limits) for number, row in enumerate(good)]
    text = template.render(
        title=printable(title),
        counts=", ".join(f"{count:,} {status}" for status, count in summary.counts.items()),
        facts=list(tell_facts(summary)),
        wrong=[
            describe(row, summary.folder, number, limits) for number, row in enumerate(wrong[: limits.rows])
        ],
        cards=[card for card in cards if card["picture"]],
        plain=[card for card in cards if not card["picture"]],
        left_out=len(summary.rows) - len(cards) - min(len(wrong), limits.rows),
    )
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    return Path(path)


def tell_facts(summary: Summary) -> Iterator[str]:
    """What else happened, in words."""
    again = sum(row.again for row in summary.rows)
    if again:
        yield f"{counted(again, 'result')} of earlier runs"
    if len({row.key for row in summary.rows if row.key}) < sum(bool(row.key) for row in summary.rows):
        yield "equal jobs have one result"
    if summary.corrupted:
        yield f"{counted(summary.corrupted, 'result')} did not hold the checksums and had to be done again"
    if summary.deaths:
        yield f"{counted(summary.deaths, 'worker')} died and had to be replaced"
    if summary.stopped:
        yield "the run was stopped: the same command goes on"
    yield f"{summary.seconds:.1f} s in this run"


def describe(row: Row, folder: Path, number: int, limits: PageLimits) -> dict[str, Any]:
    """What a row of the page shows."""
    values: Mapping[str, Any] = {} if row.outcome is None else row.outcome.values
    shown = {name: f"{v:.4g}" if isinstance(v, float) else printable(v) for name, v in values.items()}
    spent = {} if row.outcome is None else {"seconds": f"{row.outcome.seconds:.3g}"}
    asked = [str(row.job.options[name]) for name in ("command",) if name in row.job.options]
    return {
        "name": printable(row.job.name or row.key[:8]),
        "about": printable(", ".join([*asked, *(path.name for path in row.job.inputs.values())])),
        "status": row.status,
        "sentence": printable(row.sentence),
        "folder": row.key,
        "values": ", ".join(f"{name} {value}" for name, value in (shown | spent).items()),
        "picture": shrink(folder / row.key, limits.width) if row.key and number < limits.pictures else None,
    }


def shrink(place: Path, width: int) -> str | None:
    """A small copy of a result's picture as a data URI: the sheet if there is one; None without a picture."""
    found = sorted(path for path in place.glob("*") if path.suffix.lower() in PICTURES)
    if not found:
        return None
    path = next((path for path in found if path.stem.endswith("-sheet")), found[0])
    image_module = import_optional("PIL.Image", "images")
    try:
        with image_module.open(path) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):  # a picture that Pillow cannot show is left out of the page
        return None
    small.thumbnail((width, 4 * width))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")
