"""The shipped model of the options, as a flow."""

from __future__ import annotations

import torch

from headwater.cli.image.options import Common
from headwater.errors import Misuse
from headwater.flows.flow import Flow


def load_flow(common: Common, device: torch.device, guidance: float = 1.0) -> Flow:
    """The shipped model of the options, as a flow."""
    from headwater import zoo

    if guidance != 1.0 and common.label is None:
        raise Misuse("Guidance works towards a label, and none was given.", "Give --label.")
    return zoo.flow(common.model, label=common.label, guidance=guidance, device=str(device))
