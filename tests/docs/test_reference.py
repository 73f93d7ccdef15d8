"""The reference of the core: it names what `headwater` offers, no more and no less, and every entry is complete."""

import doctest
import enum
import importlib
import inspect
import re
from pathlib import Path

import pytest
from docstring_examples import free_names

import headwater

API = Path(__file__).parents[2] / "docs" / "api"
CORE = ("control", "flows", "adapters", "problems", "rewards", "solvers", "recipes", "posterior", "errors")


def read_entries(text):
    """The full names on a page, and of each whether it is an entry by hand (`py:data`)."""
    entries, module, listing = {}, "", False
    for line in text.splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"\.\. py:data:: (\S+)", line):
            entries[found[1] if found[1].startswith("headwater.") else f"{module}.{found[1]}"] = True
        elif line.startswith(".. autosummary::"):
            listing = True
        elif line and not line.startswith(" "):
            listing = False
        elif listing and (found := re.fullmatch(r"   ~?(\w[\w.]*)", line)):
            entries[f"{module}.{found[1]}"] = False
    return entries


PAGES = {page.stem: page.read_text(encoding="utf-8") for page in sorted(API.glob("*.rst"))}
EVERYWHERE = [name for text in PAGES.values() for name in read_entries(text)]
BY_HAND = [name for page in CORE for name, hand in read_entries(PAGES[page]).items() if hand]
DOCUMENTED = [name for page in CORE for name, hand in read_entries(PAGES[page]).items() if not hand]


def find(name):
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def members(thing):
    """The object itself, and the public methods and properties that a class adds, by name."""
    yield "", thing
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            if name == "__call__" or not name.startswith("_"):
                member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
                member = member.fget if isinstance(member, property) else member
                if inspect.isfunction(member):
                    yield name, member


def doc_of(thing, name, member):
    """The docstring that the page shows, which may be inherited."""
    return inspect.getdoc(getattr(thing, name) if name else member) or ""


def test_the_reference_holds_what_the_package_offers():
    names = [name.removeprefix("headwater.") for name in EVERYWHERE if name.count(".") == 1]
    assert sorted(names) == sorted(headwater.__all__)


def test_no_name_is_documented_twice():
    assert sorted(EVERYWHERE) == sorted(set(EVERYWHERE))


def test_all_pages_are_in_the_table_of_contents():
    contents = PAGES["index"].partition(".. toctree::")[2].split()
    assert set(contents) - {":hidden:"} == set(PAGES) - {"index"}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_entry_has_an_example_and_needs_nothing_but_its_name(name):
    """The examples, which run with the other docstrings, use nothing but torch, the entry and what they make."""
    thing = find(name)
    doc = inspect.getdoc(thing)
    protocol = getattr(thing, "_is_protocol", False)
    assert protocol or re.search(r"^Examples\n-{8}\n(.*\n)*?>>> ", doc, re.MULTILINE), name
    for part, member in members(thing):
        assert free_names(doc_of(thing, part, member)) <= {"torch", name.rpartition(".")[2]}, f"{name}.{part}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_tensors_have_shapes(name):
    """Whatever takes or returns a tensor says in which shape."""
    thing = find(name)
    for part, member in members(thing):
        kinds = [str(kind) for kind in getattr(member, "__annotations__", {}).values()]
        if any(re.search(r"\bTensor\b", kind) for kind in kinds):
            assert "[" in doc_of(thing, part, member), f"{name}.{part}"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_is_refused_is_said(name):
    """Whatever raises `Misuse` in its own body says so; what a class refuses when it is made, the class says."""
    thing = find(name)
    for part, member in [*members(thing), ("__init__", None), ("__post_init__", None)]:
        member = vars(thing).get(part) if member is None and inspect.isclass(thing) else member
        if inspect.isfunction(member) and "raise Misuse(" in source_of(member):
            made = part.endswith("init__")
            assert "Misuse" in (inspect.getdoc(thing) if made else doc_of(thing, part, member)), (
                f"{name}.{part}"
            )


def source_of(function):
    try:
        return inspect.getsource(function)
    except OSError:  # what `dataclass` has made
        return ""


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_argument_is_explained(name):
    """The section of parameters or attributes names each of them."""
    thing = find(name)
    if getattr(thing, "_is_protocol", False) or issubclass(type(thing), enum.EnumType):
        return
    doc, told = inspect.getdoc(thing) + "\n", []
    for section in re.findall(
        r"^(?:Parameters|Attributes)\n-+\n((?:\w.*\n| .*\n|\n)*?)(?=\w.*\n---|\Z)", doc, re.M
    ):
        told += re.findall(r"\w+", " ".join(re.findall(r"^\w.*$", section, re.M)))
    assert set(inspect.signature(thing).parameters) <= set(told)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_first_line_of_a_property_has_no_colon(name):
    """What stands before it would be taken for a type."""
    thing = find(name)
    for part in vars(thing) if inspect.isclass(thing) else ():
        if isinstance(vars(thing)[part], property) and not part.startswith("_"):
            assert ":" not in (inspect.getdoc(getattr(thing, part)) or "").splitlines()[0], f"{name}.{part}"


@pytest.mark.parametrize("name", BY_HAND)
def test_a_constant_has_an_example_and_exists(name):
    entry = re.search(
        rf"^\.\. py:data:: (?:headwater\.)?(?:\w+\.)*{name.rpartition('.')[2]}\n((?: .*\n|\n)*)",
        PAGES["solvers"],
        re.M,
    )
    assert ".. rubric:: Examples" in entry[1] and ">>> " in entry[1]
    assert find(name) is not None


@pytest.mark.parametrize("page", CORE)
def test_the_examples_of_a_page_run(page):
    failed, _ = doctest.testfile(str(API / f"{page}.rst"), module_relative=False)
    assert failed == 0


def test_the_table_of_methods_is_that_of_the_code():
    from headwater.solvers import DOPRI5, METHODS

    rows = re.findall(r"\* - ``(\w+)``\n +- (\d)\n +- (\d)\n", PAGES["solvers"])
    found = [(m.name.upper(), str(m.order), str(m.evaluations)) for m in (*METHODS, DOPRI5)]
    assert rows == found
