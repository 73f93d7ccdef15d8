"""Settings of Sphinx: `make docs` builds the site into build/docs.

Nothing of the site asks for anything outside of it: mathematics is MathML, and fonts are those of the system.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import headwater

QUICK = os.environ.get("HEADWATER_GALLERY") == "skip"
"""As the tests build it: no pictures, no pages of source code, no index for the search, and a plain theme, whose
navigation is short."""

project = "Headwater"
author = "The Headwater authors"
copyright = "The Headwater authors, Apache-2.0"
version = release = headwater.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    *([] if QUICK else ["sphinx.ext.viewcode"]),
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    "mathml",
    "repository",
]
html_math_renderer = "mathml"
exclude_patterns = ["_ext", "**/GALLERY_HEADER.rst", "generated/house.md", "generated/methods.md"]
templates_path = ["_templates"]
default_role = "py:obj"
smartquotes = False  # "--gap" is no dash, and alpha' no quotation

html_theme = "basic" if QUICK else "furo"
html_title = "Headwater"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]  # the settings of the gallery hold functions

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = False
napoleon_custom_sections = [("Attributes", "params_style")]

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": "plot_",
    "ignore_pattern": r"^(?!plot_)",  # the folders of the domains of one's own have files of the same names
    "subsection_order": ["../examples/method", "../examples/domains"],
    "within_subsection_order": "gallery_order.Order",
    "capture_repr": (),  # a figure is shown, and not the object that the last line returns
    "write_computation_times": False,  # these pages load scripts from elsewhere
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "plot_gallery": not QUICK,
}

LITERAL = re.compile(r"``.*?``|`[^`]*`|^ *[+|].*[+|]$|^ *>>> .*$|^ *\.\.\. .*$", re.MULTILINE)


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Bars in docstrings are norms and absolute values, not substitutions of reStructuredText."""
    parts, text, end = [], "\n".join(lines), 0
    for found in LITERAL.finditer(text):
        parts += [text[end : found.start()].replace("|", "\\|"), found[0]]
        end = found.end()
    lines[:] = "".join([*parts, text[end:].replace("|", "\\|")]).split("\n")


MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])")
TYPE = re.compile(r"^:type .*|\(\*.*?\*\) --")


def shorten_types(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Types of the fields of dataclasses without their modules, as those of arguments are."""
    lines[:] = [TYPE.sub(lambda found: MODULE.sub("", found[0]), line) for line in lines]


def find_documented(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """The entry of a name that is written alone or with the module it lives in: `Misfit`, `problem.cost.Misfit`."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    domain = env.get_domain("py")
    ends = (f".{target}", f".{target.rpartition('.')[2]}") if node["reftype"] == "class" else (f".{target}",)
    for end in ends:
        found = [name for name, entry in domain.objects.items() if name.endswith(end) and not entry.aliased]
        core = [name for name in found if name == f"headwater{end}"]
        if (len(core or found) == 1 and end[1].isupper()) or core:
            name = (core or found)[0]
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
    return None


def setup(app: Any) -> None:
    """Register the hooks."""
    app.connect("autodoc-process-docstring", escape_bars, priority=400)
    app.connect("autodoc-process-docstring", shorten_types, priority=600)
    app.connect("missing-reference", find_documented)
    if QUICK:
        app.connect("builder-inited", lambda app: setattr(app.builder, "search", False))
