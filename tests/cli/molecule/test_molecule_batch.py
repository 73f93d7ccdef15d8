"""Molecules of several lines of a batch are searched for at once: they are those of runs of their own."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from headwater.cli.app import main
from headwater.molecule.io.files import read_molecules

pytest.importorskip("rdkit")
pytest.importorskip("pyarrow.parquet")
torch.set_num_threads(1)

HEAD = "command,gap,mu,count,atoms,seed,method,gradients"
LINES = [
    "molecule target,5eV,,2,5,0,search,",
    "molecule target,>7eV,,1,9,7,search,",
    "molecule target,6..8eV,,1,7,3,search,",
    "molecule target,5eV,1D,1,5,0,search,",  # another property
    "molecule target,6eV,,1,5,0,search-then-control,1",  # another method
    "molecule generate,,,2,6,4,,",
]
QUICK = ("--steps=2", "--candidates=2", "--check=none", "--keep-broken", "--quiet")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Without the pictures, whose drawing takes longer than the search."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("headwater.cli.molecule.design_job.write_pictures", lambda *a, **o: None)
    return tmp_path


def run_batch(lines):
    """The records of a batch in the order of its lines."""
    rows = [f"{line},2,2,none,true" for line in lines]
    Path("jobs.csv").write_text("\n".join([f"{HEAD},steps,candidates,check,keep-broken", *rows]) + "\n")
    assert main(["batch", "jobs.csv", "--out", "out", "--workers", "0", "--quiet"]) in (0, 1)
    return sorted(
        (json.loads(p.read_text()) for p in Path("out").glob("*/job.json")), key=lambda r: r["name"]
    )


def run_alone(line, name):
    command, *cells = line.split(",")
    given = [f"--{k}={v}" for k, v in zip(HEAD.split(",")[1:], cells, strict=True) if v]
    assert main([*command.split(), *given, *QUICK, "-o", f"{name}.sdf"]) in (0, 1)
    return read_molecules(Path(f"{name}.sdf")), json.loads(Path(f"{name}.json").read_text())


def test_molecules_searched_for_together_are_those_of_single_runs():
    """Targets, ranges and numbers of atoms differ; other properties, methods and commands are solved apart."""
    found = run_batch(LINES)
    assert [record["together"] for record in found] == [3, 3, 3, 1, 1, 1]
    for i, (line, record) in enumerate(zip(LINES[:3], found, strict=False)):
        alone, report = run_alone(line, f"alone{i}")
        folder = Path("out") / record["key"]
        batch = read_molecules(next(folder.glob("*.sdf")))
        of_batch = json.loads(next(p for p in folder.glob("*.json") if p.name != "job.json").read_text())
        assert [m.symbols for m in batch] == [m.symbols for m in alone] and len(batch) > 0
        for one, other in zip(batch, alone, strict=True):
            assert np.abs(one.positions - other.positions).max() < 2e-4  # an SDF has four digits
        for one, other in zip(of_batch["molecules"], report["molecules"], strict=True):
            assert [one[k] for k in ("seed", "status", "hit")] == [
                other[k] for k in ("seed", "status", "hit")
            ]
            assert one["guide"]["gap"] == pytest.approx(other["guide"]["gap"], abs=1e-3)
        assert of_batch["solved_together"] == 3 and of_batch["seconds_of_its_share"] > 0
        assert of_batch["settings"] == report["settings"]


def test_control_of_several_lines_is_shared_too():
    lines = [f"molecule target,{gap}eV,,1,5,{seed},search-then-control,1" for seed, gap in ((1, 5), (2, 9))]
    found = run_batch(lines)
    assert [record["together"] for record in found] == [2, 2]
    for i, (line, record) in enumerate(zip(lines, found, strict=True)):
        _, report = run_alone(line, f"alone{i}")
        of_batch = json.loads((Path("out") / record["key"] / "hits.json").read_text())
        one, other = of_batch["molecules"][0], report["molecules"][0]
        assert (one["status"], one["gradients"], one["smiles"]) == (
            other["status"], other["gradients"], other["smiles"],
        )  # fmt: skip
        assert one["guide"]["gap"] == pytest.approx(other["guide"]["gap"], abs=1e-2)


def test_fragments_of_several_lines_grow_together(tmp_path):
    """Each keeps its own known part."""
    for name, atom in (("a", "O"), ("b", "N")):
        Path(f"{name}.xyz").write_text(f"2\n\n{atom} 0 0 0\nC 1.4 0 0\n")
    head = "command,input,count,atoms,seed,steps,candidates,check,keep-broken\n"
    rows = [f"molecule grow,{name}.xyz,1,7,{seed},2,1,none,true" for seed, name in enumerate("ab")]
    Path("jobs.csv").write_text(head + "\n".join(rows) + "\n")
    assert main(["batch", "jobs.csv", "--out", "out", "--workers", "0", "--quiet"]) in (0, 1)
    for path in sorted(Path("out").glob("*/job.json")):
        record = json.loads(path.read_text())
        name = Path(record["inputs"]["fragment"]).stem
        words = [
            "molecule",
            "grow",
            f"{name}.xyz",
            "--count=1",
            "--atoms=7",
            f"--seed={'ab'.index(name)}",
            "--steps=2",
        ]
        assert main([*words, "--candidates=1", *QUICK[2:], "-o", f"alone-{name}.sdf"]) in (0, 1)
        (one,), (other,) = (
            read_molecules(next(path.parent.glob("*.sdf"))),
            read_molecules(Path(f"alone-{name}.sdf")),
        )
        assert record["together"] == 2 and one.symbols == other.symbols
        assert np.abs(one.positions - other.positions).max() < 2e-4
