"""`headwater molecule ...`: signatures and help of the commands. Each makes a job, which `cli.shared.job` runs."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from headwater.cli.molecule.options import (
    NO_AIM,
    NO_DRAW,
    NO_EDIT,
    NO_SCORING,
    Aim,
    Draw,
    Edited,
    Scoring,
)

molecule = App(name="molecule", help="Generate, design and examine small molecules of H, C, N, O, F in 3-D.")


@molecule.command
def generate(*, options: Draw = NO_DRAW) -> int:
    """Draw molecules of the model, of any or given atoms.

    NAME.sdf or NAME.xyz comes with NAME.csv, NAME.json, a sheet of structures and a page to rotate them.
    """
    from headwater.cli.molecule.jobs import generate_job
    from headwater.cli.shared.job import run

    return run(generate_job(options))


@molecule.command
def target(*, options: Aim = NO_AIM) -> int:
    """Find molecules that have the properties asked for, e.g. --gap 5.0eV.

    How a target is hit: by random draws, up to --candidates of them, of which the first one that is sound and within
    the tolerance is taken, else the best. With --method search-then-control, gradients (D-Flow) change the best draw
    where none hits, up to --gradients of them; the column found_by says which of the two found a molecule. One
    network guides the search, another, trained on other molecules, judges what was found, and GFN2-xTB checks it.
    NAME.sdf or NAME.xyz comes with NAME.csv, NAME.json, a sheet of structures and a page to rotate them.
    """
    from headwater.cli.molecule.jobs import target_job
    from headwater.cli.shared.job import run

    return run(target_job(options))


@molecule.command
def grow(fragment: Path, /, *, options: Aim = NO_AIM) -> int:
    """Complete a fragment, whose atoms stay where they are, to a molecule; targets may be given.

    How it is searched for: by random draws around the fragment, with --method as 'target' does. The order of the
    fragment's atoms changes nothing. Wrong bond lengths and angles of a fragment stay, and then no draw may be
    sound: give one of a relaxed molecule.

    Parameters
    ----------
    fragment
        An SDF or XYZ file with one molecule, without the hydrogens where it is to grow.
    """
    from headwater.cli.molecule.jobs import grow_job
    from headwater.cli.shared.job import run

    return run(grow_job(fragment, options))


@molecule.command
def edit(original: Path, /, *, options: Edited = NO_EDIT) -> int:
    """Change a property of a molecule, and keep it like the original: --gap 5.0eV, --similarity 0.4.

    How it is edited: the original is noised and denoised at several strengths, up to --candidates times, and the
    first edit that is sound, like the original and within the tolerance is taken, else the best. An edit has as many
    atoms as the original. The table says how like it is, and whether its scaffold (its rings and what links them) is
    the same. --reward, --cost and --score ask for more of something instead of a value.

    Parameters
    ----------
    original
        An SDF or XYZ file with one 3-D molecule with all its hydrogens.
    """
    from headwater.cli.molecule.jobs import edit_job
    from headwater.cli.shared.job import run

    return run(edit_job(original, options))


@molecule.command
def score(molecules: Path, /, *, options: Scoring = NO_SCORING) -> int:
    """Print validity, stability and six properties of molecules; with -o write them as CSV and JSON.

    --check xtb adds what GFN2-xTB, which uses none of our networks, says of gap, orbitals, dipole moment and strain.

    Parameters
    ----------
    molecules
        An SDF or XYZ file of 3-D molecules with all their hydrogens.
    """
    from headwater.cli.molecule.score_job import score_job
    from headwater.cli.shared.job import run

    return run(score_job(molecules, options))
