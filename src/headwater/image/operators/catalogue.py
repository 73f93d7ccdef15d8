"""The one list of operators, each with small instances: tests walk it, the command line and docs read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from headwater.image.operators.blur import Blur
from headwater.image.operators.chain import chain
from headwater.image.operators.clip import Clip
from headwater.image.operators.colorize import Colorize
from headwater.image.operators.inpaint import Inpaint
from headwater.image.operators.jpeg import JPEG
from headwater.image.operators.kernels import gaussian_kernel, motion_kernel
from headwater.image.operators.masks import box_mask, random_mask
from headwater.image.operators.phase import PhaseRetrieval
from headwater.image.operators.physics import from_physics
from headwater.image.operators.resize import SuperResolution
from headwater.image.operators.user import UserOperator
from headwater.problem.operator import Identity, Operator


class Negative:
    """A deepinv-style linear physics for the catalogue: the photographic negative."""

    def A(self, x: Tensor) -> Tensor:
        """Return -x."""
        return -x

    def A_adjoint(self, y: Tensor) -> Tensor:
        """Return -y."""
        return -y


def gamma_curve(x: Tensor) -> Tensor:
    """A differentiable user function for the catalogue: ((x + 3) / 4)^2.2."""
    return ((x + 3) / 4) ** 2.2


# name -> how to make an instance for images of h x w pixels (both even, at least 8)
CATALOGUE: Mapping[str, Callable[[int, int], Operator]] = {
    "denoise": lambda h, w: Identity(),
    "inpaint (box)": lambda h, w: Inpaint(box_mask(h, w, h // 2, w // 2)),
    "inpaint (random)": lambda h, w: Inpaint(random_mask(h, w, missing=0.7)),
    "upscale (area)": lambda h, w: SuperResolution(2, "area"),
    "upscale (decimate)": lambda h, w: SuperResolution(2, "decimate"),
    "upscale (bicubic)": lambda h, w: SuperResolution(2, "bicubic"),
    "deblur (gaussian)": lambda h, w: Blur(gaussian_kernel(0.6, 5)),
    "deblur (motion)": lambda h, w: Blur(motion_kernel(4, 30)),
    "deblur (circular)": lambda h, w: Blur(gaussian_kernel(0.6, 5), "circular"),
    "deblur (valid)": lambda h, w: Blur(motion_kernel(4, 60), "valid"),
    "colorize (luma)": lambda h, w: Colorize("luma"),
    "colorize (mean)": lambda h, w: Colorize("mean"),
    "physics (linear)": lambda h, w: from_physics(Negative()),
    "chain (linear)": lambda h, w: chain(Blur(gaussian_kernel(0.6, 5)), SuperResolution(2)),
    "dejpeg": lambda h, w: JPEG(50, rounding="smooth"),
    "dejpeg (4:4:4)": lambda h, w: JPEG(50, "4:4:4", rounding="smooth"),
    "dejpeg (4:1:1)": lambda h, w: JPEG(50, "4:1:1", rounding="smooth"),
    "dejpeg (tables)": lambda h, w: JPEG(
        subsampling="4:4:0", rounding="smooth", tables=torch.arange(5, 197).reshape(3, 8, 8)
    ),
    "declip": lambda h, w: Clip(gain=2.0),
    "phase": lambda h, w: PhaseRetrieval(),
    "restore": lambda h, w: UserOperator(gamma_curve, "gamma", radius=0),
    "physics": lambda h, w: from_physics(torch.tanh),
    "chain": lambda h, w: chain(SuperResolution(2), Clip(gain=2.0)),
}


def examples(h: int = 16, w: int = 16) -> dict[str, Operator]:
    """One instance of everything in the catalogue, for images of h x w pixels (both even, at least 8).

    >>> examples()["deblur (circular)"].linear
    True
    """
    return {name: make(h, w) for name, make in CATALOGUE.items()}
