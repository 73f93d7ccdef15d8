"""Structures as pictures: one scale for all, and no drawing where bonds are uncertain."""

import numpy as np
import pytest
from by_hand import embedded, scattered

from headwater.molecule.io import depiction

pytest.importorskip("rdkit")
pytest.importorskip("PIL")


def test_hydrogens_are_not_invented():
    assert depiction._find_structure(scattered("C"))[0] is None
    ethane, note = depiction._find_structure(embedded("CC"))
    assert ethane.GetNumAtoms() == 2 and note == ""


def test_bonds_of_one_length():
    """The same bond in two molecules of very different size has the same length in pixels."""
    small, large = depiction.draw_structures([embedded("C#C"), embedded("C#CC#CC#C")], (434, 300))
    x = [np.flatnonzero((np.asarray(p) < 128).all(-1).any(0)) for p in (small, large)]
    assert np.ptp(x[1]) == pytest.approx(5 * np.ptp(x[0]), abs=8)
