"""What the examples of docstrings need."""

import ast
import builtins
import doctest


def free_names(doc):
    """What the examples use without having made or imported it."""
    source = "".join(example.source for example in doctest.DocTestParser().get_examples(doc))
    nodes, bound, used = list(ast.walk(ast.parse(source))), set(dir(builtins)), set()
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            (bound if isinstance(node.ctx, ast.Store) else used).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
            bound.add(node.name)
    return used - bound
