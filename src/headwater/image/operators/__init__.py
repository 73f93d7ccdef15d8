"""Measurement operators y = A(x) on images [batch, channels, height, width] in the range [-1, 1].

>>> import torch
>>> A = Blur(gaussian_kernel(std=1.0))
>>> x = torch.rand(2, 3, 24, 32) * 2 - 1
>>> A(x).shape, A.linear, A.local
(torch.Size([2, 3, 24, 32]), True, 3)
"""

from headwater.image.operators.blur import Blur
from headwater.image.operators.catalogue import CATALOGUE, examples
from headwater.image.operators.chain import chain
from headwater.image.operators.clip import Clip
from headwater.image.operators.colorize import Colorize
from headwater.image.operators.inpaint import Inpaint
from headwater.image.operators.jpeg import JPEG
from headwater.image.operators.kernels import as_kernel, gaussian_kernel, motion_kernel
from headwater.image.operators.masks import as_mask, box_mask, grow_mask, random_mask
from headwater.image.operators.phase import PhaseRetrieval
from headwater.image.operators.physics import LinearPhysics, Physics, from_physics
from headwater.image.operators.resize import SuperResolution
from headwater.image.operators.user import UserOperator
from headwater.problem.operator import Identity, LinearOperator, Operator

__all__ = [
    "CATALOGUE",
    "JPEG",
    "Blur",
    "Clip",
    "Colorize",
    "Identity",
    "Inpaint",
    "LinearOperator",
    "LinearPhysics",
    "Operator",
    "PhaseRetrieval",
    "Physics",
    "SuperResolution",
    "UserOperator",
    "as_kernel",
    "as_mask",
    "box_mask",
    "chain",
    "examples",
    "from_physics",
    "gaussian_kernel",
    "grow_mask",
    "motion_kernel",
    "random_mask",
]
