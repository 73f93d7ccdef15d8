"""The one check at the start of `control`: what a flow, a cost, a prior, a stop and a constraint promise.

1. The velocity is a function: evaluated twice at one input it gives one answer, and the network stays as it was.
2. Problems are independent: every problem has the same values when all are turned by one place, and up to four of
   them have the same values alone.

A broken promise would give a wrong answer without a word, so it is refused, and the message names the cure. The check
takes up to four evaluations of the network for the batch, and one for each problem evaluated alone; they are not
counted in the result.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headwater.dflow.evaluation import ErrorNote, Objective
from headwater.dflow.result import Result
from headwater.errors import Misuse, is_out_of_memory, summarise
from headwater.flows.flow import Flow
from headwater.problem.batch import spread_sample
from headwater.solvers.checks import choose_tolerance, relative_distance, require_evaluation_mode
from headwater.text import counted


def check_promises(objective: Objective, z: Tensor) -> None:
    """Refuse an objective that breaks a promise at the start z `[batch, *event]`.

    Raises
    ------
    Misuse
        If the velocity gives two answers or changes its network, or a problem gives other values alone than in its
        batch.
    """
    require_evaluation_mode(objective.flow)
    low, high = objective.flow.path.span
    t = torch.tensor((low + high) / 2, dtype=torch.float64)
    with torch.no_grad():
        x0 = objective.map_to_source(z.detach())
        with objective.annotate("velocity"):
            v = evaluate_twice(objective.flow, x0, t, choose_tolerance(objective.flow, z))
        if objective.restrictable and len(z) > 1:
            check_independence(objective, z.detach(), x0, t, v)


def check_resumed(objective: Objective, before: Result, nfe: int) -> None:
    """Refuse to go on from the result of a run with another solve or another cost: best points could not be compared.

    Parameters
    ----------
    objective
        Of this run; its cost is evaluated at the best samples of the earlier one, without the network.
    before
        What the earlier run returned.
    nfe
        Network evaluations of a gradient of this run.

    Raises
    ------
    Misuse
        If a gradient took another number of evaluations, or a best sample has another cost now.
    """
    cure = "Give what the earlier run had, or state=result.state, which begins a new record at its points."
    if before.nfe_per_gradient != nfe:
        raise Misuse(
            f"A gradient of the earlier run took {counted(before.nfe_per_gradient, 'evaluation')}, and one of this "
            f"run takes {nfe}.",
            cure,
        )
    with torch.no_grad():
        cost = objective.evaluate_cost("cost", objective.cost, before.x1).double()
        if objective.prior is not None:
            cost = cost + objective.evaluate_cost("prior", objective.prior, before.x0).double()
    off = (cost - before.cost).abs() > 1e-3 * before.cost.abs().clamp(min=1e-6)
    if bool((off & before.cost.isfinite()).any()):
        raise Misuse("The samples of the earlier run have another cost in this run.", cure)


def evaluate_twice(flow: Flow, x: Tensor, t: Tensor, tolerance: float) -> Tensor:
    """v(x, t) `[batch, *event]`, evaluated twice; buffers that the network changed meanwhile are put back.

    Raises
    ------
    Misuse
        If a network in training mode changed its buffers, if weights that the flow does not know of want a gradient,
        or if the answers differ by more than `tolerance`.
    """
    # Statistics and counters are small; quantised weights, which are buffers too, need no copy.
    small = [b for m in flow.modules for b in m.buffers() if b.numel() <= 2**18 and not b.is_inference()]
    before = [(b._version, b.clone()) for b in small]
    first = flow(x, t)
    with torch.enable_grad():  # x carries no gradient, and the weights of known networks are frozen
        again = flow.call_network(x, flow.time(x, t))
    second = flow.project(again.detach().to(x.dtype))
    touched = [
        k for k, (b, (version, _)) in enumerate(zip(small, before, strict=True)) if b._version != version
    ]
    for k in touched:  # a cache or a counter; the control must begin with the network that it was given
        small[k].copy_(before[k][1])
    if touched and any(m.training for m in flow.modules):
        raise Misuse(
            "The network changes its own buffers when it is evaluated, as batch statistics do in training mode.",
            "Call net.eval() first.",
        )
    if (
        again.requires_grad
    ):  # its graph would hide a detached x, fill memory and gather gradients in the network
        raise Misuse(
            "The velocity holds a network with trainable weights that the flow does not know of.",
            "Name it, Flow(..., modules=(network,)), or freeze it, network.requires_grad_(False).",
        )
    if bool((relative_distance(first, second) > tolerance).any()):
        raise Misuse(
            "The velocity gives two answers for one input.",
            "Put the network into evaluation mode with net.eval(), and remove randomness and hidden state from it.",
        )
    return first


def check_independence(objective: Objective, z: Tensor, x0: Tensor, t: Tensor, v: Tensor) -> None:
    """Evaluate up to four problems alone and compare every part with what it gave in the batch.

    z, x0 and v = v(x0, t) `[batch, *event]`.

    Raises
    ------
    Misuse
        If a part fails for a problem alone, or gives another value than in the batch.
    """
    x1 = x0 + v  # one Euler step: a point of the right shape and size, near enough to the data for costs
    tolerance = choose_tolerance(objective.flow, z)
    parts = list_parts(objective, z, x0, x1, t)
    together = {name: v if name == "velocity" else evaluate() for name, evaluate in parts.items()}
    # Turned by one place, in a batch of the same size: rounding is the same, so there is no excuse.
    turned = torch.arange(len(z), device=z.device).roll(1)
    for name, gap in compare_problems(objective, turned, z, x0, x1, t, together).items():
        if bool((gap > tolerance).any()):
            raise dependence_error(name, int(turned[gap.argmax()]), "has another value")
    rounding: dict[str, Tensor] = {}
    for i in spread_sample(len(z)):
        index = torch.tensor([i], device=z.device)
        for name, gap in compare_problems(objective, index, z, x0, x1, t, together).items():
            if bool((gap <= tolerance).all()):
                continue
            if bool((relative_distance(together[name], parts[name]()) > tolerance).any()):
                raise Misuse(
                    f"The {name} gives two answers for one input.",
                    "Draw its random numbers from a generator that is seeded at every call.",
                )
            rounding = rounding or measure_rounding(objective, z, x0, x1, t, together)
            if bool((gap > rounding[name][index]).any()):
                raise dependence_error(name, i, "has another value")


def compare_problems(
    objective: Objective,
    index: Tensor,
    z: Tensor,
    x0: Tensor,
    x1: Tensor,
    t: Tensor,
    together: dict[str, Tensor],
) -> dict[str, Tensor]:
    """How far each part, for the problems in `index` `[k]` by themselves, is from its values in the batch, `[k]`.

    Raises
    ------
    Misuse
        If a part fails for them, though it did not in the batch.
    """
    with ErrorNote("select", index):
        some = objective.select(index)
    gaps = {}
    for name, evaluate in list_parts(some, z[index], x0[index], x1[index], t).items():
        try:
            gaps[name] = relative_distance(together[name][index], evaluate())
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if is_out_of_memory(error):  # says nothing about the problems
                raise
            raise dependence_error(name, int(index[0]), f"fails ({summarise(error)})") from error
    return gaps


def measure_rounding(
    objective: Objective, z: Tensor, x0: Tensor, x1: Tensor, t: Tensor, together: dict[str, Tensor]
) -> dict[str, Tensor]:
    """20 times what moving the input by 16 roundings changes in each part, `[batch]` each, as `relative_distance`.

    Far from the data some networks amplify rounding beyond any fixed tolerance: a regressor of molecules, asked about
    the point of one Euler step, by 1e4. A difference within this bound is no sign of a broken promise. It costs an
    evaluation of every part, and only where something looked suspicious.
    """
    generator = torch.Generator(device="cpu").manual_seed(0)

    def move(x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64, device="cpu").to(x)
        return x * (1 + 16 * torch.finfo(x.dtype).eps * noise)

    moved = list_parts(objective, move(z), move(x0), move(x1), t)
    return {name: 20 * relative_distance(together[name], evaluate()) for name, evaluate in moved.items()}


def list_parts(o: Objective, z: Tensor, x0: Tensor, x1: Tensor, t: Tensor) -> dict[str, Callable[[], Tensor]]:
    """How each part of the objective is evaluated, by name."""
    found: dict[str, Callable[[], Tensor]] = {
        "velocity": lambda: o.flow(x0, t),
        "cost": lambda: o.evaluate_cost("cost", o.cost, x1),
    }
    if o.prior is not None:
        found["prior"] = lambda: o.evaluate_cost("prior", o.prior, x0)  # type: ignore[arg-type]
    if o.stop is not None:
        found["stop"] = lambda: o.evaluate_measure(x1)
    if o.constraint is not None:
        found["constraint"] = lambda: o.map_to_source(z)
    return found


def dependence_error(part: str, problem: int, how: str) -> Misuse:
    """The error for a part whose value for a problem depends on the batch it is in."""
    return Misuse(
        f"The {part} of problem {problem} {how} when it is evaluated without the others of its batch: it holds "
        "data of all problems, which do not follow the problems that still run.",
        "Declare the data, Each(f, name=tensor), or give the object a method select(index); use WholeBatch(f) if it "
        "cannot be restricted, and Flow(..., dtype=torch.bfloat16) if the network computes in half precision.",
    )
