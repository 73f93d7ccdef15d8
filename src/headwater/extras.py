"""Optional packages: imported where they are used; if one is missing, the error says what to install."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from headwater.errors import Misuse


def import_optional(module: str, extra: str = "images") -> ModuleType:
    """Import an optional package, or say which extra of Headwater installs it.

    Parameters
    ----------
    module
        The module to import.
    extra
        The extra of Headwater that installs it.

    Raises
    ------
    Misuse
        If the package is not installed.

    Examples
    --------
    >>> import_optional("json").dumps([1])
    '[1]'
    >>> import_optional("no_such_package", extra="plots")
    Traceback (most recent call last):
    headwater.errors.Misuse: This needs the package no_such_package. Run: pip install headwater[plots]
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).split(".")[0]
        raise Misuse(f"This needs the package {package}.", f"Run: pip install headwater[{extra}]") from error
