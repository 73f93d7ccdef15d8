"""An edit of a picture of any size: on the canvas of the model's windows or on latents, and back to pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.flows.windowed import extend_to_canvas
from headwater.image.canvas import extend
from headwater.image.latent import canvas_of, latents_on_canvas
from headwater.problem.rewards import Reward, RewardThrough
from headwater.recipes.editing.boundary import Boundary, find_boundary
from headwater.recipes.editing.edit import EditResult

Method = Callable[..., EditResult]
"""A method of `headwater.recipes.editing`."""


@dataclass(frozen=True)
class PictureEdit:
    """What became of a picture.

    Attributes
    ----------
    x
        The edited pictures `[batch, 3, h, w]` in [-1, 1]; where the strength is 0 they are the original.
    made
        The same before the original was put back there.
    result
        That of the method; its states are latents for a model on latents.

    Examples
    --------
    >>> import torch
    >>> from headwater import Flow
    >>> from headwater.image import edit_picture
    >>> from headwater.recipes.editing import StochasticEdit
    >>> flow = Flow(lambda x, t: -x, (3, 8, 8))
    >>> found = edit_picture(StochasticEdit(), flow, torch.ones(1, 3, 8, 10), [0], strength=0.0)
    >>> found.x.shape, found.result.evaluations.tolist()
    (torch.Size([1, 3, 8, 10]), [0])
    """

    x: Tensor
    made: Tensor
    result: EditResult


def edit_picture(
    method: Method,
    model: Flow | LatentModel,
    picture: Tensor,
    seeds: Sequence[int],
    *,
    target: Flow | LatentModel | None = None,
    reward: Reward | None = None,
    strength: float | Tensor | None = None,
) -> PictureEdit:
    """Edit a picture of any size by a method of `headwater.recipes.editing`.

    Parameters
    ----------
    method
        Such as `FlowEdit()` for a changed condition, `RewardEdit()` for a reward.
    model
        The model as it explains the picture: a flow on pixels, or one on latents.
    picture
        The original `[1 or batch, 3, h, w]` in [-1, 1].
    seeds
        One per result.
    target
        The same model under the changed condition.
    reward
        Of pictures `[batch, 3, h, w]` in [-1, 1], best standardised.
    strength
        How much may change, 0 to 1: a number, or a map `[1 or batch, 1, h, w]`; None is the method's own.

    Returns
    -------
    edit
        A `PictureEdit`.

    Raises
    ------
    Misuse
        As the method does, the map has another size than the picture, or there are neither one picture nor as many as
        seeds.

    Examples
    --------
    The velocity of the target brightens, and the map keeps the left half.

    >>> import torch
    >>> from headwater import Flow
    >>> from headwater.image import edit_picture
    >>> from headwater.recipes.editing import FlowEdit
    >>> flow, bright = (Flow(lambda x, t, to=to: to + 0 * x, (3, 8, 8)) for to in (0.0, 0.5))
    >>> half = torch.cat([torch.zeros(1, 1, 8, 4), torch.ones(1, 1, 8, 4)], 3)
    >>> edit = edit_picture(FlowEdit(), flow, torch.zeros(1, 3, 8, 8), [0], target=bright, strength=half)
    >>> [round(v, 2) for v in edit.x[0, 0, 0, 3:5].tolist()]
    [0.0, 0.5]
    """
    if picture.ndim != 4 or len(picture) not in (1, len(seeds)):
        raise Misuse(
            f"The picture has shape {tuple(picture.shape)} for {len(seeds)} seeds.",
            "Give [1, 3, h, w], or a picture for each seed, [len(seeds), 3, h, w].",
        )
    size, latent = (int(picture.shape[-2]), int(picture.shape[-1])), isinstance(model, LatentModel)
    original, canvas = picture.expand(len(seeds), *picture.shape[1:]), canvas_for(model, size)
    states = to_states(model, extend(original, canvas))

    def to_pictures(z: Tensor) -> Tensor:
        return to_range(model, z)[..., : size[0], : size[1]]

    options: dict[str, object] = {}
    if target is not None:
        options["target"] = on_canvas(target, canvas)
    if reward is not None:
        options["reward"] = RewardThrough(reward, to_pictures) if latent or canvas != size else reward
    if strength is not None:
        options["strength"] = strength_of_states(strength, size, canvas, model)
    result = method(on_canvas(model, canvas), states, seeds, **options)
    with torch.no_grad():
        made = to_pictures(result.x1).clamp(-1, 1)
    x = made
    if isinstance(strength, Tensor) and strength.ndim:
        x = torch.where(strength.to(made) > 0, made, original)
    elif strength == 0:
        x = original
    return PictureEdit(x, made, result)


def find_picture_boundary(
    model: Flow | LatentModel, with_it: Tensor, without: Tensor, **settings: Any
) -> Boundary:
    """The boundary between pictures with and without an attribute, for edits of pictures of their size.

    Parameters
    ----------
    model
        The model that `edit_picture` gets.
    with_it, without
        Pictures `[n, 3, h, w]` and `[m, 3, h, w]` in [-1, 1], all of the size of the picture to edit.
    settings
        time, ridge, method, steps and at_once, as of `headwater.recipes.editing.find_boundary`.

    Raises
    ------
    Misuse
        As `find_boundary`, or if the pictures are not of one size.

    References
    ----------
    Zhu et al., "Boundary guided learning-free semantic control with diffusion models", NeurIPS 2023.

    Examples
    --------
    Light pictures lie on one side of the boundary, dark ones on the other; the edit makes a grey one light.

    >>> import torch
    >>> from headwater import Flow
    >>> from headwater.image import edit_picture, find_picture_boundary
    >>> from headwater.recipes.editing import BoundaryEdit
    >>> flow = Flow(lambda x, t: 0 * x, (3, 8, 8))
    >>> plane = find_picture_boundary(flow, torch.full((2, 3, 8, 8), 0.5), torch.full((2, 3, 8, 8), -0.5))
    >>> edit = edit_picture(BoundaryEdit(plane), flow, torch.zeros(1, 3, 8, 8), [0])
    >>> round(edit.x.mean().item(), 2), plane.separated
    (0.5, 1.0)
    """
    sizes = [tuple(x.shape[1:]) for x in (with_it, without)]
    if sizes[0] != sizes[1] or len(sizes[0]) != 3 or sizes[0][0] != 3:
        raise Misuse(
            f"The pictures with and without the attribute have the shapes {sizes[0]} and {sizes[1]}.",
            "Give pictures [n, 3, h, w] of one size.",
        )
    canvas = canvas_for(model, (int(sizes[0][1]), int(sizes[0][2])))
    states = [
        torch.cat([to_states(model, extend(part, canvas)) for part in torch.split(x, 8)])
        for x in (with_it, without)
    ]
    return find_boundary(on_canvas(model, canvas), *states, **settings)


def canvas_for(model: Flow | LatentModel, size: tuple[int, int]) -> tuple[int, int]:
    """The canvas in pixels for a picture of a size: as the latents need it, or not below the model's window."""
    if isinstance(model, LatentModel):
        return canvas_of(size, model)
    return max(size[0], model.shape[1]), max(size[1], model.shape[2])


def on_canvas(model: Flow | LatentModel, canvas: tuple[int, int]) -> Flow:
    """The model's flow on a canvas in pixels, of latents where it has them."""
    if isinstance(model, LatentModel):
        return latents_on_canvas(model, canvas)
    return model if model.shape[1:] == canvas else extend_to_canvas(model, canvas)


def to_states(model: Flow | LatentModel, x: Tensor) -> Tensor:
    """The states of pictures x `[batch, 3, h, w]` in [-1, 1]: latents where the model has them."""
    if not isinstance(model, LatentModel):
        return x
    low, high = model.range
    with torch.no_grad():
        return model.encode((x + 1) / 2 * (high - low) + low)


def to_range(model: Flow | LatentModel, z: Tensor) -> Tensor:
    """The pictures of states in [-1, 1], not clamped; differentiable."""
    if not isinstance(model, LatentModel):
        return z
    low, high = model.range
    return (model.decode(z) - low) / (high - low) * 2 - 1


def strength_of_states(
    strength: float | Tensor, size: tuple[int, int], canvas: tuple[int, int], model: Flow | LatentModel
) -> float | Tensor:
    """The strength of the states: a latent is as free as the freest of its pixels, the canvas as its last pixels."""
    if not isinstance(strength, Tensor) or strength.ndim == 0:
        return strength
    if strength.ndim != 4 or tuple(strength.shape[-2:]) != size:
        raise Misuse(
            f"The strength has shape {tuple(strength.shape)} for a picture of {size[0]} x {size[1]}.",
            "Give a number, or a map [1, 1, h, w] of the picture's size.",
        )
    full = extend(strength, canvas)
    return max_pool2d(full, model.factor) if isinstance(model, LatentModel) else full
