"""The layout: lower floors import nothing of higher ones, no circles, and each domain stands for itself.

The floors, and the reader of imports, are in tools/house.py. Imports in functions and under TYPE_CHECKING count.
"""

import ast
from functools import cache

import house
import pytest

KNOWN: frozenset[str] = frozenset()
"""What breaks a rule today. A new breach fails, and so does one that was mended but is still listed here: take it
out. Nothing is added."""

DOMAINS = ("image", "audio", "molecule")
FOLDERS = {  # a folder: the domains of which it needs nothing
    **{domain: [d for d in DOMAINS if d != domain] for domain in DOMAINS},
    **{f"cli.{domain}": [d for d in DOMAINS if d != domain] for domain in DOMAINS},
    "cli.shared": list(DOMAINS),
}


@cache
def every():
    return house.imports(house.SOURCE)


def short(imports):
    return {str(one).replace("headwater.", "") for one in imports}


def inside(module, folders):
    return any(module == f"headwater.{f}" or module.startswith(f"headwater.{f}.") for f in folders)


def of_other_domains(folder):
    """The imports by which a folder, or what must be imported for it, enters a domain that is not its own."""
    foreign = [place for domain in FOLDERS[folder] for place in (domain, f"cli.{domain}")]
    starts = {name for name in house.modules(house.SOURCE) if inside(name, [folder])}
    followed = house.reached(starts, every(), stop=lambda name: inside(name, foreign))
    return short(one for one in followed if inside(one.imported, foreign))


def circles():
    return {f"circle of {', '.join(group)}" for group in house.circles(house.arrows(every()))}


def exported():
    tree = ast.parse((house.SOURCE / "exports.py").read_text())
    (names,) = (
        s.value for s in tree.body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "__all__"
    )
    return set(ast.literal_eval(names))


def test_no_floor_imports_a_higher_one():
    assert short(house.upward(every())) - KNOWN == set()


def test_no_circle_among_rooms():
    assert circles() - KNOWN == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_needs_nothing_of_other_domains(folder):
    assert of_other_domains(folder) - KNOWN == set()


def test_no_room_has_the_name_of_an_export():
    assert "control" in exported()
    assert house.rooms(house.SOURCE) & exported() == set()


def test_what_was_mended_is_known_no_longer():
    broken = short(house.upward(every())) | circles()
    assert KNOWN - broken.union(*map(of_other_domains, FOLDERS)) == set()
