"""What `headwater.image` offers."""

from __future__ import annotations

from headwater.image.blind import KernelSearch, UnknownBlur, find_jpeg, kernel_prior, shake_kernel
from headwater.image.editing import PictureEdit, edit_picture, find_picture_boundary
from headwater.image.inside_holes import InsideHoles
from headwater.image.io import photos
from headwater.image.io.files import read_image, write_image
from headwater.image.io.picture import Picture
from headwater.image.metrics.fidelity import psnr, ssim
from headwater.image.metrics.kernel import KernelDistance, image_kernel_distance, kernel_distance
from headwater.image.metrics.perceptual import perceptual_distance
from headwater.image.model.models import flow
from headwater.image.noise import estimate_noise
from headwater.image.operators import (
    JPEG,
    Blur,
    Clip,
    Colorize,
    Inpaint,
    PhaseRetrieval,
    SuperResolution,
    UserOperator,
    box_mask,
    chain,
    from_physics,
    gaussian_kernel,
    motion_kernel,
    random_mask,
)
from headwater.image.pictograms.models import latent_model
from headwater.image.posterior import finish_posterior
from headwater.image.posterior_sheet import write_posterior_sheet
from headwater.image.power_law import PowerLaw
from headwater.image.restoration import Restoration, restore
from headwater.image.sheet import write_sheet
from headwater.image.task import ImageTask

__all__ = [
    "Blur",
    "Clip",
    "Colorize",
    "ImageTask",
    "Inpaint",
    "JPEG",
    "KernelDistance",
    "KernelSearch",
    "PhaseRetrieval",
    "Picture",
    "PictureEdit",
    "InsideHoles",
    "PowerLaw",
    "Restoration",
    "SuperResolution",
    "UnknownBlur",
    "UserOperator",
    "box_mask",
    "chain",
    "edit_picture",
    "find_jpeg",
    "find_picture_boundary",
    "estimate_noise",
    "finish_posterior",
    "flow",
    "from_physics",
    "gaussian_kernel",
    "image_kernel_distance",
    "kernel_distance",
    "kernel_prior",
    "latent_model",
    "motion_kernel",
    "perceptual_distance",
    "photos",
    "psnr",
    "random_mask",
    "read_image",
    "restore",
    "shake_kernel",
    "ssim",
    "write_image",
    "write_posterior_sheet",
    "write_sheet",
]
