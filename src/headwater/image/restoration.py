"""Restoring an image: its task is posed on a flow, solved by a recipe, and finished as a picture.

problem = task.pose(model)                 an operator, a measurement and a guess on the model's canvas
result = problem.solve(seeds)              a recipe finds x1, one for each seed
images = task.finish(result.x1, problem)   the picture's part, agreeing with y, in the data range
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.flows.cover import Place
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.image.canvas import cover_of, extend
from headwater.image.latent import misfit_of_pictures
from headwater.image.task import ImageTask
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe, RecipeOptions
from headwater.recipes.verdict import tell_overfitted


@dataclass(frozen=True)
class Restoration:
    """What `restore` returns.

    Attributes
    ----------
    images : Tensor
        `[samples, channels, height, width]` in the data range of the flow, one for each seed, finished.
    result : Result
        Of the recipe: x1 `[samples, channels, canvas height, canvas width]`, or of a mask on the covered pixels; see
        `crop`.
    task : ImageTask
        What was asked.
    problem : Problem
        How it was posed on the flow.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> y = torch.full((1, 3, 4, 4), 0.2)
    >>> task = hw.image.ImageTask(hw.image.SuperResolution(2), y, noise=0.0, size=(8, 8))
    >>> found = hw.image.restore(task, hw.Flow(lambda x, t: -x, (3, 8, 8)), seeds=[1, 2])
    >>> found.images.shape, [status.name for status in found.result.status]
    (torch.Size([2, 3, 8, 8]), ['REACHED', 'REACHED'])
    >>> bool(found.rms(found.images).max() < 1e-4)
    True
    """

    images: Tensor
    result: Result
    task: ImageTask
    problem: Problem

    @property
    def region(self) -> Place:
        """The rows and columns of the picture that were solved, all or those from the first window to the last."""
        return region_of(self.task, self.problem)

    def crop(self, x1: Tensor) -> Tensor:
        """The `region` of states x1 `[samples, c, *canvas]`; pixels that no window solves are those of the result."""
        (rows, columns), cover = self.region, cover_of(self.problem.flow)
        if cover is None:
            return self.problem.to_data(x1)[..., rows, columns]
        box = cover.cut_out()
        onto = extend(self.images[: len(x1), :, rows, columns], box.canvas)
        return box.unpack(x1, onto)[..., : rows.stop - rows.start, : columns.stop - columns.start]

    def rms(self, images: Tensor) -> Tensor:
        """The misfit of images `[samples, c, height, width]` in their region, in units of the noise, `[samples]`."""
        return rms_of(images, self.task, self.problem)


def region_of(task: ImageTask, problem: Problem) -> Place:
    """The rows and columns of a posed task's picture that are solved."""
    (height, width), cover = task.size, cover_of(problem.flow)
    if cover is None:
        return slice(0, height), slice(0, width)
    rows, columns = cover.box
    return slice(rows.start, min(rows.stop, height)), slice(columns.start, min(columns.stop, width))


def rms_of(images: Tensor, task: ImageTask, problem: Problem) -> Tensor:
    """The misfit of images `[samples, c, height, width]` of a posed task, in units of the noise, `[samples]`."""
    cover = cover_of(problem.flow)
    return misfit_of_pictures(problem).rms(images if cover is None else task.pack(images, cover))


def restore(
    task: ImageTask,
    model: Flow | LatentModel,
    seeds: Sequence[int] = (0,),
    *,
    recipe: Recipe | None = None,
    options: RecipeOptions | None = None,
    solver: Callable[..., Result] = Problem.solve,
) -> Restoration:
    """Find images x with A(x) = y up to the noise, one per seed.

    Parameters
    ----------
    task
        What was measured.
    model
        The prior on its window `[channels, height, width]`, of pixels or of latents.
    seeds
        One per image; each image depends on its own seed alone.
    recipe
        The method; by default that of the problem.
    options
        What the user says about any method.
    solver
        What solves the problem, `solver(problem, seeds, recipe=..., options=...)`: by default at once and alone. A
        batch of files solves the problems of several pictures together.

    Returns
    -------
    restoration
        The images `[samples, channels, height, width]`, one per seed, and how each solve ended.

    Raises
    ------
    Misuse
        As `ImageTask.pose`; there is no seed; or y holds neither one measurement nor one for every seed.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> task = hw.image.ImageTask(hw.Identity(), torch.zeros(1, 3, 8, 8), noise=0.1, size=(8, 8))
    >>> hw.image.restore(task, hw.Flow(lambda x, t: -x, (3, 8, 8)), seeds=[1, 2]).images.shape
    torch.Size([2, 3, 8, 8])
    """
    if len(seeds) == 0 or len(task.y) not in (1, len(seeds)):
        raise Misuse(
            f"The seeds are {len(seeds)} and the measurements {len(task.y)}.",
            "Give at least one seed, and one measurement for all of them.",
        )
    task = replace(task, y=task.y.expand(len(seeds), *task.y.shape[1:]))
    problem = task.pose(model)
    result = solver(problem, seeds, recipe=recipe, options=options)
    if task.tells_noise and problem.latent is None:
        inside = share_inside(task.y, model).sqrt() if task.measures_picture else torch.tensor(1.0)
        result = tell_overfitted(result, task.operator.count(task.y), 0.8 * inside)
    return Restoration(task.finish(result.x1, problem), result, task, problem)


def share_inside(y: Tensor, model: Flow | LatentModel) -> Tensor:
    """The share of y within the model's data range, `[batch]`; at its ends, as in a dark photo, noise is cut off."""
    if model.range is None:
        return torch.ones(len(y))
    low, high = model.range
    return ((y > low) & (y < high)).flatten(1).float().mean(1)
