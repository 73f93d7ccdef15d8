"""A function in a Python file of the user: found, run once, its failures as two sentences."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.atomic import read_bytes
from headwater.errors import Misuse, short, suggest


def function_in(file: Path, name: str, signature: str) -> Any:
    """The function `name` of a file; `signature` is what a refusal tells the user to write.

    Raises
    ------
    Misuse
        The file is missing, no Python, fails when it is run, or has no such function.
    """
    read_bytes(file)
    module = run(file)
    found = getattr(module, name, None)
    if found is None:
        own = [
            n
            for n, v in vars(module).items()
            if callable(v) and getattr(v, "__module__", "") == module.__name__
        ]
        cure = suggest(name, own) if own else f"Define one as def {signature}."
        if own and not cure.startswith("Did you mean"):
            cure = f"Rename one of {', '.join(own)}, or define def {signature}."
        raise Misuse(f"{file} has no function named {name!r}.", cure)
    if isinstance(found, type) or not callable(found):
        what = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise Misuse(f"{name!r} in {file} is {what}.", f"Make it a function {signature}.")
    return found


@contextmanager
def failing(where: str, what: str, cure: str) -> Iterator[None]:
    """A block that calls the user's code: its own failures as a Misuse."""
    try:
        yield
    except Misuse:
        raise
    except Exception as error:
        raise Misuse(f"The operator {where} failed on {what}: {short(error)}.", cure) from error


def run(file: Path) -> Any:
    """The module of a file; it may import its neighbours."""
    spec = importlib.util.spec_from_file_location(f"headwater_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise Misuse(f"{file} is no Python file.", "Give a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise Misuse(
            f"{file} cannot be imported: {short(error)}.", f"Run 'python {file}' to see more."
        ) from error
    finally:
        sys.path.pop(0)
    return module
