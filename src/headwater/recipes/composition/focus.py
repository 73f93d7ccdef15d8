"""FOCUS: several subjects kept apart by an optimal control of the flow at test time (Bill et al. 2025).

    minimise over u:  int_0^1 |u|^2 / 2 + weight f(x, t) dt,   dx/dt = v(x, t) + u
    f = 1 - JSD(P_1, ..., P_n) / log n,  P_i the share of every place in subject i;   0 apart, 1 in one place
    u = -a,  the adjoint a = weight grad_x int_t^1 f,  taken as weight (1 - t) grad_x f(x, t)       their eq. 17

The paper's P_i are cross-attention maps of a transformer. A velocity field has none to show, so here

    P_i(place) ~ sum over channels |v_i(x, t) - v_0(x, t)|^2

what the condition i changes at a place, which is how DiffEdit finds the place of an edit (Couairon et al. 2023).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.composed import require_alike
from headwater.flows.flow import Flow
from headwater.optimizers.status import Status
from headwater.recipes.composition.status import status_of
from headwater.solvers.checks import require_evaluation_mode
from headwater.solvers.fixed import full_grid
from headwater.solvers.method import DDIM


@dataclass(frozen=True)
class SeparatedSubjects:
    """Samples of a scene whose subjects were kept apart.

    Attributes
    ----------
    x1
        The samples `[batch, *event]`, in data units.
    overlap
        f at the beginning of every step, float64 `[steps, batch]`, from 0, apart, to 1; NaN without control.
    energy
        int |u|^2 / 2 dt of the control, float64 `[batch]`.
    evaluations
        Evaluations of the network per problem, all flows together.
    gradients
        How many of them were differentiated.
    status
        How each problem ended: COMPUTED, or DIVERGED if x1 is not finite.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> from headwater.recipes.composition import FOCUS
    >>> base, one, two = (Gaussian(torch.tensor(m), torch.ones(2)).flow for m in ([0.0, 0.0], [3.0, 0.0], [0.0, 3.0]))
    >>> found = FOCUS(steps=10)([one, two], range(3), base=base, scene=one)
    >>> found.x1.shape, found.evaluations, found.gradients, bool((found.overlap[0] < 1e-4).all())
    (torch.Size([3, 2]), 25, 15, True)
    """

    x1: Tensor
    overlap: Tensor
    energy: Tensor
    evaluations: int
    gradients: int
    status: tuple[Status, ...]


@dataclass(frozen=True)
class FOCUS:
    """Samples of a scene of several subjects, whose velocity is controlled so that each has places of its own.

    The control is optimal where the gradient of f stays the same on the way; elsewhere it is a guess that gets better
    as t nears 1. It is 0, and the samples are those of the scene, without a weight, where the subjects lie apart
    already, where they are one and the same, and where they differ from the base by a shift of a Gaussian. The law of
    the samples is not known otherwise.

    Parameters
    ----------
    weight
        How much the overlap counts against the energy of the control; 0 or more.
    until
        The time from which there is no control, above 0 and up to 1: where things lie is decided early.
    steps
        DDIM steps, uniform, or the times from 0 to 1.

    Raises
    ------
    Misuse
        If a number is out of range; when it is called, if there are fewer than two subjects, or the flows differ in
        shape or path.

    Notes
    -----
    A step costs the evaluations of the scene, and under control one of each subject and of the base, differentiated.
    The maps say where a condition changes the picture, not that a subject is there.

    References
    ----------
    Bill, Simsar & Hofmann, "Optimal control meets flow matching: A principled route to multi-subject fidelity", 2025;
    Couairon et al., "DiffEdit: Diffusion-based semantic image editing with mask guidance", ICLR 2023, for the maps.

    Examples
    --------
    Two subjects, each left or right; the scene has them in one place half of the time.

    >>> from headwater import Flow, GaussianMixture
    >>> def law(*means):  # of subject one at both places, and of subject two
    ...     n = len(means)
    ...     mixture = GaussianMixture([1 / n] * n, torch.tensor(means), torch.full((n,), 0.3))
    ...     return Flow(lambda x, t: mixture.velocity(x.flatten(1), t).reshape(x.shape), (2, 2))
    >>> left, right, none = (3.0, 0.0), (0.0, 3.0), (0.0, 0.0)
    >>> base, one, two = law(none + none), law(left + none, right + none), law(none + left, none + right)
    >>> scene = law(left + left, left + right, right + left, right + right)
    >>> for weight in (0.0, 40.0):
    ...     x1 = FOCUS(weight, steps=30)([one, two], range(60), base=base, scene=scene).x1
    ...     print(round(float((x1.argmax(2)[:, 0] == x1.argmax(2)[:, 1]).float().mean()), 1))
    0.5
    0.1
    """

    weight: float = 40.0
    until: float = 0.5
    steps: int | Sequence[float] = 24

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf or not 0 < self.until <= 1:
            raise Misuse(
                f"The weight of the overlap is {self.weight:g}, and the control ends at t = {self.until:g}.",
                "Give a weight of 0 or more, and a time above 0, at most 1.",
            )
        full_grid(self.steps)

    def __call__(
        self,
        flows: Sequence[Flow],
        seeds: Sequence[int],
        *,
        base: Flow,
        scene: Flow,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> SeparatedSubjects:
        """Samples `[len(seeds), *event]`, one for each seed.

        Parameters
        ----------
        flows
            One for each subject, two or more, with events `[places]` or `[channels, *places]`, on one path.
        seeds
            One whole number per problem, of its source point.
        base
            The flow without a condition, from which the subjects are told.
        scene
            The flow that is controlled: of all subjects together, with guidance.
        dtype, device
            Of the states.

        Raises
        ------
        Misuse
            As the class says.
        """
        *subjects, base, scene = require_alike([*flows, base, scene])
        if len(subjects) < 2:
            raise Misuse(f"There are {len(subjects)} subjects to keep apart.", "Give two flows or more.")
        for flow in (*subjects, base, scene):
            require_evaluation_mode(flow)
        grid, x = full_grid(self.steps), scene.noise(seeds, dtype, device)
        overlap = torch.full((len(grid) - 1, len(x)), torch.nan, dtype=torch.float64, device=x.device)
        energy, controlled = overlap.new_zeros(len(x)), 0
        for k, (t, t_next) in enumerate(itertools.pairwise(grid)):
            now, end = (torch.tensor(s, dtype=torch.float64) for s in (t, t_next))
            with torch.no_grad():
                v = scene(x, now)
            if t < self.until and self.weight > 0:
                overlap[k], slope = overlap_gradient(subjects, base, x, now)
                u = -self.weight * (1 - t) * scene.project(slope)
                energy += (t_next - t) / 2 * u.flatten(1).to(energy).square().sum(1)
                v, controlled = v + u, controlled + 1
            x = DDIM.step(lambda x, t, v=v: v, scene.path, x, now, end)  # type: ignore[misc]
        spent = controlled * (len(subjects) + 1)
        return SeparatedSubjects(x, overlap, energy, len(grid) - 1 + spent, spent, status_of(x))


def overlap_gradient(subjects: Sequence[Flow], base: Flow, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """f(x, t) float64 `[batch]` and its gradient in x, `[batch, *event]`."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        v = base(x, t)
        f = measure_overlap(torch.stack([change_map(flow(x, t) - v) for flow in subjects], 1))
        return f.detach(), torch.autograd.grad(f.sum(), x)[0]


def change_map(change: Tensor) -> Tensor:
    """The share of every place in a change of the velocity, float64 `[batch, places]` of sum 1.

    The first axis of an event `[channels, *places]` is summed over; of an event `[places]` there is none.
    """
    square = change.to(torch.float64).square()
    square = (square.sum(1) if change.ndim > 2 else square).flatten(1)
    # A place without any change must not make its logarithm infinite, nor a condition that changes nothing a NaN.
    square = square + 1e-6 * square.mean(1, keepdim=True) + 1e-30
    return square / square.sum(1, keepdim=True)


def measure_overlap(maps: Tensor) -> Tensor:
    """f = 1 - JSD / log n of n maps `[batch, n, places]` of sum 1: 0 where they are apart, 1 where they are the same.

    >>> apart, same = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    >>> measure_overlap(torch.tensor([apart, same])).tolist()
    [0.0, 1.0]
    """

    def entropy(p: Tensor) -> Tensor:
        return -torch.xlogy(p, p).sum(-1)

    return 1 - (entropy(maps.mean(1)) - entropy(maps).mean(1)) / math.log(maps.shape[1])
