"""A picture to restore by a flow on latents, on a canvas that its windows cover."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.flows.windowed import extend_to_canvas
from headwater.image.canvas import Crop, extend
from headwater.problem.compose import Composition, compose
from headwater.problem.cost import Misfit
from headwater.problem.operator import Operator
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe
from headwater.recipes.through_decoder import pose_through_decoder


def pose_on_latents(
    operator: Operator, y: Tensor, unit: float | Tensor, rough: Tensor, model: LatentModel, recipe: Recipe
) -> Problem:
    """The problem of latents on the smallest canvas of the model's windows that holds the picture.

    Parameters
    ----------
    operator, y
        What was measured of a picture `[batch, c, height, width]`.
    unit
        The misfit that counts as 1 without an autoencoder, in data units.
    rough
        A rough picture `[1 or batch, c, height, width]`.
    model
        The flow with its autoencoder.
    recipe
        The method of the problem.

    Returns
    -------
    problem
        Its states are latents; `problem.to_data` makes pictures of them, on a canvas that may be larger than `rough`.
    """
    size = (rough.shape[-2], rough.shape[-1])
    canvas = canvas_of(size, model)
    if canvas != size:
        operator = compose(operator, Crop(*size, canvas))
    model = replace(model, flow=latents_on_canvas(model, canvas))
    return pose_through_decoder(operator, y, unit, extend(rough, canvas), model, recipe)


def latents_on_canvas(model: LatentModel, canvas: tuple[int, int]) -> Flow:
    """The flow on the latents of a canvas in pixels, see `canvas_of`."""
    factor = model.factor
    return extend_to_canvas(model.flow, (canvas[0] // factor, canvas[1] // factor))


def misfit_of_pictures(problem: Problem) -> Misfit:
    """The misfit of a problem as one of pictures: that of latents without its decoder, any other as it is."""
    if problem.latent is None:
        return problem.misfit
    assert isinstance(problem.misfit.operator, Composition)  # `pose_on_latents` put the decoder inside
    return replace(problem.misfit, operator=problem.misfit.operator.outer)


def canvas_of(size: tuple[int, int], model: LatentModel) -> tuple[int, int]:
    """The smallest canvas in pixels that holds a picture, at least the model's window and a multiple of its factor.

    Examples
    --------
    >>> import headwater as hw
    >>> double = lambda z: z.repeat_interleave(8, -1).repeat_interleave(8, -2)
    >>> model = LatentModel(hw.Flow(lambda z, t: -z, (4, 2, 2)), double, lambda x: x[..., ::8, ::8])
    >>> canvas_of((10, 33), model)
    (16, 40)
    """
    factor, window = model.factor, model.shape[1:]
    height, width = (max(m, math.ceil(n / factor) * factor) for n, m in zip(size, window, strict=True))
    return height, width
