"""log p1(x1) by the instantaneous change of variables, and bits per dimension."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import make_generators
from headwater.solvers.fixed import as_grid, reverse_grid
from headwater.solvers.method import RK4, Field, Method


def divergence(
    field: Field, x: Tensor, t: Tensor, probes: Tensor | None, graph: bool
) -> tuple[Tensor, Tensor]:
    """v(x, t) `[batch, *event]` and its divergence `[batch]`: tr J with J the Jacobian of v in x.

    Parameters
    ----------
    field
        v(x, t).
    x, t
        The state `[batch, *event]` and the time.
    probes
        Random z `[n, batch, *event]` with identity covariance, of which the mean of z^T J z is taken; None means the
        exact trace, by d vector-Jacobian products.
    graph
        Whether the two can be differentiated in x.

    References
    ----------
    Hutchinson 1990; Grathwohl et al., "FFJORD", ICLR 2019, section 3.1.
    """
    with torch.enable_grad():
        z = x if x.requires_grad else x.detach().requires_grad_()
        # Fused attention has no second derivative; the plain one has.
        with sdpa_kernel(SDPBackend.MATH) if graph else nullcontext():
            v = field(z, t)
        flat = v.flatten(1)
        if probes is None:
            # Row i of J, of which only the diagonal entry counts; problems are independent, so their sum serves all.
            rows = [
                torch.autograd.grad(flat[:, i].sum(), z, create_graph=graph, retain_graph=True)[0].flatten(1)[
                    :, i
                ]
                for i in range(flat.shape[1])
            ]
            div = torch.stack(rows).sum(0)
        else:
            products = [  # z^T J z; E[z z^T] = I makes its mean tr J
                (torch.autograd.grad(v, z, p, create_graph=graph, retain_graph=True)[0] * p).flatten(1).sum(1)
                for p in probes
            ]
            div = torch.stack(products).mean(0)
    return (v, div) if graph else (v.detach(), div.detach())


def log_likelihood(
    flow: Flow,
    x1: Tensor,
    *,
    probes: int | None = None,
    seed: int = 0,
    method: Method = RK4,
    steps: int | Sequence[float] = 24,
) -> tuple[Tensor, Tensor]:
    """log p1(x1) in nats, and the source point x0 whose sample x1 is.

    log p1(x1) = log N(x0; 0, I) - integral_0^1 div v(x_t, t) dt along the solution through x1.

    Parameters
    ----------
    flow
        The velocity field, whose `source_dimension` is d.
    x1
        Samples `[batch, *event]` in data units; if they require a gradient, so does the result.
    probes
        Rademacher probes of Hutchinson's estimate, which is unbiased in the divergence, the same for all problems.
        None means exact, by d vector-Jacobian products per evaluation.
    seed
        The seed of the probes.
    method
        The rule for one step of the solver, which runs backwards.
    steps
        A number of uniform steps, or the times of the forward grid, rising within [0, 1].

    Returns
    -------
    log_p
        In nats per event, `[batch]`; see `bits_per_dimension`.
    x0
        The source points `[batch, *event]`.

    Raises
    ------
    Misuse
        If `probes` is None in more than 512 dimensions, x1 is in half precision, or the times are not strictly
        monotone in [0, 1].

    References
    ----------
    Chen et al., "Neural ordinary differential equations", NeurIPS 2018, Theorem 1; Grathwohl et al., "FFJORD",
    ICLR 2019, Algorithm 1.

    Examples
    --------
    >>> from headwater import Flow
    >>> flow = Flow(lambda x, t: 0 * x, shape=(1,))
    >>> logp, _ = log_likelihood(flow, torch.zeros(1, 1, dtype=torch.float64))
    >>> round(logp.item(), 4)  # log N(0; 0, 1)
    -0.9189

    Against the exact density of a mixture:

    >>> from headwater import GaussianMixture
    >>> law = GaussianMixture([0.5, 0.5], torch.tensor([[-1.0], [1.0]]), torch.tensor([0.5, 0.5]))
    >>> x1 = law.sample(range(3))
    >>> bool((log_likelihood(law.flow, x1)[0] - law.log_density(x1)).abs().max() < 1e-3)
    True
    """
    if probes is None and flow.event_size > 512:
        raise Misuse(
            f"An exact divergence in {flow.event_size} dimensions needs {flow.event_size} products per evaluation.",
            "Give a number of Hutchinson probes, e.g. probes=4.",
        )
    graph, z = x1.requires_grad and torch.is_grad_enabled(), draw_rademacher(x1, probes, seed)
    x0, change = solve_with_divergence(flow, x1, z, reverse_grid(as_grid(steps)), method=method, graph=graph)
    # Backwards in time the integral changes its sign, so `change` is added.
    return source_log_density(flow, x0) + change, x0


def solve_with_divergence(
    flow: Flow, x: Tensor, probes: Tensor | None, grid: Sequence[float], *, method: Method, graph: bool
) -> tuple[Tensor, Tensor]:
    """x `[batch, *event]` at the end of a grid, and the integral of div v along the solution, `[batch]`.

    The augmented ODE of FFJORD (Grathwohl et al. 2019, Algorithm 1). Along a grid from 0 to 1,
    log p1(x1) = log p0(x0) - integral. `probes` are those of `divergence`; `graph` keeps both differentiable in x.
    """

    def augmented(state: Tensor, t: Tensor) -> Tensor:
        v, div = divergence(flow, state[:, :-1].reshape_as(x), t, probes, graph)
        return torch.cat([v.flatten(1), div[:, None]], dim=1)

    state = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], dim=1)
    times = [torch.tensor(t, dtype=torch.float64) for t in grid]
    for t, t_next in itertools.pairwise(times):
        state = method.step(augmented, flow.path, state, t, t_next)
    return state[:, :-1].reshape_as(x), state[:, -1]


def source_log_density(flow: Flow, x0: Tensor) -> Tensor:
    """log N(x0; 0, I) of x0 `[batch, *event]` in nats, on the flow's support, `[batch]`."""
    return -0.5 * (x0.flatten(1).square().sum(1) + flow.source_dimension * math.log(2 * math.pi))


def draw_rademacher(x: Tensor, probes: int | None, seed: int) -> Tensor | None:
    """Random signs `[probes, batch, *event]` like x, the same for every problem; None if `probes` is None."""
    if probes is None:
        return None
    (g,) = make_generators([seed])
    # Of all z with E[z z^T] = I, signs give the least variance: z_i^2 = 1 makes the diagonal of J exact.
    signs = torch.randint(0, 2, (probes, 1, *x.shape[1:]), generator=g, device="cpu") * 2 - 1
    return signs.to(x).expand(-1, *x.shape)


def bits_per_dimension(log_likelihood: Tensor, d: int, bin_width: float = 2 / 255) -> Tensor:
    """-(log p + d log(bin_width)) / (d log 2): bits per entry of data quantised to `bin_width`.

    Parameters
    ----------
    log_likelihood
        log p in nats, of any shape.
    d
        The number of entries of an event.
    bin_width
        The quantisation in data units: 2/255 for 8 bits in [-1, 1].

    Returns
    -------
    bits
        In the shape of `log_likelihood`.

    References
    ----------
    Theis, van den Oord & Bethge, "A note on the evaluation of generative models", ICLR 2016.

    Examples
    --------
    A density of 1 in 10 dimensions; log2(255 / 2) bits.

    >>> round(bits_per_dimension(torch.tensor(0.0), 10).item(), 3)
    6.994
    """
    return -(log_likelihood + d * math.log(bin_width)) / (d * math.log(2))
