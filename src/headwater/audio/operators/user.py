"""An operator that the user wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from headwater.audio.operators.base import require_signals
from headwater.problem.operator import Operator, check_measurement


@dataclass(frozen=True, eq=False)
class UserOperator(Operator):
    """y = function(x), `[batch, samples]` -> floating `[batch, ...]`, checked at every call.

    >>> A = UserOperator(torch.tanh, "tube")
    >>> A.name, A(torch.zeros(1, 2)).tolist()
    ('tube', [[0.0, 0.0]])
    """

    function: Callable[[Tensor], Any]
    title: str = "user"
    kind: ClassVar[str] = "restore"

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    def __call__(self, x: Tensor) -> Tensor:
        """What the function makes of x, checked."""
        require_signals(x, self)
        return check_measurement(self.function(x), x, self.name)
