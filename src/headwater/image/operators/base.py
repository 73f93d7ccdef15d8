"""What the operators on images check."""

from __future__ import annotations

from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.operator import Operator
from headwater.text import counted


def require_images(x: Tensor, operator: Operator) -> None:
    """Refuse what is not a floating batch of images `[batch, c, h, w]` with the channels the operator needs."""
    if x.ndim != 4 or not x.is_floating_point():
        raise Misuse(
            f"The operator '{operator.name}' got {str(x.dtype).removeprefix('torch.')} {list(x.shape)}.",
            "Give floating images [batch, channels, height, width] in the range [-1, 1].",
        )
    if operator.channels not in (None, x.shape[1]):
        raise Misuse(
            f"The operator '{operator.name}' needs {counted(operator.channels, 'channel')} but got {x.shape[1]}.",
            "Give a colour image, or choose another operator for a grey one.",
        )
