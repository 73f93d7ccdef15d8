"""The mean of several estimates: nearer to the posterior mean than any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed
from headwater.optimizers.status import Status
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.estimate import Estimate, EstimateWatch
from headwater.recipes.recipe import RecipeOptions, result_without_control


@dataclass(frozen=True)
class Average:
    """The mean of `count` estimates, in pairs of opposite noise.

    If estimates were draws of the posterior, the mean of k of them had the squared error (1 + 1/k) / 2 of one. The
    second of a pair has the noise -n where the first has n, so what they do linearly with it cancels in the mean
    (antithetic variates). Like any mean it is smoother than a sample, and its misfit is below the noise level by
    nature (see `OneEvaluation`).

    Attributes
    ----------
    estimate
        How each is made.
    count
        How many. The first pair has the problem's own seed, the others seeds derived from it.

    Raises
    ------
    Misuse
        The count is below 1.

    References
    ----------
    Hammersley & Morton, "A new Monte Carlo technique: antithetic variates", Proc. Cambridge Phil. Soc. 52 (1956).

    Examples
    --------
    >>> import torch
    >>> from headwater import Average, Gaussian, Identity, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(Identity(), torch.tensor([[1.0, -1.0]]), 0.5)
    >>> result = Average(count=2)(flow, misfit, [0], guess=torch.zeros(1, 2))
    >>> result.status[0].name, result.evaluations.tolist()
    ('COMPUTED', [64])
    """

    about: ClassVar[About] = About(
        name="average",
        paper="the mean of four estimates",
        takes="any operator",
        network_gradient=False,
        cost="128 evaluations",
    )
    estimate: Estimate = field(default_factory=Estimate)
    count: int = 4

    def __post_init__(self) -> None:
        if self.count < 1:
            raise Misuse(f"A mean of {self.count} estimates is none.", "Give a count of at least 1.")

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """Solve a batch of inverse problems, one per seed; see `Recipe`. `guess` is `[batch or 1, *event]`."""
        watch = EstimateWatch(misfit, options.callback)
        average = replace(self, estimate=self.estimate.with_steps(options))
        x1 = average.sample(flow, misfit, seeds, guess=guess, watch=watch)
        return result_without_control(misfit, x1, watch.ended or Status.COMPUTED, watch.evaluations)

    def sample(
        self, flow: Flow, misfit: Misfit, seeds: Sequence[int], *, guess: Tensor, watch: EstimateWatch
    ) -> Tensor:
        """The mean `[len(seeds), *event]`; if the watch ends it, that of the estimates that were complete by then."""
        total: Tensor | None = None
        for k in range(self.count):
            pair, second = divmod(k, 2)
            own = [derive_seed(seed, pair) if pair else seed for seed in seeds]
            e = self.estimate.sample(flow, misfit, own, guess=guess, watch=watch, antithetic=bool(second))
            if watch.ended is not None:
                return e if total is None else total / k
            total = e if total is None else total + e
        assert total is not None
        return total / self.count
