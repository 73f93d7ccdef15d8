"""Samples under a constraint, also one between parts: every step of the path aims at a projected denoiser.

    for each step t -> t'
        xhat = Pi(E[x1 | x_t = x]);   v = the velocity that leads there
        x <- the stochastic step with v

(After projected diffusion, Christopher et al. 2024, and projected coupled diffusion, Luan et al. 2025. They project
the state at every level of noise; a constraint on data belongs to xhat, which is in data units at every t.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.path import Path
from headwater.solvers.stochastic import Ancestral, Transition, Transitions


@dataclass(frozen=True)
class Projected:
    """The step of another rule towards a projected denoiser, for `solve_stochastic`: x1 keeps the constraint.

    With `stack_flows` the constraint may be one between parts: two samples that share a border, that add up, that
    keep a distance. The last step, to sigma = 0, ends on the projection itself.

    The law is that of the flow given the constraint only where the constraint says nothing about the rest: for
    independent parts with one covariance that are to be equal, say. Elsewhere it is biased: it forgets that a part
    which is better known should move less. An exact law comes from a measurement with a small noise, and `posterior`.

    Parameters
    ----------
    project
        The projection of data `[batch, *event]` on what is allowed, in the same shape; problems on their own.
    method
        The rule for one step.

    Raises
    ------
    Misuse
        When it is used, if the projection returns another shape, or numbers that are not finite.

    References
    ----------
    Luan et al., "Projected coupled diffusion for test-time constrained joint generation", 2025; Christopher et al.,
    "Constrained synthesis with projected diffusion models", NeurIPS 2024.

    Examples
    --------
    Two samples of N(0, 1) that are the same:

    >>> from headwater import Gaussian, solve_stochastic
    >>> from headwater.flows.composed import stack_flows
    >>> one = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> both = stack_flows([one, one])
    >>> same = Projected(lambda x1: x1.mean(1, keepdim=True).expand_as(x1))
    >>> x1 = solve_stochastic(both, both.noise([0, 1]), [0, 1], method=same)
    >>> bool((x1[:, 0] - x1[:, 1]).abs().max() < 1e-5), bool(x1.std() > 0.1)
    (True, True)
    """

    project: Callable[[Tensor], Tensor]
    method: Transitions = Ancestral()  # noqa: RUF009 (frozen)

    def transition(self, path: Path, x: Tensor, v: Tensor, t: Tensor, t_next: Tensor) -> Transition:
        """The law of the state at t_next, from x `[batch, *event]` and v(x, t); the times are `[]`.

        Raises
        ------
        Misuse
            If the projection returns another shape, or numbers that are not finite.
        """
        xhat = self.project(path.xhat_from_v(x, v, t))
        if xhat.shape != x.shape or not bool(xhat.isfinite().all()):
            raise Misuse(
                f"The projection made {list(xhat.shape)} of {list(x.shape)}, or numbers that are not finite.",
                "Return a finite tensor like its argument, [batch, *event].",
            )
        return self.method.transition(path, x, path.v_from_xhat(x, xhat.to(x), t), t, t_next)
