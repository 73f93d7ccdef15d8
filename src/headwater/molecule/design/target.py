"""What is asked of a molecule, as costs of its state: properties, definite types, a user's function.

Every cost takes x1 `[b, 29, 9]` and returns `[b]`; all follow the running problems by `select`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from headwater.errors import Misuse, is_out_of_memory, summarise
from headwater.molecule.chemistry.soundness import sound
from headwater.molecule.design.state import KINDS, Rounded, alike, back, relaxed_types, rounded
from headwater.molecule.model.models import device_of
from headwater.molecule.model.regressor import PROPERTIES, Regressor

TOLERANCE = {"alpha": 0.2, "gap": 0.13, "homo": 0.08, "lumo": 0.07, "mu": 0.09, "cv": 0.08}
"""When a property counts as hit, in the units of `units.UNITS`: twice the published error of QM9 regressors."""


def predict(regressor: Regressor, positions: Tensor, types: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The six properties `[b]` of molecules with relaxed or one-hot types; padding is not computed.

    The inputs go to the regressor's device, the properties come back to that of the positions.
    """
    there, here = device_of(regressor, positions.device), positions.device
    groups = alike(mask, there)
    parts = [regressor(*(z[i, :n].to(there) for z in (positions, types, mask))) for i, n in groups]
    return {name: back([p[name].to(here) for p in parts], groups) for name in PROPERTIES}


def predict_rounded(regressor: Regressor, m: Rounded, batch: int = 256) -> dict[str, Tensor]:
    """The six properties `[b]` of definite molecules, without gradient."""
    parts = []
    with torch.no_grad():
        for i in torch.split(torch.arange(len(m)), batch):
            p = m.select(i)
            parts.append(predict(regressor, p.positions, p.one_hot, p.mask))
    return {name: torch.cat([p[name] for p in parts]) for name in PROPERTIES}


@dataclass(frozen=True)
class PropertyCost:
    """sum_k w_k ((f_k(x1) - y_k) / tolerance_k)^2 / 2 over the targeted properties, `[b]`.

    `values[name]` `[b]` in canonical units; f is the guide on relaxed types.
    """

    guide: Regressor
    values: dict[str, Tensor]
    weights: dict[str, float]
    mask: Tensor

    def select(self, index: Tensor) -> PropertyCost:
        """The cost of the molecules in `index`."""
        values = {k: v[index] for k, v in self.values.items()}
        return replace(self, values=values, mask=self.mask[index])

    def __call__(self, x1: Tensor) -> Tensor:
        out = predict(self.guide, x1[..., :3], relaxed_types(x1), self.mask)
        return sum(  # type: ignore[return-value]
            0.5 * self.weights.get(k, 1.0) * ((out[k] - y.to(x1)) / TOLERANCE[k]).square()
            for k, y in self.values.items()
        )


@dataclass(frozen=True)
class Undecided:
    """How far the types are from definite: |types - rounded types|^2 summed over atoms, `[b]`."""

    mask: Tensor

    def select(self, index: Tensor) -> Undecided:
        """The cost of the molecules in `index`."""
        return Undecided(self.mask[index])

    def __call__(self, x1: Tensor) -> Tensor:
        p = relaxed_types(x1)
        hot = torch.nn.functional.one_hot(p.argmax(-1), KINDS).to(p)
        return ((p - hot).square().sum(-1) * self.mask).sum(1)


@dataclass(frozen=True)
class UserCost:
    """A user's `cost(positions [b, n, 3] in angstrom, types [b, n, 5], mask [b, n]) -> [b]`.

    Raises
    ------
    Misuse
        The function fails, for whatever reason.
    """

    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    mask: Tensor

    def select(self, index: Tensor) -> UserCost:
        """The cost of the molecules in `index`."""
        return UserCost(self.function, self.mask[index])

    def __call__(self, x1: Tensor) -> Tensor:
        return self._asked(x1[..., :3], relaxed_types(x1))

    def of_rounded(self, m: Rounded) -> Tensor:
        """The cost of definite molecules, `[b]`."""
        return self._asked(m.positions, m.one_hot)

    def _asked(self, positions: Tensor, types: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # the function may differentiate all the same, as forces do
            with torch.enable_grad():
                return self._asked(*(x.detach().requires_grad_() for x in (positions, types))).detach()
        try:
            return self.function(positions, types, self.mask)
        except Exception as error:
            if isinstance(error, Misuse) or is_out_of_memory(error):
                raise
            raise Misuse(
                f"The cost failed on {len(positions)} molecules: {summarise(error)}.",
                "Make it work for any positions, relaxed and definite types, and any number of molecules.",
            ) from error


class Verdict(NamedTuple):
    """How molecules compare with what was asked, `[b]` each: first by `kind`, then by `value`, the lower the better.

    `kind` is HIT, MISSED or UNSOUND; `value` ranks among the same kind; `miss` is the largest deviation by the
    guide, in tolerances, which is at most 1 for a hit.
    """

    kind: Tensor
    value: Tensor
    miss: Tensor

    @classmethod
    def none(cls, count: int) -> Verdict:
        """Worse than any verdict."""
        value, miss = torch.full((2, count), torch.inf, dtype=torch.float64)
        return cls(torch.full((count,), UNSOUND + 1), value, miss)

    def select(self, index: Tensor) -> Verdict:
        """The verdict of the molecules in `index`."""
        return Verdict(*(part[index] for part in self))

    def put(self, index: Tensor, other: Verdict) -> None:
        """Replace the rows in `index`, in place."""
        for mine, new in zip(self, other, strict=True):
            mine[index] = new

    def better(self, other: Verdict) -> Tensor:
        """Which are better than the others', `[b]`; NaN is worse than any number."""
        nearer = (self.value < other.value) | (other.value.isnan() & ~self.value.isnan())
        return (self.kind < other.kind) | ((self.kind == other.kind) & nearer)


HIT, MISSED, UNSOUND = 0, 1, 2


@dataclass(frozen=True)
class Miss:
    """How far rounded molecules are from what was asked.

    The deviation from a target is |f_k - y_k| / tolerance_k by the guide; a hit is a molecule with no deviation above
    1, and a sound one (`chemistry.sound`) if `stable`. Else the largest deviation times its weight ranks, plus a
    user's `cost`, which has no level to reach: with one nothing is a hit, and the lowest is wanted.
    """

    properties: PropertyCost | None
    mask: Tensor
    stable: bool = True
    cost: UserCost | None = None

    level = 1.0
    """What the measure of a hit does not exceed."""

    def select(self, index: Tensor) -> Miss:
        """The measure of the molecules in `index`."""
        own = None if self.properties is None else self.properties.select(index)
        cost = None if self.cost is None else self.cost.select(index)
        return Miss(own, self.mask[index], self.stable, cost)

    @torch.no_grad()
    def verdict(self, x1: Tensor) -> Verdict:
        """The verdict on states `[b, 29, 9]`, after rounding."""
        m = rounded(x1, self.mask)
        miss = torch.zeros(len(x1), dtype=torch.float64)
        value = miss.clone()
        if self.properties is not None:
            out = predict(self.properties.guide, m.positions, m.one_hot, m.mask)
            for k, y in self.properties.values.items():
                deviation = (out[k] - y).abs().double() / TOLERANCE[k]
                miss = torch.maximum(miss, deviation)
                value = torch.maximum(value, self.properties.weights.get(k, 1.0) * deviation)
        kind = torch.where(miss <= 1, HIT, MISSED)
        if self.cost is not None:
            value = value + self.cost.of_rounded(m).double()
            kind = torch.full_like(kind, MISSED)
        if self.stable:
            kind = torch.where(sound(m), kind, UNSOUND)
        return Verdict(kind, value, miss)

    def __call__(self, x1: Tensor) -> Tensor:
        """The measure of `Stop`: `miss` where a molecule can be a hit, else infinity, `[b]`."""
        v = self.verdict(x1)
        return v.miss.where((v.kind != UNSOUND) & (self.cost is None), torch.inf)
