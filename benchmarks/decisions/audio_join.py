"""What prediction, the flow and their join are worth in long gaps and beyond the end, on gaps enough to tell.

    python benchmarks/decisions/audio_join.py --music build/music --recordings build/real/usr/share/sonic-pi/samples

At 16 kHz, mono: `rendered` clips of the part `validation`, and ten `real` recordings of Sonic Pi, of which only two
loops are in another benchmark (`audio_loops.py`), each at up to three places. `gap 400 ms`, and `end`: 400 ms after
the end of what is left. `joined` is what the product does at the rate of the flow (without looking for repetitions,
without the residual that prediction carries into a gap, and without noise above the flow's band). Settings were
chosen on these places, and places of one recording count as independent: standard errors are too small. CDPAM and
spectral distance count the damage and half a second on both sides, `level` is that of the damage against the true one
(median, and mean of what it is off). Beside CDPAM stands how much higher it is than that of `joined`, place by place,
with its standard error; clips that are off by more than 2 by any method are left out of both, and counted. With
`--keep FILE` finished lines are not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import _path  # noqa: F401
from audio_real import recording
from common import kept, options, write
from headwater.audio.gaps import SETTINGS
from headwater.audio.io.resample import resample
from headwater.audio.metrics import cdpam_distance, cdpam_embedding, log_spectral_distance
from headwater.audio.model import models
from headwater.audio.model.render import RATE
from headwater.audio.operators import Gaps
from headwater.audio.signal.join import hold_level, join_flow
from headwater.audio.signal.prediction import predict_gaps
from recordings import AROUND, Signal, above, clips, known

RECORDINGS = (
    "guit_e_slide",
    "guit_harmonics",
    "ambi_glass_hum",
    "ambi_glass_rub",
    "bass_woodsy_c",
    "ambi_drone",
    "loop_garzul",
    "loop_mika",
    "loop_electric",
    "perc_bell2",
)
PLACES = (0.3, 0.5, 0.7)
SIZE, REACH, MARGIN = round(0.4 * RATE), round(SETTINGS.context * RATE), round(AROUND * RATE)
OUTLIER = 2.0
SOFTEST = 1e-3
RMS = 0.1
"""How loud tracks are listened to, full scale 1."""


class Place(NamedTuple):
    """A true track `[REACH + SIZE + REACH]` at unit loudness, and where it is known."""

    truth: Signal
    known: np.ndarray


def places(tracks: Iterator[Signal], at: tuple[float, ...], *, end: bool) -> list[Place]:
    """Where tracks `[samples]` are damaged: a gap, or all from its start on."""
    found, size = [], 2 * REACH + SIZE
    for x in tracks:
        for share in at:
            first = round(share * len(x)) - size // 2
            truth = x[max(first, 0) : first + size]
            if first < 0 or len(truth) < size or truth[REACH : REACH + SIZE].std() < SOFTEST:
                continue
            there = np.ones(size, dtype=bool)
            there[REACH : None if end else REACH + SIZE] = False
            found.append(Place(truth / truth[there].std(), there))
    return found


def rendered(folder: Path, count: int, *, end: bool) -> list[Place]:
    """The middle of clips."""
    return places(iter(clips(folder, count, part="validation", seed=5)), (0.5,), end=end)


def real(folder: Path, *, end: bool) -> list[Place]:
    """Places in recordings."""
    found = (recording(folder / f"{name}.flac", seconds=8.0) for name in RECORDINGS)
    return places((resample(x, rate, RATE) for x, rate in found), PLACES, end=end)


def fillings(place: Place, seed: int) -> dict[str, Signal]:
    """The track filled in each way."""
    lost = ~place.known
    guess = predict_gaps(np.where(lost, 0.0, place.truth), lost, place.known, RATE)
    held = hold_level(guess, place.known, RATE)
    flow = drawn(guess, place.known, seed)
    found = {
        "joined": join_flow(flow, held, place.known, RATE),
        "joined, not held up": join_flow(flow, guess, place.known, RATE),
        "prediction, held up": held,
        "prediction": guess,
        "flow": flow,
    }
    return {name: np.where(place.known, place.truth, x) for name, x in found.items()}


def drawn(guess: Signal, there: np.ndarray, seed: int) -> Signal:
    """The flow alone."""
    operator, rough = Gaps(torch.from_numpy(there)[None]), torch.from_numpy(guess).float()[None]
    prior = models.load_prior()
    done = prior.pose(operator, operator(rough), 0.0, guess=rough, recipe=SETTINGS.recipe).solve([seed])
    return prior.canvas(len(guess))(done.x1)[0].double().numpy()


def judged(some: list[Place]) -> dict[str, dict[str, list[float]]]:
    """Of every method the scores at each place."""
    table: dict[str, dict[str, list[float]]] = {}
    gap = slice(REACH, REACH + SIZE)
    for seed, place in enumerate(some):
        heard = slice(REACH - MARGIN, REACH + SIZE + (MARGIN if place.known[-1] else 0))
        r = RMS * torch.from_numpy(place.truth[heard].copy())[None]
        for name, track in fillings(place, seed).items():
            x = RMS * torch.from_numpy(track[heard].copy())[None]
            line = table.setdefault(name, {"CDPAM": [], "LSD": [], "level": []})
            line["CDPAM"].append(cdpam_distance(cdpam_embedding(x, RATE), known(r)).item())
            line["LSD"].append(log_spectral_distance(x, r).item())
            line["level"].append(20 * float(np.log10(track[gap].std() / place.truth[gap].std())))
    return table


def summed(table: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """A line of the table for each method."""
    clean = np.max([line["CDPAM"] for line in table.values()], axis=0) < OUTLIER
    ours = np.array(table["joined"]["CDPAM"])[clean]
    lines: list[dict[str, Any]] = []
    for name, line in table.items():
        heard, level = np.array(line["CDPAM"])[clean], np.array(line["level"])
        lines.append(
            {
                "filled by": name,
                "places": len(level),
                "left out": int((~clean).sum()),
                "CDPAM": round(float(heard.mean()), 4),
                "CDPAM above joined's": above(heard.tolist(), ours.tolist()),
                "LSD, dB": round(float(np.mean(line["LSD"])), 2),
                "level, dB": round(float(np.median(level)), 1),
                "level off, dB": round(float(np.abs(level).mean()), 1),
            }
        )
    return lines


def main() -> None:
    o = options(__doc__.splitlines()[0], data="music", recordings="", count=40, keep="")
    tasks: dict[str, Callable[[], list[Place]]] = {}
    for task, end in {"gap 400 ms": False, "end": True}.items():
        tasks[f"{task}, rendered"] = lambda end=end: rendered(o.music, o.count, end=end)
        if o.recordings:
            tasks[f"{task}, real"] = lambda end=end: real(Path(o.recordings), end=end)
    lines: list[dict[str, Any]] = []
    for task, some in tasks.items():
        found = kept(o.keep, f"{task}, {o.count}", lambda some=some: {"lines": summed(judged(some()))})
        lines += [{"task": task} | line for line in found["lines"]]
    command = f"python benchmarks/decisions/audio_join.py --music build/music --count {o.count}"
    command += " --recordings build/real/usr/share/sonic-pi/samples" * bool(o.recordings)
    write(o.results / "audio_join", lines, command, "Gaps and ends of 400 ms.")


if __name__ == "__main__":
    main()
