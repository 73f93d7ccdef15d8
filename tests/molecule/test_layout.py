"""The rooms of the domain stand on each other without a circle; the links of its notes lead somewhere."""

import ast
import re
from pathlib import Path

import headwater

ROOT = Path(headwater.__file__).parent
FLOORS = (("structure",), ("chemistry",), ("io", "checks", "model"), ("targets", "sheet"), ("exports",))


def imported(file):
    """The modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headwater"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(room):
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def test_no_room_imports_from_a_higher_floor_or_from_one_beside_it():
    folder = ROOT / "molecule"
    for file in (f for f in folder.rglob("*.py") if f != folder / "__init__.py"):  # the door
        room = file.relative_to(folder).with_suffix("").parts[0]
        for name in imported(file):
            other = name.split(".")[2:3] if name.startswith("headwater.molecule.") else []
            if other and other[0] != room:
                assert floor(other[0]) < floor(room) or (other[0] == "io" and room == "sheet"), (file, name)


def test_links_of_the_notes_lead_somewhere():
    notes = Path(__file__).parents[2] / "docs" / "notes" / "molecules.md"
    for target in re.findall(r"\]\((?!http)([^)#]+)", notes.read_text()):
        assert (notes.parent / target).exists(), target
