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

    Parameters
    ----------
    *operators
        On images `[batch, channels, height, width]`, each on what the one before it makes.

    Returns
    -------
    operator
        A single one is returned as it is.

    Raises
    ------
    Misuse
        There is no operator.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> smaller = hw.image.SuperResolution(2)
    >>> hw.image.chain(smaller, hw.Identity()).linear, hw.image.chain(smaller, hw.image.JPEG(80)).linear
    (True, False)
    >>> hw.image.chain(smaller, hw.image.Colorize())(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 1, 4, 4])
    """
    if not operators:
        raise Misuse("The chain holds no operator.", "Give at least one; Identity() changes nothing.")
    return reduce(lambda before, after: compose(after, before), operators)
