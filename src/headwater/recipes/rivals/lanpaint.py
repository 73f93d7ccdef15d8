"""LanPaint, inpainting by Langevin dynamics between the steps of a diffusion (Zheng, Lan and Wang, TMLR 2025).

    y_t  <- the known numbers y with noise of every level, as one walk from clean to noisy
    u ~ N(0, I)
    for 20 levels of DDPM from noisy to clean, s the next one
        u    <- y_t where known, else u
        5 times: an underdamped Langevin step of u with the score            1 evaluation each
                 -(u - alpha xhat) / sigma^2                                 where unknown
                 -(1 + lambda)(u - alpha y) / sigma^2 + lambda (u - alpha xhat) / sigma^2    where known
        u    <- the deterministic DDIM step from u to s with xhat            1 evaluation
    return y where known, else xhat

The second score, the bidirectional guided (BiG) one, lets the known numbers give way to what the unknown ones say.
The Langevin steps are exact in the linear part of the score, as in the authors' code; the rest of it is held fixed
within a step and corrected in the middle of the next. The paper's time is the index of DDPM, which falls from noise
to data; u is its state, alpha^2 + sigma^2 = 1. There is no gradient of the network.

y is taken as exact, whatever its noise level: known numbers have no width, and the unknown ones follow their noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, Draw, Level, ddim_step, ddpm_levels, make_draw
from headwater.recipes.rivals.linear import find_known
from headwater.recipes.rivals.network import Network, follow_answers
from headwater.recipes.rivals.oscillator import oscillate


@dataclass(frozen=True)
class LanPaint:
    """Inpainting: Langevin steps at every level of a diffusion, in which known and unknown numbers agree.

    Every level takes `inner` + 1 evaluations without a gradient, 120 in all. The operator has to be a mask: every
    measured number is one coordinate of the event.

    Attributes
    ----------
    steps
        Levels, even in the index of the 1,000 levels of DDPM.
    inner
        Langevin steps at every level.
    step
        The time of a Langevin step in units of sigma^2.
    friction
        The friction of the dynamics is its square times the curvature; a large one is overdamped.
    weight
        lambda of the BiG score; with 0 the known numbers are told nothing of the unknown ones.

    References
    ----------
    Zheng et al., "LanPaint: Training-Free Diffusion Inpainting with Asymptotically Exact and Fast Conditional
    Sampling", TMLR 2025; settings and dynamics from the authors' benchmark (scraed/LanPaintBench, LanPaint-5).

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x[:, :1], torch.tensor([[2.0]]), 0.1)
    >>> result = LanPaint()(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.evaluations.tolist(), result.gradients.tolist(), round(result.x1[0, 0].item(), 4)
    ([120], [0], 2.0)
    """

    about: ClassVar[About] = About(
        name="lanpaint",
        paper="Zheng et al., LanPaint: Training-Free Diffusion Inpainting, TMLR 2025",
        takes="mask",
        network_gradient=False,
        cost="6 evaluations a step, 20 steps",
    )

    steps: int = 20
    inner: int = 5
    step: float = 0.15
    friction: float = 15.0
    weight: float = 8.0

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """Sample a batch, x1 `[len(seeds), *event]`; see `Recipe`.

        The guess is returned if the run ends before the first step.

        Raises
        ------
        Misuse
            If the operator is no mask.
        """
        network, first = Network(flow), guess.expand(len(seeds), *flow.shape)
        known, y = find_known(misfit, first)
        levels = ddpm_levels(flow.path, options.steps or self.steps)
        answers = self.sample(network, known, y, make_draw(flow, seeds, guess), levels)
        return follow_answers(network, answers, misfit, first, options)

    def sample(
        self, network: Network, known: Tensor, y: Tensor, draw: Draw, levels: list[Level]
    ) -> Iterator[Tensor]:
        """The answer `[batch, *event]` of every step: y where `known`, else xhat."""
        walk = walk_to_noise(y, levels, draw)
        u = draw()
        for now, then in itertools.pairwise([*levels, CLEAN]):
            u = torch.where(known, walk.pop(), u)
            u = self.agree(network, u, known, y, now, draw)
            xhat = now.denoise(network, u)
            yield torch.where(known, y, xhat)
            u = ddim_step(u, xhat, now, then, 0.0, draw)

    def agree(self, network: Network, u: Tensor, known: Tensor, y: Tensor, now: Level, draw: Draw) -> Tensor:
        """u `[batch, *event]` after the Langevin steps of one level."""
        variance, h = now.sigma**2, self.step * now.sigma**2
        curvatures = 1 / variance, (1 + self.weight) / variance  # where unknown, where known

        def force(u: Tensor) -> Tensor:
            """The score plus curvature * u: what is held fixed within a step."""
            seen = now.alpha * now.denoise(network, u)
            guided = (1 + self.weight) * now.alpha * y + self.weight * (u - seen)
            return torch.where(known, guided, seen) / variance

        def move(u: Tensor, v: Tensor, f: Tensor, time: float) -> tuple[Tensor, Tensor]:
            noise = draw(), draw()
            apart = [oscillate(u, v, f, noise, a, self.friction, time) for a in curvatures]
            (u0, v0), (u1, v1) = apart
            return torch.where(known, u1, u0), torch.where(known, v1, v0)

        root = [self.friction * math.sqrt(a) for a in curvatures]  # of Gamma = friction^2 * curvature
        kick = torch.where(known, root[1], root[0]).to(u) * h
        f, v = force(u), draw()
        for k in range(self.inner):
            if k == 0:
                u, v = move(u, v, f, h)
                continue
            u, v = move(u, v, f, h / 2)
            last, f = f, force(u)
            u, v = move(u, v + kick * (f - last), f, h / 2)
        return u


def walk_to_noise(y: Tensor, levels: list[Level], draw: Draw) -> list[Tensor]:
    """alpha y + sigma eps `[batch, *event]` at every level, the least noisy first, as one walk that adds noise."""
    walk, state, before = [], y, CLEAN
    for level in reversed(levels):
        a = level.alpha / before.alpha
        state = a * state + math.sqrt(1 - a * a) * draw()
        walk.append(state)
        before = level
    return walk
