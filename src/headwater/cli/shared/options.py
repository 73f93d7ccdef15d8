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
Downsampling = Literal["area", "decimate", "bicubic"]
Boundary = Literal["reflect", "circular", "valid"]
Grey = Literal["luma", "mean"]
Subsampling = Literal["4:2:0", "4:4:4"]
Strategy = Literal["direct", "checkpoint"]


def word(read: Any, metavar: str, **more: Any) -> Parameter:
    """An option of one word with a reader of its own."""
    return Parameter(
        converter=values.converter(read),
        n_tokens=1,
        metavar=metavar,
        allow_leading_hyphen=True,
        negative="",
        **more,
    )


def whole(**more: Any) -> Parameter:
    """An option that is a whole number."""
    return word(values.whole, "INT", **more)


Whole = Annotated[int, whole()]
Size = Annotated[tuple[int, int] | None, word(values.numbers("HEIGHT,WIDTH", int), "HEIGHT,WIDTH")]


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


@Parameter(name="*")
@dataclass(frozen=True)
class Common(Files):
    """What every command that uses a model understands."""

    model: Annotated[str, Parameter(group=MODEL)] = "tiny64"
    """A shipped model, see 'headwater models'."""

    label: Annotated[str | None, Parameter(group=MODEL)] = None
    """The class of the image: a name, WNID or number of the model's classes. None by default."""

    device: Annotated[str | None, Parameter(group=MODEL)] = None
    """Where to compute: cpu, cuda, cuda:1, mps. By default a GPU if there is one."""

    range: Annotated[
        tuple[float, float] | None, word(values.numbers("BLACK,WHITE"), "BLACK,WHITE", group=MODEL)
    ] = None
    """Stored values of black and white in .npy and float files, e.g. 0,1. By default -1,1."""


@Parameter(name="*")
@dataclass(frozen=True)
class Restore(Common):
    """What every restoration understands."""

    noise: Annotated[float | None, word(values.noise, "STD", group=SEARCH)] = None
    """Standard deviation of the noise in the range [-1, 1], or in grey levels of 0..255 as in 13/255."""

    seed: Annotated[int, whole(group=SEARCH)] = 0
    """Seed of the first sample; sample i has seed + i."""

    samples: Annotated[int, whole(group=SEARCH)] = 1
    """How many restorations; more than one are written as NAME-0.png, NAME-1.png, ..."""

    preset: Annotated[PresetName, Parameter(group=SEARCH)] = "default"
    """The recipe: 'paper' is D-Flow as published."""

    steps: Annotated[int | None, whole(group=SEARCH)] = None
    """Steps of the ODE solver; by default the preset's."""

    gradients: Annotated[int | None, whole(group=SEARCH)] = None
    """Most gradient evaluations per sample; by default the preset's."""

    seconds: Annotated[float | None, Parameter(group=SEARCH)] = None
    """Stop after so many seconds and keep the best so far."""

    memory: Annotated[float | None, word(values.memory, "SIZE", group=MODEL)] = None
    """Memory to use, e.g. 2GB; by default 60 % of what is free."""

    reference: Annotated[Path | None, Parameter(group=OUTPUT)] = None
    """The true image: PSNR, SSIM and a perceptual distance go into the report."""


NO_RESTORE = Restore()
NO_COMMON = Common()
