"""How far samples are from what a model makes by itself: guard against rewards that lead away from its samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from headwater.errors import Misuse


@dataclass(frozen=True, eq=False)
class Strangeness:
    """The distance of features to the nearest of known ones, 1 for the median distance among these.

    Parameters
    ----------
    known
        The features of samples that nothing was asked of, `[n, d]`, at least 3 of them.

    Raises
    ------
    Misuse
        If there are fewer than three, or half of them are the same.

    Examples
    --------
    >>> strangeness = Strangeness(torch.tensor([[0.0], [1.0], [2.0], [5.0]]))
    >>> strangeness(torch.tensor([[1.0], [12.0]])).tolist(), strangeness.farthest
    ([0.0, 7.0], 3.0)
    """

    known: Tensor
    _apart: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.known) < 3:
            raise Misuse(f"A judge cannot compare with {len(self.known)} draws.", "Give 3 or more.")
        object.__setattr__(self, "_apart", nearest(self.known, self.known, own=True))
        if not float(self._apart.median()) > 0:
            raise Misuse(
                "Most of the draws are the same, so no distance is unusual.", "Give different draws."
            )

    @property
    def farthest(self) -> float:
        """The largest strangeness of a known sample among the others."""
        return float(self._apart.max() / self._apart.median())

    def __call__(self, features: Tensor) -> Tensor:
        """How far samples with these features `[batch, d]` are from the nearest known one, `[batch]`."""
        return nearest(features, self.known) / self._apart.median()


def nearest(a: Tensor, b: Tensor, *, own: bool = False) -> Tensor:
    """The distance of each row of a `[n, d]` to the nearest row of b `[m, d]`, `[n]`; `own` leaves a row itself out.

    Examples
    --------
    >>> nearest(torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [3.0]]), own=True).tolist()
    [3.0, 3.0]
    """
    distances = torch.cdist(a, b)
    if own:
        distances = distances.masked_fill(torch.eye(len(a), dtype=torch.bool, device=a.device), torch.inf)
    return distances.amin(1)
