"""One picture that tells a repair: spectrograms before and after, the waveform at its seams, and the cost curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.atomic import write_atomically
from headwater.audio.io.tracks import Track
from headwater.extras import need

INK, LINE, OLD, MARK = "#1f2933", "#1f6f8b", "#9aa5b1", "#c8553d"
FLOOR = -90.0
"""Decibels below the loudest that a spectrogram shows."""
NEAR = 0.008
"""Seconds on each side of a seam that are shown."""


def sheet(
    path: Path,
    before: Track,
    after: Track,
    rate: int,
    gaps: Sequence[tuple[int, int]],
    *,
    start: float = 0.0,
    curve: Sequence[tuple[float, float]] = (),
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a PNG of a stretch of sound, `[frames]`, before and after its `gaps` (frames in it) were filled.

    `start` is the time of the first frame in seconds; `curve` holds (number, misfit), the numbers up to 0 being times
    of the estimate and the others gradient evaluations. The waveform is shown at the seams of the longest gap, or,
    without gaps, where it is loudest and where it changed most.

    Raises
    ------
    Misuse
        The output cannot be written, or matplotlib is not installed.
    """
    figure = need("matplotlib.figure").Figure(figsize=(9.0, 9.0 if curve else 7.2), layout="constrained")
    rows = ["aa", "bb", "cd", *(["ee"] if curve else [])]
    axes = figure.subplot_mosaic("\n".join(rows), height_ratios=[1.3, 1.3, 1.0, *([0.8] if curve else [])])
    for key, track, name in (("a", before, "Before"), ("b", after, "After")):
        _spectrogram(axes[key], track, rate, start, gaps, name)
    for key, edge, name in zip("cd", *_places(before, after, gaps), strict=True):
        _seam(axes[key], before, after, rate, start, edge, name)
    if curve:
        _curve(axes["e"], curve)
    if title:
        figure.suptitle(title, x=0.02, ha="left", weight="bold", color=INK)
    with write_atomically(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, format="png", dpi=100, facecolor="white")
    return path


def most_changed(before: NDArray[np.float64], after: NDArray[np.float64]) -> int:
    """The channel of a stretch `[frames, channels]` that tells most of a repair.

    >>> most_changed(np.zeros((2, 2)), np.array([[0.0, 0.5], [0.1, 0.0]]))
    1
    """
    return int(np.square(after - before).sum(0).argmax())


def gallery(
    path: Path, tracks: Sequence[Track], rate: int, names: Sequence[str], *, overwrite: bool = False
) -> Path:
    """Write a PNG with the spectrograms of several recordings `[frames]`, one below the other.

    Raises
    ------
    Misuse
        The output cannot be written, or matplotlib is not installed.
    """
    count = len(tracks)
    size = (9.0, 0.4 + 1.7 * count)
    figure = need("matplotlib.figure").Figure(figsize=size, layout="constrained")
    for axes, track, name in zip(figure.subplots(count, squeeze=False)[:, 0], tracks, names, strict=True):
        _spectrogram(axes, track, rate, 0.0, (), name)
    with write_atomically(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, format="png", dpi=100, facecolor="white")
    return path


def _curve(axes: Any, curve: Sequence[tuple[float, float]]) -> None:
    """The misfit in the estimate, and from its end on in the control run."""
    for points, color, name in (
        ([p for p in curve if p[0] <= 0], OLD, "estimate"),
        ([p for p in curve if p[0] >= 0], LINE, "control"),
    ):
        if points:
            axes.semilogy(*zip(*points, strict=True), color=color, marker="o", markersize=3, label=name)
    axes.axhline(1.0, color=MARK, linewidth=0.8)
    axes.set(xlabel="times of the estimate up to 0, then gradient evaluations", ylabel="misfit, 1 = goal")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)


def _places(
    before: Track, after: Track, gaps: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], tuple[str, str]]:
    """The two frames at which the waveform is shown, and what they are."""
    if gaps:
        return max(gaps, key=lambda gap: gap[1] - gap[0]), ("Where the gap begins", "Where it ends")
    loudest, changed = int(np.abs(before).argmax()), int(np.abs(after - before).argmax())
    return (loudest, changed), ("Where it is loudest", "Where it changed most")


def _spectrogram(
    axes: Any, track: Track, rate: int, start: float, gaps: Sequence[tuple[int, int]], name: str
) -> None:
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    track = np.pad(track, (0, max(0, 8 - len(track))))
    size = 1 << min(max(6, round(np.log2(0.04 * rate))), int(np.log2(len(track))))
    stft = ShortTimeFFT(hann(size), size // 4, rate, scale_to="magnitude")
    level = 20 * np.log10(np.abs(stft.stft(track)) + 1e-9)
    top = level.max()
    left, right, bottom, upper = stft.extent(len(track))
    axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=(start + left, start + right, bottom / 1000, upper / 1000),
        vmin=top + FLOOR,
        vmax=top,
        cmap="magma",
    )
    for a, b in gaps:
        for edge in (a, b):
            axes.axvline(start + edge / rate, color="white", linewidth=0.7, linestyle=":")
    axes.set(xlim=(start, start + len(track) / rate), ylabel="kHz")
    axes.set_title(name, loc="left", size=10, weight="bold", color=INK)


def _seam(axes: Any, before: Track, after: Track, rate: int, start: float, edge: int, name: str) -> None:
    reach = max(round(NEAR * rate), 4)
    part = slice(max(edge - reach, 0), min(edge + reach, len(after)))
    at = 1000 * np.arange(part.start - edge, part.stop - edge) / rate
    axes.plot(at, before[part], color=OLD, linewidth=2.2, label="before")
    axes.plot(at, after[part], color=LINE, linewidth=1.0, label="after")
    axes.axvline(0, color=MARK, linewidth=0.8)
    axes.set(xlabel=f"ms from {start + edge / rate:.3f} s")
    axes.set_title(name, loc="left", size=10, weight="bold", color=INK)
    axes.legend(loc="upper right", fontsize=7, frameon=False)
