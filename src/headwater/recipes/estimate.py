"""A fast estimate of x1 from a measurement, one pass of the denoiser along t: where D-Flow starts from.

Plug-and-play with the flow's own denoiser (PnP-Flow, Martin et al., ICLR 2025; DiffPIR, Zhu et al., 2023):

    for t from early to late
        xhat <- E[x1 | x_t]                                             denoise
        z    <- argmin_x |R_t^-1 (x - xhat)|^2 / 2 + |A x - y|^2 / (2 sigma_y^2)   agree with the measurement
        x_s  <- alpha_s z + sigma_s eps                                 return to the path at the next time s

with R_t R_t' the assumed covariance of the denoiser's error, by default sigma_t^2 I, and
eps = sqrt(fresh) N(0, I) + sqrt(1 - fresh) (x_t - alpha_t xhat) / sigma_t: new noise, or what the denoiser took for
noise (DDIM, Song et al., 2021). New noise at every time draws the sample towards the mean of what is likely; old
noise keeps the energy of a draw where nothing was measured. Each time takes one evaluation and no gradient of the
network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from headwater.dflow.result import Callback, Event, Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import draw_normal, make_generators
from headwater.flows.watched import Ended
from headwater.optimizers import LBFGS
from headwater.optimizers.status import Status
from headwater.problem.cost import Misfit
from headwater.problem.least_squares import check_adjoint, solve_least_squares
from headwater.recipes.about import About
from headwater.recipes.covariance import Covariance, Root, Scale, White
from headwater.recipes.fresh import Fresh
from headwater.recipes.recipe import RecipeOptions, judge_answer, require_misfit


class EstimateWatcher(Protocol):
    """Who follows an estimate; a protocol."""

    def __call__(self, x1: Tensor) -> bool:
        """See the sample `[batch, *event]` of a time, after the proximal step; True ends the pass."""

    def end(self, status: Status) -> None:
        """Hear that a watched flow (`watch_flow`) ended the pass, and with which status."""


@dataclass
class EstimateWatch:
    """Follows the estimate, which the user's callback sees as round 0, and notes what ended it early.

    Attributes
    ----------
    misfit, callback
        What is reported, and to whom; None means to nobody.
    evaluations
        Network evaluations per problem so far.
    ended
        The status that ended the estimate early.
    """

    misfit: Misfit
    callback: Callback | None
    evaluations: int = 0
    ended: Status | None = None

    def __call__(self, x1: Tensor) -> bool:
        """Count an evaluation and report the sample that it led to; True ends the estimate."""
        self.evaluations += 1
        return self.report(x1)

    def report(self, x1: Tensor) -> bool:
        """Report a sample for which the network was not evaluated; True ends the estimate."""
        if self.callback is not None:
            cost, rms = self.misfit(x1).to(torch.float64), self.misfit.rms(x1).to(torch.float64)
            event = Event(round=0, active=torch.arange(len(x1)), cost=cost, measure=rms, x1=x1, best=cost)
            self.ended = self.callback(event)
        return self.ended is not None

    def end(self, status: Status) -> None:
        """Note that the network is not evaluated any more."""
        self.ended = status


class Estimator(Protocol):
    """What makes an estimate, from which control of the source can go on; a protocol."""

    def sample(
        self, flow: Flow, misfit: Misfit, seeds: Sequence[int], *, guess: Tensor, watch: EstimateWatch
    ) -> Tensor:
        """An x1 `[len(seeds), *event]` that agrees with the measurement; see `Estimate.sample`."""


@dataclass(frozen=True)
class Estimate:
    """One pass of the denoiser along t, made to agree with the measurement at every time.

    At each of the times t, with s the next one:

    1. xhat = E[x1 | x_t], one evaluation of the network;
    2. z = argmin_x |R_t^-1 (x - xhat)|^2 / 2 + |A x - y|^2 / (2 sigma_y^2), R_t R_t' the `covariance`;
    3. x_s = alpha_s z + sigma_s (sqrt(fresh) n + sqrt(1 - fresh) (x_t - alpha_t xhat) / sigma_t), n new noise.

    The last z is the estimate. There is no gradient of the network and no source point: call `sample`.

    Parameters
    ----------
    times
        Evaluations of the network, at times even in the logit of t.
    covariance
        What the denoiser leaves open. `White` is the same everywhere; a model of the data's second moments, such as
        `image.PowerLaw`, carries what was measured to what was not, and needs far fewer times.
    first
        The time of the first evaluation, where the guess enters, almost all of it noise.
    last
        The time of the last evaluation.
    fresh
        The share of new noise at every time, 0 to 1; or a `Fresh`, which has one for every part of x1.
    iterations
        Conjugate gradient steps (linear operators) or L-BFGS evaluations (others) of every proximal step.
    perturb
        Whether z is a draw in place of the minimum: of N(xhat, R_t R_t') times the likelihood of y, by the minimum
        with xhat + R_t n and y + sigma_y n' in place of xhat and y. If all noise is new (`fresh=1`) the estimate is
        then nearly a draw of the posterior: decoupled annealing, with a draw that is exact for linear operators where
        its authors have Langevin's steps.

    Raises
    ------
    Misuse
        There is less than one time, or the share of new noise is not from 0 to 1.

    Notes
    -----
    `benchmarks/ablation.py` chose those of white errors, `benchmarks/decisions/answers.py` those that pictures have.

    References
    ----------
    Martin et al., "PnP-Flow", ICLR 2025; Zhu et al., "DiffPIR", 2023, Algorithm 1; Song et al., "DDIM",
    ICLR 2021, eq. 12; for `perturb` Zhang et al., "Improving Diffusion Inverse Problem Solving with Decoupled Noise
    Annealing", CVPR 2025, Algorithm 1, and Papandreou & Yuille, "Gaussian sampling by local perturbations", 2010.

    Examples
    --------
    The first of two numbers is measured; the flow knows that the second is nearly equal to it.

    >>> import torch
    >>> from headwater import Gaussian, Identity, Misfit
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.99], [0.99, 1.0]])).flow
    >>> y, measured = torch.tensor([[2.0, 0.0]]), torch.tensor([[True, False]])
    >>> misfit = Misfit(Identity(), y, 0.01, measured=measured)
    >>> x1 = Estimate().sample(flow, misfit, seeds=[0], guess=torch.zeros(1, 2))
    >>> [round(x) for x in x1[0].tolist()]
    [2, 2]

    Of a number between N(0, 1) and its measurement 1 with noise 1 the posterior has the std 0.71:

    >>> flow, misfit = Gaussian(torch.zeros(1), torch.ones(1)).flow, Misfit(Identity(), torch.ones(1, 1), 1.0)
    >>> for perturb in (False, True):
    ...     x1 = Estimate(perturb=perturb).sample(flow, misfit, range(2000), guess=torch.zeros(1, 1))
    ...     print(f"{x1.std():.1f}")
    0.5
    0.7
    """

    about: ClassVar[About] = About(
        name="estimate",
        paper="one pass of the denoiser, made to agree with y at every time",
        takes="any operator",
        network_gradient=False,
        cost="32 evaluations and a proximal step each",
    )
    times: int = 32
    covariance: Covariance = field(default_factory=White)
    first: float = 0.05
    last: float = 0.97
    fresh: float | Fresh = 1.0
    iterations: int = 16
    perturb: bool = False

    def __post_init__(self) -> None:
        if self.times < 1:
            raise Misuse(f"An estimate of {self.times} times evaluates nothing.", "Give at least 1.")
        if isinstance(self.fresh, int | float) and not 0 <= self.fresh <= 1:
            raise Misuse(f"{self.fresh} is no share of new noise.", "Give `fresh` from 0 to 1.")

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """The estimate as the answer, `[len(seeds), *event]`; see `Recipe`. There is no source point: x0 is NaN."""
        watch = EstimateWatch(misfit, options.callback)
        x1 = self.with_steps(options).sample(flow, misfit, seeds, guess=guess, watch=watch)
        tau = 1.05 if options.tau is None else options.tau
        return judge_answer(misfit, x1, tau, watch.ended, watch.evaluations)

    def with_steps(self, options: RecipeOptions) -> Estimate:
        """The estimate with as many times as the options have steps; itself if they say nothing."""
        return self if options.steps is None else replace(self, times=options.steps)

    def sample(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        watch: EstimateWatcher | None = None,
        antithetic: bool = False,
    ) -> Tensor:
        """An x1 that the flow finds plausible and that agrees with the measurement, `[len(seeds), *event]`.

        Parameters
        ----------
        flow, misfit, seeds
            As a `Recipe` takes them.
        guess
            A rough x1 `[batch or 1, *event]` in data units.
        watch
            Follows the pass and may end it; the sample of the last complete time is returned, at first the guess.
        antithetic
            Whether every noise n of the seeds enters as -n; see `Average`.

        Returns
        -------
        x1
            In data units, `[len(seeds), *event]`, without a gradient.

        Raises
        ------
        Ended
            A watched flow ended the pass, and nobody follows it.
        Misuse
            The misfit has no operator, or the operator's `adjoint` is not its adjoint.
        Misuse
            If there is no seed, or the operator does not make what was measured.

        Examples
        --------
        >>> from headwater import Gaussian, Identity, Misfit
        >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
        >>> misfit = Misfit(Identity(), torch.tensor([[0.5, -0.5]]), 0.01)
        >>> x1 = Estimate().sample(flow, misfit, [0], guess=torch.zeros(1, 2))
        >>> bool(misfit.rms(x1) < 2)
        True
        """
        require_misfit(misfit)
        generators, path, sign = make_generators(seeds), flow.path, -1.0 if antithetic else 1.0

        def normal(shape: Sequence[int]) -> Tensor:
            return sign * draw_normal(shape, generators)

        with torch.no_grad():
            z = guess.expand(len(seeds), *flow.shape)
            check_adjoint(misfit.operator, z)
            eps = flow.project(normal(flow.shape).to(guess))
            fresh = self._share(flow, misfit, z)
            for t in logit_times(self.times, self.first, self.last):
                x = path.interpolate(eps, z, t)  # x_t = alpha_t z + sigma_t eps
                try:
                    xhat = flow.denoise(x, t)
                except Ended as ended:
                    if watch is None:
                        raise
                    watch.end(ended.status)
                    break
                root = self.covariance.root(flow, float(path.alpha(t)), float(path.sigma(t)))
                if self.perturb:
                    centre = xhat + root(normal(flow.shape).to(xhat))
                    drawn = perturb_measurement(misfit, len(seeds), normal)
                    z = solve_proximal(drawn, centre, root, self.iterations)
                else:
                    z = solve_proximal(misfit, xhat, root, self.iterations)
                # The noise that the denoiser saw, by the network's own account (DDIM): sqrt of the shares, so that
                # the variances of old and new add up to 1.
                old = (x - path.alpha(t) * xhat) / path.sigma(t)
                new = flow.project(normal(flow.shape).to(guess))
                eps = (1 - fresh).sqrt() * old + fresh.sqrt() * new
                if watch is not None and watch(z):
                    break
        return z

    def _share(self, flow: Flow, misfit: Misfit, x: Tensor) -> Tensor:
        """The share of new noise, which broadcasts to x `[batch, *event]`."""
        if isinstance(self.fresh, int | float):
            return torch.as_tensor(self.fresh).to(x)
        return self.fresh.share(flow, misfit, x)


def perturb_measurement(misfit: Misfit, rows: int, normal: Callable[[Sequence[int]], Tensor]) -> Misfit:
    """The misfit with y + sigma_y n in place of y, n `[rows, *shape]` of N(0, I) by normal(shape), for every row.

    For complex y each of the two parts of n is N(0, I).
    """
    y = misfit.y.expand(rows, *misfit.y.shape[1:])
    # the misfit |r|^2 / (2 sigma_y^2) gives each part of a complex number the variance sigma_y^2
    n = torch.view_as_complex(normal((*y.shape[1:], 2))) if y.is_complex() else normal(y.shape[1:])
    sigma = torch.as_tensor(misfit.sigma_y).to(y)
    sigma = sigma.reshape(-1, *[1] * (y.ndim - 1)) if sigma.ndim else sigma
    return replace(misfit, y=y + sigma * n.to(y))


def logit_times(count: int, first: float, last: float) -> list[Tensor]:
    """`count` scalar times from `first` to `last`, even in log(t / (1 - t)), float64."""
    ends = [math.log(t / (1 - t)) for t in (first, last)]
    return list(torch.sigmoid(torch.linspace(ends[0], ends[1], count, dtype=torch.float64)))


def solve_proximal(misfit: Misfit, xhat: Tensor, r: float | Root, iterations: int = 16) -> Tensor:
    """argmin_x |R^-1 (x - xhat)|^2 / 2 + misfit(x), the proximal operator of the misfit, `[batch, *event]`.

    It is solved for white z with x = xhat + R z. For a linear operator with an `adjoint`, z is the least squares
    solution of A R z = y - A xhat with the ridge sigma_y^2. For others, `iterations` evaluations of the batched
    L-BFGS from xhat.

    Parameters
    ----------
    misfit
        What was measured.
    xhat
        The point to stay near, `[batch, *event]`.
    r
        How far xhat may be off: a standard deviation in data units, or a root R of a covariance.
    iterations
        Conjugate gradient steps, or evaluations of L-BFGS.
    """
    operator, measured = misfit.operator, misfit.measured
    root = Scale(r) if isinstance(r, int | float) else r
    adjoint = getattr(operator, "adjoint", None)
    if adjoint is None:
        return _proximal_nonlinear(misfit, xhat, root, iterations)

    def keep_measured(y: Tensor) -> Tensor:
        return y if measured is None else torch.where(measured, y, torch.zeros_like(y))

    residual = getattr(operator, "residual", None)
    gap = operator(xhat) - misfit.y if residual is None else residual(xhat, misfit.y)
    # Early times need no accurate solution: the next denoising moves x further than this tolerance.
    z = solve_least_squares(
        lambda z: keep_measured(operator(root(z))),
        lambda y: root.adjoint(adjoint(keep_measured(y))),
        -keep_measured(gap),
        ridge=torch.as_tensor(misfit.sigma_y).to(xhat) ** 2,
        iterations=iterations,
        tolerance=1e-3,
    )
    return (xhat + root(z)).to(xhat)  # y may have more digits than the states


def _proximal_nonlinear(misfit: Misfit, xhat: Tensor, root: Root, evaluations: int) -> Tensor:
    optimizer = LBFGS(first_step=0.1, memory=5)  # z is of the order of 1
    state = optimizer.init(root.adjoint(torch.zeros_like(xhat)))
    for _ in range(evaluations):
        z = state.trial.detach().requires_grad_()
        with torch.enable_grad():
            value = misfit(xhat + root(z)) + 0.5 * z.flatten(1).square().sum(1)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        state = optimizer.step(state, value, gradient)
    return (xhat + root(state.x)).to(xhat)
