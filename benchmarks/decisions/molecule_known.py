"""Molecules of which something is known, a formula or a fragment: how many are sound, and what they cost.

    python benchmarks/decisions/molecule_known.py --qm9 build/qm9 --count 48

Formulae and fragments are those of molecules of QM9's test part. A fragment is what is left of a molecule, with its
hydrogens, when a single bond between heavy atoms, in no ring, is cut: the larger part; the number of atoms, or the
formula, is that of the molecule. `--each` molecules are asked for each. Beside them draws of the same sizes with
nothing known. `first draw` takes what comes, the other rows draw until a molecule is sound, up to eight times, or
search as `grow` does.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import torch
from rdkit import Chem
from rdkit.Chem import rdmolops
from torch import Tensor

import _path  # noqa: F401
from common import kept, write
from headwater.molecule.chemistry.perception import perceive
from headwater.molecule.model.data import Molecules
from headwater.molecule.model.models import Networks
from headwater.molecule.structure.molecule import Molecule, to_molecules
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.design import FREE, Design, generate
from headwater.molecule.targets.request import Request
from molecules import design_with, join_designs, load, options, quality, sample

CUT = Chem.MolFromSmarts("[!#1]-;!@[!#1]")


def larger_part(m: Molecule) -> Molecule | None:
    """The larger part of a molecule of which a bond is cut; None if there is no bond to cut, or two charges."""
    mol = perceive(m)
    bonds = () if mol is None or any(m.charges) else mol.GetSubstructMatches(CUT)
    if not bonds:
        return None
    bond = mol.GetBondBetweenAtoms(*bonds[0]).GetIdx()
    parts = rdmolops.GetMolFrags(Chem.FragmentOnBonds(mol, [bond], addDummies=False))
    rows = sorted(max(parts, key=len))
    return Molecule(tuple(m.symbols[i] for i in rows), m.positions[rows], (0,) * len(rows))


def line(what: str, designs: list[Design], seconds: float) -> dict[str, object]:
    """One row of the table."""
    d = join_designs(designs)
    shares, count = quality(d.molecules), len(d.deviation)
    return {
        "known": what,
        "molecules": count,
        "sound %": shares["sound"],
        "molecule stable %": shares["molecule_stable"],
        "valid %": shares["valid"],
        "NFE": round(float(d.evaluations.float().mean())),
        "seconds a molecule": round(seconds / count, 2),
        "fragment moved, angstrom": "" if d.fragment_rms is None else f"{float(d.fragment_rms.max()):.1e}",
    }


def asked(molecules: Molecules, rows: Tensor, each: int) -> dict[str, object]:
    """What is run: a function of the networks for each row of the table."""
    b = molecules.pad(rows, 29)
    known = to_molecules(MoleculeBatch(b["positions"], b["types"], b["charges"], b["mask"]))
    formulae = [dict(Counter(m.symbols)) for m in known]
    sizes = torch.tensor([len(m) for m in known]).repeat_interleave(each)
    parts = [(m, part) for m in known if (part := larger_part(m)) is not None]

    def free(n: Networks, draws: int) -> list[Design]:
        return [generate(len(sizes), atoms=sizes, recipe=replace(FREE, candidates=draws), networks=n)]

    def formula(n: Networks, draws: int) -> list[Design]:
        return [
            generate(each, 100 * i, formula=f, recipe=replace(FREE, candidates=draws), networks=n)
            for i, f in enumerate(formulae)
        ]

    def grown(n: Networks, first: bool, to_formula: bool) -> list[Design]:
        how = {"candidates": 1, "gradients": 0, "attempts": 1} if first else {}
        asked = [{"formula": dict(Counter(m.symbols))} if to_formula else {"atoms": len(m)} for m, _ in parts]
        return [
            design_with(Request(each, 100 * i, fragment=part, **asked[i]), how, n)
            for i, (_, part) in enumerate(parts)
        ]

    return {
        "size, first draw": lambda n: free(n, 1),
        "size": lambda n: free(n, 8),
        "formula, first draw": lambda n: formula(n, 1),
        "formula": lambda n: formula(n, 8),
        "fragment, first draw": lambda n: grown(n, True, False),
        "fragment": lambda n: grown(n, False, False),
        "fragment and formula, first draw": lambda n: grown(n, True, True),
        "fragment and formula": lambda n: grown(n, False, True),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], count=48, each=4, keep="")
    networks, table = Networks.load(), []
    for what, work in asked(load(o.qm9), sample("test", o.count, seed=5), o.each).items():

        def run(what: str = what, work: object = work) -> dict[str, object]:
            start = time.perf_counter()
            designs = work(networks)
            return line(what, designs, time.perf_counter() - start)

        table.append(kept(o.keep, f"{what}, {o.count}, {o.each}", run))
    command = (
        f"python benchmarks/decisions/molecule_known.py --qm9 build/qm9 --count {o.count} --each {o.each}"
    )
    write(
        o.results / "molecule_known",
        table,
        command,
        f"{o.each} molecules for each of {o.count} of QM9's test part.",
    )


if __name__ == "__main__":
    main()
