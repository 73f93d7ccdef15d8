"""Pictures whose damage is not known exactly: a kernel that is found beside the picture."""

from headwater.image.blind.blur import UnknownBlur, doubt_kernel
from headwater.image.blind.caution import Caution
from headwater.image.blind.compression import find_jpeg
from headwater.image.blind.estimate import ANSWER, KernelSearch
from headwater.image.blind.shake import kernel_logits, kernel_prior, shake_kernel

__all__ = [
    "ANSWER",
    "Caution",
    "KernelSearch",
    "UnknownBlur",
    "doubt_kernel",
    "find_jpeg",
    "kernel_logits",
    "kernel_prior",
    "shake_kernel",
]
