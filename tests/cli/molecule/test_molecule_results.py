"""What `headwater molecule` writes and says; the design itself is a stub."""

import csv
from dataclasses import replace

import pytest
import torch
from cli_tools import call, report
from molecule_stubs import RANGES, G, T, a_design

from headwater.cli.molecule.designed import add_design, leave_out_broken
from headwater.molecule.structure import units
from headwater.molecule.structure.interval import Interval
from headwater.molecule.targets import design as designing
from headwater.molecule.targets.search import METHODS
from headwater.molecule.targets.target import TOLERANCE, Target
from headwater.optimizers.status import Status


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
    assert call(f"{line} --steps 6 --gradients 5 --candidates 2") == 1
    ((request, recipe),) = asked
    assert [(t.property, t.value, t.weight) for t in request.targets] == [("gap", 5.0, 2.0), ("mu", 5.0, 1.0)]
    assert (request.count, request.seed, request.atoms) == (4, 7, 9)
    assert (recipe.steps, recipe.gradients, recipe.candidates) == (6, 5, 2)
    out, err = capsys.readouterr()
    for name in ("hits.sdf", "hits.xyz", "hits.csv", "hits.json", "hits-sheet.png", "hits.html"):
        assert (folder / name).stat().st_size > 0 and name in out
    assert (
        "asked" in out
        and "evaluator" in out
        and "duplicate of 1" in out
        and "open valences" in out
        and "gradient" in out
    )
    assert out.splitlines()[-1] == (
        "Best: number 1, O, by draw (1 heavy atom, QM9 has 4 to 9): gap 5.000 eV, mu 5.000 D; "
        "sum of deviations 0.00 tolerances"
    )
    assert "1 of 4 molecules is not sound and not in SDF and XYZ; --keep-broken writes all." in err
    assert err.startswith("target  starting")


def test_the_report_says_everything(folder, asked):
    assert call(f"{T} --gap 5eV --count 4 --seed 3 --check none -o hits.sdf --quiet") == 1
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
    assert third["duplicate_of"] == 1 and fourth["stable_edm"] is False and fourth["hit"] is False
    s = r["summary"]
    assert s["molecules"] == 4 and s["hits"] == 2 and s["molecule_stable"] == 0.75
    assert s["mae"]["gap"] == pytest.approx(0.15) and s["mae_of_sound"]["gap"] == pytest.approx(0.1)
    missing = (
        set(first) - set(r["definitions"]) - {"number", "status", "sentence", "formula", "atoms", "notes"}
    )
    assert not missing, missing


def test_table_and_tags_have_units_in_their_names(folder, asked):
    from headwater.molecule.io.files import read_molecules

    assert call(f"{T} --gap 5eV --cv 5cal/mol/K --count 4 --check none -o hits.sdf --quiet") == 1
    with (folder / "hits.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [r["number"] for r in rows] == ["1", "2", "3", "4"]
    assert rows[1]["gap_asked_eV"] == "5.0" and rows[1]["gap_evaluator_eV"] == "5.1"
    assert rows[1]["cv_guide_cal_per_mol_K"] == "5.15" and rows[2]["duplicate_of"] == "1"
    molecules = read_molecules(folder / "hits.sdf")
    assert [m.name for m in molecules] == [f"hits-{i}" for i in (1, 2, 3)]  # the radical stays out
    assert rows[3]["notes"].startswith("open valences") and rows[3]["status"] == "REACHED"
    assert [r["found_by"] for r in rows] == ["draw", "gradient"] * 2 and molecules[1].data[
        "found_by"
    ] == "gradient"
    assert molecules[1].data["gap_evaluator_eV"] == 5.1
    assert len(read_molecules(folder / "hits.xyz")) == 3


def test_ranges_and_scores_are_targets(folder, asked, capsys):
    """Methane: gap 5.1 by the stub's evaluator, QED 0.36 by RDKit."""
    line = f"{T} --gap 5.05..6eV --qed <0.4 --weight qed=3 --count 2 --check none -o r.sdf"
    assert call(line) == 1
    ((request, recipe),) = asked
    assert [(t.property, t.value, t.weight) for t in request.targets] == [
        ("gap", Interval(5.05, 6.0), 1.0), ("qed", Interval(high=0.4), 3.0)
    ]  # fmt: skip
    assert recipe.gradients == 0
    out = capsys.readouterr().out
    assert "5.05..6" in out and "<0.4" in out and "RDKit" in out
    water, methane = report(folder / "r.json")["molecules"]
    assert methane["asked"] == {"gap": {"low": 5.05, "high": 6.0}, "qed": {"low": None, "high": 0.4}}
    assert methane["hit"] is True and water["hit"] is False  # its gap of 5.0 is below the range
    assert methane["rdkit"]["qed"] == pytest.approx(0.36, abs=0.01)
    with (folder / "r.csv").open() as handle:
        _, row = csv.DictReader(handle)
    assert (row["gap_asked_low_eV"], row["gap_asked_high_eV"], row["qed_asked_low"]) == ("5.05", "6.0", "")
    assert row["qed_asked_high"] == "0.4" and float(row["qed_rdkit"]) == methane["rdkit"]["qed"]
    assert report(folder / "r.json")["targets"]["qed"]["evaluator_test_mae"] is None


@pytest.mark.parametrize(
    ("words", "method"),
    [
        ("--gap 5eV", "search"),
        ("--gap 5eV --gradients 0", "search"),
        ("--gap 5eV --gradients 3", "search-then-control"),
        ("--gap 5eV --method search-then-control", "search-then-control"),
        ("--gap 5eV --method control", "control"),
        ("--cost good.py", "search-then-control"),
        ("--cost good.py --method search", "search"),
        ("--cost plain.py --method search", "search"),
    ],
)
def test_the_method_is_search_unless_control_is_asked_for(words, method, folder, asked):
    assert call(f"{T} {words} --count 1 --check none --quiet -o m.sdf") == 0
    assert type(asked[0][1]) is METHODS[method]
    assert report(folder / "m.json")["settings"]["method"] == method


def test_scores_alone_are_draws_alone(folder, asked, capsys):
    call(f"{T} --logp 0..1 --count 1 --check none --quiet")
    assert asked[0][1].gradients == 0
    assert call(f"{T} --logp 0..1 --count 1 --gradients 5 -o other.sdf --check none") == 2
    assert "to which no gradient leads" in capsys.readouterr().err


def test_the_best_of_several_targets_has_the_smallest_sum(folder, asked, monkeypatch, capsys):
    """Water misses one target by 1.2 tolerances, methane both by about 1: the sum says water, the largest methane."""

    def design(request, networks=None, **how):
        done = a_design(["water", "methane"])
        gap, mu = ({"water": w, "methane": m} for w, m in ((1.2, 1.0), (0.0, 1.0)))
        evaluator = {**done.evaluator}
        for name, off in (("gap", gap), ("mu", mu)):
            evaluator[name] = torch.tensor([5 + TOLERANCE[name] * off[m] for m in ("water", "methane")])
        return replace(done, evaluator=evaluator)

    monkeypatch.setattr(designing, "design", design)
    assert call(f"{T} --gap 5eV --mu 5D --count 2 --check none -o s.sdf") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("No hit, the nearest: number 1, O") and "sum of deviations 1.20 tolerances" in last


def test_unique_leaves_duplicates_out_and_draws_on(folder, asked, capsys):
    """The stub has water, methane, water, a radical in every batch: three different ones, whatever is asked."""
    assert call("molecule generate -n 4 --unique --keep-broken --check none -o u.sdf") == 1
    assert [(r.count, r.seed) for r, _ in asked] == [(4, 0)] + [(2, seed) for seed in range(4, 16, 2)]
    found = report(folder / "u.json")["molecules"]
    assert [(m["number"], m["seed"], m["smiles"]) for m in found] == [
        (1, 0, "O"),
        (2, 1, "C"),
        (3, 3, "[CH3]"),
    ]
    assert all(m["duplicate_of"] is None for m in found)
    assert "Only 3 different molecules of 4 came out of 16 tries." in capsys.readouterr().err
    assert call("molecule generate -n 2 --unique --check none -o pair.sdf --quiet") == 0
    assert len(report(folder / "pair.json")["molecules"]) == 2 and asked[-1][0].count == 2


def test_of_equal_molecules_the_best_is_kept_in_the_place_of_the_first():
    """Water with a gap of 5.0 and of 5.2 eV; 5.2 is asked."""
    targets = (Target("gap", 5.2),)
    kept = add_design([], a_design(["water", "methane", "water"]), targets, 7, unique=True)
    assert [(d.number, d.seed) for d in kept] == [(1, 9), (2, 8)]
    assert [d.seed for d in add_design([], a_design(["water", "water"]), targets, 7)] == [7, 8]


def test_broken_molecules_make_room():
    radical = add_design([], a_design(["radical", "water", "methane"]), (), 0, unique=True)
    assert [d.sound for d in radical] == [False, True, True]
    assert [(d.number, d.seed) for d in leave_out_broken(radical, 2)] == [(1, 1), (2, 2)]
    assert len(leave_out_broken(radical, 3)) == 3 and len(leave_out_broken(radical, 1)) == 2


def test_the_help_tells_how_a_target_is_hit(capsys):
    assert call("molecule target --help") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "by random draws" in out
        and "search-then-control" in out
        and "found_by" in out
        and "5..6eV" in out
        and ".low" not in out
    )


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
    call(f"{T} {target} --count 1 --check none --quiet")
    name = target.split()[0].removeprefix("--")
    low, high = RANGES[name]
    err = capsys.readouterr().err
    assert err.startswith(f"Warning: --{name} ") and "99.8 %" in err
    assert f"{units.format_number(name, low)} to {units.format_quantity(name, high)}" in err
    assert report(folder / "hits.json")["warnings"]


def test_generate_with_a_formula_and_many_heavy_atoms(folder, asked, capsys):
    assert call("molecule generate -n 2 --formula C10H12 --steps 3 --check none -o g.sdf") == 0
    assert asked[0][0].formula == {"C": 10, "H": 12} and asked[0][0].targets == ()
    out, err = capsys.readouterr()
    assert "at most 9" in err and "Best" not in out and "gap\neV" not in out and "methane" not in out
    assert report(folder / "g.json")["molecules"][0]["hit"] is None


def test_batches_have_the_seeds_of_the_run(folder, asked):
    assert call("molecule generate -n 70 --seed 5 --check none -o g.xyz --quiet") == 1
    assert [(r.count, r.seed) for r, _ in asked] == [(64, 5), (6, 69)]
    molecules = report(folder / "g.json")["molecules"]
    assert [m["seed"] for m in molecules] == list(range(5, 75)) and molecules[69]["number"] == 70


def test_grow_passes_the_fragment_and_a_cost(folder, asked, capsys):
    assert call(f"{G} ch3.xyz --formula C2H6O --cost good.py --count 1 --check none --quiet") == 0
    ((request, _),) = asked
    assert request.fragment.symbols == ("C", "H", "H", "H") and request.targets == ()
    assert request.formula == {"C": 2, "H": 6, "O": 1} and callable(request.cost)
    r = report(folder / "ch3-grow.json")
    assert r["inputs"] == ["ch3.xyz", "good.py"] and r["settings"]["fragment"] == "ch3.xyz"
