"""From the commands of the command line to forms, and from a form that was filled in to the words of a command.

What an option is called, takes, and starts with is read from cyclopts' own description of the command, and the words
of a form are parsed by the command before it is queued: whatever it refuses, the page is told in its two sentences.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from cyclopts import App, CycloptsError

from headwater import zoo
from headwater.errors import Misuse, suggest
from headwater.molecule.structure import units
from headwater.text import shorten
from headwater.web import offers

Kind = Literal["whole", "number", "numbers", "choice", "text", "switch", "file", "list", "quantity"]
OWN = ("Arguments", "Parameters")
"""The groups of options that belong to one command alone."""
LONGEST = 400
"""Characters of one value."""


@dataclass(frozen=True)
class Option:
    """One option of a command, as the page shows it.

    Attributes
    ----------
    key, kind
        Its name without hyphens, and how it is asked for.
    help, group
        As the command line tells them.
    front
        Whether it is shown at once, or among the further settings.
    low, high
        The limits of a number.
    choices
        Of a choice its words, of a quantity its units, of several numbers their names.
    default
        What is taken where nothing is given.
    file
        The kind of file that is taken.
    start, hint
        What the page starts with, and its slider.
    """

    key: str
    kind: Kind
    help: str
    group: str
    front: bool
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    file: str | None = None
    start: str | None = None
    hint: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Command:
    """One command, as the page shows it; `own` is the kind of its own file, "" if it reads none."""

    name: str
    help: str
    own: str
    options: tuple[Option, ...]
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forms:
    """The commands that the page offers.

    Attributes
    ----------
    app
        The command line.
    devices
        The names of the devices, the default one first.
    """

    app: App
    devices: Sequence[str] = ("cpu",)
    commands: Mapping[str, Command] = field(init=False)

    def __post_init__(self) -> None:
        every = (f"{domain} {name}" for domain, names in offers.DOMAINS.items() for name in names)
        object.__setattr__(self, "commands", {name: read_command(self.app, name) for name in every})

    def describe(self) -> list[dict[str, Any]]:
        """All commands, ready for JSON."""
        return [asdict(command) for command in self.commands.values()]

    def find(self, name: str) -> Command:
        """The command of a name.

        Raises
        ------
        Misuse
            The page does not offer it.
        """
        if name not in self.commands:
            what = f"The page has no command {shorten(name)!r}."
            raise Misuse(what, suggest(shorten(name), self.commands))
        return self.commands[name]

    def to_words(self, name: str, values: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
        """The words of a command, which it takes: its options and the names of its files.

        Raises
        ------
        Misuse
            An option is not offered, a value is out of its range, a file is missing.
        """
        command = self.find(name)
        options = {option.key: option for option in command.options}
        for key in (*values, *files):
            if key not in options and not (key == "input" and key in files and key not in values):
                what = f"The page has no option {shorten(key)!r} for '{name}'."
                raise Misuse(what, suggest(shorten(key), options))
        words = name.split()
        if command.own:
            if "input" not in files:
                raise Misuse("No file was given.", f"Give the {command.own} first.")
            words.append(files["input"])
        for key, option in options.items():
            words += _option_words(option, values.get(key), files.get(key), self.devices)
        if name in offers.ALWAYS:
            words.append(offers.ALWAYS[name].format(stem=Path(files["input"]).stem))
        check_words(self.app, words)
        return words


def check_words(app: App, words: Sequence[str]) -> None:
    """Let the command read its words, without running it."""
    try:
        app.parse_args(list(words), print_error=False, exit_on_error=False)
    except CycloptsError as error:
        if isinstance(error.__cause__, Misuse):
            raise error.__cause__ from None
        first = re.split(r"(?<=[.?]) +", str(error).strip())[0]
        raise Misuse(first if first.endswith((".", "?")) else f"{first}.", "Change the setting.") from None


def _option_words(option: Option, value: Any, file: str | None, devices: Sequence[str]) -> Iterator[str]:
    """The words of one option; none where nothing is given."""
    name = "--" + option.key.replace("_", "-")
    if option.kind == "file":
        if file is not None:
            yield f"{name}={file}"
        elif value not in (None, ""):
            raise Misuse(f"{name} takes a file.", "Upload one.")
        return
    if value is None or value == "" or value == [] or value is False:
        return
    if option.kind == "switch":
        if value is not True:
            raise Misuse(f"{name} is on or off.", "Give true, or leave it out.")
        yield name
    elif option.kind == "list":
        for text in value if isinstance(value, list) else [value]:
            yield f"{name}={_list_item(option, text)}"
    elif option.key == "device" and value not in devices:
        raise Misuse(f"There is no device {shorten(str(value))!r}.", suggest(str(value), devices))
    else:
        yield f"{name}={_clean_text(option, value)}"


def _clean_text(option: Option, value: Any) -> str:
    """A value as one word: short, printable, of a choice one of its words."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise Misuse(f"--{option.key} has no such value.", "Give a number or a text.")
    text = str(value).strip()
    if len(text) > LONGEST or not text.isprintable():
        raise Misuse(f"--{option.key} is {shorten(text)!r}.", f"Give at most {LONGEST} printable characters.")
    if option.kind == "choice" and text not in option.choices:
        raise Misuse(f"--{option.key} is {shorten(text)!r}.", suggest(text, option.choices))
    if option.key in offers.TEXTS and re.fullmatch(r"-.*", text):
        raise Misuse(f"--{option.key} begins with a hyphen.", "Write it without.")
    return text


def _list_item(option: Option, value: Any) -> str:
    """One of the values of an option that may be repeated."""
    text = str(value).strip()
    if not offers.LISTS[option.key].fullmatch(text):
        raise Misuse(f"--{option.key} is {shorten(text)!r}.", "See its help for what it takes.")
    return text


def read_command(app: App, name: str) -> Command:
    """What cyclopts knows of a command, as the page offers it."""
    domain, verb = name.split()
    parsed = app[domain][verb]
    own, options = "", []
    for argument in parsed.assemble_argument_collection(parse_docstring=True):
        if not argument.show:
            continue
        key = argument.field_info.name
        if not argument.name.startswith("--"):
            own = offers.INPUTS[domain]
        elif (option := _read_option(name, domain, key, argument)) is not None:
            options.append(option)
    options.sort(key=lambda option: not option.front)
    text = (parsed.help or "").strip().split("\n\n")[0].replace("\n", " ")
    return Command(
        name, offers.ABOUT.get(name, _for_page(text)), own, tuple(options), offers.ONE_OF.get(name, ())
    )


def _read_option(name: str, domain: str, key: str, argument: Any) -> Option | None:
    """One option of a command; None where the page does not offer it."""
    if key in offers.OF_FOLDERS.get(name, offers.OF_FOLDERS.get(domain, ())):
        return None
    group = argument.parameter.group[0]._name if argument.parameter.group else OWN[1]
    reach = offers.FRONT[domain] | offers.FRONT.get(name, set())
    front = key not in offers.BACK and (group in (*OWN, "What is lost", "Targets") or key in reach)
    help = _for_page(argument.parameter.help or "")
    default = argument.field_info.default
    common: dict[str, Any] = {
        "help": help,
        "group": "" if group in OWN else group,
        "front": front,
        "default": default if isinstance(default, str | int | float | bool) else None,
        "start": offers.STARTS.get(name, {}).get(key),
    }
    hint = offers.HINTS.get(name, {}).get(key)
    if hint is not None:
        common["hint"] = asdict(hint)
        common["start"] = None if hint.start is None else f"{hint.start:g}{hint.suffix}"
    if key == "model":
        models = _shipped_models(domain)
        return Option(key, "choice", choices=models, **{**common, "front": False}) if models else None
    if key == "device":
        return Option(key, "text", **{**common, "front": False})
    if key in offers.WITHHELD:
        return None
    if (name, key) in offers.MAPS:
        return Option(key, "file", file=offers.MAPS[name, key], **common)
    return _typed_option(domain, key, argument, common)


def _typed_option(domain: str, key: str, argument: Any, common: dict[str, Any]) -> Option | None:
    """An option by the type of its value. A text or a file that is not named in `offers` is not offered."""
    hint = _strip_optional(argument.hint)
    converter, metavar = argument.parameter.converter, argument.parameter.metavar or ""
    low, high = getattr(converter, "limits", None) or (None, None)
    if get_origin(hint) is Literal:
        return Option(key, "choice", choices=tuple(map(str, get_args(hint))), **common)
    if hint is bool:
        return Option(key, "switch", **common)
    if hint is Path:
        if key not in offers.FILES:
            return None
        return Option(key, "file", file=offers.FILES[key] or offers.INPUTS[domain], **common)
    if get_origin(hint) is tuple and converter is None:
        return Option(key, "list", **common)
    if domain == "molecule" and key in {**units.UNITS, **units.SCORES}:
        common["help"] = common["help"] or {**units.MEANING, **units.SCORES}[key]
        return Option(key, "quantity", choices=_units_of(key), **common)
    if converter is not None:
        kind: Kind = "whole" if metavar == "INT" else "number" if metavar == "NUMBER" else "text"
        kind = "numbers" if "," in metavar else kind
        names = tuple(metavar.split(",")) if kind == "numbers" else ()
        if metavar == "STD":
            kind = "number"
        return Option(key, kind, low=low, high=high, choices=names, **common)
    return Option(key, "text", **common) if key in offers.TEXTS else None


def _strip_optional(hint: Any) -> Any:
    """The type of a value that may be None."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint, *_) = (part for part in get_args(hint) if part is not type(None))
    return hint


def _units_of(key: str) -> tuple[str, ...]:
    """The units of a property, its own first, each by one of its names; none for a score."""
    if key not in units.KINDS:
        return ()
    by_size = {size: unit for unit, size in reversed(units.FACTORS[units.KINDS[key]].items())}
    return tuple(reversed(by_size.values()))


def _shipped_models(domain: str) -> tuple[str, ...]:
    """The shipped models of a domain with more than one."""
    kinds = offers.MODELS.get(domain, ())
    return tuple(name for name in zoo.list_models() if zoo.read_card(name)["kind"] in kinds)


def _for_page(text: str) -> str:
    """Help without what is said of command lines alone."""
    return " ".join(text.replace("`", "").split())
