"""Pages made from the repository: command line, benchmarks, model cards, changelog; and links into it.

Everything is written to `docs/generated` before Sphinx reads its sources. Links of pages follow the layout of the
repository, so that they work where the pages are read as files; here they are turned to the pages of the site.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[((?:[^\]\[]|\[[^\]]*\])*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.MULTILINE | re.DOTALL)
"""A fence. Code within a line may be the words of a link, so it is no reason to leave one alone."""
PLACES = {
    "README.md": "/index.md",
    "CONTRIBUTING.md": "/generated/contributing.md",
    "CHANGELOG.md": "/generated/changelog.md",
    "benchmarks/README.md": "/generated/benchmarks/index.md",
}


def place_of(path: str) -> str | None:
    """The page of the site for a path of the repository; None if it has none.

    >>> place_of("benchmarks/results/memory.md"), place_of("docs/images.md"), place_of("src/headwater/errors.py")
    ('/generated/benchmarks/results/memory.md', '/images.md', None)
    """
    if path in PLACES:
        return PLACES[path]
    for folder, place in (("docs/", "/"), ("benchmarks/", "/generated/benchmarks/")):
        if path.startswith(folder) and not path.endswith(".py"):
            return place + path.removeprefix(folder)
    return None


def turn_links(text: str, page: Path) -> str:
    """The text of a page with its links to files of the repository turned to pages of the site.

    What has no page keeps its words and loses its link; code stays as it is. `page` is where the text stands in the
    repository.
    """

    def turn(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        if target.startswith(("/", "auto_examples/", "generated/", "api/")) or "." not in target:
            return found[0]
        path = Path(os.path.normpath(page.parent / target))
        if not path.is_relative_to(ROOT):
            return found[0]
        place = place_of(str(path.relative_to(ROOT)))
        return words if place is None else f"[{words}]({place}{anchor})"

    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [LINK.sub(turn, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(turn, text[end:])])


def write(path: Path, text: str) -> None:
    """Write a page if it is new or has changed, so that Sphinx reads no more than that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def copy_page(source: Path, target: Path, head: str = "") -> None:
    """Copy a Markdown file of the repository, with its links turned."""
    write(target, head + turn_links(source.read_text(encoding="utf-8"), source))


def copy_benchmarks(folder: Path) -> None:
    """The table of all benchmarks, and each of their outputs."""
    for results in ("results", "decisions/results"):
        for source in sorted((ROOT / "benchmarks" / results).iterdir()):
            target = folder / results / source.name
            if source.suffix == ".md":
                copy_page(source, target, "---\norphan: true\n---\n\n")
            elif source.suffix in (".json", ".png"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
    copy_page(ROOT / "benchmarks" / "README.md", folder / "index.md")


def write_commands(folder: Path) -> None:
    """One page for each group of commands, as `--help` describes them."""
    from headwater.cli.app import app

    started, sys.argv = sys.argv, ["headwater"]  # the usage lines name the program that was started
    try:
        text = app.generate_docs(output_format="markdown", recursive=True)
    finally:
        sys.argv = started
    _, *parts = re.split(r"^## (?=headwater )", text, flags=re.MULTILINE)
    groups = [p for p in parts if "\n### " in p]
    others = "".join(f"## {p}" for p in parts if p not in groups)
    for part in groups:
        # Deeper headings come up by one, as the group is the title of its page.
        write(folder / f"{part.split()[1]}.md", "# " + re.sub(r"^###", "##", part, flags=re.MULTILINE))
    write(folder / "other.md", "# Other commands\n\n" + others)


def write_cards(folder: Path) -> None:
    """The card of every shipped model."""
    from headwater import zoo
    from headwater.cli.models import card_lines

    for name in zoo.list_models():
        card = zoo.read_card(name)
        page = ROOT / "docs" / f"{name}.md"
        more = f"[What it is good for, and its figures](/{name}.md).\n\n" if page.is_file() else ""
        lines = "\n".join(wrap(line) for line in card_lines(card))
        title = f"# Card of {name}\n\n{card['what']}\n\n{more}"
        write(folder / f"{name}.md", f"{title}```text\n{lines}\n```\n\n{draw_curve(card)}")


def wrap(line: str) -> str:
    """A long line of a card on several, those after the first indented below it."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, 96, initial_indent="", subsequent_indent=indent, break_on_hyphens=False)


def show(value: Any) -> str:
    """A cell of the table: four digits of a number, and whole numbers as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw_curve(card: dict[str, Any]) -> str:
    """The training log of a card as a table."""
    log = card.get("training", {}).get("log") or card.get("log") or []
    rows = [row for row in log if isinstance(row, dict)]
    if not rows:
        return ""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    head = "## Training curve\n\n| " + " | ".join(k.replace("_", " ") for k in keys) + " |\n"
    body = "".join("| " + " | ".join(show(row.get(k, "")) for k in keys) + " |\n" for row in rows)
    return head + "|" + "---|" * len(keys) + "\n" + body


def write_house(path: Path) -> None:
    """The figures of the package's structure, as `tools/house.py` measures them."""
    sys.path.insert(0, str(ROOT / "tools"))
    import house

    rows = house.table(house.SOURCE)
    write(path, "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items()))


def write_methods(path: Path) -> None:
    """The list of methods, ours and those of other papers."""
    from headwater.recipes.methods import METHODS

    head = "| method | takes | gradient of the network | cost | what it is |\n|---|---|---|---|---|\n"
    abouts = [method.about for method in METHODS.values()]
    rows = [
        f"| `{a.name}` | {a.takes} | {'yes' if a.network_gradient else 'no'} | {a.cost} | {a.paper} |\n"
        for a in abouts
    ]
    write(path, head + "".join(rows))


def generate(app: Any) -> None:
    """Write all generated pages."""
    folder = Path(app.srcdir) / "generated"
    write_house(folder / "house.md")
    write_methods(folder / "methods.md")
    copy_benchmarks(folder / "benchmarks")
    write_commands(folder / "commands")
    write_cards(folder / "models")
    copy_page(ROOT / "CHANGELOG.md", folder / "changelog.md")
    copy_page(ROOT / "CONTRIBUTING.md", folder / "contributing.md")


def read_source(app: Any, docname: str, source: list[str]) -> None:
    """Turn the links of a hand-written page."""
    page = ROOT / "docs" / f"{docname}.md"
    if page.is_file() and not docname.startswith("generated/"):
        source[0] = turn_links(source[0], page)


def setup(app: Any) -> dict[str, Any]:
    """Register what is done before and while the sources are read."""
    app.connect("builder-inited", generate)
    app.connect("source-read", read_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
