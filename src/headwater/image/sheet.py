"""One picture that tells a restoration: measurement, x1 along the way, result, and the cost curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headwater.atomic import write_atomically
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.figures import title_style
from headwater.image.io.picture import Array

INK, QUIET, LINE, NOISE = "#1f2933", "#7b8794", "#1f6f8b", "#c8553d"


class Panel(NamedTuple):
    """One image of a sheet `[c, h, w]` or `[1, c, h, w]` in [-1, 1], its title and a smaller second line."""

    title: str
    caption: str
    image: Tensor


@dataclass(frozen=True)
class Layout:
    """Lengths of a sheet, in inches.

    Attributes
    ----------
    width, margin, gap
        The width of the sheet, the space at its sides, the space between two images.
    head, bare_head
        The space above the first row with a title, and without one.
    label, below
        The space above a row for its labels, and below it.
    large, small
        The greatest height of the images in the upper row and in the lower one.
    words, word
        The least width of a panel with a caption, and with a title alone.
    curve, curve_frame
        The height of the curve, and the space for its labels.
    foot
        The space below the last row if there is no curve.
    """

    width: float = 9.0
    margin: float = 0.5
    gap: float = 0.18
    head: float = 0.42
    bare_head: float = 0.2
    label: float = 0.38
    below: float = 0.15
    large: float = 3.95
    small: float = 1.75
    words: float = 2.2
    word: float = 0.85
    curve: float = 2.3
    curve_frame: float = 0.95
    foot: float = 0.2

    def row_height(self, panels: Sequence[Panel], most: float) -> float:
        """The height at which the images fill the width, but never above `most`."""
        aspects = sum(_aspect(panel.image) for panel in panels)
        return min(most, (self.width - 2 * self.margin - self.gap * (len(panels) - 1)) / aspects)


def write_sheet(
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
    path
        The PNG file.
    measurement, result
        Images `[c, h, w]` or `[1, c, h, w]` in [-1, 1], one or three channels, each of its own size;
        values beyond are clipped.
    steps
        Pairs of a number of gradient evaluations and x1 `[c, h, w]` after them; of more than six, six are shown.
    reference
        The true image, if it is known.
    curve
        Pairs of a number of gradient evaluations and the misfit rms(A x1 - y) in units of sigma_y.
    title
        One line above all.
    captions
        A second line under the titles of measurement, result and reference.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    Misuse
        A tensor is not an image, the output cannot be written, or matplotlib is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.zeros(3, 16, 16)
    >>> hw.image.write_sheet(Path(tempfile.mkdtemp()) / "sheet.png", x, x, curve=[(0, 20.0), (9, 1.0)]).name
    'sheet.png'
    """
    named = [("Measurement", measurement), ("Result", result), ("Reference", reference)]
    lines = [*captions, "", "", ""]
    upper = [Panel(name, line, x) for (name, x), line in zip(named, lines, strict=False) if x is not None]
    lower = [Panel(f"x1 at {at:g}", "", x) for at, x in _thin_out(steps)]
    with write_atomically(path, overwrite=overwrite) as temporary:
        figure = _draw(Layout(), upper, lower, curve, title)
        figure.savefig(temporary, format="png", dpi=150, facecolor="white")
    return Path(path)


def _thin_out(steps: Sequence[tuple[float, Tensor]], most: int = 6) -> list[tuple[float, Tensor]]:
    """At most `most` of the steps, evenly spaced, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(k * (len(steps) - 1) / (most - 1))] for k in range(most)]


def _draw(
    layout: Layout,
    upper: Sequence[Panel],
    lower: Sequence[Panel],
    curve: Sequence[tuple[float, float]],
    title: str,
) -> Any:
    """The figure. All places are in inches from the top left, so that every image keeps its shape."""
    rows = [(panels, most) for panels, most in ((upper, layout.large), (lower, layout.small)) if panels]
    sized = [(panels, layout.row_height(panels, most)) for panels, most in rows]
    head = layout.head if title else layout.bare_head
    foot = layout.curve + layout.curve_frame if curve else layout.foot
    total = head + sum(layout.label + height + layout.below for _, height in sized) + foot
    page = Page(import_optional("matplotlib.figure").Figure(), layout.width, total)
    page.figure.set_size_inches(layout.width, total)
    if title:
        page.write(layout.margin, 0.28, title, size=13, weight="bold", color=INK, va="center")
    top = head
    for panels, height in sized:
        top += layout.label
        draw_row(page, layout, panels, top, height)
        top += height + layout.below
    if curve:
        left = layout.margin + 0.25
        _draw_curve(page.axes(left, top + 0.42, layout.width - layout.margin - left, layout.curve), curve)
    return page.figure


@dataclass(frozen=True)
class Page:
    """A figure of this width and height, in inches; places are counted from its top left."""

    figure: Any
    width: float
    height: float

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes at a place."""
        w, h = self.width, self.height
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    def write(self, left: float, top: float, words: str, **style: Any) -> float:
        """Write words at a place; their width."""
        text = self.figure.text(left / self.width, 1 - top / self.height, **title_style(words), **style)
        return float(text.get_window_extent().width / self.figure.dpi)


def draw_row(page: Page, layout: Layout, panels: Sequence[Panel], top: float, height: float) -> None:
    """Draw panels beside each other, their images at `top`, of this height."""
    left = layout.margin
    for panel in panels:
        width, pixels = height * _aspect(panel.image), _pixels(panel.image)
        axes = page.axes(left, top, width, height)
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if pixels.ndim == 2 else {}
        axes.imshow(pixels, interpolation="nearest", aspect="auto", **grey)
        axes.set_axis_off()
        words = page.write(left, top - 0.09, panel.title, size=10, weight="bold", color=INK)
        if panel.caption:
            page.write(left + words + 0.09, top - 0.09, panel.caption, size=9, color=QUIET)
        left += max(width, layout.words if panel.caption else layout.word) + layout.gap


def _draw_curve(axes: Any, curve: Sequence[tuple[float, float]]) -> None:
    ticker = import_optional("matplotlib.ticker")
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
    if image.ndim != 3 or len(image) not in (1, 3) or not image.numel():
        raise Misuse(
            f"A sheet shows images [c, h, w] of 1 or 3 channels, not {list(x.shape)}.", "Convert it."
        )
    shown = ((image.nan_to_num(nan=-1.0) + 1) / 2).clamp(0, 1)
    array: Array = (shown[0] if len(shown) == 1 else shown.permute(1, 2, 0)).numpy()
    return array
