"""What the draws of a posterior say of the picture: how sure each pixel is."""

from __future__ import annotations

from dataclasses import replace

import torch

from headwater.image.task import ImageTask
from headwater.recipes.posterior.result import Posterior
from headwater.recipes.problem import Problem


def finish_posterior(found: Posterior, task: ImageTask, problem: Problem, *, grey: bool = False) -> Posterior:
    """The posterior of finished pictures: x1 `[1, chains, draws, channels, height, width]` in the data range.

    Each draw is finished as any other answer (`ImageTask.finish`), so known pixels are those of the measurement and
    their standard deviation is 0. R-hat and the effective draws are then those of the pictures; those of the source
    are in `found`.

    Parameters
    ----------
    found
        Draws of the posed problem, of one measurement.
    task, problem
        What was asked, and how it was posed.
    grey
        Whether a picture is the mean of its channels, as in a grey file.

    Examples
    --------
    The prior is white noise of standard deviation 1 / 2; the left half of a picture is known.

    >>> import torch
    >>> import headwater as hw
    >>> flow = hw.Flow(lambda x, t: -x / (2 - t), (3, 8, 8), range=(-1, 1))  # x1 = x0 / 2
    >>> known = torch.zeros(8, 8, dtype=torch.bool)
    >>> known[:, :4] = True
    >>> hole = hw.image.Inpaint(known)
    >>> task = hw.image.ImageTask(hole, hole(torch.full((1, 3, 8, 8), -0.2)), noise=0.0, size=(8, 8))
    >>> problem = task.pose(flow)
    >>> found = problem.posterior([0], method=hw.PerturbAndMAP())
    >>> std = hw.image.finish_posterior(found, task, problem).std
    >>> std[..., :4].max().item(), round(std[..., 4:].mean().item(), 1)
    (0.0, 0.5)
    """
    flat = found.x1.flatten(0, 2)
    with torch.no_grad():  # one by one, as a decoder takes memory
        pictures = torch.cat([task.finish(x1[None], problem) for x1 in flat])
    if grey:
        pictures = pictures.mean(1, keepdim=True).expand_as(pictures)
    return replace(found, x1=pictures.reshape(*found.x1.shape[:3], *pictures.shape[1:]))
