"""How GFN2-xTB's gap, HOMO, LUMO and dipole stand to QM9's B3LYP: a line per property, fitted and tested apart.

    python benchmarks/decisions/xtb_calibration.py --qm9 build/qm9

xTB at QM9's geometry, and after the relaxation by xTB that a check does; B3LYP at QM9's geometry, which is its own
minimum. Molecules of the part 'validation' spread evenly over its list. The lines are fitted by least squares on
every molecule but each third; all scores are those of the third that was left out.
"""

from __future__ import annotations

import _path  # noqa: F401
