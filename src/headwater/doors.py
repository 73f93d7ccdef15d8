"""Doors of packages: what `headwater`, `headwater.image` and the like offer, imported at its first use (PEP 562).

torch takes seconds to import, and help, refusals and Ctrl-C need none of it. A door is the `__init__` of a package;
what it offers stands in the package's module `exports`, with an `__all__`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any


def open_door(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package: its submodules, and the names of its `exports`.

    Parameters
    ----------
    package
        The full name of the package, `__name__` in its `__init__`.

    Examples
    --------
    >>> find, names = open_door("headwater")
    >>> find("blend").__module__, "blend" in names()
    ('headwater.dflow.start', True)
    """

    def find(name: str) -> Any:
        if name != "__all__":
            # `_ipython_display_`, `__wrapped__` and the like are asked of any module.
            if name.startswith("_") or "." in name:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            if is_module(f"{package}.{name}"):
                return importlib.import_module(f"{package}.{name}")
        exports = importlib.import_module(f"{package}.exports")
        if name == "__all__":
            return exports.__all__
        if name in exports.__all__:
            return getattr(exports, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        door = importlib.import_module(package)
        modules = {m.name for m in iter_modules(door.__path__) if m.name != "__main__"}
        return sorted({*vars(door), *modules, *find("__all__")})

    return find, names


def is_module(name: str) -> bool:
    """Whether there is a module of this full name; a folder without Python files, left behind by git, is none."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None
