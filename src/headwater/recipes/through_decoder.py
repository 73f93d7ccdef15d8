"""Problems of a flow on latents: what was measured of the data is compared through the decoder.

The cost of latents z is that of the data D(z) of the decoder D, as in the free-form inpainting of Ben-Hamu et al.
2024. What the autoencoder cannot express is no noise of the measurement and cannot be fitted either, so the unit of
the misfit holds both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.flows.latent import LatentModel
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit
from headwater.problem.operator import Operator
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe


def pose_through_decoder(
    operator: Operator, y: Tensor, unit: float | Tensor, rough: Tensor, model: LatentModel, recipe: Recipe
) -> Problem:
    """The problem of finding latents z with A(D(z)) = y.

    Parameters
    ----------
    operator, y
        What was measured of the data `[batch, ...]` that the model decodes.
    unit
        The misfit that counts as 1 without an autoencoder, in data units.
    rough
        Rough data `[1 or batch, ...]`.
    model
        The flow with its autoencoder D, on the canvas of the data.
    recipe
        The method of the problem.

    Returns
    -------
    problem
        Its states are latents, and `problem.to_data` decodes them.
    """
    with torch.no_grad():
        guess = model.encode(rough)
        error = codec_error(operator, rough, model.decode(guess))
    unit = (torch.as_tensor(unit).to(error).reshape(-1).square() + error.square()).sqrt()
    misfit = compose(Misfit(operator, y, unit if len(unit) > 1 else float(unit)), model.decode)
    return Problem(model.flow, misfit, guess, recipe, latent=model)


def codec_error(operator: Operator, data: Tensor, decoded: Tensor) -> Tensor:
    """How far data and its decoded latents are apart as they are measured, rms `[batch]`."""
    gap = operator.residual(decoded, operator(data))
    count = operator.count(gap).to(gap.real)
    return (gap.abs().square().flatten(1).sum(1) / count.clamp(min=1)).sqrt()
