"""A cost that the user wrote, `cost(positions, types, mask)`: loaded, and tried before the work begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headwater.cli.shared.python_file import function_in
from headwater.errors import Misuse, is_out_of_memory, summarise
from headwater.molecule.structure.elements import ELEMENTS, MAX_ATOMS
from headwater.molecule.structure.state import MoleculeBatch, atom_mask, centre
from headwater.molecule.targets.cost import UserCost
from headwater.problem.cost import check_values
from headwater.text import counted

Cost = Callable[[Tensor, Tensor, Tensor], Tensor]
SIGNATURE = "cost(positions, types, mask)"
WITHOUT_GRADIENT = {"cost": "give --gradients 0", "reward": "use 'molecule target --method search'"}
"""How a function of each kind is asked for without a gradient."""


@dataclass(frozen=True)
class FileCost:
    """The function of a user's file; what it raises becomes a Misuse, so that it ends a run with two sentences.

    Where nothing is differentiated (`gradients` is False) its tensors carry no gradient, so it may leave torch.
    `warnings` are what the user should know before the work begins.
    """

    function: Cost
    gradients: bool = True
    warnings: tuple[str, ...] = ()
    kind: str = "cost"

    def __call__(self, positions: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        if not self.gradients:
            positions, types = positions.detach(), types.detach()
        try:
            return self.function(positions, types, mask)
        except Exception as error:
            if isinstance(error, Misuse) or is_out_of_memory(error):
                raise
            raise Misuse(
                f"The {self.kind} failed on {counted(len(positions), 'molecule')}: {summarise(error)}.",
                "Make it work for any positions, relaxed and definite types, and any number of molecules.",
            ) from error


def load_cost(file: Path, *, gradients: bool = True) -> FileCost:
    """The function `cost` of a file, if it is fit for use: with `gradients`, to be differentiated.

    Raises
    ------
    Misuse
        As `function_in` and `try_cost`.
    """
    cost: Cost = function_in(file, "cost", SIGNATURE)
    return FileCost(cost, gradients, try_cost(cost, file, gradients=gradients))


def try_cost(cost: Cost, file: Path, *, gradients: bool = True, kind: str = "cost") -> tuple[str, ...]:
    """Call a cost with two molecules, one padded, whose types are relaxed, and with one of definite types.

    Without `gradients` nothing is differentiated, here as in the run. What is fit for use but may be a mistake, a
    gradient of zero at both molecules, is told in the sentences that are returned.

    Raises
    ------
    Misuse
        It fails, returns no finite differentiable value per molecule, has a gradient that is not finite, or mixes
        the molecules of a batch.
    """
    positions, types, mask = draw_example()
    if not gradients:
        positions, types = positions.detach(), types.detach()
    try:
        value = cost(positions, types, mask)
    except Misuse:
        raise
    except Exception as error:
        otherwise = f", or {WITHOUT_GRADIENT[kind]} if it leaves torch" if gradients else ""
        raise Misuse(
            f"The {kind} in {file} failed on two molecules: {summarise(error).split('. ')[0]}.",
            f"Write it for positions [batch, {MAX_ATOMS}, 3], types [batch, {MAX_ATOMS}, {len(ELEMENTS)}] "
            f"and mask [batch, {MAX_ATOMS}]{otherwise}.",
        ) from error
    if gradients and isinstance(value, Tensor) and value.is_floating_point() and not value.requires_grad:
        raise _refuse_without_gradient(file, kind)
    value = check_values(cost, value, len(positions), positions)
    if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
        raise Misuse(
            f"The {kind} in {file} is {value.tolist()} for two random molecules.",
            "Return finite floats, also for molecules that are far from good.",
        )
    warnings = _check_gradients(value, positions, types, mask, file, kind) if gradients else ()
    _try_definite(FileCost(cost, gradients), positions, types, mask)
    return warnings


def _try_definite(cost: FileCost, positions: Tensor, types: Tensor, mask: Tensor) -> None:
    """As at the end of a solve: one molecule alone, and its types are definite."""
    kinds = types.argmax(-1)[:1] * mask[:1]
    with torch.no_grad():
        UserCost(cost, mask[:1]).evaluate_batch(MoleculeBatch(positions[:1], kinds, kinds * 0, mask[:1]))


def _check_gradients(
    value: Tensor, positions: Tensor, types: Tensor, mask: Tensor, file: Path, kind: str
) -> tuple[str, ...]:
    """Refuse gradients that are NaN or of another molecule; a sentence if they are zero at both molecules."""
    slope = False
    for i in range(len(value)):
        pair = torch.autograd.grad(value[i], (positions, types), retain_graph=True, allow_unused=True)
        if all(g is None for g in pair):
            raise _refuse_without_gradient(file, kind)
        both = [
            torch.zeros_like(x) if g is None else g for g, x in zip(pair, (positions, types), strict=True)
        ]
        gradient = torch.cat(both, dim=-1) * mask[..., None]
        if not bool(torch.isfinite(gradient).all()):
            raise Misuse(
                f"The {kind} in {file} has a gradient that is not finite.",
                "Add a small number under roots and norms, and keep padded atoms out of them with torch.where.",
            )
        if bool((gradient[1 - i] != 0).any()):
            raise Misuse(
                f"The {kind} in {file} mixes the molecules of a batch.",
                "Reduce over atoms only, so that each molecule has its own value.",
            )
        slope = slope or bool((gradient[i] != 0).any())
    if slope:
        return ()
    return (
        f"The {kind} in {file} has a gradient of zero for two random molecules. Where it is flat only draws change "
        f"it; {WITHOUT_GRADIENT[kind]} if no time is to go into gradients.",
    )


def _refuse_without_gradient(file: Path, kind: str) -> Misuse:
    return Misuse(
        f"The {kind} in {file} does not carry a gradient.",
        "Compute it with differentiable torch operations, or "
        f"{WITHOUT_GRADIENT[kind]}, and it chooses among draws.",
    )


def draw_example(sizes: tuple[int, ...] = (9, 5)) -> tuple[Tensor, Tensor, Tensor]:
    """Positions in angstrom, relaxed types and mask of two random molecules, as a cost gets them.

    >>> [tuple(x.shape) for x in draw_example()]
    [(2, 29, 3), (2, 29, 5), (2, 29)]
    """
    g = torch.Generator().manual_seed(0)
    mask = atom_mask(torch.tensor(sizes))
    positions = centre(1.4 * torch.randn(len(sizes), MAX_ATOMS, 3, generator=g), mask)
    types = torch.randn(len(sizes), MAX_ATOMS, len(ELEMENTS), generator=g).softmax(-1) * mask[..., None]
    return positions.requires_grad_(), types.requires_grad_(), mask
