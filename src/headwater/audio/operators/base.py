"""What all operators on recordings share: the check of what they are applied to."""

from __future__ import annotations

from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.operator import Operator


def require_signals(x: Tensor, operator: Operator) -> None:
    """Refuse what is not a floating batch of signals."""
    if x.ndim != 2 or not x.is_floating_point():
        raise Misuse(
            f"The operator '{operator.name}' got {str(x.dtype).removeprefix('torch.')} {list(x.shape)}.",
            "Give floating signals [batch, samples], one channel each.",
        )
