"""Draw the perception-distortion plane of every task in a table: PSNR across, kernel distance up, a curve per method.

    python benchmarks/plane.py results/TABLE.json
    python benchmarks/plane.py results/comparison.json --set pictures --count 24

The rows of the table have `task`, `method`, `budget` (a number, which orders the points of a curve), `psnr`, `kernel`
and `kernel error`; of a table with several sets of pictures `--set` and `--count` choose one. Methods of Headwater
are drawn in colours, the same in every plane, the others in grey. What is far to the left is named below the plane.
The pictures go to results/planes/.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from PIL import Image

from headwater.recipes.methods import OURS

Rows = list[dict[str, object]]

COLOURS = ("#d1495b", "#00798c", "#e08e00", "#5f4bb6", "#2e8b3d", "#808000", "#1f6fd6", "#8b5a2b", "#e377c2")
GREYS = ("#3d3d3d", "#6e6e6e", "#8c8c8c", "#a6a6a6")
MARKS, LINES = "osD^vP", ("-", "--", ":", "-.")
FAR = 9.0  # dB below the best, where the plane ends
SMALLEST, LARGEST = 10, 80  # how far a label may stand from its point, in points


def draw_plane(rows: Rows, task: str, path: Path, ours: Sequence[str]) -> None:
    """The plane of one task as a PNG of 900 x 600 pixels."""
    rows = [row for row in rows if row["task"] == task]
    end = max(float(row["psnr"]) for row in rows) - FAR
    left = dict.fromkeys(str(row["method"]) for row in rows if float(row["psnr"]) < end)
    rows = [row for row in rows if float(row["psnr"]) >= end]
    names = list(dict.fromkeys(str(row["method"]) for row in rows))
    plt.rcParams["font.size"] = 12
    figure, axes = plt.subplots(figsize=(9, 6), dpi=100, layout="constrained")
    ends, drawn = {}, []
    for name in sorted(names, key=lambda name: name in ours):  # ours on top
        mine = name in ours
        place = list(ours).index(name) if mine else [n for n in names if n not in ours].index(name)
        colour = (COLOURS if mine else GREYS)[place % (len(COLOURS) if mine else len(GREYS))]
        points = sorted((row for row in rows if row["method"] == name), key=lambda row: float(row["budget"]))
        x, y, error = (
            np.array([float(p[key]) for p in points]) for key in ("psnr", "kernel", "kernel error")
        )
        axes.errorbar(
            x,
            y,
            error,
            color=colour,
            marker=MARKS[place % len(MARKS)],
            linestyle=LINES[place // len(MARKS) % len(LINES)],
            markersize=7 if mine else 5.5,
            linewidth=2 if mine else 1.2,
            elinewidth=1,
            capsize=2,
        )
        ends[name] = (x[-1], y[-1], colour if mine else GREYS[min(place % len(GREYS), 1)], mine)
        drawn += [np.stack([x, y], 1)]
    finish(axes, task, rows)
    left = [name for name in left if name not in names]
    if left:
        figure.supxlabel(f"Farther left: {', '.join(left)}.", fontsize=9, x=0.01, ha="left", color="#6e6e6e")
    figure.canvas.draw()
    label(axes, ends, [axes.transData.transform(curve) for curve in drawn])
    save(figure, path)
    plt.close(figure)


def finish(axes: Axes, task: str, rows: Rows) -> None:
    """Titles, and a logarithmic axis where the distances span more than 30."""
    values = np.array([float(row["kernel"]) for row in rows])
    if values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")
    else:
        axes.axhline(0, color="#cccccc", linewidth=1, zorder=0)
    axes.set_xlabel("PSNR (dB), higher is nearer to the truth")
    axes.set_ylabel("kernel distance, lower looks more like photographs")
    axes.set_title(f"{task}: the best corner is at the bottom right", loc="left", fontsize=13)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12, y=0.08)


def label(axes: Axes, ends: dict[str, tuple[float, float, str, bool]], curves: list[np.ndarray]) -> None:
    """Write each name beside the last point of its curve, where it covers no curve and no other name."""
    dots = np.concatenate([trace(curve) for curve in curves])
    taken: list[Annotation] = []
    for name, (x, y, colour, mine) in sorted(ends.items(), key=lambda item: not item[1][3]):
        best, least = None, np.inf
        for reach in range(SMALLEST, LARGEST, 10):
            for angle in (0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90):
                note = write_name(axes, name, (x, y), reach, angle, colour, mine)
                cost = covered(axes, note, taken, dots) + reach / LARGEST
                if cost < least:
                    if best is not None:
                        best.remove()
                    best, least = note, cost
                else:
                    note.remove()
            if least < 1:
                break
        if best is not None:
            taken.append(best)


def trace(curve: np.ndarray, step: float = 8.0) -> np.ndarray:
    """Points `[n, 2]` along the lines between the points of a curve, in pixels, at most `step` apart."""
    pieces = [curve]
    for a, b in pairwise(curve):
        pieces.append(np.linspace(a, b, max(int(np.hypot(*(b - a)) / step), 2)))
    return np.concatenate(pieces)


def write_name(
    axes: Axes, name: str, point: tuple[float, float], reach: float, angle: float, colour: str, mine: bool
) -> Annotation:
    """One try of a label, with a thin line to its point if it stands far away."""
    right, up = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return axes.annotate(
        name,
        point,
        (reach * right, reach * up),
        textcoords="offset points",
        ha="left" if right > 0.1 else "right" if right < -0.1 else "center",
        va="center" if abs(up) < 0.9 else "bottom" if up > 0 else "top",
        color=colour,
        fontsize=12,
        fontweight="bold" if mine else "normal",
        path_effects=[withStroke(linewidth=3, foreground="white")],
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkB": 4} if reach > 15 else None,
    )


def covered(axes: Axes, note: Annotation, taken: list[Annotation], dots: np.ndarray) -> float:
    """How much a label covers: other labels and points, and what lies outside of the axes."""
    box = Annotation.get_window_extent(note) if note.arrow_patch is None else text_box(note)
    frame = axes.get_window_extent()
    outside = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
    names = sum(box.overlaps(text_box(other)) for other in taken)
    inside = (dots > [box.x0 - 5, box.y0 - 4]) & (dots < [box.x1 + 5, box.y1 + 4])
    return 3 * names + 2 * outside + int(inside.all(1).sum())


def text_box(note: Annotation) -> matplotlib.transforms.Bbox:
    """Where the words of a label are, without its line."""
    note.update_positions(note.figure.canvas.get_renderer())
    return matplotlib.text.Text.get_window_extent(note)


def save(figure: plt.Figure, path: Path) -> None:
    """A PNG of 160 colours, less than half of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(160, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("table", type=Path, help="JSON of a benchmark, with its rows")
    p.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "planes")
    p.add_argument("--set", default="", help="which set of pictures, if the table has several")
    p.add_argument("--count", type=int, default=0, help="the rows of so many pictures alone")
    p.add_argument(
        "--ours", nargs="*", default=["faithful", "plausible", *(method.about.name for method in OURS)]
    )
    o = p.parse_args()
    o.results.mkdir(parents=True, exist_ok=True)
    rows = json.loads(o.table.read_text())["rows"]
    rows = [row for row in rows if "psnr" in row]
    rows = [row for row in rows if o.set in ("", row.get("set")) and o.count in (0, row.get("count"))]
    for task in dict.fromkeys(str(row["task"]) for row in rows):
        words = "-".join([*filter(None, [o.set]), *re.findall(r"[a-z0-9]+", task.lower())])
        path = o.results / f"{o.table.stem}-{words}.png"
        draw_plane(rows, task, path, o.ours)
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
