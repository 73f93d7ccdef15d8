"""The reference of the domains: its pages list what the doors offer, and every name there is explained.

Nothing is built here: `test_site.py` does that.
"""

import inspect
import re
from pathlib import Path

import pytest
from docstring_examples import free_names

import headwater as hw

PAGES = Path(__file__).parents[2] / "docs" / "api"
DOORS = {"image": hw.image, "audio": hw.audio, "molecule": hw.molecule, "batch": hw.batch}
ARRAYS = re.compile(r"\b(Tensor|NDArray|Array|Signal|Samples)\b")


def listed(page):
    """The names that a page lists: those of its tables, and its data."""
    text = (PAGES / page).read_text(encoding="utf-8")
    tables = re.findall(r"^\.\. autosummary::\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    names = [line.strip() for table in tables for line in table.splitlines()]
    data = re.findall(r"^\.\. py:data:: (\w+)", text, re.MULTILINE)
    return [name for name in names if name and not name.startswith(":")] + data


def read_sections(doc):
    """The sections of a docstring by their titles, dedented."""
    parts = re.split(r"^(\w+)\n-{3,}$", inspect.cleandoc(doc or ""), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def read_parameters(doc):
    """The names that the sections on parameters and attributes explain."""
    sections = read_sections(doc)
    text = sections.get("Parameters", "") + sections.get("Attributes", "")
    heads = re.findall(r"^(\*{0,2}\w+(?:, \w+)*)(?: : .*)?$", text, re.MULTILINE)
    return {name.strip("*") for head in heads for name in head.split(", ")}


def annotations_of(thing):
    """The types of what a function takes and gives, or of the fields of a class, as text."""
    own = inspect.get_annotations(thing) if inspect.isclass(thing) else thing.__annotations__
    return " ".join(map(str, own.values()))


def gives_a_shape(doc):
    """Whether a docstring has a bracket outside of its examples."""
    return "[" in re.split(r"^\s*Examples\n\s*-{3,}$", doc, flags=re.MULTILINE)[0]


def refuses(function):
    """Whether a function raises Misuse, or one that it calls does or says so."""
    called = [function.__globals__.get(name) for name in function.__code__.co_names]
    called = [f for f in called if inspect.isfunction(f) and f.__module__.startswith("headwater.")]
    said = any("Misuse" in read_sections(f.__doc__).get("Raises", "") for f in called)
    return said or any("raise Misuse" in inspect.getsource(f) for f in (function, *called))


PUBLIC = {
    f"{door}.{name}": getattr(package, name)
    for door, package in DOORS.items()
    for name in package.__all__
    if not inspect.ismodule(getattr(package, name))
} | {f"zoo.{name}": getattr(hw.zoo, name) for name in listed("models.rst")}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
every_name = pytest.mark.parametrize("thing", PUBLIC.values(), ids=PUBLIC)
every_class = pytest.mark.parametrize("thing", CLASSES.values(), ids=CLASSES)


def is_protocol(thing):
    return getattr(thing, "_is_protocol", False)


def own_methods(thing):
    """The functions behind the public methods and properties that a class defines itself, with their docstrings."""
    for name, member in vars(thing).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
            yield name, function


@pytest.mark.parametrize("door", DOORS)
def test_the_page_of_a_domain_lists_what_its_door_offers(door):
    names = listed(f"{door}.rst")
    assert sorted(names) == sorted(DOORS[door].__all__)


@every_name
def test_a_name_has_an_example_that_brings_what_it_uses(thing):
    examples = read_sections(thing.__doc__).get("Examples", "")
    assert is_protocol(thing) or ">>> " in examples
    assert free_names(examples) == set()


@every_name
def test_what_holds_arrays_says_their_shapes(thing):
    assert gives_a_shape(thing.__doc__) or not ARRAYS.search(annotations_of(thing))


@every_name
def test_all_parameters_are_explained(thing):
    family = thing.__mro__ if inspect.isclass(thing) else [thing]
    known = set().union(*(read_parameters(each.__doc__) for each in family))
    assert is_protocol(thing) or set(inspect.signature(thing).parameters) <= known


@every_name
def test_what_refuses_says_so(thing):
    function = vars(thing).get("__post_init__") if inspect.isclass(thing) else inspect.unwrap(thing)
    assert (
        function is None
        or not refuses(function)
        or "Misuse" in read_sections(thing.__doc__).get("Raises", "")
    )


@every_class
def test_attributes_are_explained_one_by_one(thing):
    """Sphinx takes the first of two names for the type of the second."""
    assert not re.search(r"^\w+, \w+", read_sections(thing.__doc__).get("Attributes", ""), re.MULTILINE)


@every_class
def test_public_methods_say_their_shapes_and_refusals(thing):
    raises = "Misuse" in read_sections(thing.__doc__).get("Raises", "")
    for name, function in own_methods(thing):
        assert function.__doc__, name
        assert gives_a_shape(function.__doc__) or not ARRAYS.search(annotations_of(function)), name
        refused = "raise Misuse" in inspect.getsource(function)
        assert raises or not refused or "Misuse" in read_sections(function.__doc__).get("Raises", ""), name


@every_class
def test_the_first_line_of_a_property_has_no_colon(thing):
    """Sphinx takes what stands before it for a type."""
    for name, member in vars(thing).items():
        if isinstance(member, property):
            first = re.sub("`[^`]*`", "", member.__doc__.splitlines()[0])
            assert ": " not in first and not first.endswith(":"), name
