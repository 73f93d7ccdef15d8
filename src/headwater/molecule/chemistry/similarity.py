"""How like one structure is to another: Tanimoto's similarity of Morgan fingerprints, and Murcko's scaffold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import EXTRA

RADIUS, BITS = 2, 2048
"""Of the Morgan fingerprints: radius 2 is that of ECFP4."""


def compute_similarity(a: str, b: str) -> float:
    """Tanimoto's similarity of two structures: bits that both have over bits that one has.

    Parameters
    ----------
    a, b
        SMILES. Stereochemistry is not seen.

    Returns
    -------
    similarity
        0 for structures that share nothing to 1 for the same. Of small molecules it falls fast: an atom exchanged in
        a ring of six leaves about 0.4.

    Raises
    ------
    Misuse
        RDKit cannot read a SMILES, or is not installed.

    References
    ----------
    Rogers & Hahn, "Extended-connectivity fingerprints", J. Chem. Inf. Model. 2010.

    Examples
    --------
    >>> round(compute_similarity("Oc1ccccc1", "Nc1ccccc1"), 2), compute_similarity("OCC", "CCO")
    (0.38, 1.0)
    """
    tanimoto = import_optional("rdkit.DataStructs", EXTRA).TanimotoSimilarity
    return float(tanimoto(_find_fingerprint(a), _find_fingerprint(b)))


def find_scaffold(smiles: str) -> str:
    """Murcko's scaffold: the rings and what links them, without stereo; empty without a ring.

    Raises
    ------
    Misuse
        RDKit cannot read the SMILES, or is not installed.

    References
    ----------
    Bemis & Murcko, "The properties of known drugs. 1. Molecular frameworks", J. Med. Chem. 1996.

    Examples
    --------
    >>> find_scaffold("Cc1ccccc1O"), find_scaffold("CCO")
    ('c1ccccc1', '')
    """
    scaffolds = import_optional("rdkit.Chem.Scaffolds.MurckoScaffold", EXTRA)
    return remove_stereo(
        import_optional("rdkit.Chem", EXTRA).MolToSmiles(scaffolds.GetScaffoldForMol(_read(smiles)))
    )


def remove_stereo(smiles: str) -> str:
    """Canonical SMILES without stereochemistry.

    >>> remove_stereo("C[C@H](N)O") == remove_stereo("C[C@@H](O)N")
    True
    """
    return str(import_optional("rdkit.Chem", EXTRA).MolToSmiles(_read(smiles), isomericSmiles=False))


def _read(smiles: str) -> Any:
    with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
        mol = import_optional("rdkit.Chem", EXTRA).MolFromSmiles(smiles)
    if mol is None:
        raise Misuse(f"RDKit cannot read the SMILES {smiles}.", "Give the SMILES of a whole molecule.")
    return mol


@lru_cache(maxsize=4096)
def _find_fingerprint(smiles: str) -> Any:
    make = import_optional("rdkit.Chem.rdFingerprintGenerator", EXTRA).GetMorganGenerator
    return make(radius=RADIUS, fpSize=BITS).GetFingerprint(_read(smiles))
