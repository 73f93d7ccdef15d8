"""Make the data of the model `pictograms`: drawings of emoji as pictures of 128 x 128 pixels, with captions.

    python -m headwater.image.pictograms.data --out build/pictograms

The folder of `--out` gets the npm packages of seven icon sets, unless they lie there already (npm fetches them), and
`pictograms.npz`: the arrays `pixels` uint8 `[n, 3, 128, 128]` on white, `set`, `name`, `code` (the emoji), `label`,
`tags` (joined by commas), `licence` and `part`.

The part of a drawing follows from hashes, so it stays the same for other versions of a set:

    held-out    one emoji in seven, in all sets; no flag, since nobody can draw a flag from a name alone
    judge       three in ten of the other drawings: the judge of samples learns from them, the flow does not
    train       the rest

Needs the extra `pictograms`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.image.pictograms.icons import SETS, Drawing, Emoji, load_drawings

SIZE = 128


@dataclass(frozen=True)
class Pictograms:
    """Drawings with their words, all of length n.

    Parameters
    ----------
    pixels
        uint8 `[n, 3, size, size]`.
    sets, names, codes, labels, tags, parts
        The set of each drawing, its name there, the emoji that it shows, that emoji's label and tags, and the part
        of the data ("train", "judge" or "held-out").
    """

    pixels: Tensor
    sets: tuple[str, ...]
    names: tuple[str, ...]
    codes: tuple[str, ...]
    labels: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    parts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    def select(self, index: Sequence[int]) -> Pictograms:
        """The drawings of these numbers."""
        columns = (self.sets, self.names, self.codes, self.labels, self.tags, self.parts)
        return Pictograms(self.pixels[list(index)], *(tuple(c[i] for i in index) for c in columns))  # type: ignore[arg-type]

    def part(self, *names: str) -> Pictograms:
        """The drawings of these parts of the data."""
        return self.select([i for i, part in enumerate(self.parts) if part in names])


def fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, uniform over texts.

    Examples
    --------
    >>> round(fraction("1F431"), 3)
    0.171
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def part_of(emoji: Emoji, set_name: str, name: str) -> str:
    """The part of the data that a drawing belongs to: "held-out", "judge" or "train".

    Examples
    --------
    >>> canada = Emoji("1F1E8", "flag of Canada", flag=True)
    >>> sorted({part_of(canada, "noto", str(i)) for i in range(20)})
    ['judge', 'train']
    """
    if not emoji.flag and fraction(f"concept {emoji.code}") < 1 / 7:
        return "held-out"
    return "judge" if fraction(f"drawing {set_name} {name}") < 0.3 else "train"


def render(svg: str, size: int = SIZE) -> np.ndarray[Any, Any]:
    """The picture of an SVG document on white, uint8 `[3, size, size]`; a drawing that is not square is centred.

    Raises
    ------
    Misuse
        The document cannot be drawn.
    """
    resvg = import_optional("resvg_py", extra="pictograms")
    image = import_optional("PIL.Image")
    square = svg.replace("<svg ", f'<svg width="{size}" height="{size}" ', 1)
    try:
        png = resvg.svg_to_bytes(svg_string=square, background="#ffffff", width=size, height=size)
    except ValueError as error:
        raise Misuse(f"The drawing is no SVG: {error}.", "Leave it out.") from error
    return np.asarray(image.open(io.BytesIO(bytes(png))).convert("RGB")).transpose(2, 0, 1)


def render_all(
    drawings: Iterable[Drawing], size: int = SIZE, workers: int = 2
) -> Iterator[tuple[Drawing, Any]]:
    """The drawings with their pictures uint8 `[3, size, size]`; one that is broken or empty is named and left out."""

    def draw(drawing: Drawing) -> np.ndarray[Any, Any] | str:
        try:
            picture = render(drawing.svg, size)
        except Misuse as error:
            return error.what
        return picture if picture.std() > 1 else "The drawing is empty."

    with ThreadPoolExecutor(workers) as pool:
        drawings = list(drawings)
        for drawing, picture in zip(drawings, pool.map(draw, drawings), strict=True):
            if isinstance(picture, str):
                print(f"{drawing.set} {drawing.name} is left out. {picture}", file=sys.stderr)
            else:
                yield drawing, picture


def gather(drawings: Iterable[Drawing], size: int = SIZE) -> Pictograms:
    """Render drawings and put them together.

    Raises
    ------
    Misuse
        No drawing is left.
    """
    drawn = list(render_all(drawings, size))
    if not drawn:
        raise Misuse("No drawing could be rendered.", "Check the packages of the icon sets.")
    return Pictograms(
        torch.from_numpy(np.stack([picture for _, picture in drawn])),
        tuple(d.set for d, _ in drawn),
        tuple(d.name for d, _ in drawn),
        tuple(d.emoji.code for d, _ in drawn),
        tuple(d.emoji.label for d, _ in drawn),
        tuple(d.emoji.tags for d, _ in drawn),
        tuple(part_of(d.emoji, d.set, d.name) for d, _ in drawn),
    )


def save(path: Path, data: Pictograms) -> None:
    """Write the drawings as a compressed npz file."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(
        temporary,
        pixels=data.pixels.numpy(),
        set=np.array(data.sets),
        name=np.array(data.names),
        code=np.array(data.codes),
        label=np.array(data.labels),
        tags=np.array([",".join(t) for t in data.tags]),
        licence=np.array([SETS[s][2] if s in SETS else "unknown" for s in data.sets]),
        part=np.array(data.parts),
    )
    os.replace(temporary, path)


def load(path: Path) -> Pictograms:
    """Read what `save` wrote.

    Raises
    ------
    Misuse
        There is no such file, or it holds something else.
    """
    if not path.is_file():
        raise Misuse(f"There is no file {path}.", "Make it with python -m headwater.image.pictograms.data.")
    try:
        with np.load(path) as z:
            sets, names, codes, labels, parts = (
                tuple(map(str, z[key])) for key in ("set", "name", "code", "label", "part")
            )
            tags = tuple(tuple(t.split(",")) if t else () for t in map(str, z["tags"]))
            return Pictograms(torch.from_numpy(z["pixels"]), sets, names, codes, labels, tags, parts)
    except (ValueError, KeyError, OSError) as error:
        raise Misuse(f"The file {path} holds no pictograms.", "Make it again.") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, help="folder of the packages and of pictograms.npz")
    o = p.parse_args(arguments)
    o.out.mkdir(parents=True, exist_ok=True)
    data = gather(load_drawings(o.out))
    save(o.out / "pictograms.npz", data)
    for part in ("train", "judge", "held-out"):
        here = data.part(part)
        print(f"{part}: {len(here)} drawings of {len(set(here.codes))} emoji")


if __name__ == "__main__":
    main()
