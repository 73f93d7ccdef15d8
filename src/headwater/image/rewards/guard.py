"""Guard against reward hacking: what a judge that never guided says of pictures that a reward has changed.

The judge is EfficientNet-Lite1; rewards are computed by EfficientNet-Lite0. It knows draws of the flow without a
reward, and is asked of a picture how far it is from them, and of a class how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.metrics.efficientnet import Variant, class_logits, pool_features
from headwater.image.rewards.networks import ClassLogit
from headwater.problem.rewards import RewardSum, StandardisedReward


@dataclass(frozen=True, eq=False)
class RewardJudge:
    """Compares pictures with draws of the flow, by a network that no reward uses.

    Parameters
    ----------
    draws
        Samples of the flow without a reward, `[n, 3, h, w]` in [-1, 1], at least 3.
    variant
        The network; "lite0" is that of the rewards, and no second judge.

    Raises
    ------
    Misuse
        If there are fewer than three draws, or the package of the network's weights is not installed.

    Examples
    --------
    >>> draws = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    >>> judge = RewardJudge(draws, variant="lite0")
    >>> bool((judge.strangeness(torch.ones(1, 3, 16, 16)) > judge.strangeness(draws[:1] * 0.99)).all())
    True
    """

    draws: Tensor
    variant: Variant = "lite1"
    _known: Tensor = field(init=False, repr=False)
    _apart: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.draws) < 3:
            raise Misuse(f"A judge cannot compare with {len(self.draws)} draws.", "Give 3 or more.")
        with torch.no_grad():
            known = pool_features(self.draws.clamp(-1, 1), self.variant)
        object.__setattr__(self, "_known", known)
        object.__setattr__(self, "_apart", nearest(known, known, own=True))

    @property
    def farthest(self) -> float:
        """The largest strangeness of a draw among the others."""
        return float(self._apart.max() / self._apart.median())

    def strangeness(self, x: Tensor) -> Tensor:
        """How far pictures x `[batch, 3, h, w]` are from the nearest draw, `[batch]`; 1 is as far as draws are.

        The distance of features to the nearest of the draws, in units of the median of that distance among the
        draws themselves. Well above 1 the picture is like no draw.
        """
        with torch.no_grad():
            found = nearest(pool_features(x.clamp(-1, 1), self.variant), self._known)
        return found / self._apart.median()

    def probability(self, x: Tensor, number: int) -> Tensor:
        """What the judge gives class `number` of ImageNet for pictures x `[batch, 3, h, w]`, `[batch]`."""
        with torch.no_grad():
            return class_logits(x.clamp(-1, 1), self.variant).softmax(1)[:, number]

    def read_classes(self, x: Tensor, rewards: RewardSum) -> dict[str, Tensor]:
        """The probability `[batch]` of each class that a reward asks for, by the reward's name."""
        found = {}
        for name, (_, reward) in zip(rewards.names, rewards.terms, strict=True):
            inner = reward.reward if isinstance(reward, StandardisedReward) else reward
            if isinstance(inner, ClassLogit):
                found[name] = self.probability(x, inner.number)
        return found


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
