"""`headwater molecule ...`: signatures and help of the commands; the work is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from headwater.cli.molecule.options import NO_AIM, NO_DRAW, NO_FILES, Aim, Draw
from headwater.cli.shared.options import Files

molecule = App(name="molecule", help="Generate, design and examine small molecules of H, C, N, O, F in 3-D.")


@molecule.command
def generate(*, options: Draw = NO_DRAW) -> int:
    """Draw molecules of the model, of any or given atoms.

    NAME.sdf or NAME.xyz comes with NAME.csv, NAME.json, a sheet of structures and a page to rotate them.
    """
    from headwater.cli.molecule import task
    from headwater.cli.molecule.run import run

    return run(task.generate(options), options)


@molecule.command
def target(*, options: Aim = NO_AIM) -> int:
    """Find molecules that have the properties asked for, e.g. --gap 5.0eV.

    One network guides the search, another, trained on other molecules, judges what was found, and GFN2-xTB
    checks it. NAME.sdf or NAME.xyz comes with NAME.csv, NAME.json, a sheet of structures and a page to rotate
    them.
    """
    from headwater.cli.molecule import task
    from headwater.cli.molecule.run import run

    return run(task.target(options), options)


@molecule.command
def grow(fragment: Path, /, *, options: Aim = NO_AIM) -> int:
    """Complete a fragment, whose atoms stay where they are, to a molecule; targets may be given.

    Parameters
    ----------
    fragment
        An SDF or XYZ file with one molecule, without the hydrogens where it is to grow.
    """
    from headwater.cli.molecule import task
    from headwater.cli.molecule.run import run

    return run(task.grow(fragment, options), options)


@molecule.command
def score(molecules: Path, /, *, options: Files = NO_FILES) -> int:
    """Print validity, stability and six properties of molecules; with -o write them as CSV and JSON.

    Parameters
    ----------
    molecules
        An SDF or XYZ file of 3-D molecules with all their hydrogens.
    """
    from headwater.cli.molecule.score import score as run

    return run(molecules, options)
