"""Options that many commands share: one frozen dataclass each, flattened into the command.

Annotations are evaluated here, not kept as text, so that dataclasses of other modules may inherit.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from headwater.cli.shared import values

OUTPUT = Group("Output", sort_key=2)
MODEL = Group("Model and machine", sort_key=3)
SEARCH = Group("Restoration", sort_key=1)

PresetName = Literal["default", "paper"]


def word(read: Any, metavar: str, **more: Any) -> Parameter:
    """An option of one word with a reader of its own."""
    return Parameter(
        converter=values.as_converter(read),
        n_tokens=1,
        metavar=metavar,
        allow_leading_hyphen=True,
        negative="",
        **more,
    )


def whole(**more: Any) -> Parameter:
    """An option that is a whole number."""
    return word(values.parse_whole, "INT", **more)


Whole = Annotated[int, whole()]


@Parameter(name="*")
@dataclass(frozen=True)
class Files:
    """What every command that writes files understands."""

    output: Annotated[Path | None, Parameter(alias="-o", group=OUTPUT)] = None
    """The file to write; by default beside the input, named after the command."""

    overwrite: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False
    """Replace existing outputs."""

    quiet: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False
    """Print warnings and errors only."""
