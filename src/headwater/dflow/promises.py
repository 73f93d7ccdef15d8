"""The one check at the start of `control`: what a flow, a cost, a prior, a stop and a constraint promise.

1. The velocity is a function: evaluated twice at one input it gives one answer, and the network stays as it was.
2. Problems are independent: evaluated alone, each of up to four problems has the values that it has in the batch.

A broken promise would give a wrong answer without a word, so it is refused, and the message names the cure. The check
takes two evaluations of the network for the batch and one for each problem evaluated alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headwater.dflow.evaluation import ErrorNote, Objective
from headwater.errors import Misuse, is_out_of_memory
from headwater.flows.flow import Flow
from headwater.problem.batch import spread_sample
from headwater.solvers.fixed import require_evaluation_mode

TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3, torch.float16: 3e-3, torch.bfloat16: 1e-2}
"""How far two evaluations may differ, relative to their size, by the lowest precision that is computed in.

Rounding depends on the size of the batch, since other kernels add up in another order: 3e-7 for the shipped image
prior in float32, whose bfloat16 is off by 6e-3. A wrong class label, a weak guide, changes it by 1e-2 to 4e-2.
"""


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


def choose_tolerance(flow: Flow, z: Tensor) -> float:
    """The tolerance of the lowest precision among the state z, the network and a surrounding autocast."""
    found = {z.dtype, flow.dtype} | {p.dtype for m in flow.modules for p in m.parameters()}
    if torch.is_autocast_enabled(z.device.type):
        found.add(torch.get_autocast_dtype(z.device.type))
    return max(TOLERANCE.get(dtype, 0.0) for dtype in found if dtype is not None)


def evaluate_twice(flow: Flow, x: Tensor, t: Tensor, tolerance: float) -> Tensor:
    """v(x, t) `[batch, *event]`, evaluated twice; buffers that the network changed meanwhile are put back.

    Raises
    ------
    Misuse
        If a network in training mode changed its buffers, or the answers differ by more than `tolerance`.
    """
    buffers = [b for m in flow.modules for b in m.buffers()]
    before = [(b._version, b.clone()) for b in buffers]
    first, second = flow(x, t), flow(x, t)
    touched = [
        k for k, (b, (version, _)) in enumerate(zip(buffers, before, strict=True)) if b._version != version
    ]
    for k in touched:  # a cache or a counter; the control must begin with the network that it was given
        buffers[k].copy_(before[k][1])
    if touched and any(m.training for m in flow.modules):
        raise Misuse(
            "The network changes its own buffers when it is evaluated, as batch statistics do in training mode.",
            "Call net.eval() first.",
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
    rounding: dict[str, Tensor] = {}
    for i in spread_sample(len(z)):
        index = torch.tensor([i], device=z.device)
        with ErrorNote("select", index):
            alone = objective.select(index)
        for name, evaluate in list_parts(alone, z[index], x0[index], x1[index], t).items():
            try:
                value = evaluate()
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                if is_out_of_memory(error):  # says nothing about the problem
                    raise
                raise dependence_error(name, i, "fails") from error
            gap = relative_distance(together[name][index], value)
            if bool((gap > tolerance).any()):
                rounding = rounding or measure_rounding(objective, z, x0, x1, t, together)
                if bool((gap > rounding[name][index]).any()):
                    raise dependence_error(name, i, "has another value")


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


def relative_distance(a: Tensor, b: Tensor) -> Tensor:
    """rms(a - b) / max(rms a, rms b) of every problem, `[k]`; 0 where both are equal, NaN and infinity included."""
    a, b = (x.detach().reshape(len(x), -1).to(torch.float64) for x in (a, b))
    same = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(same, 0.0, a - b).square().mean(1).sqrt()
    size = torch.maximum(a.square().mean(1), b.square().mean(1)).sqrt()
    return torch.where(gap == 0, 0.0, torch.where(size.isfinite() & gap.isfinite(), gap / size, torch.inf))
