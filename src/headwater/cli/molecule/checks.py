"""Checks of molecules that use none of our networks: GFN2-xTB for all, B3LYP for the best."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.util import find_spec

from headwater.cli.molecule.hits import Hit, ranked
from headwater.cli.molecule.progress import telling
from headwater.cli.shared.progress import aborting, clock
from headwater.errors import summarise
from headwater.extras import need
from headwater.molecule.checks import xtb
from headwater.molecule.io.molecule import Molecule

BEST = 3
PACKAGES = {"none": (), "xtb": ("tblite.interface",), "dft": ("pyscf.gto", "pyscf.dft")}
"""What each check imports; its name is that of the extra too."""


def chosen(name: str | None) -> str:
    """The check of that name, by default xtb if tblite is installed.

    Raises
    ------
    Misuse
        Its package is not installed.
    """
    if name is None:
        return "xtb" if find_spec("tblite") else "none"
    for module in PACKAGES[name]:
        need(module, extra=name)
    return name


def carry_out(check: str, hits: list[Hit], best: int | None, *, quiet: bool) -> bool:
    """Check the molecules, in the list itself, so that what is done is kept; whether it came to its end.

    Ctrl-C or SIGTERM ends the checks and drops the one that is running.
    """
    try:
        with aborting():
            if check == "xtb" or (check == "dft" and find_spec("tblite")):
                relax(hits, quiet=quiet)
            if check == "dft":
                compute(hits, best or BEST, quiet=quiet)
    except KeyboardInterrupt:
        return False
    return True


def relax(hits: list[Hit], *, quiet: bool) -> None:
    """GFN2-xTB of every molecule that has coordinates."""
    there = [i for i, h in enumerate(hits) if h.molecule is not None]
    start = time.perf_counter()
    with telling("xtb", quiet=quiet) as tell:
        for done, i in enumerate(there):
            left = (time.perf_counter() - start) / done * (len(there) - done) if done else None
            tell(f"xtb  {done} of {len(there)} molecules, about {clock(left)} left")
            molecule = hits[i].molecule
            if molecule is not None:
                hits[i] = replace(hits[i], xtb=relaxed(molecule))


def relaxed(molecule: Molecule) -> xtb.Relaxed:
    """GFN2-xTB of a molecule; a failure of any kind is a sentence, so that it takes no other molecule with it."""
    try:
        return xtb.relax(molecule)
    except Exception as error:
        return xtb.failed(molecule, f"The check failed: {summarise(error)}.")


def compute(hits: list[Hit], best: int, *, quiet: bool) -> None:
    """B3LYP/6-31G(2df,p) of the best molecules, at the geometry as written."""
    from headwater.molecule.checks import dft

    chosen_ones = ranked(hits)[:best]
    molecules = [h.molecule for h in chosen_ones if h.molecule is not None]
    with telling("dft", quiet=quiet) as tell:

        def say(progress: dft.Progress) -> None:
            left = clock(progress.seconds_left)
            tell(f"dft  {progress.done} of {progress.total} molecules, about {left} left (Ctrl-C ends it)")

        for h, found in zip(chosen_ones, dft.check(molecules, callback=say), strict=False):
            hits[h.number - 1] = replace(h, dft=found)
