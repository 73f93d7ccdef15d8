"""The two answers that a restoration may give: the mean of what is likely, or a sample of it.

faithful     as near to the truth as can be known; smooth where little is known
plausible    a picture that the flow does make; detail that was not measured is made up

Both are estimates, without a gradient. Where one misses the noise level, or a plausible one has fitted the noise,
control of the source goes on from it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.image.inside_holes import InsideHoles
from headwater.image.operators.blur import Blur
from headwater.image.operators.colorize import Colorize
from headwater.image.operators.inpaint import Inpaint
from headwater.image.operators.phase import PhaseRetrieval
from headwater.image.phase_estimate import PhaseEstimate
from headwater.image.power_law import PowerLaw
from headwater.problem.operator import Identity, Operator
from headwater.recipes.average import Average
from headwater.recipes.covariance import White
from headwater.recipes.estimate import Estimate
from headwater.recipes.recipe import Recipe
from headwater.recipes.warm_start import WarmStart

Answer = Literal["faithful", "plausible"]


ESTIMATE = Estimate(times=16, last=0.99, covariance=PowerLaw())
"""An estimate that knows the power spectrum of pictures (`benchmarks/decisions/answers.py`)."""

DEBLURRED = Estimate(times=16, last=0.99, covariance=White(1.12))
"""An estimate of a blurred picture: white errors do better there, and take less time.

Measured in `benchmarks/decisions/deblurring.py`.
"""


def faithful(operator: Operator) -> Recipe:
    """The mean of four estimates; of magnitudes the better of two, as the mean of a picture and its mirror image is
    neither.
    """
    if has_phases(operator):
        return WarmStart(PhaseEstimate(), keep_estimate=0.0)
    return WarmStart(Average(estimate_for(operator), count=4), keep_estimate=0.0)


def plausible(operator: Operator, *, least: float) -> Recipe:
    """One estimate that keeps a part of its noise inside holes (`benchmarks/decisions/large_holes.py`).

    Control replaces one that has fitted noise, with a misfit below `least` units of it.
    """
    if has_phases(operator):
        return WarmStart(PhaseEstimate(), keep_estimate=least)
    estimate = estimate_for(operator)
    estimate = replace(estimate, times=32, first=0.01, fresh=InsideHoles())
    return WarmStart(estimate, keep_estimate=least)


def on_latents(operator: Operator, answer: Answer) -> Recipe:
    """An answer by a flow on latents: of estimates through the decoder, whose errors are white.

    A proximal step through the decoder costs far more than an evaluation of the flow, so the times are few
    (`benchmarks/latent_holes.py`). Old noise in latents of which no pixel is known makes no better sample
    (`benchmarks/decisions/latent_insides.py`), so all noise is new. The unit of the misfit holds the
    error of the autoencoder, so a misfit below it is no sign that noise was fitted.
    """
    estimate = Estimate(times=8)
    mean = answer == "faithful" and not has_phases(operator)
    return WarmStart(Average(estimate, count=4) if mean else estimate, keep_estimate=0.0)


def estimate_for(operator: Operator) -> Estimate:
    """The estimate that suits a measurement.

    Examples
    --------
    >>> from headwater.image.operators import Blur, Inpaint, box_mask, gaussian_kernel
    >>> type(estimate_for(Blur(gaussian_kernel(1.0))).covariance).__name__
    'White'
    >>> type(estimate_for(Inpaint(box_mask(8, 8, 2, 2))).covariance).__name__
    'PowerLaw'
    """
    kinds = {type(part) for part in parts_of(operator)}
    if has_phases(operator):
        return PhaseEstimate().from_noise
    return DEBLURRED if Blur in kinds and kinds <= {Blur, Colorize, Identity} else ESTIMATE


def has_phases(operator: Operator) -> bool:
    """Whether phases were lost, somewhere in the operator."""
    return any(isinstance(part, PhaseRetrieval) for part in parts_of(operator))


def answer_of(operator: Operator) -> Answer:
    """What is asked for by default: a plausible picture where a hole or the colour is missing, else a faithful one.

    Where every missing pixel has a known one near by the faithful answer is better in PSNR and perceptual distance
    (`benchmarks/decisions/large_holes.py`).

    Raises
    ------
    Misuse
        Some masks of a batch have a hole and others do not: an answer must not depend on its neighbours.

    Examples
    --------
    >>> from headwater.image.operators import Inpaint, SuperResolution, box_mask
    >>> answer_of(SuperResolution(2)), answer_of(Inpaint(box_mask(16, 16, 9, 9)))
    ('faithful', 'plausible')
    >>> answer_of(Inpaint(box_mask(16, 16, 2, 16)))
    'faithful'
    """
    return "plausible" if any(map(leaves_open, parts_of(operator))) else "faithful"


def leaves_open(part: Operator) -> bool:
    """Whether an operator leaves much of the picture to the model: a mask with a hole, or lost colour."""
    if not isinstance(part, Inpaint):
        return isinstance(part, Colorize)
    holes = InsideHoles().of_mask(~part.mask).flatten(1).any(1)
    if bool((holes != holes[0]).any()):
        raise Misuse(
            "Some masks of the batch have holes and others only thin damage, which have different default answers.",
            "Ask for task.recipe('faithful') or task.recipe('plausible'), or restore them apart.",
        )
    return bool(holes[0])


def undecided(error: Misuse) -> Recipe:
    """The recipe of a task whose default answer cannot be told; it says so when it is called."""

    def refuse(*_: Any, **__: Any) -> Result:
        raise error

    return refuse


def parts_of(operator: Operator) -> list[Operator]:
    """The operators of a chain, in the order in which they work; of any other itself."""
    parts = [
        part for part in (getattr(operator, name, None) for name in ("inner", "outer")) if part is not None
    ]
    return [leaf for part in parts for leaf in parts_of(part)] or [operator]
