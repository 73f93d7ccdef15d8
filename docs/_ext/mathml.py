"""Mathematics as MathML, which browsers draw themselves: no script, no font and no request to anybody."""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
ACCENTED = re.compile(r"\\(hat|bar|tilde|dot|vec)\s*(\\[a-zA-Z]+|[a-zA-Z]|\{[^{}]*\})\s*(?=[_^])")


def convert(tex: str, *, block: bool = False) -> str:
    r"""LaTeX as MathML.

    An accented symbol stands in braces before its index, or docutils puts the index below the symbol. Primes are
    primes, and no quotation marks with the space of an operator.

    >>> "munder" in convert(r"\hat x_t"), "\u2032" in convert("f'")
    (False, True)
    """
    tex = ACCENTED.sub(lambda m: f"{{\\{m[1]} {m[2]}}}{{}}", tex)
    return tex2mathml(tex, as_block=block).replace("<mo>'</mo>", '<mo lspace="0" rspace="0">\u2032</mo>')


def draw(node: nodes.Element, *, block: bool = False) -> str:
    """The formula of a node; its source, and a warning with its place, if it cannot be converted."""
    try:
        return convert(node.astext(), block=block)
    except Exception as error:  # docutils raises what its parser happens to meet
        LOGGER.warning("This formula cannot be converted: %s (%s)", node.astext(), error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def visit_math(translator: Any, node: nodes.math) -> None:
    """A formula within a line."""
    translator.body.append(draw(node))
    raise nodes.SkipNode


def visit_displaymath(translator: Any, node: nodes.math_block) -> None:
    """A formula on lines of its own."""
    if node.get("label"):
        LOGGER.warning("Formulae have no numbers here; take the label away.", location=node)
    translator.body.append(f'<div class="math">{draw(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Register the renderer; `html_math_renderer = "mathml"` chooses it."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
