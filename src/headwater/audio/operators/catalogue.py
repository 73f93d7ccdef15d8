"""The one list of operators on recordings: the property tests walk it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from headwater.audio.operators.clip import Clip
from headwater.audio.operators.filters import Decimate, Lowpass, Reverb, Whiten
from headwater.audio.operators.gaps import Gaps
from headwater.audio.operators.user import UserOperator
from headwater.problem.operator import Identity, Operator

CATALOGUE: Mapping[str, Callable[[int], Operator]] = {
    "denoise": lambda n: Identity(),
    "denoise with a profile": lambda n: Whiten.from_profile(1 / (1 + torch.arange(17.0)), taps=15),
    "inpaint": lambda n: Gaps((torch.arange(n) < n // 2)[None] | (torch.arange(n) > 3 * n // 4)),
    "declip": lambda n: Clip(0.4),
    "band-limit": lambda n: Lowpass.with_cutoff(0.5, 31),
    "upsample x2": lambda n: Decimate.by_factor(2),
    "upsample x4": lambda n: Decimate.by_factor(4),
    "upsample x8": lambda n: Decimate.by_factor(8),
    "dereverb": lambda n: Reverb.from_impulse(
        torch.exp(-torch.arange(24.0) / 6) * torch.cos(1.7 * torch.arange(24.0))
    ),
    "restore": lambda n: UserOperator(torch.tanh, "tube"),
}
"""By name, how to make an operator for signals of n samples; n is a multiple of 8 and at least 32."""
