"""One picture that tells how sure a restoration is: mean, plausible draw, standard deviation, two quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.atomic import write_atomically
from headwater.extras import import_optional
from headwater.image.sheet import INK, QUIET, Layout, Page, Panel, draw_row

BAR, LABELS = 0.14, 0.62
"""The width of the colour bar and of the space for its numbers, in inches."""
COLOURS = "magma"


def write_posterior_sheet(
    path: str | Path,
    measurement: Tensor,
    mean: Tensor,
    sample: Tensor,
    std: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    reference: Tensor | None = None,
    title: str = "",
    lines: Sequence[str] = (),
    captions: Sequence[str] = ("", ""),
    overwrite: bool = False,
) -> Path:
    """Write a PNG with what the draws of a posterior say of a picture.

    Parameters
    ----------
    path
        The PNG file.
    measurement, mean, sample
        Images `[c, h, w]` or `[1, c, h, w]` in [-1, 1]: what was measured, the mean of the draws, one of them.
    std
        The standard deviation of every pixel, `[h, w]`, in the units of the data range.
    low, high
        The quantiles of 5 and 95 %, images.
    reference
        The true image, if it is known.
    title
        One line above all.
    lines
        Sentences below all.
    captions
        A second line under the titles of mean and sample.
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
    >>> x, std = torch.zeros(3, 16, 16), torch.full((16, 16), 0.1)
    >>> folder = Path(tempfile.mkdtemp())
    >>> hw.image.write_posterior_sheet(folder / "sheet.png", x, x, x, std, x - 0.2, x + 0.2).name
    'sheet.png'
    """
    upper = [Panel("Measurement", "", measurement), Panel("Mean", captions[0], mean)]
    upper += [Panel("A draw", captions[1], sample)]
    upper += [] if reference is None else [Panel("Reference", "", reference)]
    lower = [Panel("5 %", "", low), Panel("95 %", "", high)]
    with write_atomically(path, overwrite=overwrite) as temporary:
        figure = _draw(Layout(words=0.85), upper, lower, std, title, lines)
        figure.savefig(temporary, format="png", dpi=150, facecolor="white")
    return Path(path)


def _draw(
    layout: Layout,
    upper: Sequence[Panel],
    lower: Sequence[Panel],
    std: Tensor,
    title: str,
    lines: Sequence[str],
) -> Any:
    """The figure; the colour bar stands at the right of the last map."""
    top_of_scale = round_up(float(std.nan_to_num().max()))
    lower = [*lower, Panel("Standard deviation", "", colour_map(std, top_of_scale))]
    inner = Layout(width=layout.width - BAR - LABELS, words=layout.words)
    rows = [(panels, inner.row_height(panels, layout.large)) for panels in (upper, lower)]
    head = layout.head if title else layout.bare_head
    total = head + sum(layout.label + height + layout.below for _, height in rows) + layout.foot
    total += 0.22 * len(lines)
    page = Page(import_optional("matplotlib.figure").Figure(), layout.width, total)
    page.figure.set_size_inches(layout.width, total)
    if title:
        page.write(layout.margin, 0.28, title, size=13, weight="bold", color=INK, va="center")
    top = head
    for panels, height in rows:
        top += layout.label
        draw_row(page, layout, panels, top, height)
        top += height + layout.below
    _, height = rows[1]
    aspects = sum(min(max(p.image.shape[-1] / p.image.shape[-2], 0.2), 5) for p in lower)
    left = layout.margin + aspects * height + layout.gap * (len(lower) - 1) + 0.08
    _draw_bar(page.axes(left, top - height - layout.below, BAR, height), top_of_scale)
    for k, line in enumerate(lines):
        page.write(layout.margin, top + 0.12 + 0.22 * k, line, size=9, color=QUIET, va="center")
    return page.figure


def _draw_bar(axes: Any, top: float) -> None:
    scale = torch.linspace(1, 0, 256)[:, None].numpy()
    axes.imshow(scale, cmap=COLOURS, aspect="auto", extent=(0, 1, 0, top))
    axes.yaxis.tick_right()
    axes.set_yticks([0, top / 2, top], [f"{value:g}" for value in (0, top / 2, top)])
    axes.set_xticks([])
    axes.tick_params(colors=QUIET, labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def colour_map(values: Tensor, top: float) -> Tensor:
    """Values `[h, w]` from 0 to `top` as an image `[3, h, w]` in [-1, 1]."""
    colours = import_optional("matplotlib").colormaps[COLOURS]
    shares = (values.detach().cpu().nan_to_num() / top).clamp(0, 1).numpy()
    return torch.from_numpy(colours(shares)[..., :3]).permute(2, 0, 1).float() * 2 - 1


def round_up(value: float) -> float:
    """The next of 0.01, 0.02, 0.05, 0.1, 0.2 and so on, at least 0.01: the end of a scale.

    Examples
    --------
    >>> round_up(0.0), round_up(0.013), round_up(0.34), round_up(0.5)
    (0.01, 0.02, 0.5, 0.5)
    """
    steps = [m * 10.0**k for k in range(-2, 3) for m in (1, 2, 5)]
    return next((round(step, 2) for step in steps if step >= value * (1 - 1e-6)), steps[-1])
