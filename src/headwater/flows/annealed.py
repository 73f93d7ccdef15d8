"""A condition that is noisy at first: more diverse samples of a guided model (CADS).

Condition-annealed sampling (Sadat et al., ICLR 2024, Algorithm 1), with T = 1 - t from 1 (noise) to 0 (data):

    gamma(T) = 1 for T <= tau1,  (tau2 - T) / (tau2 - tau1) in between,  0 for T >= tau2        (eq. 2)
    y^ = sqrt(gamma) y + s sqrt(1 - gamma) n,   n ~ N(0, I)                                     (eq. 1)
    y~ = (y^ - mean(y^)) / std(y^) std(y) + mean(y)                                             (eq. 3)
    y  <- psi y~ + (1 - psi) y^                                                                 (eq. 4)
    x  <- the usual step, with this condition in classifier-free guidance

The draw n depends on the seed of the problem and the time alone, so the velocity stays a function of x and t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.conditioned import Guided, expand_rows
from headwater.flows.seeds import derive_seed, draw_normal, make_generators
from headwater.text import counted

TICKS = 2**20
"""Times are told apart by their number of these parts: float32 holds it exactly."""


@dataclass(frozen=True, eq=False)
class AnnealedCondition:
    """The velocity of a conditional network whose condition is noisy at first (CADS); use it as that of a `Flow`.

    y is sqrt(gamma) y + s sqrt(1 - gamma) n, rescaled to the mean and spread of y. Before T = 1 - t falls to tau2 the
    network sees noise alone; from tau1 on the condition itself.

    Parameters
    ----------
    guided
        The conditional network, with its condition and guidance.
    seeds
        One per problem: the noise of the condition depends on it alone.
    tau1, tau2
        The times T, from 1 for noise to 0 for data, between which the condition appears.
    scale
        s, the standard deviation of the noise.
    mixing
        psi, the share of the rescaled condition.
    names
        The entries of the condition that are annealed; None means all of floating point.
    fresh
        Whether n is new at every time, as in the paper, or one for the whole path. The first needs a fixed grid: a
        solver that asks at other times sees other noise.

    Raises
    ------
    Misuse
        If the times do not rise within [0, 1], the scale or the share is out of range, there is no entry to anneal,
        or its rows are not those of the seeds.

    References
    ----------
    Sadat et al., "CADS: Unleashing the Diversity of Diffusion Models through Condition-Annealed Sampling", ICLR 2024,
    Algorithm 1.

    Examples
    --------
    From t = 1 - tau1 = 0.4 on the condition is the given one.

    >>> from headwater import Guided
    >>> guided = Guided(lambda x, t, y: y - x, {"y": torch.tensor([[1.0, 2.0, 4.0]])})
    >>> velocity = AnnealedCondition(guided, seeds=[0, 1])
    >>> velocity(torch.zeros(2, 3), torch.tensor(0.5)).tolist()
    [[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]]
    >>> bool((velocity(torch.zeros(2, 3), torch.tensor(0.05)).diff(dim=0) != 0).any())
    True
    """

    guided: Guided
    seeds: Sequence[int]
    tau1: float = 0.6
    tau2: float = 0.9
    scale: float = 0.25
    mixing: float = 1.0
    names: tuple[str, ...] | None = None
    fresh: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.tau1 < self.tau2 <= 1:
            raise Misuse(
                f"The times tau1 = {self.tau1} and tau2 = {self.tau2} do not rise within [0, 1].",
                "Give, say, tau1=0.6, tau2=0.9.",
            )
        if not (0 <= self.scale < math.inf and 0 <= self.mixing <= 1):
            raise Misuse(
                f"The scale {self.scale} or the share {self.mixing} is out of range.",
                "Give a scale of 0 or more, and a share from 0 to 1.",
            )
        make_generators(self.seeds)
        for name in self.annealed_names():
            rows = self.guided.condition[name]
            if len(rows) not in (1, len(self.seeds)):
                raise Misuse(
                    f"The condition {name!r} has {counted(len(rows), 'row')} for "
                    f"{counted(len(self.seeds), 'seed')}.",
                    "Give one row for each seed, or a single one for all of them.",
                )

    def annealed_names(self) -> tuple[str, ...]:
        """The names of the entries that are annealed.

        Raises
        ------
        Misuse
            If there are none, or one is no tensor of floating point.
        """
        condition = self.guided.condition
        names = self.names or tuple(name for name, value in condition.items() if can_anneal(value))
        if not names or not all(name in condition and can_anneal(condition[name]) for name in names):
            raise Misuse(
                f"The condition {sorted(condition)} has no entry of floating point with one row per problem "
                f"{'' if self.names is None else f'for each of {sorted(self.names)} '}to add noise to.",
                "Give embeddings as the condition in place of numbers of classes.",
            )
        return names

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """The guided velocity of x `[batch, ...]` at t `[]` or `[batch]`.

        Raises
        ------
        Misuse
            If x has another number of problems than there are seeds.
        """
        if len(x) != len(self.seeds):
            raise Misuse(
                f"There are {counted(len(self.seeds), 'seed')} for {counted(len(x), 'problem')}.",
                "Give one seed for each problem.",
            )
        gamma = ((self.tau2 - (1 - t)) / (self.tau2 - self.tau1)).clamp(0, 1)  # eq. 2
        if bool((gamma == 1).all()):
            return self.guided(x, t)
        condition = dict(self.guided.condition)
        for number, name in enumerate(self.annealed_names()):
            y = expand_rows({name: condition[name]}, len(x))[name]
            condition[name] = self.anneal(y, gamma.to(y).expand(len(x)), t, number)
        guided = Guided(
            self.guided.network,
            condition,
            self.guided.null,
            guidance=self.guided.guidance,
            together=self.guided.together,
            combine=self.guided.combine,
        )
        return guided(x, t)

    def anneal(self, y: Tensor, gamma: Tensor, t: Tensor, number: int) -> Tensor:
        """The noisy condition of y `[batch, ...]` with gamma `[batch]`, in the same shape."""
        share = gamma.reshape(-1, *[1] * (y.ndim - 1))
        noisy = share.sqrt() * y + self.scale * (1 - share).sqrt() * self.draw(y, t, number)  # eq. 1
        axes = tuple(range(1, y.ndim))
        if y[0].numel() > 1:
            spread, centre = torch.std_mean(y, axes, keepdim=True)
            own, mean = torch.std_mean(noisy, axes, keepdim=True)
            rescaled = (noisy - mean) / own.clamp(min=1e-12) * spread + centre  # eq. 3
            noisy = self.mixing * rescaled + (1 - self.mixing) * noisy  # eq. 4
        return torch.where(share == 1, y, noisy)

    def draw(self, y: Tensor, t: Tensor, number: int) -> Tensor:
        """n of each problem `[batch, ...]`, from its seed, the time and the number of the entry."""
        ticks = (t * TICKS).round().long().expand(len(y)).tolist() if self.fresh else [0] * len(y)
        seeds = [
            derive_seed(derive_seed(seed, 7 + number), tick)
            for seed, tick in zip(self.seeds, ticks, strict=True)
        ]
        return draw_normal(tuple(y.shape[1:]), make_generators(seeds)).to(y)

    def select(self, index: Tensor) -> AnnealedCondition:
        """The velocity of the problems in `index`, int64 `[k]`, with their conditions and seeds."""
        return replace(self, guided=self.guided.select(index), seeds=[self.seeds[i] for i in index.tolist()])


def can_anneal(value: Any) -> bool:
    """Whether a condition is a tensor of floating point with one row per problem."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0
