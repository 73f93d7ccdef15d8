"""The sound of a flow while a command runs, as a short file to hear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from headwater.audio.prior import Prior
from headwater.dflow.result import Event
from headwater.extras import import_optional

LEVEL = 0.1
"""Its rms, -20 dB of full scale: samples of the flow have one near 1."""


def draw_previews(prior: Prior) -> Callable[[Event, Path], None]:
    """What writes the first sample of an event, at the rate of the prior, as a WAV file."""

    def draw(event: Event, path: Path) -> None:
        with torch.no_grad():
            write_preview(prior.space.decode(event.x1[:1].detach())[0], prior.rate, path)

    return draw


def write_preview(x: Tensor, rate: int, path: Path) -> None:
    """Write a sound `[samples]` at the rms `LEVEL` as a WAV file of 16 bits."""
    y = x.double().nan_to_num().cpu()
    y = LEVEL * y / y.square().mean().sqrt().clamp(min=1e-9)
    import_optional("soundfile", "audio").write(path, y.clamp(-1, 1).numpy(), rate, "PCM_16", format="WAV")
