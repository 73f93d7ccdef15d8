"""The benchmarks: every script imports, every output that is named exists, and every output names its script."""

import ast
import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLAIMS, DECISIONS = ROOT / "benchmarks", ROOT / "benchmarks" / "decisions"
SHARED = {
    "common.py",
    "budgets.py",
    "classical.py",
    "digits.py",
    "drawings.py",
    "comparison_tables.py",
    "images.py",
    "molecules.py",
    "picture_sets.py",
    "plane.py",
    "recordings.py",
    "_path.py",
}
"""What the scripts import from each other; the other files are scripts."""
HAND = [
    p for p in sorted((ROOT / "docs").glob("**/*.md")) if not {"generated", "auto_examples"} & set(p.parts)
]
PAGES = [ROOT / "README.md", CLAIMS / "README.md", *HAND]


def scripts(folder):
    return sorted(file for file in folder.glob("*.py") if file.name not in SHARED)


@pytest.fixture
def importable(monkeypatch):
    """The folders of the scripts on the path, as when one is started, and none of their modules left behind."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(DECISIONS), *sys.path])
    yield
    for name in set(sys.modules) - before:
        if str(CLAIMS) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_every_script_imports_and_has_a_main(importable):
    importlib.import_module("_path")  # the mechanism of the decisions finds the claims, too
    for file in scripts(DECISIONS) + scripts(CLAIMS):
        module = importlib.import_module(file.stem)
        assert Path(module.__file__) == file and callable(module.main), file


@pytest.mark.parametrize("file", scripts(DECISIONS), ids=lambda file: file.stem)
def test_a_decision_finds_the_folder_above_before_it_imports_from_it(file):
    """`import _path` stands before the first module of the folder above."""
    above = {other.stem for other in CLAIMS.glob("*.py")}
    found = [
        name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module])
    ]
    local = [name for name in found if name in above | {"_path"}]
    assert local and local[0] == "_path"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_outputs_that_exist(page):
    for target in re.findall(r"\]\(([^)#\s]*(?:results/|-evaluation)[^)#\s]*)\)", page.read_text()):
        assert (page.parent / target).is_file(), target


def test_code_names_scripts_and_outputs_that_exist():
    files = [
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "src").glob("headwater/zoo/weights/*.json"),
        ROOT / "Makefile",
    ]
    for file in files:
        for path in re.findall(r"benchmarks/[\w/]+\.(?:py|md|json|png)", file.read_text()):
            assert (ROOT / path).is_file(), (file, path)


def test_the_tables_name_every_script_once():
    claims, decisions = (CLAIMS / "README.md").read_text().split("## Decisions")
    for text, folder in ((claims, CLAIMS), (decisions, DECISIONS)):
        named = re.findall(r"^\| `([a-z0-9_]+\.py)`", text, re.MULTILINE)
        assert sorted(named) == [file.name for file in scripts(folder)]


@pytest.mark.parametrize("folder", [CLAIMS, DECISIONS], ids=["claims", "decisions"])
def test_every_output_is_linked_and_says_which_script_of_its_folder_made_it(folder):
    readme = (CLAIMS / "README.md").read_text()
    for file in (folder / "results").glob("*.json"):
        assert f"results/{file.stem}." in readme, file
        command = json.loads(file.read_text()).get("about", {}).get("command")
        if command is not None:
            (path,) = re.findall(r"benchmarks/[\w/]+\.py", command)
            assert (ROOT / path).parent == folder and (ROOT / path).is_file(), (file, path)


@pytest.mark.parametrize(
    "file", sorted((CLAIMS / "results").glob("calibration*.json")), ids=lambda file: file.stem
)
def test_a_table_of_calibration_names_the_command_of_its_lines(importable, file):
    """As many lines, of as many replicates, as the command beside them would run."""
    importlib.import_module("_path")
    script = importlib.import_module("calibration")
    table = json.loads(file.read_text())
    about, rows = table["about"], table["rows"]
    if "calibration.py" not in about["command"]:
        return
    given = dict(re.findall(r"--(\w+) (\S+)", about["command"]))
    lines = [(row["case"], row["sampler"]) for row in rows]
    assert sorted(lines) == sorted(script.list_lines(given["cases"], given["samplers"]))
    count = int(given.get("replicates", 500))
    assert about["note"].startswith(f"{count} replicates")
    assert all(row.get("replicates", count) == count for row in rows)


def test_the_map_of_calibration_takes_the_larger_run_and_claims_nothing_of_few(importable, tmp_path):
    """Who may claim samples: the coverage, the ranks, the width and the number of replicates all have a say."""
    importlib.import_module("_path")
    table = importlib.import_module("calibration_map")

    def put(name, note, *rows):
        about = {"date": "2026-12-01", "note": note}
        (tmp_path / f"{name}.json").write_text(json.dumps({"about": about, "rows": list(rows)}))

    def row(sampler, covered, case="gaussian", **more):
        return {"case": case, "sampler": sampler, "coverage of 90 %": covered} | more

    put(
        "calibration",
        "500 replicates of",
        row("a", 90.5),
        row("b", 90, **{"std ratio": 1.7}),
        row("dps", 75.0),
    )
    put("calibration_b", "10 replicates", row("a", 50.0), row("c", 90.0, case="music"))
    wrong = {"least p of ranks": 1e-5, "R-hat, median": 1.5, "said to agree": "3 of 100"}
    put("calibration_c", "", row("d", 90.0, replicates=200, **wrong), row("e", 81.0, "music", replicates=100))
    put("calibration_map", "", {"method": "old"})
    rows = {line["method"]: line for line in table.arrange(table.choose(table.read_lines(tmp_path)))}
    assert next(iter(rows)) == "d" and list(rows)[-1] == "dps" and rows["dps"]["kind"] == "rival"
    cells = {name: line["gaussian"] or line["music"] for name, line in rows.items()}
    assert cells == {
        "a": "**90.5** (500)",
        "b": "90.0 (500)",
        "c": "90.0 (10)",
        "d": "90.0† (200)",
        "e": "**81.0** (100)",
        "dps": "75.0 (500)",
    }
    assert rows["a"]["may claim"] == "1 of 1" and rows["d"]["kind"] == "sampler"
