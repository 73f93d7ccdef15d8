"""The network of fields: a U-Net of 0.4 million numbers on patches of 2 x 2 points, and the flow from its weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import headwater as hw
from headwater.nn.time_features import fourier_features
from headwater.nn.unet import Trunk

from .data import SIZE

WEIGHTS = Path(__file__).with_name("fields.safetensors")


class FieldNetwork(Trunk):
    """The velocity v(x, t) of states x `[batch, 2, 32, 32]`, t a scalar or `[batch]`."""

    def __init__(self, widths: tuple[int, ...] = (32, 64)) -> None:
        super().__init__(widths, (1, 2), embedding=128, heads=4)
        self.time = nn.Sequential(
            nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU()
        )
        self.stem = nn.Conv2d(8, widths[0], 3, padding=1)
        self.head = nn.Sequential(
            nn.GroupNorm(2, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 8, 3, padding=1)
        )
        for p in self.parameters():
            if p.ndim == 4:  # convolutions on CPUs are fastest with channels last
                p.data = p.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """v `[batch, 2, 32, 32]`."""
        e = self.time(fourier_features(t.reshape(-1).expand(len(x)), 64))
        h = self.trunk(self.stem(F.pixel_unshuffle(x, 2)), e)
        return F.pixel_shuffle(self.head(h), 2)


def make_flow(network: nn.Module) -> hw.Flow:
    """The flow of a trained network, on states `[batch, 2, 32, 32]`."""
    return hw.Flow(network.eval().requires_grad_(False), (2, SIZE, SIZE))


@lru_cache(maxsize=1)
def load_flow(file: Path = WEIGHTS) -> hw.Flow:
    """The flow of the weights beside this file, or of others."""
    network = FieldNetwork()
    network.load_state_dict(
        {name: value.float() for name, value in load_file(file).items()}
    )
    return make_flow(network)
