"""D-Flow from noise with the prior of the source, through a solve of very few steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from headwater.dflow.control import control
from headwater.dflow.prior import GaussianPrior
from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.optimizers import LBFGS
from headwater.problem.cost import Misfit, discrepancy
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions
from headwater.solvers.method import DDIM


@dataclass(frozen=True)
class MAPFromNoise:
    """D-Flow from noise: min over x0 of misfit(x1(x0)) + |x0|^2 / 2 down to the noise level, by three steps of DDIM.

    It is for costs of which an estimate alone makes little: a few numbers that depend on all of the sample in a
    non-linear way, such as the features of a network. Three steps draw a coarse sample, but for the price of a
    usual gradient they allow five, and L-BFGS uses them well. On photographs it is first there; on digits `DPS` and
    control from an estimate are ahead. Where an operator is linear or keeps most of the sample, `Estimate` is
    better and takes no gradient.

    Attributes
    ----------
    steps
        DDIM steps of a solve, as many evaluations.
    gradients
        The most gradient evaluations per problem.
    first_step
        The first step of L-BFGS, rms per coordinate of x0.
    tau
        The misfit, in units of the noise, at which a problem has REACHED its goal and stops: below it the coarse
        solve would fit the noise.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, Algorithm 1; Song, Meng & Ermon, "Denoising Diffusion Implicit Models",
    ICLR 2021, for the steps. Settings: `benchmarks/decisions/few_numbers.py`.

    Examples
    --------
    The sum of the squares of two numbers was measured.

    >>> import torch
    >>> from headwater import Gaussian, MAPFromNoise, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x.square().sum(1, keepdim=True), torch.tensor([[4.0]]), 0.1)
    >>> result = MAPFromNoise()(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.status[0].name, round(result.x1.norm().item(), 1)
    ('REACHED', 2.0)
    """

    about: ClassVar[About] = About(
        name="map-from-noise",
        paper="D-Flow from noise with the prior of the source, through three steps of DDIM",
        takes="any operator",
        network_gradient=True,
        cost="up to 80 gradients through a solve of 3 evaluations",
    )
    steps: int = 3
    gradients: int = 80
    first_step: float = 0.02
    tau: float = 1.05

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """Solve a batch of problems, x1 `[len(seeds), *event]`; see `Recipe`. The guess gives its dtype alone."""
        return control(
            flow,
            misfit,
            flow.noise(seeds, device=guess.device, dtype=guess.dtype),
            stop=discrepancy(misfit, tau=options.tau or self.tau),
            prior=GaussianPrior(),
            method=DDIM,
            steps=options.steps or self.steps,
            gradients=options.gradients or self.gradients,
            optimizer=LBFGS(first_step=self.first_step),
            gradient=options.gradient,
            callback=options.callback,
        )
