"""Public-domain scores from the corpus of music21, parsed once to a compact file, with a fixed split.

    python -m headwater.audio.model.scores --work build/music

Only compositions out of copyright whose encodings may be used; the collections are listed in `COLLECTIONS`. A
twentieth of the scores is held out: those whose name has a hash of zero modulo twenty, so that a score keeps its
part whatever else is added.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Misuse

COLLECTIONS = {
    "airdsAirs": 100,
    "bach": 500,
    "beethoven": 100,
    "chopin": 10,
    "corelli": 10,
    "cpebach": 10,
    "handel": 10,
    "haydn": 100,
    "joplin": 10,
    "josquin": 100,
    "monteverdi": 100,
    "mozart": 100,
    "oneills1850": 100,
    "palestrina": 250,
    "ryansMammoth": 300,
    "schubert": 10,
    "schumann_clara": 10,
    "schumann_robert": 10,
    "trecento": 150,
    "verdi": 10,
    "weber": 10,
}
"""Folders of the corpus, and from how many of their files at most scores are taken (evenly over the names)."""
HELD_OUT = 20
"""One score in this many is held out."""
NOTE = np.dtype([("onset", "f4"), ("length", "f4"), ("pitch", "u1"), ("part", "u1")])
"""A note: onset and length in quarters, MIDI pitch, number of the part. Tied notes are one."""


@dataclass(frozen=True)
class Score:
    """A piece of music: its `name` (file and number), and its `notes` in the order of their onsets."""

    name: str
    notes: NDArray[Any]

    @property
    def parts(self) -> int:
        """The number of parts."""
        return int(self.notes["part"].max()) + 1

    @property
    def quarters(self) -> float:
        """The length in quarters."""
        return float((self.notes["onset"] + self.notes["length"]).max())


def held_out(name: str) -> bool:
    """Whether a score is kept from training.

    >>> held_out("bach/bwv66.6.mxl"), held_out("bach/bwv66.6.mxl")
    (False, False)
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % HELD_OUT == 0


def find_corpus() -> Path:
    """The folder of music21's corpus."""
    try:
        from music21 import common
    except ImportError as error:
        raise Misuse(
            "Scores are read with the package music21.", "Run: pip install 'headwater[music]'"
        ) from error
    return Path(common.getCorpusFilePath())


def list_files() -> Iterator[Path]:
    """The files of the collections, at most as many of each as are wanted."""
    for folder, most in COLLECTIONS.items():
        suffixes = {".mxl", ".xml", ".musicxml", ".krn", ".abc"}
        found = sorted(p for p in (find_corpus() / folder).rglob("*") if p.suffix in suffixes)
        yield from found[:: max(1, -(-len(found) // most))]


def parse(path: Path) -> list[Score]:
    """The scores of a file; what music21 cannot read is left out, and so is what has fewer than 16 notes."""
    from music21 import converter, stream

    name = f"{path.parent.relative_to(find_corpus())}/{path.name}"
    try:
        whole = converter.parse(path)
        scores = list(whole.scores) if isinstance(whole, stream.Opus) else [whole]
        found = [Score(f"{name}#{i}", _notes(s)) for i, s in enumerate(scores)]
    except Exception as error:  # a parser of many formats, of which a few files are broken
        print(f"left out: {name}: {type(error).__name__}: {error}", flush=True)
        return []
    return [s for s in found if len(s.notes) >= 16]


def _notes(score: Any) -> NDArray[Any]:
    """The notes of all parts, those of chords one by one."""
    rows = []
    for number, part in enumerate(list(score.parts) or [score]):
        for n in part.stripTies().flatten().notes:
            length = float(n.quarterLength)
            rows += [
                (float(n.offset), length, int(p.midi), number)
                for p in n.pitches
                if length > 0 and 0 < p.midi < 128
            ]
    return np.sort(np.array(rows, dtype=NOTE), order=["onset", "part", "pitch"])


def collect(work: Path, processes: int = 2) -> list[Score]:
    """The scores from `work/scores.npz`; parsed and stored there at the first call (about half an hour)."""
    if not (work / "scores.npz").exists():
        with ProcessPoolExecutor(processes) as pool:
            store_scores(work, [s for several in pool.map(parse, list_files(), chunksize=8) for s in several])
    with np.load(work / "scores.npz") as z:
        notes, ends = z["notes"], z["offsets"]
        return [
            Score(str(name), notes[a:b]) for name, a, b in zip(z["names"], ends[:-1], ends[1:], strict=True)
        ]


def store_scores(work: Path, scores: list[Score]) -> None:
    """Write `work/scores.npz`, whole or not at all."""
    work.mkdir(parents=True, exist_ok=True)
    temporary = work / "scores.tmp.npz"
    np.savez_compressed(
        temporary,
        names=np.array([s.name for s in scores]),
        offsets=np.cumsum([0, *(len(s.notes) for s in scores)]),
        notes=np.concatenate([s.notes for s in scores]),
    )
    os.replace(temporary, work / "scores.npz")


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--work", type=Path, required=True, help="folder of the parsed scores")
    p.add_argument("--processes", type=int, default=2)
    o = p.parse_args()
    scores = collect(o.work, o.processes)
    kept = [s for s in scores if held_out(s.name)]
    print(f"{len(scores)} scores, {sum(len(s.notes) for s in scores)} notes; {len(kept)} scores held out")


if __name__ == "__main__":
    main()
