"""What the evaluation scripts of the shipped models write: `NAME-evaluation.json`, the source of a card's figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from headwater.atomic import write_atomically


def write_evaluation(path: Path, rows: Sequence[dict[str, Any]], command: str, note: str = "") -> Path:
    """Write the rows of an evaluation as JSON, with the date, the command and the version of torch.

    Parameters
    ----------
    path : Path
        The file, replaced if it exists.
    rows : sequence of dict
        One for each line of the table.
    command : str
        What makes the file again.
    note : str
        What a reader must know beside the rows.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "toy-evaluation.json"
    >>> stored = write_evaluation(path, [{"of": "samples", "Frechet": 1.0}], "python -m toy")
    >>> json.loads(stored.read_text(encoding="utf-8"))["rows"]
    [{'of': 'samples', 'Frechet': 1.0}]
    """
    about = {
        "date": date.today().isoformat(),
        "command": command,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "note": note,
    }
    with write_atomically(path) as temporary:
        temporary.write_text(
            json.dumps({"about": about, "rows": list(rows)}, indent=1) + "\n", encoding="utf-8"
        )
    return path
