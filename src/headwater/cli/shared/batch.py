"""Several files in one command: which they are, and where the result of each goes. `job.run_each` runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from headwater.cli.shared.options import Files
from headwater.errors import Misuse

Options = TypeVar("Options", bound=Files)


@dataclass(frozen=True)
class Batch(Generic[Options]):
    """The files of a command, each with the options that name its own output.

    Attributes
    ----------
    files
        One or more.
    alone
        Whether it is one file with a file as its output: what refuses it is then an error of the command.
    """

    files: tuple[tuple[Path, Options], ...]
    alone: bool


def plan_batch(
    inputs: Sequence[Path],
    options: Options,
    *,
    suffixes: Collection[str],
    name_result: Callable[[Path], str],
) -> Batch[Options]:
    """The files of a command; unless it is one file with a file as its output, the output is a folder, which is made.

    Parameters
    ----------
    inputs
        Files, and folders of them.
    options
        Of the command.
    suffixes
        Which files of a folder are taken, in lower case.
    name_result
        The name of a file's result in the output folder.

    Raises
    ------
    Misuse
        There is no file, two results would have one name, or the output is no folder.
    """
    files, output = find_files(inputs, suffixes), options.output
    if output is None and any(path.is_dir() for path in inputs):
        raise Misuse(
            "A folder is read, and nothing says where its results go.", "Name a folder, as in -o out/."
        )
    known = output is not None and output.suffix.lower() in suffixes
    into_folder = output is not None and (
        output.is_dir() or not output.suffix or (len(files) > 1 and not known)
    )
    if len(files) == 1 and not into_folder:
        return Batch(((files[0], options),), alone=True)
    if output is None:
        check_names(files, lambda file: str(file.with_name(name_result(file))))
        return Batch(tuple((file, options) for file in files), alone=False)
    if not into_folder:
        raise Misuse(
            f"The output {output} is one file for {len(files)} inputs.", "Name a folder, as in -o out/."
        )
    check_names(files, name_result)
    make_folder(output)
    own = ((file, replace(options, output=output / name_result(file))) for file in files)
    return Batch(tuple(own), alone=False)


def find_files(inputs: Sequence[Path], suffixes: Collection[str]) -> list[Path]:
    """The files, each once, and in place of a folder those in it that end in one of the suffixes, by name."""
    if not inputs:
        raise Misuse("No file was given.", "Name one or more files, or folders of them.")
    found: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [file for file in sorted(path.iterdir()) if is_input(file, suffixes)]
        if not inside:
            kinds = ", ".join(sorted(suffixes))
            raise Misuse(f"The folder {path} holds no file that ends in {kinds}.", "Name the files.")
        found += inside
    return list(dict.fromkeys(found))


def is_input(file: Path, suffixes: Collection[str]) -> bool:
    """Whether a file of a folder is taken: no hidden file, no folder, and none of the sheets that commands write."""
    own = file.name.startswith(".") or file.stem.endswith("-sheet")
    return file.suffix.lower() in suffixes and not own and not file.is_dir()


def check_names(files: Sequence[Path], name_result: Callable[[Path], str]) -> None:
    """Refuse files whose results, reports or sheets would have one name in the output folder."""
    seen: dict[Path, Path] = {}
    for file in files:
        plain = Path(name_result(file)).with_suffix("")
        for name in (plain, plain.with_name(f"{plain.name}-sheet")):
            if name in seen:
                raise Misuse(
                    f"The results of {seen[name]} and {file} would have one name.",
                    "Rename one of them, or write them to two folders.",
                )
            seen[name] = file


def make_folder(path: Path) -> None:
    """Make the output folder if it is not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise Misuse(f"The folder {path} cannot be made: {reason}.", "Name another with -o.") from None
