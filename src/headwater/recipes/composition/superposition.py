"""Superposition: one path for several flows, whose log densities are tracked along it and say how they are mixed.

    x ~ N(0, I);  log p_i = log N(x; 0, I)
    for each step t -> t' with the ancestral means m_i(x) of the flows, and z ~ N(0, I)
        OR:   k = softmax(log w_i + log p_i)
        AND:  k of sum 1, such that all log w_i + log p_i(x') are equal at x' = sum_i k_i m_i + s z
        x' = sum_i k_i m_i + s z
        log p_i += log N(x'; m_i, s^2) - log q(x | x')

(Skreta et al. 2024, Algorithm 1; k of OR by their proposition on mixtures, k of AND by their linear system.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.composed import require_alike
from headwater.flows.flow import Flow
from headwater.optimizers.status import Status
from headwater.recipes.composition.density import SharedStep, density_grid, share_step
from headwater.recipes.composition.status import status_of
from headwater.solvers.likelihood import source_log_density
from headwater.solvers.stochastic import check_stochastic, draw_step, path_generators


@dataclass(frozen=True)
class Superposed:
    """Samples of several flows at once, with what each flow says of them.

    Attributes
    ----------
    x1
        The samples `[batch, *event]`, in data units.
    log_densities
        log p_t of every flow at the state of `time`, in nats, float64 `[batch, flows]`, by the Ito estimator.
    time
        The last time at which there is a density: that before the last step, which adds no noise.
    state
        The state at `time`, `[batch, *event]`.
    shares
        The weights k_i of the flows in every step, float64 `[steps, batch, flows]`, of sum 1.
    evaluations
        Evaluations of the network per problem, all flows together.
    status
        How each problem ended: COMPUTED, or DIVERGED if x1 is not finite.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> from headwater.recipes.composition import Superposition
    >>> flows = [Gaussian(torch.tensor([m]), torch.ones(1)).flow for m in (-1.0, 1.0)]
    >>> found = Superposition("or", steps=20)(flows, range(4))
    >>> found.log_densities.shape, round(found.time, 2), found.evaluations
    (torch.Size([4, 2]), 0.98, 40)
    """

    x1: Tensor
    log_densities: Tensor
    time: float
    state: Tensor
    shares: Tensor
    evaluations: int
    status: tuple[Status, ...]


@dataclass(frozen=True)
class Superposition:
    """Samples of the mixture of several flows (OR), or samples that are equally likely under all of them (AND).

    OR has the law sum_i w_i p_i, up to the error of the steps: the tracked densities give the exact weights of the
    mixture's velocity. Whoever only wants draws of a mixture chooses a flow for each draw, which is exact and costs
    one flow; OR is for a path that may change its flow on the way, and for what the densities say.

    AND keeps w_1 p_1(x) = w_2 p_2(x) = ... at every step. Its samples lie where the densities are equal, which is a
    surface and not a law that is known: between two Gaussians of one covariance the plane halfway.

    Parameters
    ----------
    kind
        "or" or "and".
    weights
        One positive number for each flow; None means equal ones. For AND a larger weight lets a flow be less likely.
    gain
        AND: None is the paper's linear system, which takes the step's own draws into account and keeps the tracked
        densities equal. It takes the noise out of the direction in which the flows differ, and the estimator, which
        needs that noise, is then off by an amount that no number of steps mends, unless the flows differ by a shift
        alone. A gain from 0 to 1 closes that share of the gap that is known before the draws, and has the equal
        densities in the limit of many steps; 0.3 is good for 100 to 400.
    guidance
        With a base flow: x' = m_0 + guidance (sum_i k_i m_i - m_0) + s z, the classifier-free guidance of the mean;
        the densities stay those of the flows themselves. 1 means none.
    reach
        AND: the farthest that a step may shift the state to make densities equal, in standard deviations of its
        noise. Where flows agree a large shift would change little; what is left of the gap is closed in later steps.
    spread
        The standard deviation that the data have about their mean, as far as the densities are to know it: with it
        the densities of isotropic Gaussians are exact in steps of any length. 0 is the ancestral step's own
        assumption.
    steps
        Steps of the stochastic solve, evenly spaced in the log signal-to-noise, or its times from 0: each one
        evaluation of every flow.

    Raises
    ------
    Misuse
        If the kind is unknown, or a number is not positive and finite; when it is called, if the flows differ in
        shape or path, there are weights for other flows, or the times do not begin at 0.

    References
    ----------
    Skreta et al., "The superposition of diffusion models using the Ito density estimator", ICLR 2025, Algorithm 1.

    Examples
    --------
    Equally likely under N(-1, 1) and N(1, 1) is 0 alone.

    >>> from headwater import Gaussian
    >>> flows = [Gaussian(torch.tensor([m]), torch.ones(1)).flow for m in (-1.0, 1.0)]
    >>> x1 = Superposition("and", steps=50)(flows, range(20)).x1
    >>> bool(x1.abs().max() < 0.05)
    True
    """

    kind: Literal["or", "and"] = "and"
    weights: tuple[float, ...] | None = None
    gain: float | None = None
    guidance: float = 1.0
    reach: float = 3.0
    spread: float = 0.0
    steps: int | Sequence[float] = 100

    def __post_init__(self) -> None:
        if self.gain is not None and not 0 < self.gain <= 1:
            raise Misuse(
                f"The gain is {self.gain:g}.", "Give a share of the gap, above 0 and up to 1, or None."
            )
        if self.kind not in ("or", "and"):
            raise Misuse(f"There is no superposition {self.kind!r}.", "Give or, a mixture, or and.")
        numbers = (self.guidance, self.reach, *(self.weights or ()))
        if not all(0 < number < math.inf for number in numbers) or not 0 <= self.spread < math.inf:
            raise Misuse(
                f"The weights {self.weights}, the guidance {self.guidance:g}, the reach {self.reach:g} or the spread "
                f"{self.spread:g} is not positive and finite.",
                "Give positive numbers; the spread may be 0.",
            )

    def __call__(
        self,
        flows: Sequence[Flow],
        seeds: Sequence[int],
        *,
        base: Flow | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Superposed:
        """Samples `[len(seeds), *event]`, one for each seed.

        Parameters
        ----------
        flows
            Two flows or more, with events `[*event]`, on one path.
        seeds
            One whole number per problem, of its source point and of its draws along the path.
        base
            The flow that guidance leads away from, such as that of an empty prompt; it costs one evaluation a step.
        dtype, device
            Of the states.

        Raises
        ------
        Misuse
            As the class says; also if there is guidance without a base.
        """
        flows = require_alike([*flows] if base is None else [*flows, base])
        n = len(flows) - (base is not None)
        prior = self._log_weights(n, base)
        first = flows[0]
        x = first.noise(seeds, dtype, device)
        grid = check_stochastic(first, x, seeds, density_grid(self.steps))
        if len(grid) < 3:
            raise Misuse(
                "A path of one step has no density to track.", "Give times that make two steps or more."
            )
        generators, dimension = path_generators(seeds), first.source_dimension
        known = source_log_density(first, x.to(torch.float64))[:, None] + prior.to(x.device)
        shares, state, time = [], x, 0.0
        for t, t_next in itertools.pairwise(grid):
            step = share_step(flows, x, t, t_next, self.spread)
            z = draw_step(first, generators).flatten(1).to(known)
            last = step.std == 0
            if self.kind == "or":
                share = torch.softmax(known, 1)
            elif last:
                share = torch.full_like(known, 1 / n)  # without noise nothing is to be balanced
            else:
                share = self._equalise(step, known, z, n)
            after = self._move(step, share, z)
            shares.append(share)
            if last:
                x = after.reshape_as(x).to(x)
                break
            own = replace(step, means=step.means[:, :n])
            known = known + own.gain(x.flatten(1).to(known), after, dimension)
            x, time = after.reshape_as(x).to(x), t_next
            state = x
        evaluations = len(flows) * (len(grid) - 1)
        return Superposed(
            x, known - prior.to(known), time, state, torch.stack(shares), evaluations, status_of(x)
        )

    def _log_weights(self, n: int, base: Flow | None) -> Tensor:
        """log w_i of the normalised weights, float64 `[n]`."""
        if n < 2 or (self.weights is not None and len(self.weights) != n):
            raise Misuse(
                f"There are {n} flows, and the weights {self.weights}.",
                "Give two flows or more, and a weight for each.",
            )
        if base is None and self.guidance != 1:
            raise Misuse(
                f"A guidance of {self.guidance:g} needs the flow that it leads away from.",
                "Give base=, the flow without a condition.",
            )
        w = torch.tensor(self.weights or (1.0,) * n, dtype=torch.float64)
        return (w / w.sum()).log()

    def _move(self, step: SharedStep, share: Tensor, z: Tensor) -> Tensor:
        """x' `[batch, size]` for shares `[batch, n]` of the flows, and the draws z `[batch, size]`."""
        n = share.shape[1]
        mean = (share[:, :, None] * step.means[:, :n]).sum(1)
        if step.means.shape[1] > n:
            mean = torch.lerp(step.means[:, n], mean, self.guidance)
        return mean + step.std * z

    def _equalise(self, step: SharedStep, known: Tensor, z: Tensor, n: int) -> Tensor:
        """The shares `[batch, n]` whose x' has equal densities, given those that are known and the draws z.

        With d_i = m_i - m_1 the new gap of flow i is log p_i - log p_1 + d_i . (x' - (m_i + m_1) / 2) / s'^2, and
        x' moves by a combination of the d_i: n - 1 linear equations. With a gain the draws are left out of them.
        """
        at = self._move(step, torch.full_like(known, 1 / n), z if self.gain is None else torch.zeros_like(z))
        m, gap = step.means[:, :n], known[:, 1:] - known[:, :1]
        d = m[:, 1:] - m[:, :1]
        off = (d * (at[:, None] - (m[:, 1:] + m[:, :1]) / 2)).sum(2)
        wanted = -(step.wide**2) * (1.0 if self.gain is None else self.gain) * gap - off
        # Flows that agree make no equation: the pseudo-inverse leaves them alone. A problem that is not finite must
        # not end its batch, which eigenvalues of NaN would.
        gram = (d @ d.mT).nan_to_num(0.0, 0.0, 0.0)
        c = (torch.linalg.pinv(gram, rtol=1e-9, hermitian=True) @ wanted[:, :, None])[:, :, 0]
        length = (c[:, :, None] * d).sum(1).norm(dim=1)
        c = c * (self.reach * step.std / length.clamp(min=1e-300)).clamp(max=1)[:, None]
        # Guidance multiplies what the shares do.
        return 1 / n + torch.cat([-c.sum(1, keepdim=True), c], 1) / self.guidance
