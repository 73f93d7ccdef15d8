"""Several files in one command: a job for each, one after the other; what fails for one does not end the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from headwater.cli.shared.exit_codes import DONE, INTERRUPTED, MISSED, MISUSE
from headwater.cli.shared.job import Job, run
from headwater.cli.shared.options import Files
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse, as_refusal

Options = TypeVar("Options", bound=Files)


def run_each(
    inputs: Sequence[Path],
    options: Options,
    make_job: Callable[[Path, Options], Job],
    *,
    suffixes: Collection[str],
    name_result: Callable[[Path], str],
) -> int:
    """Make and run a job for every file; the exit code of the worst, where 130 is worse than 2, 1 and 0.

    One file with a file as its output is run alone, and what refuses it is raised. Otherwise the output is a folder,
    which is made if need be.

    Parameters
    ----------
    inputs
        Files, and folders of them.
    options
        Of the command.
    make_job
        The job of one file; it gets the options with the file's own output.
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
    into_folder = output is not None and (output.is_dir() or not output.suffix)
    if len(files) == 1 and not into_folder:
        return run(make_job(files[0], options))
    if output is not None and not into_folder:
        raise Misuse(
            f"The output {output} is one file for {len(files)} inputs.", "Name a folder, as in -o out/."
        )
    if output is not None:
        check_names(files, name_result)
        make_folder(output)
    codes: list[int] = []
    for number, file in enumerate(files, 1):
        if not options.quiet:
            say(f"{number} of {len(files)}: {file}")
        own = options if output is None else replace(options, output=output / name_result(file))
        codes.append(run_one(file, own, make_job))
        if codes[-1] == INTERRUPTED:
            break
    say(summarise(codes, len(files)), error=options.quiet)
    return max(codes)


def run_one(file: Path, options: Options, make_job: Callable[[Path, Options], Job]) -> int:
    """The exit code of one file of several; what refuses it is printed."""
    try:
        return run(make_job(file, options))
    except Misuse as error:
        say(f"Error, {file}: {error}", error=True)
        return MISUSE
    except OSError as error:
        if error.errno is None:
            raise
        say(f"Error, {file}: {as_refusal(error)}", error=True)
        return MISUSE


def find_files(inputs: Sequence[Path], suffixes: Collection[str]) -> list[Path]:
    """The files, each once, and in place of a folder those in it that end in one of the suffixes, by name."""
    if not inputs:
        raise Misuse("No file was given.", "Name one or more files, or folders of them.")
    found: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [file for file in sorted(path.iterdir()) if file.suffix.lower() in suffixes]
        if not inside:
            kinds = ", ".join(sorted(suffixes))
            raise Misuse(f"The folder {path} holds no file that ends in {kinds}.", "Name the files.")
        found += inside
    return list(dict.fromkeys(found))


def check_names(files: Sequence[Path], name_result: Callable[[Path], str]) -> None:
    """Refuse files whose results, reports or sheets would have one name in the output folder."""
    seen: dict[str, Path] = {}
    for file in files:
        stem = Path(name_result(file)).stem
        if stem in seen:
            raise Misuse(
                f"The results of {seen[stem]} and {file} would have one name.",
                "Rename one of them, or write them to two folders.",
            )
        seen[stem] = file


def make_folder(path: Path) -> None:
    """Make the output folder if it is not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise Misuse(f"The folder {path} cannot be made: {reason}.", "Name another with -o.") from None


def summarise(codes: Sequence[int], count: int) -> str:
    """How many files were done, in one line.

    >>> summarise([0, 1, 2], 4)
    '2 of 4 files done, 1 missed a goal, 1 refused, 1 not begun'
    """
    done = sum(code in (DONE, MISSED) for code in codes)
    more = [
        f"{number} {words}"
        for number, words in (
            (codes.count(MISSED), "missed a goal"),
            (codes.count(MISUSE), "refused"),
            (codes.count(INTERRUPTED), "interrupted"),
            (count - len(codes), "not begun"),
        )
        if number
    ]
    return ", ".join([f"{done} of {count} files done", *more])
