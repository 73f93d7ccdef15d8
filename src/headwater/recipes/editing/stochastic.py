"""SDEdit: noise the original, and denoise it under the changed condition; the baseline of every edit.

z ~ N(0, I);  x <- alpha_t x1 + sigma_t z  at t = 1 - strength
for t in times up to 1:  x <- a step of the ODE, or of the SDE, of the target
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from headwater.flows.flow import Flow
from headwater.problem.rewards import Reward
from headwater.recipes.editing.edit import EditResult, Session, pairs_of, refuse, times_of
from headwater.solvers.fixed import full_grid
from headwater.solvers.stochastic import Ancestral


@dataclass(frozen=True)
class StochasticEdit:
    """Noises the original up to the time 1 - strength, and solves the target's flow from there.

    With a map as strength it is Differential Diffusion: every part is freed at a time of its own.

    Parameters
    ----------
    noise
        0 solves the ODE, 1 takes ancestral steps of the SDE; between them a share of its noise. The ODE keeps an
        original that is unlikely for the target unlikely, the SDE forgets it.
    steps
        Steps over all of [0, 1], or the times; a strength s takes about s of them.

    Notes
    -----
    On a Gaussian flow with x_t = alpha_t x1 + sigma_t z the ODE ends at the endpoint of x_t, and the SDE at a draw of
    the law of x1 given x_t, as the steps become short. It knows nothing of the original but x_t: what is finer than
    the noise is lost, outside of what a map holds.

    References
    ----------
    Meng et al., "SDEdit: Guided image synthesis and editing with stochastic differential equations", ICLR 2022;
    Nie et al., "The blessing of randomness: SDE beats ODE in general diffusion-based image editing", ICLR 2024;
    Levin & Fried, "Differential diffusion: Giving each pixel its strength", 2023, for the map.

    Examples
    --------
    The target has its mean at 4. The first number is held, the second made anew.

    >>> import torch
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> target = Gaussian(torch.full((2,), 4.0), torch.full((2,), 0.1)).flow
    >>> strength = torch.tensor([[0.0, 1.0]])
    >>> StochasticEdit()(flow, torch.zeros(1, 2), [0], target=target, strength=strength).x1.round().tolist()
    [[0.0, 4.0]]
    """

    noise: float = 0.0
    steps: int | Sequence[float] = 24

    def __post_init__(self) -> None:
        Ancestral(self.noise)
        full_grid(self.steps)

    def __call__(
        self,
        flow: Flow,
        x1: Tensor,
        seeds: Sequence[int],
        *,
        target: Flow | None = None,
        reward: Reward | None = None,
        strength: float | Tensor = 0.75,
    ) -> EditResult:
        """Edited samples x1 `[batch, *event]` of originals `[batch, *event]`; it takes no reward."""
        refuse("A stochastic edit", reward=reward)
        session, grid = Session.begin(flow, x1, seeds, target, strength), full_grid(self.steps)
        z, law, steps = flow.noise(seeds).to(x1), Ancestral(self.noise), pairs_of(grid)
        states = [flow.path.interpolate(z, session.x1, t) for t in times_of(grid)[:-1]] + [session.x1]

        def step(rows: Tensor, x: Tensor, k: int) -> Tensor:
            part, (t, t_next) = session.target.select(rows), steps[k]
            session.count(rows)
            found = law.transition(part.path, x, part(x, t), t.clamp(*part.path.span), t_next)
            return found.move(session.draw(rows))

        return session.result(session.follow(grid, states, step))
