"""The tool that measures the house, on a small package that breaks every rule once."""

import doctest
import importlib
import subprocess
import sys

import house
import pytest

TOY = {
    "__init__.py": "from toy.flows.path import Path\n__all__ = ['Path']\n",
    "errors.py": "class Misuse(Exception): ...\n",
    "nn/__init__.py": "",
    "nn/body.py": "from toy.errors import Misuse\nimport toy.problem.cost\n",
    "problem/__init__.py": "",
    "problem/cost.py": "from .. import errors\nfrom . import operator\n",
    "problem/operator.py": "import torch, torch.nn\n",
    "flows/__init__.py": "from .path import Path\n",
    "flows/path.py": "class Path:\n    def solve(self):\n        from toy.solvers import solve\n        solve()\n",
    "solvers/__init__.py": "from toy.flows import path\n",
    "image/__init__.py": "from toy import Path\n",
    "image/sheet.py": "",
    "audio/__init__.py": "",
    "audio/sheet.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.image import sheet\n",
    "cli/__init__.py": "",
    "cli/shared.py": "from toy.image.sheet import draw\n",
    "cli/audio.py": "def run():\n    from toy.cli import shared\n    from toy.audio.sheet import draw\n",
}


def build(folder, files):
    for name, text in files.items():
        file = folder / "toy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "toy"


@pytest.fixture
def toy(tmp_path):
    return build(tmp_path, TOY)


def words(imports):
    return {str(one).replace("toy.", "") for one in imports}


def test_every_import_is_found_with_its_place(toy):
    found = {(str(one).replace("toy.", ""), one.when) for one in house.imports(toy)}
    assert found == {
        ("toy -> flows.path", "import"),
        ("nn.body -> errors", "import"),
        ("nn.body -> problem.cost", "import"),
        ("problem.cost -> errors", "import"),
        ("problem.cost -> problem.operator", "import"),
        ("flows -> flows.path", "import"),
        ("flows.path -> solvers", "call"),
        ("solvers -> flows.path", "import"),
        ("image -> flows.path", "import"),  # the door of the package has Path from there
        ("audio.sheet -> image.sheet", "typing"),
        ("cli.shared -> image.sheet", "import"),
        ("cli.audio -> cli.shared", "call"),
        ("cli.audio -> audio.sheet", "call"),
    }


def test_upward_and_sideways_imports_are_found(toy):
    """Beside each other problem and nn may import, as no circle arises; two domains may not."""
    assert words(house.upward(house.imports(toy))) == {"flows.path -> solvers", "audio.sheet -> image.sheet"}


def test_a_room_without_a_floor_is_an_error(toy):
    build(toy.parent, {"attic.py": "import toy.errors\n"})
    with pytest.raises(KeyError, match="attic"):
        house.upward(house.imports(toy))


def test_a_circle_is_found_and_costs_one_arrow(toy):
    pairs = house.arrows(house.imports(toy))
    assert house.circles(pairs) == [["flows", "solvers"]]
    assert house.against_best_order(pairs) == 1
    assert house.against_best_order(pairs - {("flows", "solvers")}) == 0


def test_a_circle_of_three_is_one_group():
    assert house.circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a")}) == [["a", "b", "c"]]


def test_what_an_import_needs_is_followed_but_not_what_a_function_there_may_need(toy):
    build(toy.parent, {"image/sheet.py": "def later():\n    import toy.nn.body\n"})
    found = words(house.reached({"toy.cli.audio"}, house.imports(toy), stop=lambda name: False))
    assert {"cli.audio -> cli.shared", "cli.audio -> audio.sheet", "cli.shared -> image.sheet"} <= found
    assert "image -> flows.path" in found  # image.sheet is imported, so image/__init__.py runs
    assert not {"image.sheet -> nn.body", "flows.path -> solvers", "audio.sheet -> image.sheet"} & found


def test_what_is_stopped_at_is_not_entered(toy):
    found = words(house.reached({"toy.cli.audio"}, house.imports(toy), stop=lambda name: "image" in name))
    assert found == {"cli.audio -> cli.shared", "cli.audio -> audio.sheet", "cli.shared -> image.sheet"}


COUNTED = '''"""A module."""

# A comment of a line.
LIMIT, STEP = 3, -0.5
NAME = "x"
small = 1  # no comment of a line


def read(x):
    """Read x `[batch, samples]`."""
    # why
    if x:
        return 1

    return 2


class A:
    NUMBER = 3

    def write(self):
        try:
            pass
        except Exception:
            pass

    def _hidden(self):
        """Of `[batch]`."""
'''


def test_sizes_are_counted(toy):
    sizes = house.Sizes()
    sizes.add("counted.py", COUNTED)
    assert sizes.lengths == [(28, "counted.py")]
    assert sorted(sizes.body_lines) == [0, 4, 4]  # from the first statement to the last, without docstrings
    assert sorted(sizes.body_statements) == [0, 3, 3]
    assert (sizes.comments, sizes.constants, sizes.blanket) == (2, 2, 1)
    assert sizes.documented == [True, False]
    assert house.spread([*range(1, 200), 1000]) == "100.5 / 198 / 1000"


def test_the_table_of_the_toy(toy):
    column = house.table(toy)
    cells = {
        "rooms": "8",
        "import arrows between rooms": "9",
        "upward imports: arrows (import statements)": "2 (2)",
        "arrows against the best order": "1",
        "circles": "flows, solvers",
        "modules": "17",
        "longest module": "4 (flows/path.py)",
    }
    assert {row: column[row] for row in cells} == cells
    assert house.table(toy, floors=False)["upward imports: arrows (import statements)"] == "-"
    assert house.markdown({"before": column, "now": column}).splitlines()[2] == "| rooms | 8 | 8 |"


def test_another_revision_is_read_from_the_repository(tmp_path):
    toy = build(tmp_path / "repo" / "src", {"__init__.py": ""})
    git = ["git", "-C", str(tmp_path / "repo"), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for name in ("errors.py", "extras.py"):
        build(toy.parent, {name: ""})
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", name], check=True)
    (tmp_path / "old").mkdir()
    assert house.rooms(house.at_revision("HEAD~1", toy, tmp_path / "old")) == {"errors"}
    assert house.rooms(toy) == {"errors", "extras"}


WALKED = {
    "__init__.py": "",
    "cli.py": "from toy import recipe, task\n\n\ndef main():\n    return recipe.solve(task.read())\n",
    "task.py": """
from toy import control


def read():
    return 1


def again():
    return control.control(2)
""",
    "recipe.py": """
from toy import control, task, write


def solve(one):
    control.control(one)
    write.write("sketch")
    write.write("report")
    return task.again()
""",
    "control.py": "def control(task):\n    return task\n",
    "write.py": "def write(what):\n    return open_file(what)\n\n\ndef open_file(path):\n    return path\n",
}


def test_a_walk_is_the_files_on_the_stack(tmp_path, monkeypatch):
    source = build(tmp_path, WALKED)
    monkeypatch.syspath_prepend(tmp_path)
    cli, control, write = (importlib.import_module(f"toy.{name}") for name in ("cli", "control", "write"))
    trace = house.Trace(
        source,
        {
            control.control.__code__: lambda frame: "control",
            write.open_file.__code__: lambda frame: {"report": "report"}.get(frame.f_locals["path"]),
        },
    )
    try:
        assert trace.run(cli.main) == 2
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
            del sys.modules[name]
    assert trace.stacks == {
        "control": ["cli.py", "recipe.py", "control.py"],
        "report": ["cli.py", "recipe.py", "write.py"],
    }
    assert trace.walk == ["cli.py", "recipe.py", "control.py", "write.py"]
    assert trace.beside == ["task.py"]  # it was called, and had returned


@pytest.mark.parametrize("domain", ["image", "molecule"])
def test_a_request_goes_through_at_most_12_files(domain, capsys):
    """The walk of a recording takes half a minute; `python tools/house.py --walk audio` prints it."""
    trace = house.walk(domain, house.SOURCE)
    house.tell_walk(domain, trace)
    assert set(trace.stacks) == {"control", "result", "report", "sheet"}
    out = capsys.readouterr().out
    assert f"{len(trace.walk)} files." in out
    assert "cli/shared/progress.py" in out  # what was called beside the walk
    assert {"cli/app.py", "dflow/control.py", "atomic.py", f"{domain}/sheet.py"} <= set(trace.walk)
    assert len(trace.walk) <= 12, out


def test_examples():
    assert doctest.testmod(house).failed == 0
    assert doctest.testmod(house).attempted >= 4
