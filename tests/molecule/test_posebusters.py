"""PoseBusters' checks of a good and three bad molecules."""

import pytest
from by_hand import CH5, WATER, beside, embedded

from headwater.molecule.checks.posebusters import run_posebusters
from headwater.molecule.structure.molecule import Molecule

pytest.importorskip("posebusters")


def test_posebusters_tells_good_from_bad(capfd):
    ethanol = embedded("CCO")
    squeezed = Molecule(ethanol.symbols, ethanol.positions * [1, 1, 0.3], ethanol.charges)
    good, apart, bad, broken = run_posebusters([ethanol, beside(ethanol, WATER), squeezed, CH5])
    assert good["pass"] and all(good.values())
    assert not apart["all_atoms_connected"] and apart["sanitization"]
    assert not bad["pass"]
    assert not broken["sanitization"] and not broken["pass"]
    assert good.keys() == apart.keys() == bad.keys() == broken.keys()
    assert all(type(v) is bool for row in (good, apart, bad, broken) for v in row.values())
    assert capfd.readouterr() == ("", "")
