"""Where a fragment can grow: its open valences, and from them a first guess of where all atoms are.

The guess has no chemistry. It says only which noise belongs to which atom, since training aligned noise with data:
with noise in any other order and orientation the flow puts the new atoms on top of the old ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.molecule.chemistry.stability import VALENCE, bond_orders
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.state import MoleculeBatch


@dataclass(frozen=True)
class GrowthGuess:
    """A guess of a whole molecule around a fragment: new atoms, scattered at its open valences.

    q atoms at one site have their centre `bond + size q^(1/3)` away from it, and scatter by `spread q^(1/3)`.
    benchmarks/decisions/results/molecule_known.md has what comes of it.

    Parameters
    ----------
    bond, size, spread
        Lengths in angstrom, see above.
    room
        An atom whose bonds cancel, |sum of their directions| at most this, has no room for another.
    """

    bond: float = 0.9
    size: float = 0.6
    spread: float = 0.36
    room: float = 0.5

    def find_open_sites(self, positions: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        """Where bonds are missing.

        An atom stands for as many sites as bonds are missing by the distance table; if no atom lacks any, each atom
        is one.

        Parameters
        ----------
        positions
            `[k, 3]`, angstrom.
        types
            The elements as numbers `[k]`.

        Returns
        -------
        places, directions
            `[s, 3]` each: the atom's position, and the unit vector away from its bonds.

        Examples
        --------
        >>> oh = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0]])
        >>> places, out = GrowthGuess().find_open_sites(oh, torch.tensor([ELEMENTS.index("O"), 0]))
        >>> places.shape, out[0, 0].item()
        (torch.Size([1, 3]), -1.0)
        """
        here = torch.ones(1, len(types), dtype=torch.bool)
        orders = bond_orders(MoleculeBatch(positions[None], types[None], 0 * types[None], here))[0]
        missing = torch.tensor([VALENCE[ELEMENTS[i]] for i in types.tolist()]) - orders.sum(1)
        to = positions[None] - positions[:, None]
        unit = to / to.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        out = -(unit * (orders > 0)[..., None]).sum(1)
        room = (out.norm(dim=-1) > self.room) | (orders > 0).sum(1).eq(0)
        count = (missing * room).clamp(min=0)
        count = count if bool(count.any()) else torch.ones_like(count)
        return positions.repeat_interleave(count, 0), _unit(out).repeat_interleave(count, 0)

    def __call__(self, positions: Tensor, types: Tensor, atoms: int, generator: torch.Generator) -> Tensor:
        """Places `[atoms, 3]` of a whole molecule: the fragment's atoms, then the others at some open sites.

        Which sites is drawn: as many as there can be, or fewer. At each the atoms nearer to it come first.
        """
        places, out = self.find_open_sites(positions, types)
        rest = atoms - len(positions)
        most = min(len(places), rest)
        few = int(torch.randint(1, most + 1, (1,), generator=generator))
        used = torch.randperm(len(places), generator=generator)
        used = used[: most if torch.rand(1, generator=generator) < 0.5 else few]
        more = torch.randint(len(used), (rest - len(used),), generator=generator)
        site = used[torch.cat([torch.arange(len(used)), more])]
        size = torch.bincount(site, minlength=len(places))[site].float()[:, None] ** (1 / 3)
        away = torch.where(out[site].any(1, keepdim=True), out[site], _unit(_normal(rest, generator)))
        offset = away * (self.bond + self.size * size) + self.spread * size * _normal(rest, generator)
        nearest = offset.norm(dim=1).argsort()
        return torch.cat([positions, (places[site] + offset)[nearest]])


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=-1, eps=1e-6)


def _normal(count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, 3, generator=generator)
