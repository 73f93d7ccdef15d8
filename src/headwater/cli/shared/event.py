"""`--event my.py`: the probability that draws have what a function of the user's asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.cli.shared import python_file
from headwater.cli.shared.posterior import rounded
from headwater.errors import Misuse
from headwater.recipes.posterior.result import Posterior
from headwater.text import counted


@dataclass(frozen=True)
class UserEvent:
    """An event of the user's file, asked of one thing after the other.

    Parameters
    ----------
    where
        "my.py", whose function is `event`, or "my.py:name".
    what
        What it is asked of, as in "a picture [3, height, width]".
    """

    where: str
    what: str
    function: Callable[[Tensor], Any]

    def __call__(self, x: Tensor) -> bool:
        """Whether x has the event.

        Raises
        ------
        Misuse
            The function fails, or answers with something else than one bool.
        """
        with python_file.refuse_failures(self.where, f"{self.what} {list(x.shape)}", self.cure, kind="event"):
            answer = self.function(x)
        if hasattr(answer, "item") and math.prod(answer.shape) == 1:  # of a tensor or an array
            answer = answer.item()
        if not isinstance(answer, bool):
            kind = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise Misuse(f"The event {self.where} answers {kind} and not one bool.", self.cure)
        return answer

    @property
    def cure(self) -> str:
        """What the user is told to write."""
        return f"Return true or false for {self.what}, such as x.mean() > 0."

    def ask_all(self, xs: Tensor) -> Tensor:
        """The answers for `[draws, ...]`, bool `[draws]`; no for a draw of a chain that could not start."""
        return torch.tensor([bool(x.isfinite().all()) and self(x) for x in xs], device=xs.device)


def load_event(where: str | None, what: str) -> UserEvent | None:
    """The event of --event; None without one.

    Raises
    ------
    Misuse
        The file is missing, no Python, or has no such function.
    """
    if where is None:
        return None
    file, name = python_file.split_name(where, "event")
    return UserEvent(where, what, python_file.function_in(file, name, f"{name}(x)"))


def describe_event(event: UserEvent, found: Posterior) -> dict[str, Any]:
    """The probability of an event for a report; x1 of `found` is what the event is asked of."""
    p, error = found.probability(event.ask_all)
    return {"file": event.where, "probability": rounded(p[0]), "error": rounded(error[0])}


def tell_event(event: Mapping[str, Any], draws: int) -> str:
    """The probability in words.

    >>> tell_event({"file": "dark.py", "probability": 0.25, "error": 0.11}, 16)
    'dark.py: probability 0.25 +- 0.11, of 16 draws'
    """
    if event["error"] is None:
        return f"{event['file']}: probability {event['probability']:.2f}, of too few draws for an error"
    return (
        f"{event['file']}: probability {event['probability']:.2f} +- {event['error']:.2f},"
        f" of {counted(draws, 'draw')}"
    )
