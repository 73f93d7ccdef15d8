"""Stubs of the design, and a folder with every file that the command lines name."""

from dataclasses import replace

import pytest
import torch
from molecule_stubs import RANGES, a_design, xyz

from headwater.cli.molecule import files as molecule_files
from headwater.cli.molecule import jobs
from headwater.dflow.result import Event
from headwater.molecule.targets import design as designing

pytest.importorskip("rdkit")

COSTS = {
    "good": "def cost(positions, types, mask):\n    return ((positions ** 2).sum(-1) * types[..., 2]).sum(1)",
    "scalar": "def cost(positions, types, mask): return positions.sum()",
    "cut_off": "def cost(positions, types, mask): return positions.detach().sum((1, 2))",
    "nan": "def cost(positions, types, mask): return positions.sum((1, 2)) * float('nan')",
    "steep": "def cost(positions, types, mask): return positions.square().sum(-1).sqrt().sum(1)",
    "mixing": "def cost(positions, types, mask): return positions.square().sum().expand(len(mask))",
    "flat": "def cost(positions, types, mask): return (positions * 0).sum((1, 2))",
    "bent": "def cost(positions, types, mask): return (0.1 - (types[..., 3] * mask).sum(1)).relu()",
    "count": "def cost(positions, types, mask): return (types.argmax(-1) * mask).sum(1).float()",
    "detour": "w = torch.ones(2, requires_grad=True)\ndef cost(positions, types, mask): return w[:len(mask)] * 1",
    "plain": "def cost(positions, types, mask): return torch.tensor(positions.numpy().sum((1, 2)))",
    "fails": "def cost(positions, types, mask): return positions.nothing",
    "alone": "def cost(positions, types, mask): return positions.sum((1, 2)) / (len(mask) == 2 or None)",
    "two": "def cost(positions, types): return positions.sum((1, 2))",
    "other": "def loss(positions, types, mask): return positions.sum((1, 2))",
    "kost": "def kost(positions, types, mask): return positions.sum((1, 2))",
    "shape": "class cost: pass",
    "number": "cost = 3",
    "syntax": "def cost(positions: return 1",
    "raises": "raise SystemExit('no')",
}


@pytest.fixture
def asked(monkeypatch):
    """The designs that reach a stub, whose molecules are water, methane, water, a radical, ...

    Each is (request, recipe). One with targets or a cost tells of three rounds.
    """
    seen = []

    def design(request, networks=None, *, recipe=None, callback=None, check=None, solver=None):
        seen.append((request, recipe))
        n = request.count
        for k in range(1, 4) if request.targets or request.cost else ():
            cost = torch.ones(n, dtype=torch.float64) / k
            event = Event(k, torch.arange(n), cost, cost, torch.zeros(n, 29, 9), cost)
            if callback is not None and (end := callback(event)) is not None:
                return a_design(names(n), status=end)
        done = a_design(names(n))
        return replace(done, cost=2.0 - torch.arange(n).double()) if request.cost else done

    def names(count):
        return [("water", "methane", "water", "radical")[i % 4] for i in range(count)]

    monkeypatch.setattr(designing, "design", design)
    monkeypatch.setattr(jobs, "load_ranges", lambda: RANGES)
    return seen


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch, request):
    """Write sheet and page without drawing them, but for tests marked so."""
    if "pictures" in request.fixturenames:
        return
    for name in ("write_sheet", "write_page"):
        monkeypatch.setattr(molecule_files, name, lambda path, cards, **more: path.write_bytes(b"picture"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Every file that the lines below name."""
    monkeypatch.chdir(tmp_path)
    xyz(tmp_path / "ch3.xyz", "radical")
    xyz(tmp_path / "two.xyz", "water", "methane")
    xyz(tmp_path / "whole.xyz", "methane")
    xyz(tmp_path / "chlorine.xyz", "methane", line=("\nH", "\nCl"))
    xyz(tmp_path / "nan.xyz", "water", line=("0.96", "nan"))
    xyz(tmp_path / "squeezed.xyz", "water", line=("0.96", "0.096"))
    xyz(tmp_path / "cut.xyz", "water", line=("3\n", "4\n"))
    (tmp_path / "large.xyz").write_text("29\nlarge\n" + "".join(f"H {i} 0 0\n" for i in range(29)))
    (tmp_path / "huge.xyz").write_text("30\nhuge\n" + "".join(f"H {i} 0 0\n" for i in range(30)))
    (tmp_path / "empty.sdf").touch()
    (tmp_path / "text.sdf").write_text("no molecule\n")
    (tmp_path / "ch3.pdb").write_text("ATOM\n")
    for name in ("there.sdf", "told.csv", "drawn-sheet.png", "shown.html", "placed.xyz", "noted.json"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "folder").mkdir()
    for name, text in COSTS.items():
        (tmp_path / f"{name}.py").write_text("import torch\n" + text)
    return tmp_path
