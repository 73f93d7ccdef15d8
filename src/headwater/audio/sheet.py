"""One picture that tells a repair: spectrograms before and after, the waveform at its seams, and the cost curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.atomic import write_atomically
from headwater.audio.io.channels import Signal
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.figures import title_style

INK, LINE, OLD, MARK = "#1f2933", "#1f6f8b", "#9aa5b1", "#c8553d"


def write_sheet(
    path: str | Path,
    before: Signal,
    after: Signal,
    *,
    rate: int,
    gaps: Sequence[tuple[int, int]] = (),
    start: float = 0.0,
    curve: Sequence[tuple[float, float]] = (),
    goal: float = 1.0,
    bands: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Write the picture of `draw_sheet` as PNG.

    Parameters
    ----------
    path : str or Path
        The PNG file.
    before, after
        A signal of the segment, `[frames]`.
    rate, gaps, start, curve, goal, bands, title
        As of `draw_sheet`.
    overwrite
        Whether an existing file is replaced.

    Returns
    -------
    path
        The file.

    Raises
    ------
    Misuse
        The output cannot be written, matplotlib is not installed, or as of `draw_sheet`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> tone = np.sin(np.arange(4000) / 10)
    >>> hw.audio.write_sheet(Path(tempfile.mkdtemp()) / "sheet.png", tone, 0.5 * tone, rate=16_000).name
    'sheet.png'
    """
    figure = draw_sheet(
        before, after, rate=rate, gaps=gaps, start=start, curve=curve, goal=goal, bands=bands, title=title
    )
    return _write(figure, Path(path), overwrite)


def draw_sheet(
    before: Signal,
    after: Signal,
    *,
    rate: int,
    gaps: Sequence[tuple[int, int]] = (),
    start: float = 0.0,
    curve: Sequence[tuple[float, float]] = (),
    goal: float = 1.0,
    bands: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
) -> Any:
    """A matplotlib figure of a segment before and after it was repaired.

    The waveform is shown at the seams of the longest gap, or, without gaps, where it is loudest and where it changed
    most.

    Parameters
    ----------
    before, after
        A signal of the segment, `[frames]`, of which it has at least one.
    rate
        Frames a second, Hz.
    gaps
        Frames of the segment: the first lost one, and the one after the last.
    start
        The time of the first frame, seconds.
    curve
        (number, misfit): numbers up to 0 are times of the estimate, the others gradient evaluations.
    goal
        The misfit at which the solve was to end.
    bands
        Of several fillings: `seconds`, and at each of them the level in dB of full scale below which 5, 50 and 95 %
        of them lie, `q05`, `q50`, `q95`. It is shown in place of the curve.
    title
        Above the picture.

    Returns
    -------
    figure
        A `matplotlib.figure.Figure`.

    Raises
    ------
    Misuse
        The signals are not of one shape `[frames]`, or are empty; the rate is not positive; or matplotlib is not
        installed.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> tone = np.sin(np.arange(4000) / 10)
    >>> figure = hw.audio.draw_sheet(tone, 0.5 * tone, rate=16_000, title="Half as loud")
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['Before', 'After', 'Where it is loudest', 'Where it changed most']
    """
    before, after = np.asarray(before), np.asarray(after)
    if np.ndim(before) != 1 or np.shape(before) != np.shape(after) or not len(before):
        raise Misuse(
            f"The signals are {list(np.shape(before))} and {list(np.shape(after))}.",
            "Give one channel of each, [frames], both with the same frames and at least one.",
        )
    if not rate > 0:
        raise Misuse(f"A rate of {rate} Hz is not positive.", "Give the rate of the signals.")
    more = bool(curve) or bands is not None
    figure = import_optional("matplotlib.figure").Figure(
        figsize=(9.0, 9.0 if more else 7.2), layout="constrained"
    )
    rows = ["aa", "bb", "cd", *(["ee"] if more else [])]
    axes = figure.subplot_mosaic("\n".join(rows), height_ratios=[1.3, 1.3, 1.0, *([0.8] if more else [])])
    for key, signal, name in (("a", before, "Before"), ("b", after, "After")):
        _draw_spectrogram(axes[key], signal, rate, start, gaps, name)
    for key, frame, name in zip("cd", *_choose_frames(before, after, gaps), strict=True):
        _draw_waveform(axes[key], before, after, rate, start, frame, name)
    if bands is not None:
        _draw_bands(axes["e"], bands)
    elif curve:
        _draw_curve(axes["e"], curve, goal)
    if title:
        style = title_style(title)
        figure.suptitle(style.pop("s"), **style, x=0.02, ha="left", weight="bold", color=INK)
    return figure


def most_changed_channel(before: NDArray[np.float64], after: NDArray[np.float64]) -> int:
    """The channel of a segment `[frames, channels]` that a repair changed most.

    >>> most_changed_channel(np.zeros((2, 2)), np.array([[0.0, 0.5], [0.1, 0.0]]))
    1
    """
    return int(np.square(after - before).sum(0).argmax())


def write_gallery(
    path: Path, signals: Sequence[Signal], rate: int, names: Sequence[str], *, overwrite: bool = False
) -> Path:
    """Write a PNG with the spectrograms of several recordings `[frames]`, one below the other.

    Raises
    ------
    Misuse
        The output cannot be written, or matplotlib is not installed.
    """
    count = len(signals)
    size = (9.0, 0.4 + 1.7 * count)
    figure = import_optional("matplotlib.figure").Figure(figsize=size, layout="constrained")
    for axes, signal, name in zip(figure.subplots(count, squeeze=False)[:, 0], signals, names, strict=True):
        _draw_spectrogram(axes, signal, rate, 0.0, (), name)
    return _write(figure, path, overwrite)


def _write(figure: Any, path: Path, overwrite: bool) -> Path:
    with write_atomically(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, format="png", dpi=100, facecolor="white")
    return path


def _draw_curve(axes: Any, curve: Sequence[tuple[float, float]], goal: float) -> None:
    """The misfit in the estimate, and from its end on in the control run."""
    for points, color, name in (
        ([p for p in curve if p[0] <= 0], OLD, "estimate"),
        ([p for p in curve if p[0] >= 0], LINE, "control"),
    ):
        if points:
            axes.semilogy(*zip(*points, strict=True), color=color, marker="o", markersize=3, label=name)
    axes.axhline(goal, color=MARK, linewidth=0.8)
    axes.set(
        xlabel="times of the estimate up to 0, then gradient evaluations", ylabel=f"misfit, goal {goal:g}"
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)


def _draw_bands(axes: Any, bands: Mapping[str, Sequence[float]]) -> None:
    """The level of the middle filling, and the band within which 90 % of them lie."""
    axes.fill_between(
        bands["seconds"], bands["q05"], bands["q95"], color=LINE, alpha=0.25, linewidth=0, label="90 %"
    )
    axes.plot(bands["seconds"], bands["q50"], color=LINE, linewidth=1.4, label="median")
    axes.set(xlabel="s", ylabel="dB of full scale")
    axes.set_title("Level of the draws", loc="left", size=10, weight="bold", color=INK)
    axes.legend(frameon=False, fontsize=8)


def _choose_frames(
    before: Signal, after: Signal, gaps: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], tuple[str, str]]:
    """The two frames at which the waveform is shown, and what they are."""
    if gaps:
        return max(gaps, key=lambda gap: gap[1] - gap[0]), ("Where the gap begins", "Where it ends")
    loudest, changed = int(np.abs(before).argmax()), int(np.abs(after - before).argmax())
    return (loudest, changed), ("Where it is loudest", "Where it changed most")


def _draw_spectrogram(
    axes: Any,
    signal: Signal,
    rate: int,
    start: float,
    gaps: Sequence[tuple[int, int]],
    name: str,
    *,
    floor: float = -90.0,
) -> None:
    """The level in dB of bins of 40 ms, down to `floor` dB below the loudest."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    signal = np.pad(signal, (0, max(0, 8 - len(signal))))
    size = 1 << min(max(6, round(np.log2(0.04 * rate))), int(np.log2(len(signal))))
    stft = ShortTimeFFT(hann(size), size // 4, rate, scale_to="magnitude")
    level = 20 * np.log10(np.abs(stft.stft(signal)) + 1e-9)
    top = level.max()
    left, right, bottom, upper = stft.extent(len(signal))
    axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=(start + left, start + right, bottom / 1000, upper / 1000),
        vmin=top + floor,
        vmax=top,
        cmap="magma",
    )
    for a, b in gaps:
        for edge in (a, b):
            axes.axvline(start + edge / rate, color="white", linewidth=0.7, linestyle=":")
    axes.set(xlim=(start, start + len(signal) / rate), ylabel="kHz")
    axes.set_title(name, loc="left", size=10, weight="bold", color=INK)


def _draw_waveform(
    axes: Any,
    before: Signal,
    after: Signal,
    rate: int,
    start: float,
    frame: int,
    name: str,
    *,
    near: float = 0.008,
) -> None:
    """Both waveforms, `near` seconds on each side of a frame."""
    reach = max(round(near * rate), 4)
    part = slice(max(frame - reach, 0), min(frame + reach, len(after)))
    at = 1000 * np.arange(part.start - frame, part.stop - frame) / rate
    axes.plot(at, before[part], color=OLD, linewidth=2.2, label="before")
    axes.plot(at, after[part], color=LINE, linewidth=1.0, label="after")
    axes.axvline(0, color=MARK, linewidth=0.8)
    axes.set(xlabel=f"ms from {start + frame / rate:.3f} s")
    axes.set_title(name, loc="left", size=10, weight="bold", color=INK)
    axes.legend(loc="upper right", fontsize=7, frameon=False)
