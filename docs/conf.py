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

project = "Headwater"
author = "The Headwater authors"
copyright = "The Headwater authors, Apache-2.0"
version = release = headwater.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    "mathml",
    "repository",
]
html_math_renderer = "mathml"
exclude_patterns = ["_ext", "**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
default_role = "py:obj"
smartquotes = False  # "--gap" is no dash

html_theme = "furo"
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
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "plot_gallery": os.environ.get("HEADWATER_GALLERY", "run") == "run",
}

LITERAL = re.compile(r"``.*?``|`[^`]*`|^ *[+|].*[+|]$|^ *>>> .*$|^ *\.\.\. .*$", re.MULTILINE)


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Bars in docstrings are norms and absolute values, not substitutions of reStructuredText."""
    parts, text, end = [], "\n".join(lines), 0
    for found in LITERAL.finditer(text):
        parts += [text[end : found.start()].replace("|", "\\|"), found[0]]
        end = found.end()
    lines[:] = "".join([*parts, text[end:].replace("|", "\\|")]).split("\n")


def setup(app: Any) -> None:
    """Register the hook."""
    app.connect("autodoc-process-docstring", escape_bars, priority=400)
