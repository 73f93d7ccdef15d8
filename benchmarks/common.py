"""What all benchmarks share: their command line, and how a table is written."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch

from headwater import in_bfloat16
from headwater.flows.precision import Model

DATA = {
    "data": "zip of held-out CLASS/FILE images, 64 x 64",
    "qm9": "folder of the parsed QM9",
    "music": "folder of the rendered recordings",
    "recordings": "folder of the real recordings",
}


def options(description: str, data: str = "", **defaults: int | str) -> argparse.Namespace:
    """The common command line.

    It has --threads, --results (the folder for the output), the path of the `data` if a script needs any (a key of
    `DATA`), and one option for each of the `defaults`, of the same type.
    """
    p = argparse.ArgumentParser(description=description)
    if data:
        p.add_argument(f"--{data}", type=Path, required=True, help=DATA[data])
    p.add_argument("--threads", type=int, default=2)
    beside = Path(sys.argv[0]).resolve().parent / "results"
    p.add_argument(
        "--results", type=Path, default=beside, help="folder for the output; default: beside the script"
    )
    for name, value in defaults.items():
        p.add_argument(f"--{name}", type=type(value), default=value)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    o.results.mkdir(parents=True, exist_ok=True)
    return o


def write(path: Path, rows: list[dict[str, object]], command: str, note: str = "") -> None:
    """Write rows as PATH.json (with machine, date, command) and as a table, PATH.md."""
    about = {
        "date": date.today().isoformat(),
        "command": command,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "note": note,
    }
    path.with_suffix(".json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    head = list(dict.fromkeys(k for row in rows for k in row))
    lines = [
        f"`{command}` on {about['processor']}, torch {about['torch']}, {about['threads']} threads, "
        f"{about['date']}. {note}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    lines += ["| " + " | ".join(str(row.get(k, "")) for k in head) + " |" for row in rows]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)


def kept(file: str, key: str, work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """A line of a long table: read from `file` if an earlier run left it under `key`, else worked out and left.

    The key does not know the code and the weights: begin a new file after a change of either.
    """
    path = Path(file)
    if file and path.exists():
        for line in path.read_text().splitlines():
            found = json.loads(line)
            if found["key"] == key:
                return dict(found["line"])
    line = work()
    print(key, line, flush=True)
    if file:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as f:
            f.write(json.dumps({"key": key, "line": line}) + "\n")
    return line


def lower(model: Model, precision: str) -> Model:
    """The model in a precision: itself for float32, or with networks that multiply in bfloat16."""
    if precision not in ("float32", "bfloat16"):
        raise SystemExit("Say --precision float32 or bfloat16.")
    return in_bfloat16(model) if precision == "bfloat16" else model


def with_precision(key: str, precision: str) -> str:
    """The key of a line, which says its precision if that is not float32."""
    return key if precision == "float32" else f"{key} {precision}"


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = (
        [s.split(":")[1].strip() for s in info.read_text().splitlines() if s.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()
