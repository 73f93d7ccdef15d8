"""Measurement operators y = A(x) on recordings `[batch, samples]`, one channel each.

>>> import torch
>>> x = torch.randn(2, 400)
>>> Decimate.by_factor(4)(x).shape, Lowpass.with_cutoff(0.25)(x).shape
(torch.Size([2, 100]), torch.Size([2, 400]))
"""

from headwater.audio.operators.catalogue import CATALOGUE
from headwater.audio.operators.clip import Clip
from headwater.audio.operators.filters import Convolution, Decimate, Lowpass, Reverb, Whiten, lowpass_taps
from headwater.audio.operators.gaps import Gaps
from headwater.audio.operators.user import UserOperator
from headwater.problem.operator import Identity

__all__ = [
    "CATALOGUE",
    "Clip",
    "Convolution",
    "Decimate",
    "Gaps",
    "Identity",
    "Lowpass",
    "Reverb",
    "UserOperator",
    "Whiten",
    "lowpass_taps",
]
