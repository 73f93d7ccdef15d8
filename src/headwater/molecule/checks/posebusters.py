"""PoseBusters' checks of single molecules: geometry judged by rules and a force field, not by our networks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import EXTRA, perceive, to_rdkit
from headwater.molecule.structure.molecule import Molecule


def run_posebusters(molecules: Iterable[Molecule]) -> list[dict[str, bool]]:
    """PoseBusters' checks of single molecules (its configuration "mol"), and `pass`, whether all of them hold.

    Each molecule is judged as `perceive` sees it, else with the bonds of the table. A check that could not be run
    counts as failed. About 0.2 s a molecule: the energy check embeds 50 conformers. That check compares with
    the mean energy of the ensemble, which is near 0 for tiny rigid molecules: HCN and CO2 fail it.

    Raises
    ------
    Misuse
        The extra is not installed: `pip install headwater[posebusters]`.
    """
    judge = import_optional("posebusters", "posebusters").PoseBusters(config="mol", max_workers=0)
    out = []
    for m in molecules:
        mol = perceive(m) or to_rdkit(m)
        with _quiet():
            row = judge.bust(mol).iloc[0]
        checks = {
            str(name): bool(held) for name, held in row.isin([True]).items()
        }  # a missing value is not in
        out.append({**checks, "pass": all(checks.values())})
    return out


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence PoseBusters: a failed check is a result, not a warning.

    It sends RDKit's messages to Python's logger, switches them on by itself and reads some of them, so only
    the handler that prints them is shut.
    """
    handler, logger = import_optional("rdkit", EXTRA).log_handler, logging.getLogger("posebusters")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    handler.addFilter(_nothing)
    try:
        yield
    finally:
        handler.removeFilter(_nothing)
        logger.setLevel(level)


def _nothing(_: logging.LogRecord) -> bool:
    return False
