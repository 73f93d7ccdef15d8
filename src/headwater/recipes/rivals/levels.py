"""Noise levels of the papers on the path of any flow, and the steps that diffusion papers share.

A paper knows one path. A flow with another path serves as well: where its sigma_t / alpha_t is that of the paper, its
state is the paper's times a number (Pokle et al. 2024, Lemma 2 and eq. 9). The methods work with the paper's state

    u = x / scale = alpha x1 + sigma eps,   alpha^2 + sigma^2 = 1 (diffusion) or alpha + sigma = 1 (Cond-OT).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.path import BetaTable, Path
from headwater.flows.seeds import draw_normal, make_generators
from headwater.recipes.one_evaluation import find_time_of_noise
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.network import Network, Pullback

Draw = Callable[[], Tensor]


@dataclass(frozen=True)
class Level:
    """A place on the path of a flow, with the state of a paper: u = alpha x1 + sigma eps.

    Attributes
    ----------
    t
        The time of the flow, a scalar in float64.
    alpha, sigma
        The weights of data and noise in u.
    scale
        x = scale * u is the flow's own state.
    """

    t: Tensor
    alpha: float
    sigma: float
    scale: float

    def denoise(self, network: Network, u: Tensor) -> Tensor:
        """xhat for the state u `[batch, *event]`."""
        return network.denoise(self.scale * u, self.t)

    def linearise(self, network: Network, u: Tensor) -> tuple[Tensor, Pullback]:
        """xhat for the state u `[batch, *event]`, and w -> (d xhat / d u)' w."""
        xhat, pull = network.linearise(self.scale * u, self.t)
        return xhat, lambda w: self.scale * pull(w)


CLEAN = Level(torch.tensor(1.0, dtype=torch.float64), alpha=1.0, sigma=0.0, scale=1.0)
"""The end of a path: no noise is left."""


def find_levels(path: Path, noise: Sequence[float], power: int) -> list[Level]:
    """The levels at which sigma / alpha has the values `noise`, with alpha^power + sigma^power = 1.

    Examples
    --------
    >>> from headwater import CondOT
    >>> level = find_levels(CondOT(), [0.75], power=2)[0]
    >>> [round(n, 4) for n in (level.alpha, level.sigma, level.t.item())]
    [0.8, 0.6, 0.5714]
    """
    times = find_time_of_noise(path, torch.tensor(noise, dtype=torch.float64))
    levels = []
    for t in times:
        alpha, sigma = float(path.alpha(t)), float(path.sigma(t))
        scale = (alpha**power + sigma**power) ** (1 / power)
        levels.append(Level(t, alpha / scale, sigma / scale, scale))
    return levels


def ddpm_noise(indices: Sequence[float]) -> list[float]:
    """sigma / alpha at some of the 1,000 levels 0 .. 999 of DDPM (Ho et al. 2020), interpolated in between.

    Examples
    --------
    >>> [round(n, 3) for n in ddpm_noise([999, 0])]
    [157.407, 0.01]
    """
    table = BetaTable.linear(1000)
    times = (
        1 - (torch.tensor(indices, dtype=torch.float64) + 1) / 1000
    )  # BetaTable: level k at N (1 - t) = k + 1
    return [float(n) for n in table.sigma(times) / table.alpha(times)]


def ddpm_levels(path: Path, steps: int) -> list[Level]:
    """`steps` levels, even in the index of DDPM, from the noisiest to the least noisy; alpha^2 + sigma^2 = 1."""
    return find_levels(path, ddpm_noise(torch.linspace(999, 0, steps, dtype=torch.float64).tolist()), power=2)


def make_draw(flow: Flow, seeds: Sequence[int], like: Tensor) -> Draw:
    """A function that draws noise `[len(seeds), *event]`, every problem's from its own generator."""
    generators = make_generators(seeds)
    return lambda: flow.project(draw_normal(flow.shape, generators).to(like))


def count_steps(options: RecipeOptions, steps: int) -> int:
    """The steps of a method whose every step takes a gradient: its own or the user's, and at most `gradients`."""
    steps = options.steps or steps
    return steps if options.gradients is None else min(steps, options.gradients)


def ddim_step(u: Tensor, xhat: Tensor, now: Level, then: Level, eta: float, draw: Draw) -> Tensor:
    """From a state u `[batch, *event]` at one level to a less noisy one: DDIM (Song et al., ICLR 2021, eq. 12).

    `eta` = 1 is the ancestral step of DDPM, 0 the deterministic one. With alpha^2 + sigma^2 = 1 at both levels.
    """
    a = now.alpha / then.alpha
    c1 = eta * then.sigma / now.sigma * math.sqrt(max(1 - a * a, 0))  # eq. 16
    c2 = math.sqrt(max(then.sigma**2 - c1 * c1, 0))
    eps = (u - now.alpha * xhat) / now.sigma
    new = c1 * draw() if c1 > 0 else torch.zeros_like(u)
    return then.alpha * xhat + c2 * eps + new  # eq. 12


def cond_ot_levels(path: Path, times: Sequence[float]) -> list[Level]:
    """The levels with the noise of Cond-OT at some times below 1, alpha = t and sigma = 1 - t.

    On a path that starts with a little of the data, the first of them has alpha > 0.
    """
    return find_levels(path, [(1 - t) / t if t > 0 else math.inf for t in times], power=1)
