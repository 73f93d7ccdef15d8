"""Restoring an image of any size: posed on a flow, solved by a recipe, finished as a picture.

problem = task.pose(model)                 an operator, a measurement and a guess on the model's canvas
result = problem.solve(seeds)              a recipe finds x1, one for each seed
images = task.finish(result.x1, problem)   the picture's part, agreeing with y, in the data range
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.flows.cover import Cover, Place, cover_damage
from headwater.flows.flow import Flow
from headwater.flows.watched import WatchedVelocity
from headwater.flows.windowed import extend_to_canvas
from headwater.image.denoise import DenoisePicture
from headwater.image.io.picture import check_range
from headwater.image.noise import estimate_noise
from headwater.image.operators.blur import Blur
from headwater.image.operators.clip import Clip
from headwater.image.operators.inpaint import Inpaint
from headwater.image.operators.jpeg import JPEG
from headwater.image.operators.physics import LinearPhysics, Physics
from headwater.image.operators.resize import SuperResolution
from headwater.image.operators.user import UserOperator
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit
from headwater.problem.operator import Identity, Operator, difference
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe, RecipeOptions
from headwater.recipes.verdict import tell_overfitted
from headwater.recipes.warm_start import WarmStart

MEASURING_ALL = (Blur, SuperResolution)
"""Operators that leave no part of a picture open: an estimate at the noise level is the answer."""


@dataclass(frozen=True, eq=False)
class ImageTask:
    """An image to restore: y = A(x) + noise, with x `[samples, channels, height, width]`.

    Attributes
    ----------
    operator : Operator
        The map A. Methods that it may have are used: `adjoint` and `pinv` if it is linear, `known_pixels` of a mask.
    y : Tensor
        The measurement `[1 or samples, ...]`, in the data range of the flow.
    noise : float
        Standard deviation of the noise of y, in the same units; 0 for a noiseless measurement.
    size : tuple of int
        Height and width of x, any.
    guess : Tensor, optional
        A rough image `[1, channels, height, width]`; by default the pseudo-inverse of y, or y itself.
    resolution : float
        The finest misfit, rms in the data range, that a solve of a few steps is asked for: 0.02 is 2.5 of 255 grey
        levels in [-1, 1]. Below it the flow is controlled down to that, and one linear step removes what is left.
        Chosen by `benchmarks/ablation.py`.
    check_span : bool
        Whether a y that looks like [0, 1] or [0, 255] is refused; not needed for images that `read_image` has read.

    Raises
    ------
    Misuse
        The operator is no `Operator`, y is no tensor of floats or is empty, the size is not two whole numbers from 1
        on, the noise is negative, NaN or infinite, or the resolution is not positive.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> y = torch.full((1, 3, 4, 4), 0.2)  # a picture of half the height and width
    >>> task = hw.image.ImageTask(hw.image.SuperResolution(2), y, noise=0.0, size=(8, 8))
    >>> model = hw.Flow(lambda x, t: -x, (3, 8, 8), range=(-1, 1))
    >>> problem = task.pose(model)
    >>> problem.guess.shape
    torch.Size([1, 3, 8, 8])
    >>> result = problem.solve(seeds=[0])
    >>> x = task.finish(result.x1, problem)
    >>> bool((task.operator(x) - y).abs().max() < 1e-5)  # no noise: x agrees with y
    True
    """

    operator: Operator
    y: Tensor
    noise: float
    size: tuple[int, int]
    guess: Tensor | None = None
    resolution: float = 0.02
    check_span: bool = True

    def __post_init__(self) -> None:
        y, size = self.y, tuple(self.size)
        if not isinstance(self.operator, Operator):
            raise Misuse(
                f"The operator is of type {type(self.operator).__name__}.",
                "Give an Operator; hw.image.UserOperator makes one of a function.",
            )
        if (
            not isinstance(y, Tensor)
            or not y.ndim
            or not y.numel()
            or not (y.is_floating_point() or y.is_complex())
        ):
            found = f"{y.dtype} {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise Misuse(
                f"The measurement is {found}.",
                "Give a floating tensor [1 or samples, ...] in the data range of the flow.",
            )
        if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
            raise Misuse(
                f"The size {size} is not a height and a width.",
                "Give two whole numbers from 1 on, in pixels.",
            )
        if not 0 <= self.noise < float("inf"):
            raise Misuse(
                f"The noise level {self.noise} is not 0 or more.", "Give the noise std in data units."
            )
        if not 0 < self.resolution < float("inf"):
            raise Misuse(f"The resolution {self.resolution} is not positive.", "Give a misfit in data units.")

    def to(self, device: torch.device | str) -> ImageTask:
        """The task with all of its tensors on a device."""
        guess = None if self.guess is None else self.guess.to(device)
        return replace(self, operator=self.operator.to(device), y=self.y.to(device), guess=guess)

    def pose(self, model: Flow) -> Problem:
        """The problem on the smallest canvas of the model's windows that holds the picture.

        If the operator is a mask, the problem is that of the windows that see damage, on the pixels that they cover
        (`flows.cover`), so that its cost is that of the damage.

        Parameters
        ----------
        model
            The prior on its window `[channels, height, width]`.

        Raises
        ------
        Misuse
            y does not fit the operator and the size, or looks like another range than the flow's; or the guess is no
            picture of the size.
        """
        self._check_shapes(model.shape[0])
        if self.check_span and model.range and self.measures_picture:
            check_range(self.y, *model.range)
        canvas, sigma = self.embed(model), self.misfit_unit
        if (cover := cover_of(canvas)) is not None:
            known = Inpaint(self._pack_known(cover))
            y = self.pack(self.y, cover)
            guess = known.pinv(y) if self.guess is None else self.pack(self.guess, cover)
            return Problem(canvas, Misfit(known, y, sigma), guess)
        guess = self._rough_image(model.shape[0]) if self.guess is None else self.guess
        size, operator = (canvas.shape[1], canvas.shape[2]), self.operator
        if size != self.size:
            operator = compose(operator, Crop(*self.size, size))
        if self.is_denoising:
            return Problem(
                canvas, Misfit(operator, self.y, sigma), extend_mirrored(guess, size), DenoisePicture()
            )
        recipe = WarmStart(keep_estimate=0.8) if isinstance(self.operator, MEASURING_ALL) else WarmStart()
        return Problem(canvas, Misfit(operator, self.y, sigma), extend(guess, size), recipe)

    def _check_shapes(self, channels: int) -> None:
        """Compare y with what the operator makes of pictures of the size and so many channels, at one evaluation.

        Raises
        ------
        Misuse
            y has another shape; the operator does not take such pictures; or the guess is no picture of the size.
        """
        shape, like = (channels, *self.size), self.y if self.guess is None else self.guess
        if self.guess is not None and tuple(self.guess.shape[1:]) != shape:
            raise Misuse(
                f"The guess is {list(self.guess.shape)}.", f"Give a picture {[1, *shape]}, or leave it out."
            )
        # neither zero nor constant, since a function of the user's may divide by a norm or a contrast
        kind = like.dtype if like.is_floating_point() else torch.float32
        x = torch.linspace(-0.5, 0.5, math.prod(shape), dtype=kind, device=self.y.device).reshape(shape)
        with torch.no_grad():
            difference(self.operator(x.expand(len(self.y), *shape)), self.y)

    @property
    def is_denoising(self) -> bool:
        """Whether the measurement is the picture itself with noise, which is one evaluation's job."""
        return isinstance(self.operator, Identity) and self.noise > 0

    @property
    def measures_picture(self) -> bool:
        """Whether y is a picture in the data range, by its shape; what a user's operator makes is its own affair."""
        own = isinstance(self.operator, (UserOperator, Physics, LinearPhysics))
        return not own and self.y.ndim == 4 and self.y.shape[1] in (1, 3) and not self.y.is_complex()

    @property
    def misfit_unit(self) -> float | Tensor:
        """The misfit that counts as 1, in data units, a number or one for every measurement `[1 or samples]`.

        It is the noise of a picture to be denoised, else the noise or `resolution`, whichever is larger. Known pixels
        that are put back at the end need no better fit than the noise that they show around the damage.
        """
        if self.is_denoising:
            return self.noise
        if (
            self.noise < self.resolution
            and (known := known_pixels(self.operator, (1, 1, *self.size))) is not None
        ):
            rows, columns = surround(~known.all(0)[0])
            seen = estimate_noise(self.y[..., rows, columns], known[..., rows, columns])
            return seen.clamp(min=self.resolution)
        return max(self.noise, self.resolution)

    def finish(self, x1: Tensor, problem: Problem | None = None) -> Tensor:
        """The images `[samples, channels, height, width]` of a solve, agreeing with y as well as its noise allows.

        A denoised picture is x1. Where the operator knows pixels, those of y stand if the noise is below `resolution`
        or no window solves them. With any other linear operator and noise below `resolution` the image is

            argmin_x |x - x1|^2 / resolution^2 + |A x - y|^2 / noise^2,

        the nearest exact solution if there is no noise. (An exact solution of a noisy deblurring would be mostly
        noise.) Else it is x1. Values beyond the data range are clamped.

        Parameters
        ----------
        x1
            The sample on the canvas, `[samples, channels, canvas height, canvas width]`, or on the covered pixels.
        problem
            What `pose` gave; without it x1 is on a canvas, and nothing is clamped.
        """
        precise = self.noise < self.resolution
        if problem is not None and (cover := cover_of(problem.flow)) is not None:
            if precise:
                x1 = torch.where(self._pack_known(cover).to(x1.device), self.pack(self.y, cover).to(x1), x1)
            images = self.unpack(x1, cover, self.y)
            return images if problem.flow.range is None else images.clamp_(*problem.flow.range)
        images = x1[..., : self.size[0], : self.size[1]]
        y = self.y.to(images.device) if self.y.is_complex() else self.y.to(images)
        y = y.expand(len(images), *self.y.shape[1:])
        known = known_pixels(self.operator, images.shape)
        if self.is_denoising:
            pass
        elif known is not None:
            images = torch.where(known.to(images.device), y, images) if precise else images
        elif precise and (pseudo_inverse := getattr(self.operator, "pseudo_inverse", None)):
            gap = self.operator.residual(images, y)
            images = images - pseudo_inverse(gap, ridge=(self.noise / self.resolution) ** 2)
        return images if problem is None or problem.flow.range is None else images.clamp(*problem.flow.range)

    def embed(self, model: Flow) -> Flow:
        """The flow on the smallest canvas that holds the picture; of a mask only the windows that see damage.

        Raises
        ------
        Misuse
            The masks of the batch differ, and its pictures are larger than the window.
        """
        window = (model.shape[1], model.shape[2])
        canvas = (max(self.size[0], window[0]), max(self.size[1], window[1]))
        known = known_pixels(self.operator, (1, model.shape[0], *self.size))
        if canvas == window:
            return model
        if known is None:
            return extend_to_canvas(model, canvas)
        if bool((known != known[:1]).any()):
            raise Misuse(
                "The masks of the batch differ, and its pictures are larger than the model's window.",
                "Restore pictures with different masks one by one, as each is solved around its own damage.",
            )
        return cover_damage(model, pad_to(~known.all(0)[0], canvas))

    def pack(self, picture: Tensor, cover: Cover) -> Tensor:
        """The covered pixels `[..., 1, pixels]` of pictures of the task's size; beyond them its border goes on."""
        picture = picture if self.size == cover.canvas else extend(picture, cover.canvas)
        return cover.pack(picture)

    def _pack_known(self, cover: Cover) -> Tensor:
        """Which covered pixels are known, bool `[1 or samples, 1, 1, pixels]`; none beyond the picture."""
        known = known_pixels(self.operator, (1, 1, *self.size))
        assert known is not None  # it has a cover
        return cover.pack(known if self.size == cover.canvas else pad_to(known, cover.canvas))

    def unpack(self, packed: Tensor, cover: Cover, onto: Tensor) -> Tensor:
        """Pictures `[samples, c, height, width]`: `onto`, of the task's size, with the covered pixels put in."""
        if self.size != cover.canvas:
            onto = extend(onto, cover.canvas)
        return cover.unpack(packed, onto)[..., : self.size[0], : self.size[1]]

    def _rough_image(self, channels: int) -> Tensor:
        """The pseudo-inverse of y, y itself if it is an image of this size, else zero."""
        pinv, shape = getattr(self.operator, "pinv", None), (channels, *self.size)
        if pinv is not None:
            rough: Tensor = pinv(self.y)
            return rough
        if tuple(self.y.shape[1:]) == shape and not self.y.is_complex():
            return self.y
        return torch.zeros(1, *shape, dtype=self.y.real.dtype, device=self.y.device)


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
        (height, width), cover = self.task.size, cover_of(self.problem.flow)
        if cover is None:
            return slice(0, height), slice(0, width)
        rows, columns = cover.box
        return slice(rows.start, min(rows.stop, height)), slice(columns.start, min(columns.stop, width))

    def crop(self, x1: Tensor) -> Tensor:
        """The `region` of states x1 `[samples, c, *canvas]`; pixels that no window solves are those of the result."""
        (rows, columns), cover = self.region, cover_of(self.problem.flow)
        if cover is None:
            return x1[..., rows, columns]
        box = cover.cut_out()
        onto = extend(self.images[: len(x1), :, rows, columns], box.canvas)
        return box.unpack(x1, onto)[..., : rows.stop - rows.start, : columns.stop - columns.start]

    def rms(self, images: Tensor) -> Tensor:
        """The misfit of images `[samples, c, height, width]` in their region, in units of the noise, `[samples]`."""
        cover = cover_of(self.problem.flow)
        return self.problem.misfit.rms(images if cover is None else self.task.pack(images, cover))


def restore(
    task: ImageTask,
    model: Flow,
    seeds: Sequence[int] = (0,),
    *,
    recipe: Recipe | None = None,
    options: RecipeOptions | None = None,
) -> Restoration:
    """Find images x with A(x) = y up to the noise, one per seed.

    Parameters
    ----------
    task
        What was measured.
    model
        The prior on its window `[channels, height, width]`.
    seeds
        One per image; each image depends on its own seed alone.
    recipe
        The method; by default that of the problem.
    options
        What the user says about any method.

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
    result = problem.solve(seeds, recipe=recipe, options=options)
    # Below the resolution the unit of the misfit is no noise that could be fitted, and the one-sided residuals of
    # clipped pixels and the bounded ones of a quantisation are no noise either.
    if task.noise >= task.resolution and not isinstance(task.operator, (Clip, JPEG)):
        inside = share_inside(task.y, model).sqrt() if task.measures_picture else torch.tensor(1.0)
        result = tell_overfitted(result, task.operator.count(task.y), 0.8 * inside)
    return Restoration(task.finish(result.x1, problem), result, task, problem)


@dataclass(frozen=True)
class Crop:
    """The picture's part `[..., height, width]` of a canvas of `canvas` (height, width); linear."""

    height: int
    width: int
    canvas: tuple[int, int]
    local: int = 0
    stride: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]

    def adjoint(self, y: Tensor) -> Tensor:
        """The picture y `[..., height, width]` on the canvas, zero beyond it."""
        return pad(y, (0, self.canvas[1] - self.width, 0, self.canvas[0] - self.height))


def share_inside(y: Tensor, model: Flow) -> Tensor:
    """The share of y within the model's data range, `[batch]`; at its ends, as in a dark photo, noise is cut off."""
    if model.range is None:
        return torch.ones(len(y))
    low, high = model.range
    return ((y > low) & (y < high)).flatten(1).float().mean(1)


def cover_of(flow: Flow) -> Cover | None:
    """The cover of a flow that solves damage alone (`cover_damage`), else None."""
    velocity = flow.velocity
    while isinstance(velocity, WatchedVelocity):
        velocity = velocity.velocity
    return getattr(velocity, "cover", None)


def pad_to(mask: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The mask `[..., height, width]` on a canvas, False beyond it."""
    return pad(mask, (0, canvas[1] - mask.shape[-1], 0, canvas[0] - mask.shape[-2]))


def known_pixels(operator: Operator, shape: Sequence[int]) -> Tensor | None:
    """The pixels of x of this shape that y shows as they are, bool `[1 or samples, 1, height, width]`.

    None if the operator has no such method. Only a mask knows pixels fully: a mask of grey pixels (a chain) still
    wants their colour.
    """
    method: Any = getattr(operator, "known_pixels", None)
    return None if method is None else method(shape)


def extend(image: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The image `[..., height, width]` extended to the canvas by repeating its last row and column."""
    below, right = canvas[0] - image.shape[-2], canvas[1] - image.shape[-1]
    return pad(image, (0, right, 0, below), mode="replicate")


def surround(damaged: Tensor, margin: int = 32) -> tuple[slice, slice]:
    """The rows and columns from `margin` pixels before the damage to as many behind it, of bool `[height, width]`.

    Examples
    --------
    >>> damaged = torch.zeros(100, 200, dtype=torch.bool)
    >>> damaged[40:50, 180:190] = True
    >>> surround(damaged)
    (slice(8, 82, None), slice(148, 200, None))
    """
    places = [torch.nonzero(damaged.any(axis)).flatten() for axis in (1, 0)]
    if not len(places[0]):
        return slice(None), slice(None)
    first, last = ([int(place[k]) for place in places] for k in (0, -1))
    rows, columns = (
        slice(max(i - margin, 0), min(j + 1 + margin, n))
        for i, j, n in zip(first, last, damaged.shape, strict=True)
    )
    return rows, columns


def extend_mirrored(image: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The image `[..., height, width]` extended to the canvas by its mirror images, whose noise is like its own.

    Examples
    --------
    >>> extend_mirrored(torch.tensor([[1.0, 2.0, 3.0]]), (1, 7)).tolist()
    [[1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 1.0]]
    """
    for axis, length in zip((-2, -1), canvas, strict=True):
        n = image.shape[axis]
        k = torch.arange(length, device=image.device) % (2 * n)
        image = image.index_select(axis, torch.minimum(k, 2 * n - 1 - k))
    return image
