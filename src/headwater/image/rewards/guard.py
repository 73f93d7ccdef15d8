"""Guard against reward hacking: what a judge that never guided says of pictures that a reward has changed.

The judge is EfficientNet-Lite1; rewards are computed by EfficientNet-Lite0. It knows draws of the flow without a
reward, and is asked of a picture how far it is from them, and of a class how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from headwater.image.metrics.efficientnet import Variant, class_logits, pool_features
from headwater.image.rewards.networks import ClassLogit
from headwater.image.rewards.text import CaptionRegression, TextSimilarity, rank_text
from headwater.metrics.strangeness import Strangeness
from headwater.problem.rewards import Reward, RewardSum, StandardisedReward


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
    _distance: Strangeness = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with torch.no_grad():
            known = pool_features(self.draws.clamp(-1, 1), self.variant)
        object.__setattr__(self, "_distance", Strangeness(known))

    @property
    def farthest(self) -> float:
        """The largest strangeness of a draw among the others."""
        return self._distance.farthest

    def strangeness(self, x: Tensor) -> Tensor:
        """How far pictures x `[batch, 3, h, w]` are from the nearest draw, `[batch]`; 1 is as far as draws are.

        The distance of features to the nearest of the draws, in units of the median of that distance among the
        draws themselves. Well above 1 the picture is like no draw.
        """
        with torch.no_grad():
            return self._distance(pool_features(x.clamp(-1, 1), self.variant))

    def probability(self, x: Tensor, number: int) -> Tensor:
        """What the judge gives class `number` of ImageNet for pictures x `[batch, 3, h, w]`, `[batch]`."""
        with torch.no_grad():
            return class_logits(x.clamp(-1, 1), self.variant).softmax(1)[:, number]

    def read_classes(self, x: Tensor, rewards: RewardSum) -> dict[str, Tensor]:
        """The probability `[batch]` of each class that a reward asks for, by the reward's name."""
        asked = list_rewards(rewards).items()
        return {name: self.probability(x, r.number) for name, r in asked if isinstance(r, ClassLogit)}

    def read_texts(self, x: Tensor, rewards: RewardSum) -> dict[str, Tensor]:
        """The place `[batch]` of each text of the shipped captions that a reward asks for, by the reward's name.

        It is that among all known captions, 1 the best, by a regression that shares neither network nor drawings
        with that of the rewards.
        """
        asked = list_rewards(rewards).items()
        return {
            name: 1 + rank_text(x, r.words[0])
            for name, r in asked
            if isinstance(r, TextSimilarity)
            and isinstance(r.embed_pictures, CaptionRegression)
            and len(r.words) == 1
        }


def list_rewards(rewards: RewardSum) -> dict[str, Reward]:
    """The rewards of a sum by name, as they are before they were standardised."""
    return {
        name: reward.reward if isinstance(reward, StandardisedReward) else reward
        for name, (_, reward) in zip(rewards.names, rewards.terms, strict=True)
    }
