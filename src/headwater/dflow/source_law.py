"""A source law other than N(0, I), fitted to data, and a flow that makes it N(0, I) again.

Signal leak (Everaert et al., WACV 2024): a path that ends before pure noise leaves some of the data in its source,

    x_T = alpha_T x~ + sigma_T eps,   x~ ~ q,   eps ~ N(0, I)

and sampling from N(0, I) instead makes all pictures of one brightness. q is modelled by mean and covariance,
diagonal in the entries or in the frequencies, and x_T is drawn with the leak.

A control wants x0 ~ N(0, I). So the state is whitened, less and less along the way:

    x_t = m_t + L_t z_t,   m_t = (1 - t) mu,   L_t = (1 - t) L + t I
    dz/dt = L_t^-1 (v(x_t, t) - m_t' - L_t' z)

At t = 0 x0 = mu + L z with z ~ N(0, I), at t = 1 z is the sample itself. Any law N(mu, L L^T) becomes the prior that
all recipes of the source assume, and none of them changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.frequency import Axes, check_axes, from_frequencies, to_frequencies
from headwater.flows.path import CondOT, Path
from headwater.flows.seeds import draw_normal, make_generators
from headwater.problem.batch import per_problem
from headwater.text import counted

LEAST = 1e-3
"""The smallest deviation of a fitted law, in parts of the largest: a coefficient that never varied has none."""


@dataclass(frozen=True, eq=False)
class SourceLaw:
    """The law N(mu, C^T diag(s^2) C) of source points x0, with C the cosine transform along `axes`.

    Parameters
    ----------
    mean
        mu `[*event]`.
    deviation
        s `[*event]`, above 0: of the entries, or of the coefficients along `axes`.
    axes
        The axes with frequencies, counted from the last; () for none.

    Raises
    ------
    Misuse
        If the shapes differ, a deviation is not above 0, or the event lacks an axis.

    References
    ----------
    Everaert et al., "Exploiting the Signal-Leak Bias in Diffusion Models", WACV 2024.

    Examples
    --------
    >>> law = SourceLaw(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]))
    >>> law.color(torch.ones(1, 2)).tolist(), law.whiten(torch.tensor([[3.0, 1.0]])).tolist()
    ([[3.0, 1.0]], [[1.0, 1.0]])
    """

    mean: Tensor
    deviation: Tensor
    axes: Axes = ()

    def __post_init__(self) -> None:
        if self.mean.shape != self.deviation.shape or not self.mean.ndim:
            raise Misuse(
                f"The mean has the shape {tuple(self.mean.shape)} and the deviation {tuple(self.deviation.shape)}.",
                "Give both in the shape of one event.",
            )
        check_axes(self.axes, self.mean.shape)
        good = (self.deviation > 0) & self.deviation.isfinite() & self.mean.isfinite()
        if not bool(good.all()):
            raise Misuse(
                "The mean or the deviation is not finite, or a deviation is not above 0.",
                "Fit the law to finite samples that differ from each other.",
            )

    @classmethod
    def fit(cls, x0: Tensor, *, axes: Sequence[int] = (-2, -1), pool: Sequence[int] = ()) -> SourceLaw:
        """The law with the mean and the deviations of source points x0 `[n, *event]`, such as inverted samples.

        Parameters
        ----------
        x0
            At least two points, for instance `hw.inversion(flow, samples).y0`.
        axes
            The axes with frequencies, counted from the last; () fits the entries themselves.
        pool
            Axes over which moments are pooled: with axes=() and pool=(-2, -1) it is one mean and deviation for each
            channel.

        Raises
        ------
        Misuse
            If there are fewer than two points, one is not finite, or they are all alike.
        """
        axes, pool = tuple(axes), tuple(pool)
        if len(x0) < 2:
            raise Misuse(
                f"A law cannot be fitted to {counted(len(x0), 'source point')}.",
                "Give two or more, better hundreds.",
            )
        check_axes(axes, x0.shape[1:])
        check_axes(pool, x0.shape[1:])
        x = x0.detach().to(torch.float64)
        if not bool(x.isfinite().all()):
            raise Misuse("A source point is not finite.", "Leave out samples that could not be inverted.")
        mean = x.mean((0, *pool), keepdim=True)
        c = to_frequencies(x - mean, axes)
        # Divided by n - 1 for the mean that was fitted, per group.
        group = len(x) * (x[0].numel() // mean.numel())
        variance = c.square().sum((0, *pool), keepdim=True) / (group - 1)
        deviation = variance.sqrt().expand_as(x[:1])[0]
        if not bool(deviation.max() > 0):
            raise Misuse("The source points are all alike.", "Give points of different samples.")
        floor = LEAST * float(deviation.max())
        return cls(mean.expand_as(x[:1])[0].to(x0), deviation.clamp(min=floor).to(x0), axes)

    @classmethod
    def of_leak(cls, path: Path, data: Tensor, *, axes: Sequence[int] = (-2, -1)) -> SourceLaw:
        """The law of alpha_0 x1 + sigma_0 eps, with the moments of x1 from data `[n, *event]`: the leak of a path.

        mu = alpha_0 mean, s^2 = alpha_0^2 variance + sigma_0^2. It is exact for Gaussian data that are independent in
        the basis.

        Raises
        ------
        Misuse
            As `fit`.
        """
        law = cls.fit(data, axes=axes)
        start = torch.tensor(path.span[0], dtype=torch.float64)
        alpha, sigma = float(path.alpha(start)), float(path.sigma(start))
        deviation = (alpha**2 * law.deviation.square() + sigma**2).sqrt()
        return cls(alpha * law.mean, deviation, law.axes)

    def color(self, z: Tensor) -> Tensor:
        """x0 = mu + L z of white z `[batch, *event]`, L = C^T diag(s) C symmetric."""
        return self.mean.to(z) + self.scale(z, self.deviation.to(z))

    def whiten(self, x0: Tensor) -> Tensor:
        """z = L^-1 (x0 - mu) of source points x0 `[batch, *event]`."""
        return self.scale(x0 - self.mean.to(x0), 1 / self.deviation.to(x0))

    def scale(self, z: Tensor, factors: Tensor) -> Tensor:
        """C^T diag(factors) C z of z `[batch, *event]`."""
        return from_frequencies(factors * to_frequencies(z, self.axes), self.axes)

    def sample(self, seeds: Sequence[int]) -> Tensor:
        """A source point per seed, `[len(seeds), *event]`: mu + L z with the z of `flow.noise`."""
        return self.color(draw_normal(tuple(self.mean.shape), make_generators(seeds)).to(self.mean))


class WhitenedPath(CondOT):
    """The path of a whitened flow: solvers step on it as on `CondOT`, and nothing else may use it."""

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """Refuse: see `WhitenedFlow.denoise`."""
        raise off_the_path()


@dataclass(frozen=True)
class WhitenedFlow(Flow):
    """A flow whose source is whitened; see `whiten_source`. Its states are those of no Gaussian path."""

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """Refuse: x `[batch, *event]` is alpha x1 + sigma x0 for no alpha and sigma.

        Raises
        ------
        Misuse
            Always.
        """
        raise off_the_path()


def off_the_path() -> Misuse:
    """What a recipe that walks along the path is told."""
    return Misuse(
        "This method follows the Gaussian path, and the states of a flow with a source law are on none.",
        "Give it the flow itself, or take one that solves from the source: control, MAP, PerturbAndMAP, BestOf.",
    )


@dataclass(frozen=True, eq=False)
class WhitenedVelocity:
    """dz/dt = L_t^-1 (v(m_t + L_t z, t) - m_t' - L_t' z); see `whiten_source`."""

    flow: Flow
    law: SourceLaw

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        law, mean, s = self.law, self.law.mean.to(z), self.law.deviation.to(z)
        rest, now = per_problem(1 - t, z), per_problem(t, z)
        factors = rest * s + now  # of L_t
        v = self.flow(rest * mean + law.scale(z, factors), t)
        return law.scale(v + mean - law.scale(z, 1 - s), 1 / factors)

    def select(self, index: Tensor) -> WhitenedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return WhitenedVelocity(self.flow.select(index), self.law)


def whiten_source(flow: Flow, law: SourceLaw) -> Flow:
    """The flow from z ~ N(0, I) whose source is x0 = mu + L z: the law becomes the prior of all recipes.

    x1 is the flow's own sample of x0 = law.color(z), exactly for exact solves. What solves from the source works on
    it: `control` with `GaussianPrior`, `MAP` from noise, `posterior`, `log_likelihood`, searches. What follows the
    Gaussian path (`Estimate`, `OneEvaluation`, stochastic steps) refuses it.

    Parameters
    ----------
    flow
        The model, with events `[*event]`; its path may end before pure noise.
    law
        The law of its source points.

    Returns
    -------
    flow
        With events `[*event]`; an evaluation costs one of the model. `law.color(result.x0)` is the model's own x0.

    Raises
    ------
    Misuse
        If the law is of another shape than the events, or the flow has a support.

    References
    ----------
    Everaert et al., "Exploiting the Signal-Leak Bias in Diffusion Models", WACV 2024.

    Examples
    --------
    >>> from headwater import Gaussian, solve
    >>> from headwater.dflow.source_law import SourceLaw
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> law = SourceLaw(torch.tensor([2.0]), torch.tensor([0.5]))
    >>> x1 = solve(whiten_source(flow, law), torch.ones(1, 1), steps=24)
    >>> round(x1.item(), 2), law.color(torch.ones(1, 1)).item()   # this flow carries x0 to x1 = x0
    (2.5, 2.5)
    """
    if tuple(law.mean.shape) != flow.shape:
        raise Misuse(
            f"The law is of events {tuple(law.mean.shape)} and the flow's are {flow.shape}.",
            "Fit it to source points of this flow.",
        )
    if flow.support is not None:
        raise Misuse(
            "The states of this flow lie in a subspace, which the law does not know.",
            "Use the flow without it.",
        )
    return WhitenedFlow(
        WhitenedVelocity(flow, law), flow.shape, WhitenedPath(), flow.range, modules=flow.modules
    )
