"""Headwater controls a pre-trained flow or diffusion model from its source (D-Flow, Ben-Hamu et al. 2024).

>>> import torch, headwater as hw
>>> flow = hw.Gaussian(torch.zeros(2), torch.tensor([1.0, 2.0])).flow   # or Flow(your_network, shape=...)
>>> y, sigma_y = torch.tensor([[0.5]]), 0.05
>>> misfit = hw.Misfit(lambda x1: x1[:, :1], y, sigma_y)
>>> result = hw.control(flow, misfit, flow.noise(seeds=[0]), stop=hw.discrepancy(misfit))
>>> result.status[0].name
'REACHED'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.doors import open_door

if TYPE_CHECKING:
    from headwater.exports import *  # noqa: F403

__version__ = "0.2.0"

__getattr__, __dir__ = open_door(__name__)
