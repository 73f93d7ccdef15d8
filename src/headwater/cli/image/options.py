"""Options of `headwater image ...`: frozen dataclasses, flattened into the commands.

Annotations are evaluated here, not kept as text, so that dataclasses of other modules may inherit.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from headwater.cli.shared import values
from headwater.cli.shared.options import (
    LAST_SEED,
    MODEL,
    MOST_GRADIENTS,
    MOST_SAMPLES,
    MOST_SECONDS,
    MOST_STEPS,
    OUTPUT,
    SEARCH,
    SHORTEST,
    Draws,
    EventOption,
    Files,
    MethodName,
    SamplerOption,
    number,
    whole,
    word,
)

Downsampling = Literal["area", "decimate", "bicubic"]
Boundary = Literal["reflect", "circular", "valid"]
Grey = Literal["luma", "mean"]
Subsampling = Literal["4:2:0", "4:2:2", "4:4:0", "4:1:1", "4:4:4"]
Strategy = Literal["direct", "checkpoint"]
Size = Annotated[
    tuple[int, int] | None, word(values.NumberParser("HEIGHT,WIDTH", int, (1, 100_000)), "HEIGHT,WIDTH")
]
Level = Annotated[float, word(values.parse_level, "LEVEL", limits=(-100.0, 100.0))]


@Parameter(name="*")
@dataclass(frozen=True)
class Common(Files):
    """What every command that uses a model understands."""

    model: Annotated[str | None, Parameter(group=MODEL)] = None
    """A shipped model, see 'headwater models', or the folder of a diffusers pipeline; by default photo64, and
    pictograms where --prompt or --style is given."""

    label: Annotated[str | None, Parameter(group=MODEL)] = None
    """The class of the image: a name, WNID or number of the model's classes; of a diffusers pipeline that takes
    labels, the number. None by default."""

    prompt: Annotated[str | None, Parameter(group=MODEL)] = None
    """What the picture shows, in English, such as "a red apple"; for models that take a text."""

    negative: Annotated[str | None, Parameter(group=MODEL)] = None
    """What to keep away from; for a diffusers pipeline."""

    style: Annotated[str | None, Parameter(group=MODEL)] = None
    """The icon set whose manner pictograms follows, such as noto or twemoji; by default any."""

    guidance: Annotated[float | None, number(-100, 100, group=MODEL)] = None
    """Weight of classifier-free guidance: towards --label by default 1, which means none; towards --prompt the
    model's own."""

    checkpointing: Annotated[bool, Parameter(negative="", group=MODEL)] = False
    """Compute the activations of a diffusers pipeline again in the backward pass: less memory, more time."""

    slicing: Annotated[bool, Parameter(negative="", group=MODEL)] = False
    """Let the decoder of a diffusers pipeline take one picture at a time: less memory."""

    tiling: Annotated[bool, Parameter(negative="", group=MODEL)] = False
    """Let the decoder of a diffusers pipeline take one tile of a picture at a time: less memory, and the pixels
    change a little."""

    device: Annotated[str | None, Parameter(group=MODEL)] = None
    """Where to compute: cpu, cuda, cuda:1, mps. By default a GPU if there is one."""

    bfloat16: Annotated[bool, Parameter(negative="", group=MODEL)] = False
    """Let the networks multiply in bfloat16: faster on a GPU or a CPU with AMX, slower on other CPUs. The picture
    changes a little."""

    range: Annotated[tuple[float, float] | None, word(values.parse_range, "BLACK,WHITE", group=MODEL)] = None
    """Stored values of black and white: in .npy and float files, e.g. 0,1, by default -1,1; in 16-bit files
    where white is above 255, e.g. 0,4095."""


@Parameter(name="*")
@dataclass(frozen=True)
class Restore(Common):
    """What every restoration understands."""

    noise: Annotated[float | None, word(values.parse_noise, "STD", group=SEARCH)] = None
    """Standard deviation of the noise in the range [-1, 1], or in grey levels of 0..255 as in 13/255."""

    seed: Annotated[int, whole(0, LAST_SEED, group=SEARCH)] = 0
    """Seed of the first sample; sample i has seed + i."""

    samples: Annotated[int, whole(1, MOST_SAMPLES, group=SEARCH)] = 1
    """How many restorations; more than one are written as NAME-0.png, NAME-1.png, ..."""

    method: Annotated[
        Literal["faithful", "plausible", MethodName], Parameter(group=SEARCH, show_choices=False)
    ] = "default"
    """'faithful' is near the mean of what is likely, 'plausible' a picture that the model makes; by default the one
    that suits the task. Or one of 'headwater methods', such as 'map' or 'paper', D-Flow as published."""

    steps: Annotated[int | None, whole(1, MOST_STEPS, group=SEARCH)] = None
    """Steps of the ODE solver; by default the method's."""

    gradients: Annotated[int | None, whole(1, MOST_GRADIENTS, group=SEARCH)] = None
    """Most gradient evaluations per sample; by default the method's."""

    seconds: Annotated[float | None, number(SHORTEST, MOST_SECONDS, group=SEARCH)] = None
    """Stop after this many seconds and keep the best so far."""

    memory: Annotated[float | None, word(values.parse_memory, "SIZE", group=MODEL)] = None
    """Memory to use, e.g. 2GB; by default 60 % of what is free."""

    posterior: Draws = None
    """Draw this many pictures that agree with the measurement, in four chains. The result is their mean; beside it
    are a plausible draw, the standard deviation and two quantiles. After Ctrl-C a second run goes on."""

    sampler: SamplerOption = None
    """How it draws; by default daps, without a gradient and with 64 times, or as many as --steps. perturb-and-map
    takes about three times as long; the others are Markov chains, which take longer still."""

    event: EventOption = None
    """my.py with a function event(x), true or false for a picture x [3, height, width] in [-1, 1], or my.py:name: its
    probability."""

    reference: Annotated[Path | None, Parameter(group=OUTPUT)] = None
    """The true image: PSNR, SSIM and a perceptual distance go into the report."""


NO_RESTORE = Restore()
NO_COMMON = Common()
