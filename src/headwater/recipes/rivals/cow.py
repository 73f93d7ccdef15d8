"""Cyclic one-way diffusion (Wang, Yang, Qian, Zhu and Wu, ICLR 2024): what is measured leads, and is not led.

    u_t  <- the picture with its background, inverted step by step                       seed initialisation
    x    <- u at t = replace
    repeat `cycles` times                                                                cyclic one-way diffusion
        x <- r x + sqrt(sigma'^2 - r^2 sigma^2) n,  r = alpha' / alpha                   back to t' = back, fresh n
        x <- u_t' where measured
        DDIM steps from back to replace, after each  x <- u_t where measured
    DDIM steps from replace to 1, at t = keep once more  x <- u_t where measured         visual condition preservation

Going back and forth lets the surroundings learn from what was measured, whose own states are put back at every step.
The shares 0.3, 0.5 and 0.6, the 10 steps and the 10 cycles are those of the authors' code (pipeline_COW.py), which
counts from the data: 0.7, 0.5 and 0.4 of its table. Left out: the authors' negative prompts, and the noise
(eta = 0.1) of their last steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import make_generators
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions, require_misfit
from headwater.recipes.rivals.linear import find_known
from headwater.recipes.rivals.network import Network, draw_noise, follow_answers
from headwater.solvers.fixed import uniform_grid
from headwater.solvers.method import DDIM


@dataclass(frozen=True)
class CyclicOneWay:
    """Cycles of noise and denoising around a part of a sample that is put back at every step (COW).

    For independent parts and fine steps it is exact: what was measured comes back, the rest is a draw of the flow.
    Elsewhere it is no posterior, and what was measured need not come back: the states that are put back are those of
    the picture *with its background*, which so leads, too. Of two numbers with a correlation of 0.9, the first
    measured as 2, it gives 2.6 and 2.0 on the background 0, and 1.7 and 1.1 on the background 2, where 2 and 1.8 are
    right. No network is differentiated; the operator has to be a mask.

    Attributes
    ----------
    steps
        DDIM steps of the whole path.
    cycles
        How often the noise goes back and forth.
    back, replace, keep
        The times between which it does, and that of the last replacement; rising within (0, 1).

    Raises
    ------
    Misuse
        If the times do not rise, or a number is below 1.

    References
    ----------
    Wang et al., "Diffusion in Diffusion: Cyclic One-Way Diffusion for Text-Vision-Conditioned Generation", ICLR 2024.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Misfit
    >>> class First:
    ...     def __call__(self, x):
    ...         return x[:, :1]
    ...     def adjoint(self, y):
    ...         return torch.cat([y, torch.zeros_like(y)], 1)
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> result = CyclicOneWay()(flow, Misfit(First(), torch.tensor([[2.0]]), 0.1), [0], guess=torch.zeros(1, 2))
    >>> bool((result.x1[0, 0] - 2).abs() < 0.2), result.evaluations.item()
    (True, 32)
    """

    about: ClassVar[About] = About(
        name="cow",
        paper="Wang et al., Cyclic One-Way Diffusion for Text-Vision-Conditioned Generation, ICLR 2024",
        takes="mask",
        network_gradient=False,
        cost="32 evaluations: 12, and 2 for each of 10 cycles",
    )

    steps: int = 10
    cycles: int = 10
    back: float = 0.3
    replace: float = 0.5
    keep: float = 0.6

    def __post_init__(self) -> None:
        if not 0 < self.back < self.replace < self.keep < 1:
            raise Misuse(
                f"The times {self.back}, {self.replace} and {self.keep} do not rise within (0, 1).",
                "Give, say, back=0.3, replace=0.5, keep=0.6.",
            )
        if self.steps < 1 or self.cycles < 1:
            raise Misuse(
                f"{self.steps} steps and {self.cycles} cycles do nothing.", "Give at least 1 of each."
            )

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """Sample a batch, x1 `[len(seeds), *event]`; see `Recipe`. The guess is the background.

        Raises
        ------
        Misuse
            If the operator is no mask.
        """
        require_misfit(misfit)
        network, first = Network(flow), guess.expand(len(seeds), *flow.shape)
        known, y = find_known(misfit, first)
        picture = torch.where(known, y.to(first), first)
        answers = self.sample(network, picture, known, seeds, options.steps or self.steps)
        return follow_answers(network, answers, misfit, first, options)

    def sample(
        self, network: Network, picture: Tensor, known: Tensor, seeds: Sequence[int], steps: int
    ) -> Iterator[Tensor]:
        """x `[batch, *event]` after every cycle, at last the sample."""
        path, generators = network.flow.path, make_generators(seeds)
        early = grid_between(self.back, self.replace, steps)
        middle, late = grid_between(self.replace, self.keep, steps), grid_between(self.keep, 1.0, steps)
        # Seed initialisation: the states of the picture on its way to noise.
        states = {1.0: picture}
        for t, t_next in itertools.pairwise([*late[::-1], *middle[-2::-1], *early[-2::-1]]):
            states[t_next] = step(network, states[t], t, t_next)
        x = states[self.replace]
        start, end = (torch.tensor(t, dtype=torch.float64) for t in (self.back, self.replace))
        ratio = path.alpha(start) / path.alpha(end)
        added = (path.sigma(start) ** 2 - ratio**2 * path.sigma(end) ** 2).clamp(min=0).sqrt()
        for _ in range(self.cycles):
            x = per_problem(ratio, x) * x + per_problem(added, x) * draw_noise(network.flow, generators, x)
            x = torch.where(known, states[self.back], x)
            for t, t_next in itertools.pairwise(early):
                x = torch.where(known, states[t_next], step(network, x, t, t_next))
            yield x
        for t, t_next in itertools.pairwise(middle):
            x = step(network, x, t, t_next)
        x = torch.where(known, states[self.keep], x)
        for t, t_next in itertools.pairwise(late):
            x = step(network, x, t, t_next)
        yield x


def grid_between(start: float, end: float, steps: int) -> tuple[float, ...]:
    """Even times from `start` to `end`, as many steps as that part has of `steps` on the whole path, at least 1."""
    return uniform_grid(max(round((end - start) * steps), 1), start, end)


def step(network: Network, x: Tensor, t: float, t_next: float) -> Tensor:
    """A step of DDIM of x `[batch, *event]`, forwards or backwards."""
    now, then = (torch.tensor(time, dtype=torch.float64) for time in (t, t_next))
    return DDIM.step(network.velocity, network.flow.path, x, now, then)
