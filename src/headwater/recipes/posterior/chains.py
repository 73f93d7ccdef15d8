"""What every sampler has in common: the state of its chains, as data, and how a step of them is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation
from headwater.errors import Misuse
from headwater.problem.batch import per_problem
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.potential import Potential


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """Where every chain is; the first axis of every field is the chain.

    Attributes
    ----------
    x0, x1
        The source point and its sample, `[chains, *event]`.
    potential
        Phi at x0, float64 `[chains]`.
    gradient
        Its gradient, `[chains, *event]`; zero for samplers that need none.
    log_weight
        The logarithm of the draw's weight, float64 `[chains]`; 0 for Markov chains.
    accepted
        The sum of the acceptance probabilities since the burn-in, float64 `[chains]`.
    evaluations, gradients
        Network evaluations and gradient evaluations so far, int64 `[chains]`.
    """

    x0: Tensor
    x1: Tensor
    potential: Tensor
    gradient: Tensor
    log_weight: Tensor
    accepted: Tensor
    evaluations: Tensor
    gradients: Tensor


S = TypeVar("S", bound=ChainState)


class Calls(NamedTuple):
    """What a step of a chain, or its start, takes at most.

    Attributes
    ----------
    solves, gradients
        Solves without and with a gradient.
    evaluations
        Network evaluations beside those of solves, such as those of an estimate.
    """

    solves: int
    gradients: int
    evaluations: int = 0


class Sampler(Protocol):
    """A way to move all chains by one step; a protocol. Its fields are its settings.

    Attributes
    ----------
    burn_in
        The first steps, which are not kept, and during which step lengths are adapted.
    thin
        Steps from one kept draw to the next.
    state
        The class of its states.
    needs_start
        Whether its draws depend on where it begins.
    caveat
        What its draws lack even if the chains agree, a sentence; empty if nothing.

    Examples
    --------
    >>> from headwater import PCN
    >>> sampler = PCN(burn_in=100, thin=10)
    >>> sampler.burn_in, sampler.thin, sampler.calls_per_step()
    (100, 10, Calls(solves=1, gradients=0, evaluations=0))
    """

    state: ClassVar[type[Any]]
    needs_start: ClassVar[bool]
    caveat: ClassVar[str]

    @property
    def burn_in(self) -> int:
        """The first steps, which are not kept."""

    @property
    def thin(self) -> int:
        """Steps from one kept draw to the next."""

    def calls_per_step(self) -> Calls:
        """What one step takes, at most, for every chain."""

    def calls_to_begin(self) -> Calls:
        """What `init` takes, at most, for every chain."""

    def init(self, x0: Tensor, potential: Potential) -> Any:
        """The state at the start x0 `[chains, *event]`."""

    def advance(self, state: Any, potential: Potential, noise: Noise, adapt: bool) -> Any:
        """The state one step later; `adapt` during burn-in."""


def initial_fields(e: Evaluation, nfe: int, gradients: int) -> dict[str, Tensor]:
    """The common fields of the state after the first evaluation, which took `nfe` network evaluations."""
    zero = torch.zeros_like(e.cost)
    count = zero.to(torch.int64)
    return {
        "x0": e.x0,
        "x1": e.x1,
        "potential": e.cost,
        "gradient": e.gradient,
        "log_weight": zero,
        "accepted": zero,
        "evaluations": count + nfe,
        "gradients": count + gradients,
    }


def metropolis(state: S, proposal: Evaluation, log_ratio: Tensor, noise: Noise, adapt: bool) -> S:
    """Accept each proposal with the probability min(1, exp(log_ratio)), log_ratio float64 `[chains]`.

    One that is not finite is rejected. Probabilities are summed once the burn-in is over.
    """
    log_ratio = torch.where(proposal.cost.isfinite(), log_ratio, -torch.inf)
    probability = acceptance_probability(log_ratio)
    yes = noise.uniform() < probability
    rows = per_problem(yes, state.x0)
    return replace(
        state,
        x0=torch.where(rows, proposal.x0, state.x0),
        x1=torch.where(rows, proposal.x1, state.x1),
        gradient=torch.where(rows, proposal.gradient, state.gradient),
        potential=torch.where(yes, proposal.cost, state.potential),
        accepted=state.accepted if adapt else state.accepted + probability,
    )


def acceptance_probability(log_ratio: Tensor) -> Tensor:
    """min(1, exp(log_ratio)), and 0 where it is NaN, `[chains]`."""
    return torch.where(log_ratio.isnan(), 0.0, log_ratio.clamp(max=0).exp())


def count(state: S, evaluations: int | Tensor, gradients: int | Tensor) -> S:
    """The state with as many more network and gradient evaluations on its account."""
    return replace(state, evaluations=state.evaluations + evaluations, gradients=state.gradients + gradients)


def take_chains(state: S, index: Tensor | slice) -> S:
    """The state of the chains in `index`, int64 `[k]` or a slice."""
    return type(state)(**{name: value[index] for name, value in tensors_of(state).items()})


def join_chains(parts: Sequence[S]) -> S:
    """The state of the chains of all parts, one after another."""
    rows = [tensors_of(part) for part in parts]
    return type(parts[0])(**{name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def tensors_of(state: ChainState) -> dict[str, Tensor]:
    """The fields of a state by name."""
    return {field.name: getattr(state, field.name) for field in fields(state)}


def check_settings(burn_in: int, thin: int, step: float = 0.1, acceptance: float = 0.5) -> None:
    """Refuse settings of a chain that are out of range."""
    if burn_in < 0 or thin < 1:
        raise Misuse(
            f"A burn-in of {burn_in} and every {thin}th step are no plan.", "Give burn_in >= 0 and thin >= 1."
        )
    if not (0 < step <= math.pi / 2 and 0 < acceptance < 1):
        raise Misuse(
            f"A first step of {step:g} with an acceptance of {acceptance:g} is out of range.",
            "Give a step from 0 to pi / 2, in radians, and an acceptance between 0 and 1.",
        )
