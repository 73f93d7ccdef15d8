"""Measure the house: the rooms of the package, the imports between them, and the size of what is in them.

    python tools/house.py                          # a table of src/headwater
    python tools/house.py --compare f855a81        # with a column for another revision
    python tools/house.py --walk image             # where does my photo go?

A room is a file or folder at the top level of the package. `__init__.py` and `__main__.py` are doors, not rooms: a
name taken from `headwater` counts as taken from the module that the door has it from. An arrow from room a to room b
says that some module of a imports some module of b, wherever in the file: in a function and under TYPE_CHECKING, too.
The floors below hold for this layout only. For any layout, "arrows against the best order" is the fewest arrows that
point upwards if the rooms are put in the order that suits them best; 0 means that there is no circle.

The walk is traced, not guessed. One small command runs in this process, and the call stack is read when `control` is
first called (the way down) and when the result, the report and the sheet are first written (the way back). The files
of the package on these stacks are the walk. A file whose functions had returned by then, such as the one that poses
the problem, is not on it; such files are listed after it, those of dflow and the floors above by name. The command
needs its extras: `headwater[all]`.
"""

from __future__ import annotations

import argparse
import ast
import math
import re
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SOURCE = Path(__file__).parents[1] / "src/headwater"
FLOORS = (
    ("text", "errors", "extras", "atomic", "figures", "doors"),
    ("nn", "metrics", "optimizers", "problem"),
    ("flows", "zoo"),
    ("solvers",),
    ("dflow",),
    ("recipes", "adapters"),
    ("image", "audio", "molecule"),
    ("batch", "exports"),
    ("cli", "web"),
)
"""The rooms of every floor, from the ground. A floor imports from lower ones only."""
OPEN_FLOORS = range(4)
"""On these floors a room may also import one beside it, as long as no circle arises; above, none does."""
DOORS = ("__init__", "__main__")
LARGEST_CIRCLE = 16  # rooms; the best order of n rooms takes time and memory of order 2^n

Function = ast.FunctionDef | ast.AsyncFunctionDef


# Imports


@dataclass(frozen=True, order=True)
class Import:
    """One module imports another; `when` is "import" (of the module), "call" (in a function) or "typing"."""

    importer: str
    imported: str
    when: str = "import"

    def __str__(self) -> str:
        return f"{self.importer} -> {self.imported}"


def modules(source: Path) -> dict[str, Path]:
    """The file of every module of a package, by the module's full name."""
    found = {}
    for file in sorted(source.rglob("*.py")):
        parts = file.relative_to(source.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(source: Path) -> set[Import]:
    """Every import of one module of the package by another, without those from a module of itself."""
    files = modules(source)
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in files.items()}
    door = {alias: origin for alias, origin, _ in _taken(source.name, files, trees[source.name])}
    found = set()
    for name, tree in trees.items():
        for alias, origin, when in _taken(name, files, tree):
            target = door.get(alias, origin) if origin == source.name else origin
            if target != name:
                found.add(Import(name, target, when))
    return found


def _taken(name: str, files: dict[str, Path], tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """What a module imports from its package: (name, module it comes from, when)."""
    package = name if files[name].name == "__init__.py" else name.rpartition(".")[0]
    for node, when in _import_statements(tree, "import"):
        if isinstance(node, ast.Import):
            origins = [(a.name, a.name) for a in node.names]
        else:
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            origins = [
                (a.name, f"{base}.{a.name}" if f"{base}.{a.name}" in files else base) for a in node.names
            ]
        yield from ((alias, origin, when) for alias, origin in origins if origin in files)


def _import_statements(node: ast.AST, when: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        elif isinstance(child, Function | ast.Lambda):
            yield from _import_statements(child, "call")
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _import_statements(child, "typing")
        else:
            yield from _import_statements(child, when)


def reached(starts: Iterable[str], every: Iterable[Import], stop: Callable[[str], bool]) -> set[Import]:
    """The imports that follow from the modules `starts`: all of their own, and what those need to be imported.

    An import of a.b.c runs a and a.b as well, unless the importer is in them. What `stop` says yes to is not entered.
    """
    of: dict[str, list[Import]] = {}
    for one in every:
        of.setdefault(one.importer, []).append(one)
    starts = set(starts)
    waiting, seen, found = list(starts), set(starts), set()
    while waiting:
        name = waiting.pop()
        for one in of.get(name, []):
            if name not in starts and one.when != "import":
                continue
            found.add(one)
            parents = _parents(one.imported) - _parents(name) - {name}
            new = {m for m in (one.imported, *parents) if m not in seen and not stop(m)}
            seen |= new
            waiting += new
    return found


def _parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts))}


# Rooms


def rooms(source: Path) -> set[str]:
    """The rooms of a package: its files and its folders that hold Python."""
    return {room for name in modules(source) if (room := room_of(name)) and room not in DOORS}


def room_of(module: str) -> str:
    """The room of a module; "" for the package itself.

    >>> room_of("headwater.flows.path")
    'flows'
    """
    return module.partition(".")[2].partition(".")[0]


def arrows(every: Iterable[Import]) -> set[tuple[str, str]]:
    """The pairs of different rooms of which the first imports the second."""
    pairs = {(room_of(one.importer), room_of(one.imported)) for one in every}
    return {(a, b) for a, b in pairs if a != b and not {a, b} & {"", *DOORS}}


def floor_of(room: str) -> int:
    """The floor of a room; a room that stands on none is an error, not the attic."""
    for floor, there in enumerate(FLOORS):
        if room in there:
            return floor
    raise KeyError(f"The room {room!r} is on no floor. Add it to FLOORS in tools/house.py.")


def upward(every: Iterable[Import]) -> set[Import]:
    """The imports from a room of the same floor or a higher one, where the floors do not allow it."""
    return {one for one in every if arrows([one]) and not _allowed(*next(iter(arrows([one]))))}


def _allowed(room: str, other: str) -> bool:
    above, below = floor_of(room), floor_of(other)
    return below < above or (below == above and above in OPEN_FLOORS)


def circles(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The groups of rooms that import one another, directly or not."""
    pairs = set(pairs)
    while new := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs |= new
    groups = {frozenset(b for b in {y for _, y in pairs} if {(a, b), (b, a)} <= pairs) for a, _ in pairs}
    return sorted(sorted(group) for group in groups if group)


def against_best_order(pairs: Iterable[tuple[str, str]]) -> int | None:
    """The fewest arrows that point upwards in any order of the rooms; None if a circle is too large to tell.

    >>> against_best_order([("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "d")])
    2
    """
    pairs = set(pairs)

    @cache
    def fewest(group: frozenset[str]) -> int:  # one room on top, the others below it in their best order
        below = ((fewest(group - {top}), sum((b, top) in pairs for b in group)) for top in group)
        return min((a + b for a, b in below), default=0)

    groups = [frozenset(group) for group in circles(pairs)]
    return None if any(len(g) > LARGEST_CIRCLE for g in groups) else sum(map(fewest, groups))


# Sizes


@dataclass
class Sizes:
    """What is counted over all modules: lists hold one value per function or (lines, file) per module."""

    lengths: list[tuple[int, str]] = field(default_factory=list)
    body_lines: list[int] = field(default_factory=list)
    body_statements: list[int] = field(default_factory=list)
    comments: int = 0
    constants: int = 0
    blanket: int = 0
    documented: list[bool] = field(default_factory=list)

    def add(self, name: str, text: str) -> None:
        """Count one module."""
        tree = ast.parse(text)
        lines = text.splitlines(keepends=True)
        self.lengths.append((len(lines), name))
        if any(line.lstrip().startswith("#") for line in lines):  # most have none, and tokens take long
            tokens = tokenize.generate_tokens(iter(lines).__next__)
            self.comments += sum(
                t.type == tokenize.COMMENT and t.line.lstrip().startswith("#") for t in tokens
            )
        self.constants += sum(map(numeric_constants, tree.body))
        self.blanket += sum(isinstance(n, ast.ExceptHandler) and _is_blanket(n) for n in ast.walk(tree))
        functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
        for function in functions:
            body = function.body[ast.get_docstring(function) is not None :]
            self.body_lines.append((body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0)
            self.body_statements.append(sum(isinstance(n, ast.stmt) for s in body for n in ast.walk(s)))
        public = (f for f in functions if not f.name.startswith("_"))
        self.documented += [names_shapes(ast.get_docstring(f) or "") for f in public]


def measure_sizes(source: Path) -> Sizes:
    """Count all modules of a package."""
    sizes = Sizes()
    for file in modules(source).values():
        sizes.add(str(file.relative_to(source)), file.read_text(encoding="utf-8"))
    return sizes


def numeric_constants(statement: ast.stmt) -> int:
    """How many upper-case names a statement gives a number, or a tuple or sum of numbers.

    >>> [numeric_constants(s) for s in ast.parse("A = 2; B, C = 1, -2.0; D: int = 2**3; E = 'x'; f = 1").body]
    [1, 2, 1, 0, 0]
    """
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return 0
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    parts = ast.Tuple | ast.UnaryOp | ast.BinOp | ast.operator | ast.unaryop | ast.expr_context
    leaves = [n for n in ast.walk(statement.value) if not isinstance(n, parts)]
    numbers = [isinstance(n, ast.Constant) and type(n.value) in (int, float) for n in leaves]
    return sum(name.isupper() for name in names) if numbers and all(numbers) else 0


def names_shapes(docstring: str) -> bool:
    """Whether a docstring has a shape: a list in brackets of names or numbers, as in `[batch, *shape]`.

    Rules of thumb: an interval of numbers such as [-1, 1] is none, and neither is an index in an example (`>>>`).

    >>> [names_shapes(d) for d in ("y `[batch, 3, height]`", "x in [0, 1]", ">>> result.status[i]", "one [batch]")]
    [True, False, False, True]
    """
    text = re.sub(r"^\s*(>>>|\.\.\. ).*$", "", docstring, flags=re.MULTILINE)
    found = re.findall(r"(?<![\w\])])\[([\w*.+ -]+(?:, [\w*.+ -]+)*)\]", text)
    return any(re.search(r"[A-Za-z*]", one) for one in found)


def _is_blanket(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")


def spread(values: Sequence[int]) -> str:
    """Median / 99th percentile (by rank) / largest."""
    ordered = sorted(values)
    if not ordered:
        return "-"
    return f"{statistics.median(ordered):g} / {ordered[math.ceil(0.99 * len(ordered)) - 1]} / {ordered[-1]}"


# The table


def table(source: Path, *, floors: bool = True) -> dict[str, str]:
    """The rows of one column; without `floors` (another layout) those that need them are "-"."""
    every, sizes = imports(source), measure_sizes(source)
    pairs, best = arrows(every), against_best_order(arrows(every))
    lines, longest = max(sizes.lengths)
    total = sum(length for length, _ in sizes.lengths)
    shapes = sum(sizes.documented) / max(len(sizes.documented), 1)
    return {
        "rooms": str(len(rooms(source))),
        "import arrows between rooms": str(len(pairs)),
        "upward imports: arrows (import statements)": _upward_cell(every) if floors else "-",
        "arrows against the best order": "-" if best is None else str(best),
        "circles": "; ".join(", ".join(group) for group in circles(pairs)) or "0",
        "modules": str(len(sizes.lengths)),
        "lines": f"{total:,}",
        "longest module": f"{lines} ({longest})",
        "functions": f"{len(sizes.body_lines):,}",
        "body lines, median / p99 / largest": spread(sizes.body_lines),
        "body statements, median / p99 / largest": spread(sizes.body_statements),
        "upper-case numeric constants of modules": str(sizes.constants),
        "comment lines": f"{100 * sizes.comments / total:.1f} %",
        "`except Exception`": str(sizes.blanket),
        "public functions with shapes in the docstring": f"{100 * shapes:.0f} %",
    }


def _upward_cell(every: set[Import]) -> str:
    wrong = upward(every)
    return f"{len(arrows(wrong))} ({len({(w.importer, w.imported) for w in wrong})})"


def markdown(columns: dict[str, dict[str, str]]) -> str:
    """A Markdown table of columns with the same rows."""
    rows = list(next(iter(columns.values())))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[row, *(column[row] for column in columns.values())] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def at_revision(revision: str, source: Path, folder: Path) -> Path:
    """The package as it was at a revision of its repository, unpacked in a folder."""
    root = Path(_git(source, "rev-parse", "--show-toplevel").decode().strip())
    inside = source.resolve().relative_to(root.resolve())
    archive = folder / "source.tar"
    archive.write_bytes(_git(root, "archive", revision, str(inside)))
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    return folder / inside


def _git(where: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(where), *words], check=True, capture_output=True).stdout


# The walk


@dataclass
class Trace:
    """Files of a package on the call stack whenever one of the watched functions is called, in order of first entry.

    `watched` has for the code of each function what its call is named, given the frame, or None: not that call.
    Only the first call of every name counts. `entered` are the files any of whose functions was called at all.
    """

    source: Path
    watched: dict[CodeType, Callable[[FrameType], str | None]]
    stacks: dict[str, list[str]] = field(default_factory=dict)
    entered: set[str] = field(default_factory=set)

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """What `sys.setprofile` calls."""
        if event != "call":
            return
        if (
            frame.f_code.co_flags & CO_OPTIMIZED
        ):  # a function, not the body of a module or class that is imported
            self.entered.add(frame.f_code.co_filename)
        name = self.watched[frame.f_code](frame) if frame.f_code in self.watched else None
        if name is not None and name not in self.stacks:
            self.stacks[name] = self._files(frame)

    def _files(self, frame: FrameType | None) -> list[str]:
        files = []
        while frame is not None:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back
        return list(dict.fromkeys(self._inside(reversed(files))))

    def _inside(self, files: Iterable[str]) -> list[str]:
        paths = (Path(file) for file in files)
        return [str(p.relative_to(self.source)) for p in paths if p.is_relative_to(self.source)]

    @property
    def walk(self) -> list[str]:
        """Every file of the stacks once."""
        return list(dict.fromkeys(file for stack in self.stacks.values() for file in stack))

    @property
    def beside(self) -> list[str]:
        """The files of the package that were entered but are on no stack."""
        return sorted(set(self._inside(self.entered)) - set(self.walk))

    def run(self, work: Callable[[], Any]) -> Any:
        """Do the work under this trace."""
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)


def commands(domain: str, output: Path) -> list[str]:
    """A small command of a domain that asks `control`, on what ships with the package."""
    if domain == "molecule":
        line = "molecule target --gap 5eV --count 1 --steps 2 --gradients 1 --candidates 1 --check none"
        return [*line.split(), "--output", str(output)]
    if domain == "audio":
        from headwater.audio.io import recordings

        line = f"audio restore {recordings.GUITAR} --cutoff 4000 --method warm-start --steps 2 --gradients 1"
    else:
        from headwater.image.io import photos

        line = f"image deblur {photos.path('cat')} --gaussian 1.5 --noise 0.05"
        line += " --method warm-start --steps 2 --gradients 1"
    return [*line.split(), "--output", str(output)]


OUTPUTS = {"image": "photo.png", "audio": "recording.flac", "molecule": "molecules.sdf"}


def walk(domain: str, source: Path) -> Trace:
    """Trace the command of a domain, in the package `headwater` that is found at `source`."""
    from headwater import atomic
    from headwater.cli import main
    from headwater.cli.shared.exit_codes import DONE, MISSED
    from headwater.dflow.control import control

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder).resolve() / OUTPUTS[domain]
        files = {
            output: "result",
            output.with_suffix(".json"): "report",
            output.with_name(f"{output.stem}-sheet.png"): "sheet",
        }
        writing = atomic.write_atomically.__wrapped__.__code__  # type: ignore[attr-defined] # of a context manager
        trace = Trace(
            source.resolve(),
            {
                control.__code__: lambda frame: "control",
                writing: lambda frame: files.get(Path(frame.f_locals["path"]).resolve()),
            },
        )
        code = trace.run(lambda: main([*commands(domain, output), "--quiet"]))
    missing = {"control", *files.values()} - set(trace.stacks)
    if code not in (DONE, MISSED) or missing:  # two steps are not enough for every goal
        raise SystemExit(
            f"The command ended with {code} and without: {', '.join(sorted(missing)) or 'nothing'}."
        )
    return trace


def tell_walk(domain: str, trace: Trace) -> None:
    """Print a walk: the way down, what the way back adds, and how many files there are."""
    words = " ".join(Path(w).name if "/" in w else w for w in commands(domain, Path(OUTPUTS[domain])))
    print(f"headwater {words}")
    seen: set[str] = set()
    for name, stack in trace.stacks.items():
        print(f"to {name}:" if name == "control" else f"to the {name}, besides:")
        print("\n".join(f"    {file}" for file in stack if file not in seen) or "    nothing new")
        seen |= set(stack)
    print(f"{len(trace.walk)} files.")
    upper = {room for floor in FLOORS[OPEN_FLOORS.stop :] for room in floor}
    near = [file for file in trace.beside if file.partition("/")[0] in upper]
    print(
        f"Called and returned beside the walk: {len(trace.beside)} files, {len(near)} of them on its floors:"
    )
    print("\n".join(f"    {file}" for file in near))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=SOURCE, help="the package; by default src/headwater")
    parser.add_argument("--compare", metavar="GITREV", help="another revision, as a column before this one")
    parser.add_argument("--walk", choices=tuple(OUTPUTS), help="print the files through which a request goes")
    o = parser.parse_args()
    if o.walk:
        sys.path.insert(0, str(o.source.resolve().parent))
        tell_walk(o.walk, walk(o.walk, o.source))
        return
    columns = {}
    if o.compare:
        with tempfile.TemporaryDirectory() as folder:
            old = at_revision(o.compare, o.source, Path(folder))
            known = rooms(old) <= {room for floor in FLOORS for room in floor}
            columns[o.compare] = table(old, floors=known)
    columns["now"] = table(o.source)
    print(markdown(columns))
    wrong = sorted({str(one) for one in upward(imports(o.source))})
    if wrong:
        print("\nUpward imports:", *wrong, sep="\n    ")


if __name__ == "__main__":
    main()
