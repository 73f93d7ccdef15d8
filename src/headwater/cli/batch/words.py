"""From a line to a job: the words of a command, which the command line itself reads, and what they mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cyclopts import CycloptsError

from headwater import zoo
from headwater.atomic import check_input
from headwater.batch import Job
from headwater.cli.batch.lines import Line
from headwater.errors import Misuse, suggest
from headwater.text import shorten

DOMAINS = ("image", "audio", "molecule")
NAMES = {
    "image generate": "samples.png",
    "image invert": "x0.npy",
    "image likelihood": "likelihood.json",
    "audio check": "damage.txt",
    "audio generate": "music.flac",
    "molecule generate": "molecules.sdf",
    "molecule target": "hits.sdf",
    "molecule grow": "grown.sdf",
    "molecule score": "scores.csv",
}
"""What the main file is called; of other commands as the input."""
TAKEN = ("overwrite", "quiet")
"""Options that a batch sets itself."""


@dataclass(frozen=True)
class Given:
    """What a worker needs of a job.

    Attributes
    ----------
    words
        Of the command line, without the output.
    output
        The name of the main file.
    """

    words: tuple[str, ...]
    output: str


@cache
def commands() -> dict[str, Callable[..., int]]:
    """The commands that may be jobs, by their words."""
    from headwater.cli.app import app

    found: dict[str, Callable[..., int]] = {}
    for domain in DOMAINS:
        for name in app[domain]:
            function = app[domain][name].default_command
            if function is not None and not name.startswith("-"):
                found[f"{domain} {name}"] = function
    return found


def make_job(line: Line, where: str) -> Job:
    """The job of a line, with the refusal if there is one."""
    name = f"{where} line {line.number}"
    try:
        if line.refusal:
            return Job({}, name=name, refusal=line.refusal)
        return job_of(words_of(line.cells), str(line.cells.get("output", "")), name)
    except Misuse as error:
        return Job(dict(line.cells), name=name, refusal=str(error))


def words_of(cells: Mapping[str, Any]) -> tuple[str, ...]:
    """The words of the command of a line's cells.

    Raises
    ------
    Misuse
        There is no such command, or an option that a batch sets itself.

    Examples
    --------
    >>> words_of({"command": "image denoise", "input": "a.png", "noise": 0.1})
    ('image', 'denoise', '--noise=0.1', '--', 'a.png')
    """
    command = " ".join(str(cells.get("command", "")).split()).removeprefix("headwater ")
    if command not in commands():
        what = f"There is no command {shorten(command)!r}." if command else "It names no command."
        raise Misuse(what, suggest(command, commands()) if command else "Give one, such as image denoise.")
    places = positions(command)
    words, inputs = [], []
    for name, value in cells.items():
        if name in ("command", "output"):
            continue
        if name in TAKEN:
            raise Misuse(
                f"A job has no option --{name}.", "Leave the column out: each result has its own folder."
            )
        if name in ("input", *places):
            inputs += [text_of(name, one) for one in as_list(value)]
        else:
            words += [f"--{name}={text_of(name, one)}" for one in as_list(value)]
    return (*command.split(), *words, *(("--", *inputs) if inputs else ()))


def positions(command: str) -> tuple[str, ...]:
    """The parameters of a command that are given without a name, as in photos."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    about = inspect.signature(commands()[command]).parameters
    return tuple(name for name, parameter in about.items() if parameter.kind in kinds)


def as_list(value: Any) -> list[Any]:
    """The values of an option that may be repeated."""
    return value if isinstance(value, list) else [value]


def text_of(name: str, value: Any) -> str:
    """A value as it is written on the command line.

    Raises
    ------
    Misuse
        It is nothing that can be written there.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Misuse(
        f"The value of {name!r} is {shorten(str(value))}.", "Give a text, a number or a list of them."
    )


def job_of(words: Sequence[str], output: str, name: str) -> Job:
    """The job of a command's words.

    Raises
    ------
    Misuse
        The command refuses the words.
    """
    from headwater.cli.app import app, as_misuse

    try:
        _, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise as_misuse(error) from None
    command = " ".join(words[:2])
    if output != Path(output).name:
        raise Misuse(
            f"The output {output} is in a folder.", "Name the file alone: each result has its own folder."
        )
    bound.apply_defaults()
    options: dict[str, Any] = {}
    inputs: dict[str, Path] = {}
    for option, value in flatten(bound.arguments):
        files = dict(find_files(option, value))
        inputs |= files
        if not isinstance(value, Path) and not (isinstance(value, tuple) and files and is_paths(value)):
            options[option] = canonical(value)
    for taken in ("output", *TAKEN):
        options.pop(taken, None)
    if not inputs and positions(command) and not any(bound.arguments.get(p) for p in positions(command)):
        raise Misuse(f"The command '{command}' names no input.", "Give it in the column 'input'.")
    if (folder := next((p for p in bound.args if isinstance(p, Path) and p.is_dir()), None)) is not None:
        raise Misuse(f"The input {folder} is a folder.", "Write one line for each file in it.")
    for path in inputs.values():
        if not path.is_dir():
            check_input(path)
    about = {"command": command, "output": output, **options}
    return Job(about, inputs, name, Given(tuple(words), output or name_output(command, inputs)))


def is_paths(values: Sequence[Any]) -> bool:
    """Whether all values are paths."""
    return all(isinstance(value, Path) for value in values)


def flatten(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options of a command with their values; those of dataclasses each on its own."""
    for name, value in arguments.items():
        if is_dataclass(value) and not isinstance(value, type):
            yield from ((f.name, getattr(value, f.name)) for f in fields(value))
        else:
            yield name, value


def find_files(option: str, value: Any) -> Iterator[tuple[str, Path]]:
    """The files and folders that a value names: paths, and all within texts, such as my.py in "2 * my.py"."""
    for i, one in enumerate(value if isinstance(value, tuple) else (value,)):
        name = option if i == 0 else f"{option}-{i + 1}"
        if isinstance(one, Path) and option != "output":
            yield name, one
        elif isinstance(one, str):
            parts = [p for p in (one, *re.split(r"\s*[:*]\s*", one)) if "." in p or "/" in p]
            found = [p for p in dict.fromkeys((*parts, *find_bare(option, one))) if Path(p).exists()]
            for k, part in enumerate(found):
                yield name if k == 0 else f"{name}-part-{k + 1}", Path(part)


def find_bare(option: str, text: str) -> Sequence[str]:
    """What a text names that may be a path without a dot or a slash: a folder of the working folder, say.

    >>> find_bare("reward", "2 * clip: weights: a dog"), find_bare("reward", "class: volcano")
    (['weights'], [])
    """
    if option == "reward":
        return re.findall(r"(?:^|\*)\s*(?:clip|like)\s*:\s*(.*?)\s*(?:: .*)?$", text)
    return [text] if option == "model" and text not in zoo.list_models() else []


def canonical(value: Any) -> Any:
    """A value as JSON has it, one for all ways to write it.

    >>> canonical((0.10, None)), canonical(range(2))
    ([0.1, None], 'range(0, 2)')
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [canonical(one) for one in value]
    return repr(value)


def name_output(command: str, inputs: Mapping[str, Path]) -> str:
    """The name of the main file in the folder of a result."""
    if command in NAMES:
        return NAMES[command]
    source = inputs[positions(command)[0]]
    if command.startswith("image "):
        from headwater.cli.image.outputs import name_result as name_image

        return name_image(source)
    from headwater.cli.audio.repair import name_result as name_recording

    return name_recording(source, peaks=command == "audio declip")
