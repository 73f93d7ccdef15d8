"""One picture that tells a restoration: measurement, x1 along the way, result, and the cost curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.atomic import write_atomically
from headwater.errors import Misuse
from headwater.extras import need
from headwater.image.io.picture import Array

Panel = tuple[str, str, Tensor]  # title, a smaller second line, image [c, h, w] or [1, c, h, w] in [-1, 1]

WIDTH, MARGIN, GAP, TITLE = 9.0, 0.5, 0.18, 0.38  # inches
LARGE, SMALL, CURVE = 3.95, 1.75, 2.3  # the greatest heights of the two rows, the height of the curve
INK, QUIET, LINE, NOISE = "#1f2933", "#7b8794", "#1f6f8b", "#c8553d"


def sheet(
    path: str | Path,
    measurement: Tensor,
    result: Tensor,
    *,
    steps: Sequence[tuple[float, Tensor]] = (),
    reference: Tensor | None = None,
    curve: Sequence[tuple[float, float]] = (),
    title: str = "",
    captions: Sequence[str] = ("", "", ""),
    overwrite: bool = False,
) -> Path:
    """Write a PNG with the measurement, the result, the way between them and the misfit on it.

    Small images are enlarged without smoothing, so that a pixel stays a square.

    Parameters
    ----------
    path : str or Path
        The PNG file.
    measurement, result : Tensor [c, h, w] or [1, c, h, w]
        Images in [-1, 1], one or three channels, each of its own size; values beyond are clipped.
    steps : sequence of (evaluations, image)
        x1 after so many gradient evaluations; of more than six, six are shown.
    reference : Tensor, optional
        The true image, if it is known.
    curve : sequence of (evaluations, misfit)
        rms(A x1 - y) in units of sigma_y against gradient evaluations.
    title : str
        One line above all.
    captions : sequence of str
        A second line under the titles of measurement, result and reference.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    Misuse
        A tensor is no image, the output cannot be written, or matplotlib is not installed.

    Examples
    --------
    >>> import tempfile
    >>> x = torch.zeros(3, 16, 16)
    >>> sheet(Path(tempfile.mkdtemp()) / "sheet.png", x, x, curve=[(0, 20.0), (9, 1.0)]).name
    'sheet.png'
    """
    named = [("Measurement", measurement), ("Result", result), ("Reference", reference)]
    lines = [*captions, "", "", ""]
    main = [(name, line, x) for (name, x), line in zip(named, lines, strict=False) if x is not None]
    way = [(f"x1 at {at:g}", "", x) for at, x in _thin(steps)]
    rows = [(main, LARGE), (way, SMALL)] if way else [(main, LARGE)]
    with write_atomically(path, overwrite=overwrite) as temporary:
        _figure(rows, curve, title).savefig(temporary, format="png", dpi=150, facecolor="white")
    return Path(path)


def _thin(steps: Sequence[tuple[float, Tensor]], most: int = 6) -> list[tuple[float, Tensor]]:
    if len(steps) <= most:
        return list(steps)
    return [steps[round(k * (len(steps) - 1) / (most - 1))] for k in range(most)]


def _figure(rows: list[tuple[list[Panel], float]], curve: Sequence[tuple[float, float]], title: str) -> Any:
    """All places in inches from the top left, so that every image keeps its shape."""
    figure = need("matplotlib.figure").Figure()
    sized = [(panels, _height(panels, most)) for panels, most in rows]
    head = 0.42 if title else 0.2
    total = head + sum(TITLE + height + 0.15 for _, height in sized) + (CURVE + 0.95 if curve else 0.2)
    figure.set_size_inches(WIDTH, total)
    if title:
        figure.text(MARGIN / WIDTH, 1 - 0.28 / total, title, size=13, weight="bold", color=INK, va="center")
    top = head
    for panels, height in sized:
        top += TITLE
        _row(figure, panels, top, height, total)
        top += height + 0.15
    if curve:
        box = (MARGIN + 0.25, top + 0.42, WIDTH - 2 * MARGIN - 0.25, CURVE)
        _curve(_axes(figure, box, total), curve)
    return figure


def _height(panels: list[Panel], most: float) -> float:
    shapes = sum(_aspect(x) for _, _, x in panels)
    return min(most, (WIDTH - 2 * MARGIN - GAP * (len(panels) - 1)) / shapes)


def _row(figure: Any, panels: list[Panel], top: float, height: float, total: float) -> None:
    left = MARGIN
    for title, caption, x in panels:
        width = height * _aspect(x)
        axes = _axes(figure, (left, top, width, height), total)
        pixels = _pixels(x)
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if pixels.ndim == 2 else {}
        axes.imshow(pixels, interpolation="nearest", aspect="auto", **grey)
        axes.set_axis_off()
        _label(figure, left, top, total, title, caption)
        left += max(width, 2.2 if caption else 0.85) + GAP  # room for the words over a narrow image


def _label(figure: Any, left: float, top: float, total: float, title: str, caption: str) -> None:
    x, y = left / WIDTH, 1 - (top - 0.09) / total
    name = figure.text(x, y, title, size=10, weight="bold", color=INK)
    if caption:
        name_width = name.get_window_extent().width / figure.dpi
        figure.text(x + (name_width + 0.09) / WIDTH, y, caption, size=9, color=QUIET)


def _axes(figure: Any, box: tuple[float, float, float, float], total: float) -> Any:
    left, top, width, height = box
    return figure.add_axes((left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total))


def _curve(axes: Any, curve: Sequence[tuple[float, float]]) -> None:
    ticker = need("matplotlib.ticker")
    at, misfit = zip(*curve, strict=True)
    axes.axhline(1, color=NOISE, linewidth=1.2, linestyle=(0, (5, 3)))
    axes.plot(at, misfit, color=LINE, linewidth=1.8, solid_capstyle="round")
    axes.plot(at[-1:], misfit[-1:], "o", color=LINE, markersize=5)
    axes.set_yscale("log")
    axes.set_xlim(min(at), max(max(at), min(at) + 1) * 1.02)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.7), max(high, 2))
    axes.annotate(
        "noise level", (0.995, 1), xycoords=("axes fraction", "data"), xytext=(0, -3),
        textcoords="offset points", ha="right", va="top", size=9, color=NOISE,
    )  # fmt: skip
    axes.set_title("Misfit  rms(A x1 - y) / sigma_y", loc="left", size=10, weight="bold", color=INK)
    axes.set_xlabel("gradient evaluations", size=9, color=QUIET)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.tick_params(colors=QUIET, labelsize=9, length=0)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#cbd2d9")


def _aspect(x: Tensor) -> float:
    return float(min(max(x.shape[-1] / x.shape[-2], 0.2), 5))


def _pixels(x: Tensor) -> Array:
    image = x.detach().to("cpu", torch.float32)
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    if image.ndim != 3 or len(image) not in (1, 3):
        raise Misuse(
            f"A sheet shows images [c, h, w] of 1 or 3 channels, not {list(x.shape)}.", "Convert it."
        )
    shown = ((image.nan_to_num(nan=-1.0) + 1) / 2).clamp(0, 1)
    array: Array = (shown[0] if len(shown) == 1 else shown.permute(1, 2, 0)).numpy()
    return array
