"""What the tests of the command line share."""

import json
import re

import numpy as np

from headwater.cli import main
from headwater.optimizers.status import Status

SIDE = 16
EXITS = [
    (Status.CONVERGED, 0),
    (Status.EVALUATIONS, 1),
    (Status.STALLED, 1),
    (Status.MISSED, 1),
    (Status.SECONDS, 1),
    (Status.CANCELLED, 130),
    (Status.DIVERGED, 1),
]
"""How a run may end, and its exit code."""
JOBS = "command,input,noise,seed\n"
"""The first line of a table of jobs."""


def pixels(height=SIDE, width=SIDE + 4, channels=3, dtype=np.uint8):
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(0.3 * rows + 0.2 * c * columns + c) for c in range(1, channels + 1)]
    white = np.iinfo(dtype).max
    return np.rint((np.stack(waves, -1) * 0.4 + 0.5) * white).astype(dtype)


def call(line):
    """Run a command line in this process."""
    return main(line.split() if isinstance(line, str) else [str(word) for word in line])


def report(path):
    return json.loads(path.read_text())


def two_sentences(text):
    """Whether a text is one line of exactly two sentences."""
    text = text.strip().replace("e.g.", "as").replace("...", "")
    return "\n" not in text and len(re.findall(r"[.?!](?= |$)", text)) == 2


def write_table(name, *lines, head=JOBS):
    """Write a table of jobs."""
    with open(name, "w", encoding="utf-8") as file:
        file.write(head + "".join(f"{line}\n" for line in lines))


def records(folder):
    """The records of the jobs in a folder of results, by their names."""
    found = [json.loads(path.read_text()) for path in folder.glob("*/job.json")]
    return sorted(found, key=lambda record: record["name"])
