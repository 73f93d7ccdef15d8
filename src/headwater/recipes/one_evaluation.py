"""One evaluation of the denoiser: the mean of what is likely, for a sample that was measured with white noise.

A measurement y = x1 + sigma_y n is, times alpha_t, a point of the path at the time where sigma_t / alpha_t = sigma_y:

    alpha_t y = alpha_t x1 + sigma_t n      =>      E[x1 | y] = xhat(alpha_t y, t)

for every affine Gaussian path; for Cond-OT t = 1 / (1 + sigma_y). No estimate of x1 has a smaller mean squared
error, as far as the network is right. A sample x1 ~ p(x1 | y) has twice that error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.dflow.result import Event, Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.path import Path
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.recipes.about import About
from headwater.recipes.recipe import RecipeOptions, require_misfit, result_without_control

View = Callable[[Tensor], Tensor]


def find_time_of_noise(path: Path, sigma_y: Tensor) -> Tensor:
    """The times `[batch]`, float64, at which sigma_t / alpha_t is sigma_y `[batch]`; the nearest in the path's span.

    sigma_t / alpha_t falls along every path, so bisection finds it.

    Parameters
    ----------
    path
        An affine Gaussian path.
    sigma_y
        Noise levels in data units, `[batch]` or a scalar tensor.

    Examples
    --------
    >>> from headwater import CondOT
    >>> find_time_of_noise(CondOT(), torch.tensor([0.25])).item()
    0.8
    """
    sigma_y = sigma_y.to(torch.float64)
    low, high = (torch.full_like(sigma_y, end) for end in path.span)
    for _ in range(60):
        t = (low + high) / 2
        noisy = path.sigma(t) > sigma_y * path.alpha(t)
        low, high = torch.where(noisy, t, low), torch.where(noisy, high, t)
    return ((low + high) / 2).round(decimals=12)


def denoise_measurement(flow: Flow, y: Tensor, sigma_y: Tensor) -> Tensor:
    """E[x1 | y] `[batch, *event]` for y = x1 + sigma_y n, one evaluation of the network.

    Parameters
    ----------
    flow
        The prior.
    y
        The measurement `[batch, *event]`, in data units.
    sigma_y
        The standard deviation of its white noise `[batch]`.

    Examples
    --------
    For a Gaussian prior it is the Wiener filter, m + s^2 / (s^2 + sigma_y^2) (y - m).

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.tensor([2.0])).flow
    >>> denoise_measurement(flow, torch.tensor([[1.0]]), torch.tensor([1.0])).item()  # 4 / (4 + 1)
    0.800000011920929
    """
    t = find_time_of_noise(flow.path, sigma_y)
    with torch.no_grad():
        return flow.denoise(per_problem(flow.path.alpha(t), y).to(y) * y, t)


def denoise_in_views(
    flow: Flow, draw: Callable[[], Tensor], sigma_y: Tensor, views: Sequence[View]
) -> Iterator[Tensor]:
    """The running mean of the denoised measurement over the views, one evaluation each, `[batch, *event]`.

    Parameters
    ----------
    flow, sigma_y
        As in `denoise_measurement`.
    draw
        The measurement `[batch, *event]`; called for every view, so that it may add fresh noise.
    views
        Symmetries of the prior that are their own inverse, such as the mirror images of a picture. A network knows a
        symmetry only roughly; the mean over it has a smaller error than one view.
    """
    total = None
    for k, view in enumerate(views, 1):
        xhat = view(denoise_measurement(flow, view(draw()), sigma_y))
        total = xhat if total is None else total + xhat
        yield total / k


def require_measured_state(misfit: Misfit, guess: Tensor) -> None:
    """Refuse a flow whose states are no noisy measurements, but latents of them.

    Raises
    ------
    Misuse
        If a measurement has more numbers than a state `guess` `[batch or 1, *event]`.
    """
    measured, state = misfit.y[0].numel(), guess[0].numel()
    if measured > state:
        raise Misuse(
            f"A measurement has {measured} numbers and a state of the flow {state}, so it is no noisy state that one "
            "evaluation could denoise.",
            "Give a method for decoders, such as Estimate() or WarmStart(), or a flow on the data itself.",
        )


@dataclass(frozen=True)
class OneEvaluation:
    """E[x1 | y], the mean of what is likely, for measurements y = x1 + white noise of the whole sample.

    y is, times alpha_t, a point of the path at the time where sigma_t / alpha_t = sigma_y, so E[x1 | y] is
    xhat(alpha_t y, t): one evaluation. It has no settings of a search: of the options only `callback` has a meaning.
    Its misfit is *below* the noise level by nature, not because it fitted noise: the exact mean xhat = E[x1 | y] of n
    numbers has E|y - xhat|^2 = n sigma_y^2 - E|x1 - xhat|^2.

    Parameters
    ----------
    views
        Symmetries of the prior that are their own inverse, `[batch, *event]` -> `[batch, *event]`, such as the mirror
        images of a picture; the result is the mean over them, of one evaluation each.

    Notes
    -----
    `guess` is taken for the measurement y on the flow's canvas, `[batch or 1, *event]`. The `Result` has x0 NaN, and
    the status COMPUTED, or DIVERGED where x1 is not finite.

    References
    ----------
    Robbins 1956; Miyasawa 1961; Efron, "Tweedie's formula and selection bias", JASA 106 (2011).

    Examples
    --------
    For data N(0, 1) the mean is y / (1 + sigma_y^2).

    >>> from headwater import Gaussian, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x, torch.tensor([[1.0, -1.0]]), 0.5)
    >>> result = OneEvaluation()(flow, misfit, [0], guess=misfit.y)
    >>> result.status[0].name, [round(x, 4) for x in result.x1[0].tolist()], result.evaluations.tolist()
    ('COMPUTED', [0.8, -0.8], [1])
    """

    about: ClassVar[About] = About(
        name="one-evaluation",
        paper="the posterior mean by Tweedie's formula, as far as the network is right",
        takes="the sample with white noise",
        network_gradient=False,
        cost="1 evaluation",
    )
    views: tuple[View, ...] = (torch.clone,)

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """Denoise a batch; see `Recipe`. `guess` is the measurement on the flow's canvas, `[batch or 1, *event]`."""
        require_misfit(misfit)
        require_measured_state(misfit, guess)
        y = guess.expand(len(seeds), *flow.shape)
        sigma_y = torch.as_tensor(misfit.sigma_y, dtype=torch.float64, device=y.device).expand(len(seeds))
        return follow(denoise_in_views(flow, lambda: y, sigma_y, self.views), misfit, y, options)


def follow(means: Iterator[Tensor], misfit: Misfit, y: Tensor, options: RecipeOptions) -> Result:
    """The last of some running means `[batch, *event]`, each of one evaluation, as a result.

    Parameters
    ----------
    means
        What is computed.
    misfit
        What was measured.
    y
        The answer if the run ends before the first mean, `[batch, *event]`.
    options
        Its callback sees every mean as round 0 and may end the run.
    """
    status, x1, evaluations = Status.COMPUTED, y, 0
    try:
        for evaluations, x1 in enumerate(means, 1):  # noqa: B007 (the last one is the answer)
            if options.callback is None:
                continue
            cost, rms = misfit(x1).to(torch.float64), misfit.rms(x1).to(torch.float64)
            event = Event(round=0, active=torch.arange(len(x1)), cost=cost, measure=rms, x1=x1, best=cost)
            if (ended := options.callback(event)) is not None:
                status = ended
                break
    except Ended as ended:
        status = ended.status
    finite = torch.isfinite(x1).flatten(1).all(1).tolist()
    return result_without_control(
        misfit, x1, [status if ok else Status.DIVERGED for ok in finite], evaluations
    )
