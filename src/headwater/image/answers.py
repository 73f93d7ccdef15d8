"""The two answers that a restoration may give: the mean of what is likely, or a sample of it.

faithful     as near to the truth as can be known; smooth where little is known
plausible    a picture that the flow does make; detail that was not measured is made up
"""

from __future__ import annotations

from typing import Literal

from headwater.image.operators.colorize import Colorize
from headwater.image.power_law import PowerLaw
from headwater.problem.operator import Operator
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate
from headwater.recipes.recipe import Recipe

Answer = Literal["faithful", "plausible"]


def faithful() -> Recipe:
    """The mean of four estimates of 8 evaluations each, which know the power spectrum of pictures."""
    return Average(Estimate(times=8, last=0.99, covariance=PowerLaw()), count=4)


def plausible() -> Recipe:
    """One estimate of 16 evaluations, which knows the power spectrum of pictures."""
    return Estimate(times=16, last=0.99, covariance=PowerLaw())


def answer_of(operator: Operator) -> Answer:
    """What is asked for by default: a plausible picture where a part or the colour is missing, else a faithful one.

    Examples
    --------
    >>> from headwater.image.operators import Inpaint, SuperResolution, box_mask
    >>> answer_of(SuperResolution(2)), answer_of(Inpaint(box_mask(8, 8, 2, 2)))
    ('faithful', 'plausible')
    """
    open_part = hasattr(operator, "known_pixels") or isinstance(operator, Colorize)
    return "plausible" if open_part else "faithful"
