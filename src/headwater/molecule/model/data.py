"""QM9 from the `qm9pack` package, parsed once to a compact file, with a committed split.

    python -m headwater.molecule.model.data --work build/qm9

QM9: Ramakrishnan, Dral, Rupp, von Lilienfeld, Scientific Data 1, 140022 (2014), CC0; B3LYP/6-31G(2df,p).
Units are converted here, once: angstrom, eV, Debye, Bohr^3, cal/mol/K.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.units import HARTREE

COLUMNS = {
    "alpha": ("Polarizability_bohr3", 1.0),
    "gap": ("HOMO_LUMO_gap_au", HARTREE),
    "homo": ("HOMO_au", HARTREE),
    "lumo": ("LUMO_au", HARTREE),
    "mu": ("Dipole_debye", 1.0),
    "cv": ("Heatcapacity_Cv_cal_mol_K", 1.0),
    "zpve": ("ZPVE_au", HARTREE),
    "r2": ("R2_bohr2", 1.0),
    "u0": ("InternalEnergy_0K_au", HARTREE),
}
"""Name: (column of qm9pack, factor to alpha Bohr^3, gap homo lumo zpve u0 eV, mu Debye, cv cal/mol/K, r2 Bohr^2)."""

PARTS = ("half_a", "half_b", "validation", "test")
SPLIT = Path(__file__).parent / "split.npz"
SIZES = {"half_a": 50_000, "half_b": 50_000, "test": 13_083}


@dataclass(frozen=True)
class Molecules:
    """Molecules stored end to end: molecule i has the atoms `offsets[i]` to `offsets[i + 1]`.

    `positions` `[atoms, 3]` in angstrom, zero centre of mass per molecule (unit weights); `types` `[atoms]`,
    numbers into `ELEMENTS`; `charges` `[atoms]`, formal; `partial` `[atoms]`, Mulliken charges;
    `properties` name -> `[molecules]`; `smiles` one per molecule, as QM9 gives it.
    """

    offsets: Tensor
    positions: Tensor
    types: Tensor
    charges: Tensor
    partial: Tensor
    properties: dict[str, Tensor]
    smiles: list[str]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> Tensor:
        """The number of atoms of each molecule."""
        return self.offsets.diff()

    def pad(self, index: Tensor, length: int | None = None) -> dict[str, Tensor]:
        """`positions [b, n, 3]`, `types [b, n]`, `charges`, `partial` and `mask [b, n]` of some molecules."""
        counts = self.counts[index]
        n = int(counts.max()) if length is None else length
        mask = torch.arange(n) < counts[:, None]
        where = (self.offsets[index][:, None] + torch.arange(n)).clamp(max=len(self.types) - 1)
        return {
            "positions": self.positions[where] * mask[..., None],
            "types": self.types[where].long() * mask,
            "charges": self.charges[where].long() * mask,
            "partial": self.partial[where] * mask,
            "mask": mask,
        }


def parse_number(text: str) -> float:
    """A float as QM9 writes it; a few are Mathematica's, such as `2.1*^-6`.

    >>> parse_number("1.5"), parse_number("2.1*^-6")
    (1.5, 2.1e-06)
    """
    return float(text.replace("*^", "e"))


def read_rows() -> Iterator[dict[str, str]]:
    """The rows of the three tables of qm9pack, in the order of QM9's index."""
    found = find_spec("qm9pack")  # found, not imported: its __init__ wants pandas and pkg_resources
    if found is None or not found.submodule_search_locations:
        raise Misuse("Reading QM9 needs the package qm9pack.", "Run: pip install headwater[qm9]")
    csv.field_size_limit(1 << 24)
    for part in (1, 2, 3):
        table = Path(found.submodule_search_locations[0]) / "data" / f"qm9_part{part}.csv"
        with table.open(newline="", encoding="utf-8") as handle:
            yield from csv.DictReader(handle)


def formal_charges(smiles: str, types: Sequence[int]) -> list[int]:
    """Formal charges from the SMILES; QM9 lists the heavy atoms in its order, hydrogens after them."""
    if "+" not in smiles and "-" not in smiles:
        return [0] * len(types)
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles, sanitize=False)
    heavy = [a for a in molecule.GetAtoms() if a.GetAtomicNum() > 1]
    order = [i for i, z in enumerate(types) if z != 0]
    if [a.GetSymbol() for a in heavy] != [ELEMENTS[types[i]] for i in order]:
        raise ValueError(f"the atoms of {smiles} are in another order than in the table")
    charges = [0] * len(types)
    for atom, i in zip(heavy, order, strict=True):
        charges[i] = atom.GetFormalCharge()
    return charges


def parse() -> Molecules:
    """QM9 as qm9pack has it: 130,831 molecules."""
    offsets, smiles = [0], []
    positions, types, charges, partial = [], [], [], []
    values: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for row in read_rows():
        z = [ELEMENTS.index(e) for e in ast.literal_eval(row["Elements"])]
        xyz = np.array(ast.literal_eval(row["XYZ_Ang"].replace("*^", "e")), dtype=np.float64)
        positions.append(xyz - xyz.mean(0))
        types.append(z)
        charges.append(formal_charges(row["SMILES"], z))
        partial.append(ast.literal_eval(row["Mulliken_pop"].replace("*^", "e")))
        offsets.append(offsets[-1] + len(z))
        smiles.append(row["SMILES"])
        for name, (column, factor) in COLUMNS.items():
            values[name].append(parse_number(row[column]) * factor)
    return Molecules(
        torch.tensor(offsets),
        torch.from_numpy(np.concatenate(positions)).float(),
        torch.tensor([z for m in types for z in m], dtype=torch.uint8),
        torch.tensor([c for m in charges for c in m], dtype=torch.int8),
        torch.tensor([q for m in partial for q in m], dtype=torch.float32),
        {name: torch.tensor(v, dtype=torch.float64) for name, v in values.items()},
        smiles,
    )


def load(work: Path) -> Molecules:
    """QM9 from `work/qm9.npz`; parsed from qm9pack and stored there at the first call (about two minutes)."""
    stored = work / "qm9.npz"
    if not stored.exists():
        molecules = parse()
        work.mkdir(parents=True, exist_ok=True)
        temporary = work / "qm9.tmp.npz"
        arrays = {
            k: getattr(molecules, k).numpy() for k in ("offsets", "positions", "types", "charges", "partial")
        }
        arrays |= {f"property_{k}": v.numpy() for k, v in molecules.properties.items()}
        np.savez(temporary, smiles=np.array(molecules.smiles), **arrays)
        os.replace(temporary, stored)
    with np.load(stored) as z:
        parts = {k: torch.from_numpy(z[k]) for k in ("offsets", "positions", "types", "charges", "partial")}
        properties = {name: torch.from_numpy(z[f"property_{name}"]) for name in COLUMNS}
        return Molecules(**parts, properties=properties, smiles=[str(s) for s in z["smiles"]])


def draw_split(count: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The part of every molecule, a number into `PARTS`, drawn once from the seed."""
    order = np.random.default_rng(seed).permutation(count)
    part = np.full(count, PARTS.index("validation"), dtype=np.uint8)
    start = 0
    for name, size in SIZES.items():
        part[order[start : start + size]] = PARTS.index(name)
        start += size
    return part


def split(name: str) -> Tensor:
    """The rows of QM9 in one of `PARTS`, from the committed list, in QM9's order: the smallest molecules first.

    >>> len(split("half_a")), len(split("half_b")), len(split("test"))
    (50000, 50000, 13083)
    """
    if name not in PARTS:
        raise Misuse(f"There is no part of QM9 named {name!r}.", f"Give one of {', '.join(PARTS)}.")
    with np.load(SPLIT) as z:
        return torch.from_numpy(np.flatnonzero(z["part"] == PARTS.index(name)))


def sample(name: str, count: int, seed: int = 0) -> Tensor:
    """Some rows of a part, drawn at random.

    >>> len(sample("test", 100))
    100
    """
    rows = split(name)
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse QM9 and, if asked, write the list of the split."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of qm9.npz")
    p.add_argument("--write-split", action="store_true", help="draw the split again and write its list")
    options = p.parse_args(arguments)
    molecules = load(options.work)
    if options.write_split:
        np.savez_compressed(SPLIT, part=draw_split(len(molecules)))
    counts = molecules.counts
    print(f"{len(molecules):,} molecules, {int(counts.min())} to {int(counts.max())} atoms")
    print(", ".join(f"{name} {len(split(name)):,}" for name in PARTS))


if __name__ == "__main__":
    main()
