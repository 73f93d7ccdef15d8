"""`headwater molecule`: what is refused, what is written, how it ends; the design itself is a stub."""

import csv
import json
import signal

import numpy as np
import pytest
import torch
from cli_tools import call, report, two_sentences

from headwater.cli.molecule import checks as molecule_checks
from headwater.cli.molecule import files as molecule_files
from headwater.control import Event
from headwater.errors import Misuse
from headwater.molecule import design as designing
from headwater.molecule import sizes as molecule_sizes
from headwater.molecule import units
from headwater.molecule.design import Design
from headwater.molecule.molecule import Molecule, batch_of
from headwater.status import Status

pytest.importorskip("rdkit")

PLACES = {
    "water": ("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    "methane": (
        "CHHHH",
        [[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]],
    ),
    "radical": ("CHHH", [[0, 0, 0], [1.08, 0, 0], [-0.54, 0.94, 0], [-0.54, -0.94, 0]]),
}  # fmt: skip
RANGES = {"gap": (3.5, 11.9), "homo": (-9.6, -4.9), "lumo": (-3.0, 2.9), "mu": (0.01, 8.2)} | {
    "alpha": (35.0, 105.0), "cv": (14.0, 45.0)
}  # fmt: skip


def known(name):
    symbols, places = PLACES[name]
    return Molecule(tuple(symbols), np.array(places, dtype=float), (0,) * len(symbols), name)


def xyz(path, *names, line=None):
    text = ""
    for name in names:
        m = known(name)
        atoms = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(m.symbols, m.positions, strict=True)]
        text += "\n".join([str(len(m)), name, *atoms, ""])
    path.write_text(text if line is None else text.replace(*line))


def a_design(names, value=5.0, status=Status.REACHED, off=0.1):
    n = len(names)
    molecules = batch_of([known(name) for name in names])
    steps = torch.arange(n)
    predicted = {k: value + off * steps.double() for k in units.UNITS}
    near = {k: v + 0.05 for k, v in predicted.items()}
    x = torch.zeros(n, 29, 9)
    return Design(
        molecules,
        near,
        predicted,
        near,
        (status,) * n,
        torch.zeros(n),
        torch.ones(n) > 0,
        steps + 3,
        24 * (steps + 3),
        x,
        x,
    )


@pytest.fixture
def asked(monkeypatch):
    """The requests that reach a stubbed design, whose molecules are water, methane, water, a radical, ..."""
    requests = []

    def design(request, networks=None, command="design"):
        requests.append(request)
        if request.callback is not None and command == "design":
            for k in range(1, 4):
                n = request.count
                cost = torch.ones(n, dtype=torch.float64) / k
                event = Event(k, torch.arange(n), cost, cost, torch.zeros(n, 29, 9), cost)
                if (end := request.callback(event)) is not None:
                    return a_design(names(n), status=end)
        return a_design(names(request.count))

    def names(count):
        return [("water", "methane", "water", "radical")[i % 4] for i in range(count)]

    def generate(count, seed=0, **options):
        return design(designing.Request(count, seed, **options), command="generate")

    monkeypatch.setattr(designing, "design", design)
    monkeypatch.setattr(designing, "generate", generate)
    monkeypatch.setattr(molecule_sizes, "ranges", lambda: RANGES)
    return requests


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch, request):
    """Write sheet and page without drawing them, but for tests marked so."""
    if "pictures" in request.fixturenames:
        return
    for name in ("sheet", "page"):
        monkeypatch.setattr(molecule_files, name, lambda path, cards, **more: path.write_bytes(b"picture"))


@pytest.fixture
def pictures():
    """For tests that draw."""


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


COSTS = {
    "good": "def cost(positions, types, mask):\n    return ((positions ** 2).sum(-1) * types[..., 2]).sum(1)",
    "scalar": "def cost(positions, types, mask): return positions.sum()",
    "cut_off": "def cost(positions, types, mask): return positions.detach().sum((1, 2))",
    "nan": "def cost(positions, types, mask): return positions.sum((1, 2)) * float('nan')",
    "steep": "def cost(positions, types, mask): return positions.square().sum(-1).sqrt().sum(1)",
    "mixing": "def cost(positions, types, mask): return positions.square().sum().expand(len(mask))",
    "flat": "def cost(positions, types, mask): return (positions * 0).sum((1, 2))",
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
T, G, S = "molecule target", "molecule grow", "molecule score"
BAD = [
    # targets and their units
    (T, "Give a target with its unit"),
    (f"{T} --gap 5.0", "--gap 5.0 has no unit. Write 5.0eV"),
    (f"{T} --gap 5D", "but gap is an energy."),
    (f"{T} --mu 2eV", "but mu is a dipole moment."),
    (f"{T} --cv 30", "Write 30cal/mol/K"),
    (f"{T} --alpha 70Bohr", "unknown unit 'Bohr'"),
    (f"{T} --gap nan", "is not finite."),
    (f"{T} --gap naneV", "does not begin with a number."),
    (f"{T} --gap 1e999eV", "is not finite."),
    (f"{T} --gap -5eV", "is negative."),
    (f"{T} --gap", "headwater molecule target --help"),
    (f"{T} --gop 5eV", "--gap"),
    (f"{T} --homo -6eV --lumo 1eV --gap 5eV", "Leave one of the three out"),
    (f"{T} --homo 1eV --lumo -1eV", "--homo is above --lumo."),
    (f"{T} --gap 5eV --weight mu=2", "Give --mu as well."),
    (f"{T} --gap 5eV --weight gop=2", "Did you mean 'gap'?"),
    (f"{T} --gap 5eV --weight gap=-1", "Give a positive number"),
    (f"{T} --gap 5eV --weight gap=nan", "Give a positive number"),
    (f"{T} --gap 5eV --weight gap", "Give a positive number"),
    # counts
    (f"{T} --gap 5eV --count 0", "Give a positive number."),
    (f"{T} --gap 5eV --count 1.5", "Give a whole number"),
    (f"{T} --gap 5eV --seed -1", "--seed is -1."),
    (f"{T} --gap 5eV --steps 0", "Give a positive number."),
    (f"{T} --gap 5eV --gradients -3", "Give 0 to screen draws only"),
    (f"{T} --gap 5eV --candidates 0", "Give a positive number."),
    (f"{T} --gap 5eV --seconds nan", "Give a positive number."),
    (f"{T} --gap 5eV --seconds 0", "Give a positive number."),
    (f"{T} --gap 5eV --best 2", "Give --check dft as well."),
    (f"{T} --gap 5eV --check dft --best 0", "Give a positive number."),
    (f"{T} --gap 5eV --check dtf", "Did you mean 'dft'?"),
    # atoms and formulae
    (f"{T} --gap 5eV --atoms 30", "Give 3 to 29"),
    (f"{T} --gap 5eV --atoms 2", "Give 3 to 29"),
    (f"{T} --gap 5eV --atoms 9 --formula CH4", "Give one of them."),
    (f"{T} --gap 5eV --formula C2H5", "an odd number of electrons"),
    (f"{T} --gap 5eV --formula C2H8", "Give at most 6 hydrogens."),
    (f"{T} --gap 5eV --formula C6H5Cl", "has the element Cl."),
    (f"{T} --gap 5eV --formula C10H22", "has 32 atoms."),
    (f"{T} --gap 5eV --formula NH4+", "has a charge."),
    ("molecule generate --formula (CH3)2CO", "has brackets"),
    ("molecule generate --formula c6h6", "is no formula."),
    ("molecule generate --atoms 0", "Give 3 to 29"),
    ("molecule generate --gap 5eV", "headwater molecule generate --help"),
    # a cost of one's own
    (f"{T} --cost none.py", "There is no file none.py."),
    (f"{T} --cost goood.py", "Did you mean good.py?"),
    (f"{T} --cost folder", "is a folder."),
    (f"{T} --cost ch3.xyz", "is no Python file."),
    (f"{T} --cost scalar.py", "one value per problem"),
    (f"{T} --cost cut_off.py", "does not carry a gradient"),
    (f"{T} --cost nan.py", "Return finite floats"),
    (f"{T} --cost steep.py", "a gradient that is not finite."),
    (f"{T} --cost mixing.py", "mixes the molecules of a batch."),
    (f"{T} --cost flat.py", "has no gradient"),
    (f"{T} --cost fails.py", "AttributeError"),
    (f"{T} --cost two.py", "TypeError"),
    (f"{T} --cost alone.py", "any number of molecules"),
    (f"{T} --cost other.py", "Rename one of loss"),
    (f"{T} --cost kost.py", "Did you mean 'kost'?"),
    (f"{T} --cost shape.py", "is a class."),
    (f"{T} --cost number.py", "is of type int."),
    (f"{T} --cost syntax.py", "SyntaxError"),
    (f"{T} --cost raises.py", "SystemExit: no"),
    # fragments
    (f"{G} none.xyz", "none.xyz does not exist."),
    (f"{G} folder", "unknown kind"),
    (f"{G} ch3.pdb", "unknown kind"),
    (f"{G} empty.sdf", "is empty."),
    (f"{G} text.sdf", "M  END"),
    (f"{G} cut.xyz", "is cut off"),
    (f"{G} nan.xyz", "not finite"),
    (f"{G} two.xyz", "has 2 molecules."),
    (f"{G} chlorine.xyz", "has the element Cl."),
    (f"{G} squeezed.xyz", "0.096 angstrom apart."),
    (f"{G} large.xyz", "has 29 atoms."),
    (f"{G} huge.xyz", "has 30 atoms."),
    (f"{G} whole.xyz", "Take away a hydrogen"),
    (f"{G} ch3.xyz --atoms 4", "Give 5 to 29 atoms, or a smaller fragment."),
    (f"{G} ch3.xyz --formula NH3", "leaves none to generate of 4."),
    (f"{G} ch3.xyz --formula N2H4", "has 1 C but the formula only 0."),
    (f"{G} ch3.xyz --gap 5", "has no unit."),
    (G, "headwater molecule grow --help"),
    # outputs
    (f"{T} --gap 5eV -o there.sdf", "there.sdf exists already."),
    (f"{T} --gap 5eV -o told.sdf", "told.csv exists already."),
    (f"{T} --gap 5eV -o drawn.sdf", "drawn-sheet.png exists already."),
    (f"{T} --gap 5eV -o shown.xyz", "shown.html exists already."),
    (f"{T} --gap 5eV -o placed.sdf", "placed.xyz exists already."),
    (f"{T} --gap 5eV -o noted.sdf", "noted.json exists already."),
    (f"{T} --gap 5eV -o hits.pdb", "No molecules are written as '.pdb' here."),
    (f"{T} --gap 5eV -o hits", "No molecules are written as ''"),
    (f"{T} --gap 5eV -o folder", "is a folder."),
    (f"{T} --gap 5eV -o no/folder/x.sdf", "does not exist."),
    (f"{G} ch3.xyz -o ch3.sdf --overwrite", "is also an input."),
    (f"{G} ch3.xyz -o ch3.xyz --overwrite", "is also an input."),
    # scores
    (f"{S} none.sdf", "does not exist."),
    (f"{S} empty.sdf", "is empty."),
    (f"{S} text.sdf", "M  END"),
    (f"{S} chlorine.xyz", "has the element Cl."),
    (f"{S} huge.xyz", "has 30 atoms."),
    (f"{S} nan.xyz", "not finite"),
    (f"{S} two.xyz -o two.sdf", "No scores are written as '.sdf' here."),
    (f"{S} two.xyz -o told.csv", "told.csv exists already."),
    (f"{S} two.xyz -o noted.csv", "noted.json exists already."),
    (S, "headwater molecule score --help"),
    ("molecule tagret --gap 5eV", "Did you mean 'target'?"),
]


def everything(folder):
    files = {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
    return {path: content for path, content in files.items() if "__pycache__" not in str(path)}


@pytest.mark.parametrize("line, words", BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_refused(line, words, folder, asked, capsys):
    before = everything(folder)
    assert call(line) == 2
    out, err = capsys.readouterr()
    assert err.startswith("Error: ") and two_sentences(err), err
    assert words in err and "Traceback" not in err and out == ""
    assert everything(folder) == before and asked == []


def test_a_missing_package_is_named_before_the_work(folder, asked, capsys, monkeypatch):
    monkeypatch.setitem(molecule_checks.PACKAGES, "dft", ("no_such_package",))
    before = everything(folder)
    assert call(f"{T} --gap 5eV --check dft") == 2
    assert "pip install headwater[dft]" in capsys.readouterr().err
    assert everything(folder) == before and asked == []


def test_every_option_has_a_help_text(capsys):
    from headwater.cli.molecule.commands import molecule

    for name in ("generate", "target", "grow", "score"):
        assert call(f"molecule {name} --help") == 0
        assert "--no-" not in capsys.readouterr().out
        for argument in molecule[name].assemble_argument_collection(parse_docstring=True):
            if argument.show and argument.parameter.name:
                assert argument.parameter.help, argument.parameter.name


def test_a_run_writes_everything(folder, asked, pictures, capsys):
    line = (
        f"{T} --gap 5.0eV --mu 5000e-3D --weight gap=2 --count 4 --seed 7 --atoms 9 --check none -o hits.sdf"
    )
    assert call(f"{line} --steps 6 --gradients 5 --candidates 2") == 0
    (request,) = asked
    assert [(t.property, t.value, t.weight) for t in request.targets] == [("gap", 5.0, 2.0), ("mu", 5.0, 1.0)]
    assert (request.count, request.seed, request.atoms) == (4, 7, 9)
    assert (request.steps, request.gradients, request.candidates) == (6, 5, 2)
    out, err = capsys.readouterr()
    for name in ("hits.sdf", "hits.xyz", "hits.csv", "hits.json", "hits-sheet.png", "hits.html"):
        assert (folder / name).stat().st_size > 0 and name in out
    assert "asked" in out and "evaluator" in out and "duplicate of 1" in out and "unstable" in out
    assert out.splitlines()[-1] == "Best: number 1, O, evaluator: gap 5.000 eV, mu 5.000 D"
    assert err.startswith("target  starting")


def test_the_report_says_everything(folder, asked):
    assert call(f"{T} --gap 5eV --count 4 --seed 3 --check none -o hits.sdf --quiet") == 0
    r = report(folder / "hits.json")
    assert (
        r["command"] == "molecule target" and r["settings"]["count"] == 4 and r["settings"]["check"] == "none"
    )
    assert r["targets"]["gap"].items() >= {"asked": 5.0, "weight": 1.0, "tolerance": 0.13}.items()
    assert r["units"]["gap"] == "eV" and "2.981" in r["meaning"]["cv"]
    assert r["seconds"] >= 0 and r["peak_memory_bytes"] > 1e7 and {"torch", "rdkit"} <= set(r["versions"])
    assert set(r["models"]) == {"generator", "guide", "evaluator"}
    first, _, third, fourth = r["molecules"]
    assert first["seed"] == 3 and first["smiles"] == "O" and first["hit"] is True and first["gradients"] == 3
    assert first["asked"] == {"gap": 5.0} and first["guide"]["gap"] == 5.05 and first["xtb"] is None
    assert first["status"] == "REACHED" and first["sentence"] == Status.REACHED.value
    assert set(first["evaluator"]) == set(units.UNITS)
    assert third["duplicate_of"] == 1 and fourth["stable"] is False and fourth["hit"] is False
    s = r["summary"]
    assert s["molecules"] == 4 and s["hits"] == 2 and s["molecule_stable"] == 0.75
    assert s["mae"]["gap"] == pytest.approx(0.15) and s["mae_of_sound"]["gap"] == pytest.approx(0.1)
    missing = (
        set(first) - set(r["definitions"]) - {"number", "status", "sentence", "formula", "atoms", "notes"}
    )
    assert not missing, missing


def test_table_and_tags_have_units_in_their_names(folder, asked):
    from headwater.molecule.files import read_molecules

    assert call(f"{T} --gap 5eV --cv 5cal/mol/K --count 4 --check none -o hits.sdf --quiet") == 0
    with (folder / "hits.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [r["number"] for r in rows] == ["1", "2", "3", "4"]
    assert rows[1]["gap_asked_eV"] == "5.0" and rows[1]["gap_evaluator_eV"] == "5.1"
    assert rows[1]["cv_guide_cal_per_mol_K"] == "5.15" and rows[2]["duplicate_of"] == "1"
    molecules = read_molecules(folder / "hits.sdf")
    assert [m.name for m in molecules] == [f"hits-{i}" for i in (1, 2, 3, 4)]
    assert molecules[3].data["notes"] == "unstable" and molecules[3].data["status"] == "REACHED"
    assert molecules[1].data["gap_evaluator_eV"] == 5.1
    assert len(read_molecules(folder / "hits.xyz")) == 4


def test_an_xyz_output_makes_no_sdf(folder, asked):
    assert call(f"{T} --gap 5eV --count 2 --check none -o only.xyz --quiet") == 0
    made = {p.name for p in folder.iterdir() if p.name.startswith("only")}
    assert made == {"only.xyz", "only.csv", "only.json", "only-sheet.png", "only.html"}


def test_quiet_is_quiet(folder, asked, capsys):
    assert call(f"{T} --gap 5eV --count 1 --check none --quiet") == 0
    assert capsys.readouterr() == ("", "") and (folder / "hits.sdf").exists()


def test_overwrite_replaces(folder, asked):
    assert call(f"{T} --gap 5eV --count 1 --check none --quiet --overwrite -o there.sdf") == 0
    assert (folder / "there.sdf").read_text() != "mine"


@pytest.mark.parametrize("target", ["--gap 20eV", "--homo -0.01eV", "--mu 20D", "--alpha 5Bohr^3"])
def test_a_target_outside_qm9_is_a_warning_with_the_range(target, folder, asked, capsys):
    assert call(f"{T} {target} --count 1 --check none --quiet") == 0
    name = target.split()[0].removeprefix("--")
    low, high = RANGES[name]
    err = capsys.readouterr().err
    assert err.startswith(f"Warning: --{name} ") and "99.8 %" in err
    assert f"{units.number(name, low)} to {units.show(name, high)}" in err
    assert report(folder / "hits.json")["warnings"]


def test_generate_with_a_formula_and_many_heavy_atoms(folder, asked, capsys):
    assert call("molecule generate -n 2 --formula C10H12 --steps 3 --check none -o g.sdf") == 0
    assert asked[0].formula == {"C": 10, "H": 12} and asked[0].targets == ()
    out, err = capsys.readouterr()
    assert "at most 9" in err and "Best" not in out and "gap\neV" not in out and "methane" not in out
    assert report(folder / "g.json")["molecules"][0]["hit"] is None


def test_batches_have_the_seeds_of_the_run(folder, asked):
    assert call("molecule generate -n 70 --seed 5 --check none -o g.xyz --quiet") == 0
    assert [(r.count, r.seed) for r in asked] == [(64, 5), (6, 69)]
    molecules = report(folder / "g.json")["molecules"]
    assert [m["seed"] for m in molecules] == list(range(5, 75)) and molecules[69]["number"] == 70


def test_grow_passes_the_fragment_and_a_cost(folder, asked, capsys):
    assert call(f"{G} ch3.xyz --formula C2H6O --cost good.py --count 1 --check none --quiet") == 0
    (request,) = asked
    assert request.fragment.symbols == ("C", "H", "H", "H") and request.targets == ()
    assert request.formula == {"C": 2, "H": 6, "O": 1} and callable(request.cost)
    r = report(folder / "ch3-grow.json")
    assert r["inputs"] == ["ch3.xyz", "good.py"] and r["settings"]["fragment"] == "ch3.xyz"


def ended(monkeypatch, *statuses, spoil=None):
    """Make the design end with these statuses."""

    def design(request, networks=None):
        from dataclasses import replace

        done = a_design(["water", "methane"])
        if spoil is not None:
            done.molecules.positions[0] = spoil
        return replace(done, status=statuses)

    monkeypatch.setattr(designing, "design", design)


@pytest.mark.parametrize(
    "status, code",
    [
        (Status.CONVERGED, 0),
        (Status.EVALUATIONS, 0),
        (Status.STALLED, 0),
        (Status.SECONDS, 0),
        (Status.CANCELLED, 130),
        (Status.DIVERGED, 1),
    ],
)
def test_how_it_ends_is_an_exit_code_and_a_warning(status, code, folder, asked, capsys, monkeypatch):
    ended(monkeypatch, status, Status.REACHED)
    assert call(f"{T} --gap 5eV --count 2 --check none --quiet") == code
    out, err = capsys.readouterr()
    assert out == "" and (status.value in err) is not status.ok
    assert report(folder / "hits.json")["molecules"][0]["status"] == status.name
    assert len((folder / "hits.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("spoil", [float("nan"), 0.0])
def test_a_molecule_without_coordinates_is_reported(spoil, folder, asked, capsys, monkeypatch):
    ended(monkeypatch, Status.DIVERGED, Status.REACHED, spoil=spoil)
    assert call(f"{T} --gap 5eV --count 2 --check none -o hits.sdf") == 1
    first, second = report(folder / "hits.json")["molecules"]
    assert (
        first["formula"] is None and first["evaluator"]["gap"] is None and "no coordinates" in first["notes"]
    )
    assert second["formula"] == "CH4" and (folder / "hits.sdf").read_text().count("$$$$") == 1
    assert len((folder / "hits.csv").read_text().splitlines()) == 3
    assert "Best: number 2, C," in capsys.readouterr().out


def test_no_molecule_has_coordinates(folder, asked, monkeypatch):
    def design(request, networks=None):
        done = a_design(["water"], status=Status.DIVERGED)
        done.molecules.positions[:] = float("nan")
        return done

    monkeypatch.setattr(designing, "design", design)
    assert call(f"{T} --gap 5eV --count 1 -o hits.sdf") == 1
    assert report(folder / "hits.json")["summary"] == {
        "molecules": 1, "with_coordinates": 0, "sound": 0, "hits": 0, "mae": {"gap": None},
        "mae_of_sound": {"gap": None},
    }  # fmt: skip
    assert not (folder / "hits-sheet.png").exists() and (folder / "hits.csv").exists()


def interrupting(monkeypatch, at):
    """Press Ctrl-C in the rounds `at` of the design."""
    stub = designing.design

    def design(request, networks=None):
        from dataclasses import replace

        def callback(event):
            for _ in range(at.count(event.round)):
                signal.raise_signal(signal.SIGINT)
            return request.callback(event)

        return stub(replace(request, callback=callback))

    monkeypatch.setattr(designing, "design", design)


def test_ctrl_c_keeps_what_is_done(folder, asked, monkeypatch, capsys):
    former = signal.getsignal(signal.SIGINT)
    interrupting(monkeypatch, at=(2,))
    assert call(f"{T} --gap 5eV --count 70 -o hits.sdf") == 130
    r = report(folder / "hits.json")
    assert len(r["molecules"]) == 64 and r["interrupted"] and r["molecules"][0]["status"] == "CANCELLED"
    err = capsys.readouterr().err
    assert "6 of 70 molecules were not begun." in err and "What was done is written" in err
    assert signal.getsignal(signal.SIGINT) is former


def test_ctrl_c_twice_aborts(folder, asked, monkeypatch, capsys):
    interrupting(monkeypatch, at=(1, 1))
    before = everything(folder)
    assert call(f"{T} --gap 5eV --count 2 -o hits.sdf") == 130
    assert everything(folder) == before and "What is in no file yet is lost." in capsys.readouterr().err


def test_the_time_limit(folder, asked):
    assert call(f"{T} --gap 5eV --count 2 --seconds 1e-9 --check none --quiet") == 0
    assert report(folder / "hits.json")["molecules"][0]["status"] == "SECONDS"


def test_running_out_of_memory_names_the_option(folder, asked, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(designing, "design", fail)
    before = everything(folder)
    assert call(f"{T} --gap 5eV --quiet") == 2
    assert "--count" in (err := capsys.readouterr().err) and two_sentences(err)
    assert everything(folder) == before


def ending(monkeypatch, error):
    """The second batch raises."""
    stub, calls = designing.design, []

    def design(request, networks=None):
        calls.append(request)
        if len(calls) == 2:
            raise error
        return stub(request)

    monkeypatch.setattr(designing, "design", design)


@pytest.mark.parametrize(
    "error, words",
    [(MemoryError(), "ran out of memory"), (Misuse("The cost failed.", "Make it work."), "The cost failed.")],
)
def test_what_ends_a_later_batch_keeps_the_first(error, words, folder, asked, monkeypatch, capsys):
    ending(monkeypatch, error)
    assert call(f"{T} --gap 5eV --count 130 -o hits.sdf --check none --quiet") == 2
    err = capsys.readouterr().err
    assert words in err and "66 of 130 molecules were not begun." in err
    r = report(folder / "hits.json")
    assert len(r["molecules"]) == 64 and words in r["ended_by"]
    assert (folder / "hits.sdf").exists() and (folder / "hits.html").exists()


def test_a_defect_in_a_later_batch_leaves_the_molecules_before(folder, asked, monkeypatch):
    ending(monkeypatch, RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        call(f"{T} --gap 5eV --count 130 -o hits.sdf --check none --quiet")
    assert len((folder / "hits.csv").read_text().splitlines()) == 65


def test_batches_are_numbered_on_and_duplicates_found_across_them(folder, asked):
    assert call(f"{T} --gap 5eV --count 66 -o hits.sdf --check none --quiet") == 0
    last = report(folder / "hits.json")["molecules"][-2:]
    assert [(m["number"], m["seed"], m["smiles"], m["duplicate_of"]) for m in last] == [
        (65, 64, "O", 1), (66, 65, "C", 2)
    ]  # fmt: skip


# ---- the checks


@pytest.fixture
def fake_xtb(monkeypatch):
    """xTB that costs nothing; the molecules it got."""
    from headwater.molecule import xtb

    seen = []

    def relax(m):
        seen.append(m)
        e = xtb.Electrons(-7.0, -2.0, 5.0, 1.5)
        return xtb.Relaxed(
            m, len(seen) != 2, 5, 0.1, 0.03, len(seen) == 1, e, e, "" if len(seen) != 2 else "No."
        )

    monkeypatch.setattr(xtb, "relax", relax)
    monkeypatch.setattr(molecule_checks, "find_spec", lambda name: True)
    return seen


def test_xtb_stands_beside_the_target(folder, asked, fake_xtb, capsys):
    from headwater.molecule import xtb

    assert call(f"{T} --gap 5eV --alpha 70Bohr^3 --count 2 -o hits.sdf") == 0
    out = capsys.readouterr().out
    assert "xTB" in out and "bonds change in xTB" in out and "xTB did not converge" in out
    line = xtb.RELAXED_CALIBRATION["gap"]
    first = report(folder / "hits.json")["molecules"][0]["xtb"]
    assert first["on_b3lyp_scale"]["gap"] == pytest.approx(5 * line.slope + line.intercept, abs=1e-5)
    assert first["relaxed"]["gap_ev"] == 5.0 and first["bond_change"] is True and len(fake_xtb) == 2
    assert "gap_xtb_eV" in (folder / "hits.csv").read_text()


def test_a_check_that_fails_takes_no_other_molecule_with_it(folder, asked, fake_xtb, monkeypatch):
    from headwater.molecule import xtb

    relax = xtb.relax

    def failing(m):
        if len(m) == 5:
            raise MemoryError
        return relax(m)

    monkeypatch.setattr(xtb, "relax", failing)
    assert call(f"{T} --gap 5eV --count 3 -o hits.sdf --check xtb --quiet") == 0
    found = [m["xtb"] for m in report(folder / "hits.json")["molecules"]]
    assert found[1]["sentence"] == "The check failed: MemoryError." and found[1]["relaxed"]["gap_ev"] is None
    assert found[0]["relaxed"]["gap_ev"] == found[2]["relaxed"]["gap_ev"] == 5.0


def test_molecules_are_on_disk_before_the_checks_and_ctrl_c_keeps_them(folder, asked, monkeypatch, capsys):
    from headwater.molecule import xtb

    calls = []

    def relax(m):
        assert (folder / "hits.sdf").exists() and (folder / "hits.csv").exists()
        calls.append(m)
        if len(calls) == 2:
            raise KeyboardInterrupt
        e = xtb.Electrons(-7.0, -2.0, 5.0, 1.5)
        return xtb.Relaxed(m, True, 5, 0.1, 0.03, False, e, e)

    monkeypatch.setattr(xtb, "relax", relax)
    assert call(f"{T} --gap 5eV --count 3 -o hits.sdf --check xtb --quiet") == 130
    molecules = report(folder / "hits.json")["molecules"]
    assert [m["xtb"] is None for m in molecules] == [False, True, True]
    assert "What was done is written" in capsys.readouterr().err


def test_sigterm_during_the_checks_keeps_the_molecules(folder, asked, monkeypatch, capsys):
    """As Ctrl-C: the check that runs is dropped, report and page are written."""
    import os
    import signal

    from headwater.molecule import xtb

    def relax(m):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal came too late")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(xtb, "relax", relax)
    assert call(f"{T} --gap 5eV --count 2 -o hits.sdf --check xtb --quiet") == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(report(folder / "hits.json")["molecules"]) == 2 and (folder / "hits.html").exists()


def test_dft_computes_the_best(folder, asked, fake_xtb, monkeypatch, capsys):
    from headwater.molecule import dft

    got = []

    def check(molecules, *, callback=None):
        for i, m in enumerate(molecules):
            callback(dft.Progress(i, len(molecules), 75.0))
            got.append("".join(m.symbols))
            yield dft.Dft(-7.0, -1.9, 5.1, 1.8, -40.0, 60.0, i == 0, "" if i == 0 else "No.")

    monkeypatch.setattr(dft, "check", check)
    monkeypatch.setitem(molecule_checks.PACKAGES, "dft", ())
    assert call(f"{T} --gap 5eV --count 4 -o hits.sdf --check dft --best 2") == 0
    assert got == ["OHH", "CHHHH"]  # not the duplicate, and not the radical
    molecules = report(folder / "hits.json")["molecules"]
    assert molecules[0]["dft"]["gap"] == 5.1 and molecules[2]["dft"] is None and molecules[0]["xtb"]
    out, err = capsys.readouterr()
    assert "DFT" in out and "DFT did not converge" in out and "dft  0 of 2" in err


# ---- scores


def stub_scores(monkeypatch):
    def score(batch, networks=None):
        values = {k: torch.full((len(batch),), 4.0) + batch.mask.sum(1) for k in units.UNITS}
        return {k: v + 1 for k, v in values.items()}, values

    monkeypatch.setattr(designing, "score", score)


def test_scores_are_printed_and_nothing_is_written(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    before = everything(folder)
    assert call(f"{S} two.xyz") == 0
    out = capsys.readouterr().out
    assert "water" in out and "CH4" in out and "7.000" in out and "9.000" in out and "guide" not in out
    assert everything(folder) == before


@pytest.mark.parametrize("name", ["scores.csv", "scores.json"])
def test_scores_are_written(name, folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    assert call(f"{S} two.xyz -o {name}") == 0
    r = json.loads((folder / "scores.json").read_text())
    assert r["molecules"][0]["evaluator"]["gap"] == 7.0 and r["molecules"][0]["guide"]["gap"] == 8.0
    assert r["summary"]["valid"] == 1.0 and r["molecules"][1]["smiles"] == "C"
    assert "gap_evaluator_eV" in (folder / "scores.csv").read_text()


BENZENE = """
     RDKit          3D

 12 12  0  0  0  0  0  0  0  0999 V2000
"""


def ring(path):
    """Benzene as an SDF with aromatic bonds."""
    angle = np.arange(6) * np.pi / 3
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    places = np.concatenate([1.395 * circle, 2.48 * circle])
    atoms = [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {s}   0  0  0  0  0  0  0  0  0  0  0  0"
        for s, (x, y, z) in zip("C" * 6 + "H" * 6, places, strict=True)
    ]
    bonds = [f"{i + 1:3d}{(i + 1) % 6 + 1:3d}  4  0" for i in range(6)]
    bonds += [f"{i + 1:3d}{i + 7:3d}  1  0" for i in range(6)]
    path.write_text("benzene" + BENZENE + "\n".join([*atoms, *bonds, "M  END", "$$$$", ""]))


def test_an_aromatic_molecule_has_one_name_everywhere(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    ring(folder / "ring.sdf")
    assert call("molecule score ring.sdf -o scored.csv") == 0
    assert "c1ccccc1" in capsys.readouterr().out
    (row,) = csv.DictReader((folder / "scored.csv").open())
    (entry,) = report(folder / "scored.json")["molecules"]
    assert row["smiles"] == entry["smiles"] == entry["smiles_by_table"] == "c1ccccc1"
    assert row["sound"] == "True" and row["stable"] == "False" and row["notes"] == ""


def test_charges_are_noted(folder, monkeypatch, capsys):
    stub_scores(monkeypatch)
    text = """ammonium
     RDKit          3D

  5  4  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 N   0  0  0  0  0  0  0  0  0  0  0  0
    0.5900    0.5900    0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
   -0.5900   -0.5900    0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
   -0.5900    0.5900   -0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
    0.5900   -0.5900   -0.5900 H   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
M  CHG  1   1   1
M  END
"""
    (folder / "nh4.mol").write_text(text)
    assert call("molecule score nh4.mol") == 0
    out = capsys.readouterr().out
    assert "[NH4+]" in out and "charged: the networks know no charges" in out
