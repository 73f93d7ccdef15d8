"""A function in a Python file of the user: found, run once, its failures as two sentences."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.atomic import read_bytes
from headwater.errors import Misuse, suggest, summarise

if TYPE_CHECKING:
    from torch import Tensor


def split_name(where: str, default: str) -> tuple[Path, str]:
    """The file and the name in it of "FILE.py:NAME", or of "FILE.py", which means the name `default`.

    >>> split_name("my.py:blur", "operator")[1], split_name("C:/my.py", "operator")[1]
    ('blur', 'operator')
    """
    path, _, name = where.rpartition(":") if ":" in where and not where.endswith(".py") else (where, "", "")
    return Path(path), name or default


def object_in(file: Path, name: str, signature: str) -> Any:
    """The object `name` of a file; `signature` is what a refusal tells the user to write.

    Raises
    ------
    Misuse
        The file is missing, no Python, fails when it is run, or has no such object.
    """
    read_bytes(file)
    module = import_file(file)
    found = getattr(module, name, None)
    if found is None:
        own = [
            n
            for n, v in vars(module).items()
            if callable(v) and getattr(v, "__module__", "") == module.__name__
        ]
        cure = suggest(name, own) if own else f"Define one as def {signature}."
        if own and not cure.startswith("Did you mean"):
            which = own[0] if len(own) == 1 else f"one of {', '.join(own)}"
            cure = f"Rename {which}, or define def {signature}."
        raise Misuse(f"{file} has no function named {name!r}.", cure)
    return found


def function_in(file: Path, name: str, signature: str) -> Any:
    """The function `name` of a file.

    Raises
    ------
    Misuse
        As `object_in`; or the object is not a function.
    """
    found = object_in(file, name, signature)
    if isinstance(found, type) or not callable(found):
        raise no_function(found, name, file, f"Make it a function {signature}.")
    return found


def no_function(found: Any, name: str, file: Path, cure: str) -> Misuse:
    """The refusal of an object that is not a function."""
    what = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
    return Misuse(f"{name!r} in {file} is {what}.", cure)


@contextmanager
def refuse_failures(where: str, what: str, cure: str, kind: str = "operator") -> Iterator[None]:
    """A block that calls the user's code: its own failures as a Misuse."""
    try:
        yield
    except Misuse:
        raise
    except Exception as error:
        raise Misuse(f"The {kind} {where} failed on {what}: {summarise(error)}.", cure) from error


def explain_failures(
    function: Callable[[Tensor], Any], where: str, what: str, cure: str, kind: str = "operator"
) -> Callable[[Tensor], Any]:
    """The user's function of a tensor; each failure of its own is a Misuse that names `what` it failed on."""

    @functools.wraps(function, updated=())
    def explained(x: Tensor) -> Any:
        with refuse_failures(where, f"{what} {list(x.shape)}", cure, kind):
            return function(x)

    return explained


def import_file(file: Path) -> Any:
    """The module of a file; it may import its neighbours.

    Raises
    ------
    Misuse
        The file is not Python, or fails when it is run.
    """
    spec = importlib.util.spec_from_file_location(f"headwater_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise Misuse(f"{file} is not a Python file.", "Give a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise Misuse(
            f"{file} cannot be imported: {summarise(error)}.", f"Run 'python {file}' to see more."
        ) from error
    finally:
        sys.path.pop(0)
    return module
