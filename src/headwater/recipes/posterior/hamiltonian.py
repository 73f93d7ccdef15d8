"""Proposals with the gradient that leave the Gaussian prior as it is: kicks by grad Phi, rotations in between.

The motion dx/dt = v, dv/dt = -x - grad Phi(x) is split: the linear part is a rotation, exact for any angle, and the
potential kicks the velocity v before and after it. A rotation keeps |x|^2 + |v|^2, so the acceptance needs the
potential and the kicks alone, and does not fall with the dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation
from headwater.optimizers.state import dot
from headwater.problem.batch import per_problem
from headwater.recipes.posterior.chains import ChainState
from headwater.recipes.posterior.potential import Potential


def leapfrog(
    state: ChainState, v: Tensor, angle: Tensor, kick: Tensor, leaps: int, potential: Potential
) -> tuple[Evaluation, Tensor]:
    """The end of some leaps from the chains' points with the velocities v, and the log of the acceptance ratio.

    Parameters
    ----------
    state
        The chains, with the gradient at x0.
    v
        Velocities `[chains, *event]`, draws of N(0, I).
    angle, kick
        Of every rotation, and the length of every kick, float64 `[chains]`.
    leaps
        How many; each takes one gradient.
    potential
        Phi and its gradient.

    Returns
    -------
    proposal, log_ratio
        Its evaluation, and minus the change of the energy, float64 `[chains]`.
    """
    x, g, gained = state.x0, state.gradient, torch.zeros_like(state.potential)
    cos, sin, length = (per_problem(value, x) for value in (angle.cos(), angle.sin(), kick))
    for _ in range(leaps):
        gained = gained + kinetic_gain(v, g, kick)
        v = v - length * g
        x, v = cos * x + sin * v, cos * v - sin * x
        e = potential.with_gradient(x)
        g = e.gradient
        gained = gained + kinetic_gain(v, g, kick)
        v = v - length * g
    return e, state.potential - e.cost - gained


def kinetic_gain(v: Tensor, g: Tensor, kick: Tensor) -> Tensor:
    """|v - kick g|^2 / 2 - |v|^2 / 2 without the difference of two large numbers, float64 `[chains]`.

    v and g are `[chains, *event]`, kick float64 `[chains]`.
    """
    return kick * (0.5 * kick * dot(g, g) - dot(v, g))
