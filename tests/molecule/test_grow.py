"""Where fragments grow: open valences by hand, and the guess of the whole."""

import pytest
import torch
from torch.testing import assert_close

from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.targets.grow import GrowthGuess

A = 0.629
METHYL = torch.tensor([[0, 0, 0], [A, A, A], [-A, -A, A], [-A, A, -A]])


def types(symbols):
    return torch.tensor([ELEMENTS.index(s) for s in symbols])


def test_the_open_site_of_methyl_points_away_from_its_hydrogens():
    places, out = GrowthGuess().find_open_sites(METHYL, types("CHHH"))
    assert_close(places, torch.zeros(1, 3))
    assert_close(out, torch.tensor([[1.0, -1.0, -1.0]]) / 3**0.5, atol=1e-5, rtol=0)


def test_an_atom_stands_for_each_missing_bond():
    places, out = GrowthGuess().find_open_sites(METHYL[:2], types("CH"))  # CH: three are missing
    assert len(places) == 3 and not places.any()
    assert_close(out[:1].expand(3, 3), out)
    assert len(GrowthGuess().find_open_sites(METHYL[:1], types("C"))[0]) == 4  # an atom alone
    assert len(GrowthGuess().find_open_sites(METHYL[:1], types("F"))[0]) == 1


def test_flat_atoms_have_no_room_and_whole_molecules_grow_anywhere():
    """The table counts benzene's bonds as single, but its carbons have no room; then every atom is a site."""
    angle = torch.arange(6) * torch.pi / 3
    ring = torch.stack([angle.cos(), angle.sin(), 0 * angle], 1)
    benzene = torch.cat([1.395 * ring, 2.48 * ring])
    assert len(GrowthGuess().find_open_sites(benzene, types("CCCCCCHHHHHH"))[0]) == 12
    places, out = GrowthGuess().find_open_sites(benzene[:11], types("CCCCCCHHHHH"))
    assert_close(places, benzene[5:6].expand(len(places), 3))  # the carbon that lacks a hydrogen
    assert_close(out[0], ring[5], atol=1e-4, rtol=0)


@pytest.mark.parametrize("atoms", [5, 8, 29])
def test_the_guess_keeps_the_fragment_and_puts_the_rest_outside(atoms):
    g = torch.Generator().manual_seed(0)
    places = torch.stack([GrowthGuess()(METHYL, types("CHHH"), atoms, g) for _ in range(200)])
    assert places.shape == (200, atoms, 3)
    assert_close(places[:, :4], METHYL.expand(200, 4, 3))
    rest = places[:, 4:]
    q = (atoms - 4) ** (1 / 3)
    outwards = torch.tensor([1.0, -1.0, -1.0]) / 3**0.5
    assert_close(rest.mean((0, 1)), outwards * (0.9 + 0.6 * q), atol=0.1, rtol=0)
    distance = rest.norm(dim=-1)
    assert bool((distance.diff(dim=1) >= 0).all())  # the nearer ones come first


def test_several_sites_are_used_and_the_draw_is_the_seeds():
    skeleton = torch.tensor([[0.0, 0, 0], [1.5, 0, 0]])
    both = types("CC")

    def draw(seed):
        return GrowthGuess()(skeleton, both, 8, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(3), draw(3)) and not torch.equal(draw(3), draw(4))
    sides = torch.stack([draw(s)[2:, 0] for s in range(50)])
    assert bool((sides < 0).any()) and bool((sides > 1.5).any())
