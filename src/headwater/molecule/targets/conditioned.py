"""Known parts of a molecule, and a velocity that leads to them exactly: fragments and formulae."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.flows.prediction import Velocity
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.molecule import to_batch
from headwater.molecule.structure.state import KINDS, encode_types
from headwater.molecule.targets.request import Request
from headwater.problem.batch import select


@dataclass(frozen=True)
class KnownPart:
    """What is given of a molecule: y = A(state), with A the part that is known.

    A is a masked, centred crop: an orthogonal projection, so it is its own adjoint and pseudo-inverse. The mean of
    the known positions is removed, since the place of a fragment in the whole molecule is open.

    Parameters
    ----------
    y
        The known part of the state, `[b, 29, 9]`.
    placed
        Atoms whose positions relative to each other are known, `[b, 29]`.
    typed
        Atoms whose types and charges are known, `[b, 29]`.
    """

    y: Tensor
    placed: Tensor
    typed: Tensor

    @classmethod
    def from_state(cls, state: Tensor, placed: Tensor, typed: Tensor) -> KnownPart:
        """The known part of a state `[b, 29, 9]`."""
        blank = cls(torch.zeros_like(state), placed, typed)
        return cls(blank.project(state), placed, typed)

    def select(self, index: Tensor) -> KnownPart:
        """What is known of the molecules in `index`."""
        return KnownPart(self.y[index], self.placed[index], self.typed[index])

    def project(self, x: Tensor) -> Tensor:
        """A x, shape as x."""
        keep = self.placed[..., None].to(x)
        mean = (x[..., :3] * keep).sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp(min=1)
        return torch.cat([(x[..., :3] - mean) * keep, x[..., 3:] * self.typed[..., None]], dim=-1)

    @property
    def fragment(self) -> KnownPart:
        """The atoms of which places are known, without the other types of a formula."""
        return KnownPart(self.y * self.placed[..., None], self.placed, self.placed)

    @property
    def has_fragment(self) -> bool:
        """Whether places are known of an atom."""
        return bool(self.placed.any())

    @property
    def has_formula(self) -> bool:
        """Whether types are known of atoms that have no known place."""
        return bool((self.typed & ~self.placed).any())

    @property
    def types(self) -> Tensor:
        """The elements of the known atoms as numbers `[b, 29]`; 0 where nothing is known."""
        return self.y[..., 3 : 3 + KINDS].argmax(-1)


@dataclass(frozen=True)
class ConditionedVelocity:
    """A velocity that leads to the known part: v' = v - A v + (y - A x) / (1 - t).

    That is the velocity of the denoiser xhat' = xhat - A xhat + y, which replaces what is known. Every Runge-Kutta
    step to t = 1 of Euler's or the midpoint method ends at A x1 = y exactly, whatever x0 is; the rest is free for the
    control.

    Parameters
    ----------
    velocity
        v(x, t) of x `[b, 29, 9]` and t, a scalar or `[b]`.
    known
        A and y of each molecule.
    latest
        1 - t is taken to be no less than this, for the last evaluation of a solve.

    References
    ----------
    The range-null space decomposition of DDNM, Wang et al., ICLR 2023, for a projection A.
    """

    velocity: Velocity
    known: KnownPart
    latest: float = 1e-5

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v, k = self.velocity(x, t), self.known
        left = (1 - t).clamp(min=self.latest).to(x).reshape(-1, 1, 1)
        # v = (xhat - x) / (1 - t), with xhat replaced by xhat - A xhat + y (DDNM)
        return v - k.project(v) + (k.y - k.project(x)) / left

    def select(self, index: Tensor) -> ConditionedVelocity:
        """The velocity of the molecules in `index`."""
        return ConditionedVelocity(select(self.velocity, index), self.known.select(index), self.latest)


def find_known_part(request: Request, mask: Tensor) -> KnownPart | None:
    """The fragment and the types of the formula that a request gives; None if it gives neither.

    The fragment's atoms come first, then the rest of the formula: heavy atoms before hydrogens. `mask [b, 29]`.
    """
    b, n = mask.shape
    types, charges = torch.zeros(b, n, dtype=torch.long), torch.zeros(b, n)
    placed, typed = torch.zeros(b, n, dtype=torch.bool), torch.zeros(b, n, dtype=torch.bool)
    positions = torch.zeros(b, n, 3)
    left = dict(request.formula or {})
    k = 0
    if request.fragment is not None:
        fragment, k = to_batch([request.fragment], n), len(request.fragment)
        placed[:, :k] = typed[:, :k] = True
        positions = fragment.positions.expand(b, n, 3)
        types, charges = fragment.types.expand(b, n).clone(), fragment.charges.float().expand(b, n)
        for symbol in request.fragment.symbols:
            left[symbol] = left.get(symbol, 0) - 1
    if request.formula is not None:
        rest = [ELEMENTS.index(e) for e in ELEMENTS[1:] + ELEMENTS[:1] for _ in range(left.get(e, 0))]
        types[:, k : k + len(rest)] = torch.tensor(rest, dtype=torch.long)
        typed[:, : k + len(rest)] = True
    if not bool(typed.any()):
        return None
    return KnownPart.from_state(torch.cat([positions, encode_types(types, charges)], dim=-1), placed, typed)
