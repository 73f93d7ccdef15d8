"""Words about molecules that are unlike those the networks learnt from."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.molecule.checks.xtb import Relaxation
from headwater.molecule.structure.elements import ELEMENTS, MAX_ATOMS
from headwater.molecule.structure.formula import HEAVY_ATOMS, LEAST_HEAVY_ATOMS
from headwater.molecule.structure.molecule import Molecule
from headwater.text import counted


def count_heavy(m: Molecule) -> int:
    """The atoms other than hydrogen."""
    return sum(s != "H" for s in m.symbols)


def note_size(m: Molecule) -> list[str]:
    """A note on a molecule of a size that QM9 does not have, or hardly; else none.

    >>> import numpy as np
    >>> note_size(Molecule(("O", "H", "H"), np.eye(3), (0, 0, 0)))
    ['1 heavy atom, QM9 has 4 to 9']
    """
    heavy = count_heavy(m)
    if LEAST_HEAVY_ATOMS <= heavy <= HEAVY_ATOMS:
        return []
    return [f"{counted(heavy, 'heavy atom')}, QM9 has {LEAST_HEAVY_ATOMS} to {HEAVY_ATOMS}"]


def note_failure(xtb: Relaxation | None) -> list[str]:
    """A note on a relaxation that did not converge; else none."""
    return ["xTB did not converge"] if xtb is not None and not xtb.converged else []


def note_unknown(m: Molecule) -> list[str]:
    """A note on a molecule that the models cannot hold, for its elements or its size; else none."""
    strange = sorted(set(m.symbols) - set(ELEMENTS))
    if strange:
        return [f"not scored: the models know {', '.join(ELEMENTS)}, not {', '.join(strange)}"]
    return [f"not scored: {len(m)} atoms, the models hold {MAX_ATOMS}"] if len(m) > MAX_ATOMS else []


def warn_of_sizes(molecules: Iterable[Molecule]) -> tuple[str, ...]:
    """A sentence that counts the molecules with `note_size`; none if there is none."""
    some = [m for m in molecules if note_size(m)]
    if not some:
        return ()
    has = "has" if len(some) == 1 else "have"
    return (
        f"{counted(len(some), 'molecule')} {has} fewer than {LEAST_HEAVY_ATOMS} or more than {HEAVY_ATOMS} atoms "
        "other than hydrogen, of which QM9 has hardly any; the networks guess there.",
    )
