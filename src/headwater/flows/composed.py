"""Several flows as one: their weighted sum, and their stack.

Two flows on one Gaussian path have velocities v_i = (alpha'/alpha) x + lambda_t score_i, so that for weights of sum 1

    sum_i w_i v_i = (alpha'/alpha) x + lambda_t sum_i w_i score_i

is the velocity of the summed scores: of equal weights, an average of models; of (1 - 2 w, w, w) over a base and two
conditions, their conjunction with guidance w; of (1 + w, -w), the first without the second (Liu et al. 2022, eq. 11
and 13). Its samples are not those of the product of the laws: noise does not commute with a product.
`recipes.composition.AnnealedProduct` mends that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.batch import select


@dataclass(frozen=True)
class SummedVelocity:
    """sum_i w_i v_i of x `[batch, *event]`; flows with weight 0 are not asked."""

    flows: tuple[Flow, ...]
    weights: tuple[float, ...]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        asked = ((w, flow) for w, flow in zip(self.weights, self.flows, strict=True) if w != 0)
        return torch.stack([w * flow(x, t) for w, flow in asked]).sum(0)

    def select(self, index: Tensor) -> SummedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, flows=tuple(select(flow, index) for flow in self.flows))


def combine_flows(flows: Sequence[Flow], weights: Sequence[float]) -> Flow:
    """The flow with the velocity sum_i w_i v_i, for weights of sum 1: that of the sum of the scores.

    It takes an evaluation of each flow whose weight is not 0. Equal weights average models of one law. Weights
    (1 - 2 w, w, w) of a base and two conditions ask for both conditions, with guidance w, and (1 + w, -w) for the
    first without the second. The sum of the noised scores is not the score of the noised product, so for laws that
    differ its samples are biased: between N(0, 1) and N(0, 1/4), equal weights, the variance of the product is 0.4
    and that of the samples 0.5.

    Parameters
    ----------
    flows
        At least one, with events `[*event]`, all on one path.
    weights
        One for each; they may be negative.

    Raises
    ------
    Misuse
        If there are not as many weights as flows, they do not sum to 1, or the flows differ in shape or path.

    References
    ----------
    Liu et al., "Compositional visual generation with composable diffusion models", ECCV 2022, eq. 11 and 13; Du et
    al., "Reduce, reuse, recycle", ICML 2023, section 3.2, for the bias.

    Examples
    --------
    >>> from headwater import Gaussian, solve
    >>> near, far = (Gaussian(torch.tensor([m]), torch.ones(1)).flow for m in (0.0, 4.0))
    >>> flow = combine_flows([near, far], [0.25, 0.75])
    >>> round(solve(flow, torch.zeros(1, 1, dtype=torch.float64), steps=24).item(), 2)
    3.0
    """
    found = require_alike(flows)
    given = tuple(float(w) for w in weights)
    if len(given) != len(found) or not abs(sum(given) - 1) < 1e-6:
        raise Misuse(
            f"The weights {list(given)} of {len(found)} flows do not sum to 1.",
            "Give one for each flow; with the flow of no condition as a base its weight is 1 less all others.",
        )
    first = found[0]
    return Flow(SummedVelocity(found, given), first.shape, first.path, first.range, first.support)


@dataclass(frozen=True)
class StackedVelocity:
    """The velocity of every part on its own slice of x `[batch, parts, *event]`."""

    flows: tuple[Flow, ...]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([flow(x[:, i], t) for i, flow in enumerate(self.flows)], dim=1)

    def select(self, index: Tensor) -> StackedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return StackedVelocity(tuple(select(flow, index) for flow in self.flows))


def stack_flows(flows: Sequence[Flow]) -> Flow:
    """The flow of several independent parts at once, with events `[parts, *event]`: the product of their laws.

    What couples the parts is then a cost or a measurement like any other: the sum of a signal and of structured noise
    (`SumOfParts`), a distance between two samples, a constraint (`recipes.composition.Projected`). Every recipe works
    on it. An evaluation is one of each part.

    Parameters
    ----------
    flows
        At least one, with events `[*event]`, all on one path; the same flow may stand there several times.

    Raises
    ------
    Misuse
        If the flows differ in shape or path, or have a support.

    References
    ----------
    Stevens et al., "Removing structured noise using diffusion models", TMLR 2025, section 3, for signal and noise.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> one, two = (Gaussian(torch.tensor([m, m]), torch.ones(2)).flow for m in (0.0, 4.0))
    >>> flow = stack_flows([one, two])
    >>> flow.shape, flow.denoise(torch.zeros(1, 2, 2), torch.tensor(0.0)).tolist()
    ((2, 2), [[[0.0, 0.0], [4.0, 4.0]]])
    """
    found = require_alike(flows)
    if any(flow.support is not None for flow in found):
        raise Misuse(
            "The states of a part lie in a subspace, which a stack does not know.",
            "Stack flows without a support.",
        )
    first = found[0]
    common = first.range if all(flow.range == first.range for flow in found) else None
    return Flow(StackedVelocity(found), (len(found), *first.shape), first.path, common)


def require_alike(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    """The flows; a `Misuse` if there is none, or they differ in the shape of events or in the path."""
    found = tuple(flows)
    if not found:
        raise Misuse("No flow was given.", "Give one flow or more.")
    first = found[0]
    for flow in found[1:]:
        if flow.shape != first.shape:
            raise Misuse(
                f"The flows have events of shape {first.shape} and {flow.shape}.",
                "Give flows of one shape, or put each on a canvas of its own with place_regions.",
            )
        if not have_one_path(first, flow):
            raise Misuse(
                f"The flows have the paths {type(first.path).__name__} and {type(flow.path).__name__} that differ.",
                "Give flows on one path; their states at a time t mean other levels of noise.",
            )
    return found


def have_one_path(one: Flow, other: Flow) -> bool:
    """Whether alpha and sigma of two flows agree at nine times, and the span, as for one model loaded twice.

    >>> from headwater import BetaTable, CondOT, Cosine
    >>> def on(path):
    ...     return Flow(lambda x, t: -x, (1,), path)
    >>> have_one_path(on(BetaTable.linear(10)), on(BetaTable.linear(10))), have_one_path(on(CondOT()), on(Cosine()))
    (True, False)
    """
    if one.path is other.path:
        return True
    if one.path.span != other.path.span:
        return False
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    pairs = ((one.path.alpha(t), other.path.alpha(t)), (one.path.sigma(t), other.path.sigma(t)))
    return all(torch.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in pairs)
