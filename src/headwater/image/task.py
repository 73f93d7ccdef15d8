"""An image to restore, of any size: posed on a flow, finished as a picture.

problem = task.pose(model)                 an operator, a measurement and a guess on the model's canvas
images = task.finish(x1, problem)          the picture's part, agreeing with y, in the data range
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.cover import Cover, cover_damage
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.flows.windowed import extend_to_canvas
from headwater.image.answers import Answer, answer_of, faithful, on_latents, plausible, undecided
from headwater.image.canvas import Crop, cover_of, extend, extend_mirrored, known_pixels, pad_to, surround
from headwater.image.denoise import DenoisePicture
from headwater.image.io.picture import check_range
from headwater.image.latent import pose_on_latents
from headwater.image.noise import estimate_noise
from headwater.image.operators.blur import Blur
from headwater.image.operators.clip import Clip
from headwater.image.operators.colorize import Colorize
from headwater.image.operators.inpaint import Inpaint
from headwater.image.operators.jpeg import JPEG
from headwater.image.operators.resize import SuperResolution
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit
from headwater.problem.operator import Identity, Operator, difference
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe

MAKING_PICTURES = (Identity, Blur, SuperResolution, Inpaint, Colorize, Clip, JPEG)
"""Operators of which y is a picture in the data range of x."""


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

    def pose(self, model: Flow | LatentModel) -> Problem:
        """The problem on the smallest canvas of the model's windows that holds the picture.

        If the operator is a mask, the problem is that of the windows that see damage, on the pixels that they cover
        (`flows.cover`), so that its cost is that of the damage.

        Parameters
        ----------
        model
            The prior on its window `[channels, height, width]`, of pixels or of latents. With latents the problem is
            that of the picture that their decoder makes, and the misfit's unit holds the autoencoder's error, too.

        Raises
        ------
        Misuse
            y does not fit the operator and the size, or looks like another range than the flow's; or the guess is no
            picture of the size.
        """
        self._check_shapes(model.shape[0])
        if self.check_span and model.range and self.measures_picture:
            check_range(self.y, *model.range)
        if isinstance(model, LatentModel):
            rough = self._rough_image(model.shape[0]) if self.guess is None else self.guess
            measured = self._measure_once(self.operator, self.y)
            return pose_on_latents(*measured, self.misfit_unit, rough, model, self._default(latent=True))
        canvas, sigma = self.embed(model), self.misfit_unit
        if (cover := cover_of(canvas)) is not None:
            known = Inpaint(self._pack_known(cover))
            y = self.pack(self.y, cover)
            guess = known.pinv(y) if self.guess is None else self.pack(self.guess, cover)
            return Problem(canvas, Misfit(*self._measure_once(known, y), sigma), guess, self._default())
        guess = self._rough_image(model.shape[0]) if self.guess is None else self.guess
        size = (canvas.shape[1], canvas.shape[2])
        operator, y = self._measure_once(self.operator, self.y)
        if size != self.size:
            operator = compose(operator, Crop(*self.size, size))
        if self.is_denoising:
            return Problem(canvas, Misfit(operator, y, sigma), extend_mirrored(guess, size), self._default())
        return Problem(canvas, Misfit(operator, y, sigma), extend(guess, size), self._default())

    def _measure_once(self, operator: Operator, y: Tensor) -> tuple[Operator, Tensor]:
        """Operator and measurement; of a grey picture in three equal channels, which have one noise, one channel.

        The pixels that a mask knows without noise stay as they are.
        """
        alike = isinstance(operator, (Identity, Blur, SuperResolution)) or (
            isinstance(operator, Inpaint) and self.noise >= self.resolution
        )
        if not alike or y.shape[1] != 3 or bool((y - y.mean(1, keepdim=True)).abs().max() > 1e-6):
            return operator, y
        return compose(Colorize("mean"), operator), y.mean(1, keepdim=True)

    def _default(self, *, latent: bool = False) -> Recipe:
        """The recipe of a posed problem, which is asked for before it is known whether it is used."""
        try:
            return self.recipe(latent=latent)
        except Misuse as error:
            return undecided(error)

    def recipe(self, answer: Answer | None = None, *, latent: bool = False) -> Recipe:
        """The method for an answer: "faithful", near the mean of what is likely, or "plausible", a picture of it.

        None means that of `answers.answer_of`. The faithful answer to a noisy picture is one evaluation's job.

        Parameters
        ----------
        answer
            Which of the two.
        latent
            Whether the model is a `LatentModel`, whose estimates know nothing of pixels.

        Raises
        ------
        Misuse
            There is no such answer, or the masks of a batch have different default answers.

        Examples
        --------
        >>> import headwater as hw
        >>> task = hw.image.ImageTask(hw.Identity(), torch.zeros(1, 3, 8, 8), noise=0.1, size=(8, 8))
        >>> type(task.recipe()).__name__, type(task.recipe("plausible")).__name__
        ('DenoisePicture', 'WarmStart')
        """
        answer = answer_of(self.operator) if answer is None else answer
        if answer not in get_args(Answer):
            raise Misuse(f"There is no answer {answer!r}.", "Ask for 'faithful' or 'plausible'.")
        if latent:
            return on_latents(self.operator, answer)
        if answer == "faithful" and self.is_denoising:
            return DenoisePicture()
        if answer == "faithful":
            return faithful(self.operator)
        return plausible(self.operator, least=0.8 if self.tells_noise else 0.0)

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
    def tells_noise(self) -> bool:
        """Whether a misfit far below 1 means that noise was fitted.

        Below the resolution the unit of the misfit is no noise that could be fitted, and the one-sided residuals of
        clipped pixels and the bounded ones of a quantisation are no noise either.
        """
        return self.noise >= self.resolution and not isinstance(self.operator, (Clip, JPEG))

    @property
    def measures_picture(self) -> bool:
        """Whether y has to be a picture in the data range; an own operator may return any range."""
        return is_picture_operator(self.operator) and self.y.ndim == 4 and not self.y.is_complex()

    @property
    def misfit_unit(self) -> float | Tensor:
        """The misfit that counts as 1, in data units, a number or one for every measurement `[1 or samples]`.

        It is the noise of a picture to be denoised, else the noise or `resolution`, whichever is larger. Known pixels
        that are put back at the end need no better fit than the noise that they show around the damage.
        """
        if self.is_denoising:
            return self.noise
        known = known_pixels(self.operator, (1, 1, *self.size)) if self.noise < self.resolution else None
        if known is not None:
            return estimate_noise_around(self.y, known).clamp(min=self.resolution)
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
        images = x1 if problem is None else problem.to_data(x1)
        images = images[..., : self.size[0], : self.size[1]]
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
        return images if problem is None or problem.range is None else images.clamp(*problem.range)

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


def estimate_noise_around(y: Tensor, known: Tensor) -> Tensor:
    """The noise of pictures y `[batch, c, h, w]` by the pixels around what is not `known`, `[batch]`.

    `known` is bool `[1 or batch, 1, h, w]`; each picture is seen around its own damage, whatever its neighbours lack.
    """
    if len(known) > 1:
        each = (torch.split(x, 1) for x in (y.expand(len(known), *y.shape[1:]), known))
        pairs = zip(*each, strict=True)
        return torch.cat([estimate_noise_around(*pair) for pair in pairs])
    rows, columns = surround(~known[0, 0])
    return estimate_noise(y[..., rows, columns], known[..., rows, columns])


def is_picture_operator(operator: object) -> bool:
    """Whether an operator, or every part of a chain, makes a picture in the data range of x.

    Examples
    --------
    >>> from headwater.image.operators import UserOperator, chain
    >>> blur = Blur(torch.ones(3, 3))
    >>> is_picture_operator(chain(blur, Colorize())), is_picture_operator(chain(blur, UserOperator(torch.exp)))
    (True, False)
    """
    parts = (getattr(operator, "outer", None), getattr(operator, "inner", None))
    if None not in parts:
        return all(is_picture_operator(part) for part in parts)
    return isinstance(operator, MAKING_PICTURES)
