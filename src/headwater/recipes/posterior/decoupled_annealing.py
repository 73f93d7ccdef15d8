"""Decoupled annealing (DAPS): every draw is an estimate whose proximal steps are draws, without a gradient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation
from headwater.errors import Misuse
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.chains import Calls, ChainState, count, initial_fields
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.optimise import require_measurement
from headwater.recipes.posterior.perturb_and_map import INVERSION, calls_of_estimate, keep_draw
from headwater.recipes.posterior.potential import Potential
from headwater.solvers.fixed import invert


@dataclass(frozen=True)
class DecoupledAnnealing:
    """Estimates of which every z is drawn from N(xhat, R R') times the likelihood of y, and all noise is new.

    At each of its times t the denoiser's xhat = E[x1 | x_t] and what it leaves open, R R', stand for the law of x1
    given x_t; z is drawn from this law given y, and x_s = alpha_s z + sigma_s n begins the next time. Were the law
    Gaussian with that covariance, the last z would be a draw of the posterior. It needs no gradient of the network,
    and its draws are independent. x0 is the source point of a draw by the reverse solve, which takes 24 evaluations.

    Parameters
    ----------
    estimate
        Its times, its covariance R R' and its proximal steps; whether it perturbs and its share of new noise are set
        here. More times come nearer to the posterior; `benchmarks/decisions/annealing.py` chose 64.

    Raises
    ------
    Misuse
        It has no estimate; when it is called, if the cost is no `Misfit`.

    References
    ----------
    Zhang, Chu, Berner, Meng, Anandkumar & Song, "Improving Diffusion Inverse Problem Solving with Decoupled Noise
    Annealing", CVPR 2025, Algorithm 1; its draws of z are by Langevin's steps, these by perturbed optimisation, exact
    for linear operators (Papandreou & Yuille, "Gaussian sampling by local perturbations", NIPS 2010).

    Examples
    --------
    A number between N(0, 1) and its measurement 1 with noise 1 has the mean 1 / 2, which is not quite reached, and
    the std 0.71:

    >>> import torch
    >>> from headwater import Gaussian, Identity, Misfit, posterior
    >>> flow, misfit = Gaussian(torch.zeros(1), torch.ones(1)).flow, Misfit(Identity(), torch.ones(1, 1), 1.0)
    >>> found = posterior(flow, misfit, [0], method=DecoupledAnnealing(), chains=50, draws=4)
    >>> 0.25 < found.mean.item() < 0.6, 0.6 < found.std.item() < 0.82, int(found.gradients.sum())
    (True, True, 0)
    """

    state: ClassVar[type[Any]] = ChainState
    needs_start: ClassVar[bool] = False
    caveat: ClassVar[str] = (
        "Each draw is an annealing of its own, which comes near the posterior and is not exact."
    )
    burn_in: ClassVar[int] = 0
    thin: ClassVar[int] = 1
    estimate: Estimate = field(default_factory=lambda: Estimate(times=64, last=0.99))

    def __post_init__(self) -> None:
        if not isinstance(self.estimate, Estimate):
            raise Misuse(
                f"{self.estimate!r} is no estimate.",
                "Give one, such as DecoupledAnnealing(Estimate(times=64)).",
            )

    def calls_per_step(self) -> Calls:
        """An estimate and its inversion, no solve and no gradient."""
        return Calls(0, 0, calls_of_estimate(self.estimate))

    def calls_to_begin(self) -> Calls:
        """One solve, no gradient."""
        return Calls(1, 0)

    def init(self, x0: Tensor, potential: Potential) -> ChainState:
        """The state at the start x0 `[chains, *event]`, which no draw depends on."""
        require_measurement(potential.cost)
        return ChainState(**initial_fields(potential.value(x0), potential.nfe, 0))

    def advance(self, state: ChainState, potential: Potential, noise: Noise, adapt: bool) -> ChainState:
        """The next draw of every chain; one that is not finite leaves the chain where it was."""
        misfit, flow = require_measurement(potential.cost), potential.flow
        seeds = [int(u * 2**53) for u in noise.uniform().tolist()]
        recipe = replace(self.estimate, perturb=True, fresh=1.0)
        with torch.no_grad():
            x1 = recipe.sample(flow, misfit, seeds, guess=torch.zeros_like(state.x0))
            x0, phi = invert(flow, x1, steps=INVERSION), misfit(x1).to(torch.float64)
        drawn = Evaluation(x0, x1, phi, torch.zeros_like(x0), torch.full_like(phi, torch.nan))
        state = keep_draw(state, drawn, torch.zeros_like(state.gradients), potential.nfe)
        return count(state, calls_of_estimate(recipe) - potential.nfe, 0)
