"""RDKit's scores of a structure: drug-likeness, lipophilicity, ease of synthesis. No gradient leads to them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import EXTRA


def compute_scores(smiles: str, names: Collection[str]) -> dict[str, float]:
    """Some scores of a structure.

    Parameters
    ----------
    smiles
        The structure.
    names
        Of `units.SCORES`.

    Raises
    ------
    Misuse
        RDKit cannot read the SMILES, or RDKit or a part of it is not installed.

    Examples
    --------
    >>> {name: round(value, 2) for name, value in compute_scores("OCc1ccccc1", ("qed", "logp")).items()}
    {'qed': 0.57, 'logp': 1.18}
    """
    with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
        mol = import_optional("rdkit.Chem", EXTRA).MolFromSmiles(smiles)
        if mol is None:
            raise Misuse(f"RDKit cannot read the SMILES {smiles}.", "Give the SMILES of a whole molecule.")
        return {name: float(load_score(name)(mol)) for name in names}


@lru_cache
def load_score(name: str) -> Callable[[Any], float]:
    """The function of RDKit for a score, of a sanitised molecule.

    Raises
    ------
    Misuse
        RDKit, or its folder Contrib, which has the score `sa`, is not installed.
    """
    if name == "qed":
        found = import_optional("rdkit.Chem.QED", EXTRA).qed
    elif name == "logp":
        found = import_optional("rdkit.Chem.Crippen", EXTRA).MolLogP
    else:
        import_optional("rdkit.Chem", EXTRA)
        try:
            found = import_optional("rdkit.Contrib.SA_Score.sascorer", EXTRA).calculateScore
        except Misuse:
            raise Misuse(
                "This RDKit comes without its folder Contrib, which has the score --sa.",
                "Install RDKit from PyPI, or leave --sa out.",
            ) from None
    return found  # type: ignore[no-any-return]
