"""Checks of molecules that use none of our networks: GFN2-xTB for all, B3LYP for the best."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TypeVar

from headwater.cli.molecule.designed import DesignedMolecule, rank
from headwater.cli.molecule.scored import ScoredMolecule
from headwater.cli.shared.progress import Tell, Watch, clock
from headwater.extras import import_optional
from headwater.molecule.checks.physics import relax_or_explain

PACKAGES = {"none": (), "xtb": ("tblite.interface",), "dft": ("pyscf.gto", "pyscf.dft")}
"""What each check imports; its name is that of the extra too."""

Checked = TypeVar("Checked", DesignedMolecule, ScoredMolecule)
"""What xTB can be asked about."""


def choose_check(name: str | None) -> str:
    """The check of that name, by default xtb if tblite is installed.

    Raises
    ------
    Misuse
        Its package is not installed.
    """
    if name is None:
        return "xtb" if find_spec("tblite") else "none"
    for module in PACKAGES[name]:
        import_optional(module, extra=name)
    return name


def run_checks(check: str, molecules: list[DesignedMolecule], best: int, *, watch: Watch) -> bool:
    """Check the molecules, in the list itself, so that what is done is kept; whether it came to its end.

    Ctrl-C or SIGTERM ends the checks at once and drops the one that is running, and they do not begin if the watch
    has heard it before. `best` molecules are computed by DFT.
    """
    try:
        with watch.interrupt.aborting():
            if check == "xtb" or (check == "dft" and find_spec("tblite")):
                relax_all(molecules, tell=watch.tell)
            if check == "dft":
                compute_best(molecules, best, tell=watch.tell)
    except KeyboardInterrupt:
        return False
    return True


def relax_each(molecules: list[Checked], *, watch: Watch) -> bool:
    """GFN2-xTB alone, as `run_checks`."""
    try:
        with watch.interrupt.aborting():
            relax_all(molecules, tell=watch.tell)
    except KeyboardInterrupt:
        return False
    return True


def relax_all(molecules: list[Checked], *, tell: Tell) -> None:
    """GFN2-xTB of every molecule that has coordinates and that the models can hold, in the list itself."""
    there = [
        (i, m) for i, d in enumerate(molecules) if (m := d.molecule) is not None and d.chemistry is not None
    ]
    start = time.perf_counter()
    for done, (i, m) in enumerate(there):
        left = (time.perf_counter() - start) / done * (len(there) - done) if done else None
        tell(f"xtb  {done} of {len(there)} molecules, about {clock(left)} left")
        molecules[i] = replace(molecules[i], xtb=relax_or_explain(m))


def compute_best(molecules: list[DesignedMolecule], best: int, *, tell: Tell) -> None:
    """B3LYP/6-31G(2df,p) of the best molecules, at the geometry as written."""
    from headwater.molecule.checks import dft

    first = rank(molecules)[:best]

    def say(progress: dft.Progress) -> None:
        left = clock(progress.seconds_left)
        tell(f"dft  {progress.done} of {progress.total} molecules, about {left} left (Ctrl-C ends it)")

    results = dft.compute_all([m for d in first if (m := d.molecule) is not None], callback=say)
    for d, result in zip(first, results, strict=False):
        molecules[d.number - 1] = replace(d, dft=result)
