"""Samples put together from components that different flows draw: hybrid pictures, and a component held fixed.

Factorized diffusion (Geng, Park & Owens, ECCV 2024): a sample is a sum of linear components, x = sum_i f_i(x), and
each has a prompt of its own. In every step

    eps <- sum_i f_i(eps_theta(x_t, y_i, t))

Steps are linear in x_t and eps, so f_i(x) is moved by f_i(eps_i) alone. Velocity, noise and data are affine in each
other with scalar coefficients, and so v = sum_i f_i(v_i). A component of a given sample z is held when
that of x_t is kept at f(alpha z + sigma x0): as a flow, f(v) <- f(alpha' z + sigma' (x - alpha z) / sigma).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.prediction import EDGE
from headwater.flows.switched import require_same_path
from headwater.problem.batch import select, select_rows

Component = Callable[[Tensor], Tensor]
"""A linear map of x `[batch, *event]` in the same shape, such as `LowPass(0.2)` or a mask `lambda x: mask * x`."""


@dataclass(frozen=True, eq=False)
class FactorizedVelocity:
    """sum_i f_i(v_i(x, t)), the last f being the remainder; see `factorize`."""

    flows: tuple[Flow, ...]
    components: tuple[Component, ...]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        last = self.flows[-1](x, t)
        # sum_i f_i(v_i) + (1 - sum_i f_i)(v_last), so that the components always add up to the sample.
        total = last
        for flow, component in zip(self.flows, self.components, strict=False):
            total = total + component(flow(x, t) - last)
        return total

    def select(self, index: Tensor) -> FactorizedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        components = tuple(select(component, index) for component in self.components)
        return FactorizedVelocity(tuple(flow.select(index) for flow in self.flows), components)


@dataclass(frozen=True, eq=False)
class HeldVelocity:
    """(1 - f)(v) + f(velocity towards the reference); see `hold_component`."""

    flow: Flow
    component: Component
    reference: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        path = self.flow.path
        # sigma is 0 at t = 1, where x is the reference: a little before it, the quotient still has its digits.
        towards = path.v_from_xhat(x, self.reference.to(x).expand_as(x), t.clamp(max=1 - EDGE))
        v = self.flow(x, t)
        return v + self.component(towards - v)

    def select(self, index: Tensor) -> HeldVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return HeldVelocity(
            self.flow.select(index), select(self.component, index), select_rows(self.reference, index)
        )


def factorize(flows: Sequence[Flow], components: Sequence[Component]) -> Flow:
    """The flow whose components are drawn by different flows: v = sum_i f_i(v_i), the last f the remainder.

    With orthogonal projections f_i and data whose components are independent, x1 has the i-th component of the i-th
    flow's own sample from the same x0. Otherwise each flow sees the components of the others and is led by them: that
    is what makes one picture of two, and why no law is known.

    Parameters
    ----------
    flows
        Two or more, with the same events `[*event]` and path, such as one model with two prompts.
    components
        Linear maps f_i of x `[batch, *event]` for all flows but the last, which has what is left, x - sum_i f_i(x).

    Returns
    -------
    flow
        With events `[*event]`, and the path and range of the last; an evaluation costs one of each flow.

    Raises
    ------
    Misuse
        If there is not one component less than flows, or events or paths differ.

    References
    ----------
    Geng, Park & Owens, "Factorized Diffusion: Perceptual Illusions by Noise Decomposition", ECCV 2024.

    Examples
    --------
    The first entry is drawn by a law at 5, the second by one at -5.

    >>> from headwater import Gaussian, solve
    >>> laws = [Gaussian(torch.full((2,), m), torch.full((2,), 0.1)) for m in (5.0, -5.0)]
    >>> flow = factorize([law.flow for law in laws], [lambda x: x * torch.tensor([1.0, 0.0])])
    >>> solve(flow, torch.zeros(1, 2), steps=50).round(decimals=1).tolist()
    [[5.0, -5.0]]
    """
    if len(flows) < 2 or len(components) != len(flows) - 1:
        raise Misuse(
            f"There are {len(flows)} flows and {len(components)} components.",
            "Give a component for every flow but the last, which draws what is left.",
        )
    if len({flow.shape for flow in flows}) > 1:
        raise Misuse(f"The flows have events {[flow.shape for flow in flows]}.", "Give flows of one shape.")
    require_same_path(list(flows))
    velocity = FactorizedVelocity(tuple(flows), tuple(components))
    modules = tuple(dict.fromkeys(net for flow in flows for net in flow.modules))
    return replace(flows[-1], velocity=velocity, modules=modules, dtype=None)


def hold_component(flow: Flow, component: Component, reference: Tensor) -> Flow:
    """The flow whose samples have a component of a given sample, and draw the rest: f(x1) = f(z).

    Exact for an orthogonal projection f: f(x1) = f(z), to a thousandth of the distance of x0. The rest follows the
    law of the data given f(z) where the components are independent. Else it saw f(z) only through noise until
    the last moment and is too little bound to it; a recipe for operators does better.

    Parameters
    ----------
    flow
        The model, with events `[*event]`.
    component
        An orthogonal projection f of x `[batch, *event]`, such as `LowPass(0.2)` without `soft`.
    reference
        z, `[batch or 1, *event]`.

    Returns
    -------
    flow
        With events `[*event]`; an evaluation costs one of the model.

    Raises
    ------
    Misuse
        If the reference is no batch of events, is not finite, or f is no projection.

    References
    ----------
    Geng, Park & Owens, "Factorized Diffusion", ECCV 2024; Song et al., "Score-based generative modeling
    through stochastic differential equations", ICLR 2021, app. I.2.

    Examples
    --------
    >>> from headwater import Gaussian, solve
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> held = hold_component(flow, lambda x: x * torch.tensor([1.0, 0.0]), torch.tensor([[3.0, 0.0]]))
    >>> solve(held, torch.ones(1, 2), steps=50).round(decimals=2).tolist()
    [[3.0, 1.0]]
    """
    if reference.ndim != len(flow.shape) + 1 or tuple(reference.shape[1:]) != flow.shape:
        raise Misuse(
            f"The reference has the shape {tuple(reference.shape)} and the events have {flow.shape}.",
            "Give [1, *event], or one for each problem, [batch, *event].",
        )
    if not bool(reference.isfinite().all()):
        raise Misuse("The reference is not finite.", "Give a sample without NaN or infinite entries.")
    with torch.no_grad():
        once = component(reference)
        gap, scale = (component(once) - once).abs().max(), reference.abs().max()
    if not bool(gap <= 1e-3 * scale.clamp(min=1e-12)):
        raise Misuse(
            "The component of a component is another one, so the map is no projection and cannot be held.",
            "Give a projection, such as LowPass(0.2) without `soft`, or a mask of zeros and ones.",
        )
    return replace(flow, velocity=HeldVelocity(flow, component, reference), dtype=None)
