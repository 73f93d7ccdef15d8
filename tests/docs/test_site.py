"""The site: it builds without a warning, asks for nothing outside, its pages' Python runs, and so do its examples."""

import io
import os
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path

import furo
import matplotlib.pyplot
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = ("generated", "auto_examples", "api/generated")
"""What a build leaves in the folder of the sources."""
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if not str(p.relative_to(DOCS)).startswith(MADE)]
EXAMPLES = sorted((ROOT / "examples").rglob("plot_*.py"))
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)


def run_blocks(text):
    """Run the Python of a page in one namespace; what each block printed, and what the page says that it prints."""
    space = {"__name__": "page"}
    for code, said in BLOCK.findall(text):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, "page", "exec"), space)
        yield printed.getvalue().split(), said.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_python_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for printed, said in run_blocks(page.read_text(encoding="utf-8")):
        assert not said or [as_said(*pair) for pair in zip_longest(printed, said, fillvalue="")] == said


def as_said(printed, said):
    """What the page says, where it prints the same but for one unit in the last place of a decimal number.

    Processors round differently: a network's answer is the same to six digits, and 24.4499 is not 24.4501.
    """
    if not (DECIMAL.fullmatch(printed) and DECIMAL.fullmatch(said)):
        return printed
    unit = Decimal(said).as_tuple().exponent
    near = abs(Decimal(printed) - Decimal(said)) <= Decimal((0, (1,), unit))
    return said if near and Decimal(printed).as_tuple().exponent == unit else printed


DECIMAL = re.compile(r"-?\d+\.\d+")


def test_a_page_may_differ_by_one_in_the_last_place_alone():
    assert as_said("24.5", "24.4") == "24.4" and as_said("-0.05", "-0.06") == "-0.06"
    for printed, said in (("24.6", "24.4"), ("25", "24"), ("24.45", "24.4"), ("dB", "24.4"), ("", "24.4")):
        assert as_said(printed, said) == printed


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs_as_a_script(example, tmp_path, monkeypatch):
    """In its short setting, and it leaves nothing behind."""
    matplotlib.use("agg")
    monkeypatch.setenv("HEADWATER_EXAMPLES", "short")
    monkeypatch.setattr(sys, "argv", [str(example)])
    monkeypatch.chdir(tmp_path)
    with redirect_stdout(io.StringIO()):
        runpy.run_path(str(example), run_name="__main__")
    matplotlib.pyplot.close("all")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site without the pictures of its gallery, built from a copy, so that other builds are left alone."""
    top = tmp_path_factory.mktemp("repository")
    for entry in ROOT.iterdir():
        if entry.name not in ("docs", "build"):
            (top / entry.name).symlink_to(entry)
    made = [DOCS / folder for folder in MADE]
    shutil.copytree(
        DOCS, top / "docs", ignore=lambda folder, names: [n for n in names if Path(folder, n) in made]
    )
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "site"]
    short = {**os.environ, "HEADWATER_GALLERY": "skip"}
    built = subprocess.run(words, capture_output=True, text=True, env=short, cwd=top)
    assert built.returncode == 0, built.stderr[-4000:]
    return top / "site"


on_one_worker = pytest.mark.xdist_group("site")  # it is built once

ASKED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=[\"'](?:https?:)?//"
    r"|<link\b(?![^>]*rel=[\"'](?:canonical|next|prev|author|license))[^>]*\bhref=[\"'](?:https?:)?//"
    r"|@import\s+[\"'(u]|url\([\"']?(?:https?:)?//"
)
"""What makes a browser ask for something that lies elsewhere."""


@on_one_worker
def test_the_site_builds_without_a_warning_and_asks_for_nothing_outside(site):
    files = [f for f in site.rglob("*") if f.suffix in (".html", ".css")]
    assert len(files) > 100
    asked = {f.name: found[0] for f in files if (found := ASKED.search(f.read_text(encoding="utf-8")))}
    assert asked == {}
    assert "<math" in (site / "notation.html").read_text(encoding="utf-8")


def test_what_asks_for_something_outside_is_found():
    for text in (
        '<script async src="https://cdn.example/mathjax.js">',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        "@import url(https://fonts.example/a.css)",
    ):
        assert ASKED.search(text), text
    assert not ASKED.search(
        '<a href="https://example.org"> <link rel="next" href="x.html"> <img src="_images/a.png">'
    )


def test_the_theme_of_the_site_asks_for_nothing_outside():
    """The tests build with a plain theme, in a third of the time; `make docs` uses this one."""
    theme = Path(furo.__file__).parent / "theme" / "furo"
    files = [f for f in theme.rglob("*") if f.suffix in (".html", ".css")]
    assert len(files) > 5 and not [f.name for f in files if ASKED.search(f.read_text(encoding="utf-8"))]


@on_one_worker
def test_every_command_is_on_the_site(site):
    from headwater.cli.app import app

    for group in ("image", "audio", "molecule"):
        page = (site / "generated" / "commands" / f"{group}.html").read_text(encoding="utf-8")
        assert "--" in page and "sphinx [OPTIONS]" not in page
        for command in app[group]:
            if not command.startswith("-"):
                assert f'id="headwater-{group}-{command}"' in page, command


@on_one_worker
def test_every_model_has_its_card_on_the_site(site):
    from headwater import zoo

    text = (DOCS / "models.md").read_text(encoding="utf-8")
    for name in zoo.list_models():
        assert (
            site / "generated" / "models" / f"{name}.html"
        ).is_file() and f"generated/models/{name}" in text


@on_one_worker
def test_no_page_is_lost(site):
    """Every hand-written page is in a table of contents, or Sphinx had warned; and every result has its page."""
    for result in (ROOT / "benchmarks" / "results").glob("*.md"):
        assert (site / "generated" / "benchmarks" / "results" / f"{result.stem}.html").is_file(), result


def test_links_are_turned_to_pages_of_the_site_and_code_is_left_alone(extensions):
    from repository import ROOT as HERE
    from repository import turn_links

    page = HERE / "docs" / "notes" / "audio.md"
    text = (
        "[a](../audio.md#gaps) [`b`](../../benchmarks/results/memory.md) ![c](../demo.png) "
        "[d](../../src/headwater/text.py)\n"
        "[e](https://example.org) [f](#here) A[i](x)\n```python\nA[i](../x.md)\n```\n[g](../../CHANGELOG.md)\n"
    )
    assert turn_links(text, page) == (
        "[a](/audio.md#gaps) [`b`](/generated/benchmarks/results/memory.md) ![c](../demo.png) d\n"
        "[e](https://example.org) [f](#here) A[i](x)\n```python\nA[i](../x.md)\n```\n[g](/generated/changelog.md)\n"
    )


def test_formulae_become_mathml(extensions):
    from mathml import convert

    for tex in (r"\hat x_t", r"\bar\alpha_k", r"\bar{\alpha}_k^2", r"\hat{x}^2"):
        assert "munder" not in convert(tex) and "mover" in convert(tex), tex
    assert "\u2032" in convert("f'(x)") and "display" in convert(r"\frac{a}{b}", block=True)


@pytest.fixture
def extensions(monkeypatch):
    """The extensions of the site on the path."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
