"""Options that many commands share: one frozen dataclass each, flattened into the command.

Annotations are evaluated here, not kept as text, so that dataclasses of other modules may inherit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from headwater.cli.shared import values

OUTPUT = Group("Output", sort_key=3)
MODEL = Group("Model and machine", sort_key=4)
SEARCH = Group("Restoration", sort_key=1)
REWARDS = Group("Rewards", sort_key=1)
EXAMPLES = Group("Examples", sort_key=1)
SCORES = Group("Scores without a gradient", sort_key=1)
POSTERIOR = Group("How sure it is", sort_key=2)

MethodName = Literal[
    "default",
    "one-evaluation",
    "estimate",
    "average",
    "warm-start",
    "map",
    "map-from-noise",
    "paper",
    "dps",
    "pigdm",
    "ot-ode",
    "red-diff",
    "flow-priors",
    "pnp-flow",
    "flower",
    "flow-chef",
    "flow-dps",
    "oc-flow",
    "dno",
    "reno",
    "lanpaint",
    "diffpir",
    "cow",
    "steered",
]
"""The names of `recipes.methods`, without an import of torch; a test holds them equal."""
SearchName = Literal["best-of-n", "cma", "es", "fk", "code", "scg"]
"""The names of `recipes.blackbox.methods`, without an import of torch; a test holds them equal."""
EditName = Literal[
    "flowedit", "inversion", "sdedit", "rf-inversion", "h-edit", "reward", "trajectory", "boundary"
]
"""The names of `recipes.editing.methods`, without an import of torch; a test holds them equal."""
SamplerName = Literal["daps", "perturb-and-map", "pcn", "mala", "hmc", "sgld"]
"""The names of `cli.shared.posterior.SAMPLERS`; a test holds them equal."""
Reader = Callable[[str], Any]


def word(read: Reader, metavar: str, *, limits: tuple[float, float] | None = None, **more: Any) -> Parameter:
    """An option of one word with a reader of its own; refusals of a number name its limits."""
    return Parameter(
        converter=values.Converter(read, limits),
        n_tokens=1,
        metavar=metavar,
        allow_leading_hyphen=True,
        negative="",
        **more,
    )


def whole(low: int, high: int, **more: Any) -> Parameter:
    """An option that is a whole number from `low` to `high`."""
    return word(values.parse_whole, "INT", limits=(low, high), **more)


def number(low: float, high: float, **more: Any) -> Parameter:
    """An option that is a number from `low` to `high`."""
    return word(values.parse_number, "NUMBER", limits=(low, high), **more)


MOST_STEPS, MOST_GRADIENTS, MOST_SAMPLES, MOST_SECONDS = 10_000, 1_000_000, 1000, 1e7
"""Far beyond what helps: 10,000 steps are 400 times those of a method, 10 million seconds four months."""
MOST_DRAWS = 10_000
"""Draws of a posterior: a hundred times what a quantile needs."""
LAST_SEED = 10**18
"""Sample i has seed + i, and torch takes seeds below 2^64."""

SHORTEST = 0.001
"""Seconds."""

Draws = Annotated[int | None, whole(4, MOST_DRAWS, group=POSTERIOR)]
SamplerOption = Annotated[SamplerName | None, Parameter(group=POSTERIOR)]
EventOption = Annotated[str | None, Parameter(metavar="FILE", group=POSTERIOR)]
Steps = Annotated[int, whole(1, MOST_STEPS)]
Rewards = Annotated[
    tuple[str, ...], Parameter(metavar="REWARD", group=REWARDS, negative="", allow_leading_hyphen=True)
]
"""Rewards, whose weights may be negative."""
Seed = Annotated[int, whole(0, LAST_SEED)]


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
