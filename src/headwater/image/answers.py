"""The two answers that a restoration may give: the mean of what is likely, or a sample of it.

faithful     as near to the truth as can be known; smooth where little is known
plausible    a picture that the flow does make; detail that was not measured is made up

Both are estimates, without a gradient. Where one misses the noise level, or a plausible one has fitted the noise,
control of the source goes on from it.
"""

from __future__ import annotations

from typing import Literal

from headwater.image.operators.colorize import Colorize
from headwater.image.power_law import PowerLaw
from headwater.problem.operator import Operator
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate
from headwater.recipes.recipe import Recipe
from headwater.recipes.warm_start import WarmStart

Answer = Literal["faithful", "plausible"]


ESTIMATE = Estimate(times=16, last=0.99, covariance=PowerLaw())
"""An estimate that knows the power spectrum of pictures (`benchmarks/decisions/answers.py`)."""


def faithful() -> Recipe:
    """The mean of four estimates."""
    return WarmStart(Average(ESTIMATE, count=4), keep_estimate=0.0)


def plausible(*, least: float) -> Recipe:
    """One estimate; control replaces one that has fitted noise, with a misfit below `least` units of it."""
    return WarmStart(ESTIMATE, keep_estimate=least)


def answer_of(operator: Operator) -> Answer:
    """What is asked for by default: a plausible picture where a part or the colour is missing, else a faithful one.

    Examples
    --------
    >>> from headwater.image.operators import Inpaint, SuperResolution, box_mask
    >>> answer_of(SuperResolution(2)), answer_of(Inpaint(box_mask(8, 8, 2, 2)))
    ('faithful', 'plausible')
    """
    parts = [part for part in (getattr(operator, "outer", None), getattr(operator, "inner", None)) if part]
    leaves_open = hasattr(operator, "known_pixels") or isinstance(operator, Colorize)
    return "plausible" if leaves_open or "plausible" in map(answer_of, parts) else "faithful"
