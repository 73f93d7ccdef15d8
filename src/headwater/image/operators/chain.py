"""Operators one after another."""

from __future__ import annotations

from functools import reduce

from headwater.errors import Misuse
from headwater.problem.compose import compose
from headwater.problem.operator import Operator


def chain(*operators: Operator) -> Operator:
    """The operators one after another, y = A_n(... A_1(x)), the first first; linear if all of them are.

    The residual and the count of measurements are those of the last operator, so a chain that ends in `Clip` keeps
    its inequality. `local` adds up the radii, each times the strides before it.

    Raises
    ------
    Misuse
        There is no operator.

    Examples
    --------
    >>> from headwater.image.operators import JPEG, Identity, SuperResolution
    >>> chain(SuperResolution(2), Identity()).linear, chain(SuperResolution(2), JPEG(80)).linear
    (True, False)
    """
    if not operators:
        raise Misuse("The chain holds no operator.", "Give at least one; Identity() changes nothing.")
    return reduce(lambda before, after: compose(after, before), operators)
