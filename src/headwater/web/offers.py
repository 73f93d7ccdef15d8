"""What the page offers of the command line: which commands, which kinds of files, and where a slider begins.

Names, ranges, choices, defaults and help of all options are read from the commands themselves (`forms`). Here stands
only what a page needs besides: an order, and what lies in easy reach. What is not named here is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

DOMAINS = {
    "image": ("inpaint", "denoise", "deblur", "upscale", "colorize", "dejpeg", "declip", "edit", "generate"),
    "audio": ("check", "inpaint", "declip", "denoise", "dereverb", "restore", "extend", "generate"),
    "molecule": ("target", "generate", "grow", "score"),
}
"""The commands of each domain. Those that run a Python file of the user (`image restore`) are not among them."""

PICTURE, RECORDING, MOLECULE, LABELS = "picture", "recording", "molecule", "labels"
INPUTS = {"image": PICTURE, "audio": RECORDING, "molecule": MOLECULE}
"""The kind of a command's own file."""
FILES = {"mask": None, "kernel": PICTURE, "reference": PICTURE, "impulse": RECORDING, "labels": LABELS}
"""Options that take a file, and its kind; None is that of the domain. No other path is ever taken from the page."""
MAPS = {("image edit", "strength"): PICTURE}
"""Options of a number or a file, of which the page offers the file."""
TEXTS = {"label", "prompt", "source", "style", "formula"}
"""Options of free text, none of which is opened as a file."""
WEIGHT = r"((\d[\d.]{0,7}\.\.)?-?\d[\d.]{0,7} \* )?"
REWARD = (
    r"symmetry|sharpness|brightness(: -?\d[\d.]{0,7}(k?Hz)?)?|contrast(: [\d.]{1,8})?|loudness(: -?[\d.]{1,8})?"
    r"|(class|text): [\w ,'-]{1,60}|palette: (#[0-9a-fA-F]{3,6},? ?){1,8}|gap|homo|lumo|mu|alpha|cv"
)
SCORE = r"jpeg(: \d{1,3})?|qed|sa|logp|xtb: [a-z]{2,10}|smarts: [\w\[\]()=#@+$*!,:~&%/^-]{1,60}"
LISTS: Mapping[str, re.Pattern[str]] = {
    "gap": re.compile(r"[0-9:.+ms-]{1,40}"),
    "weight": re.compile(r"[a-z]{2,6}=[0-9.]{1,10}"),
    "reward": re.compile(f"{WEIGHT}({REWARD})"),
    "score": re.compile(f"{WEIGHT}({SCORE}|{REWARD})"),
}
"""Options that may be repeated, and what one of them may look like: never a file or a program here."""
WITHHELD = {
    "output",  # the job's folder has names of its own
    "overwrite",
    "quiet",
    "model",  # offered as a choice of the shipped ones, never as a folder
    "device",  # offered as a choice
    "negative",  # for pipelines of diffusers, which are folders
    "checkpointing",
    "slicing",
    "tiling",
    "operator",  # Python files
    "event",
    "cost",
    "memory",
    "range",  # for arrays, which the page does not take
    "box",  # the page paints
    "with_",  # folders of examples
    "without",
}
"""Options that the page does not offer as they are."""
OF_FOLDERS = {"audio": {"prompt", "guidance", "device"}, "audio generate": {"prompt", "guidance"}}
"""Options of a domain, or of one of its commands, for pipelines of diffusers, which are folders. The shipped model of
music draws on any device, and repairs on the CPU."""
MODELS = {"image": ("image", "latent image")}
"""Domain: the kinds of shipped models among which there is a choice."""


@dataclass(frozen=True)
class Hint:
    """Where an option lies in easy reach: a slider, what it starts with, and what is written after it.

    Attributes
    ----------
    low, high, step
        Of the slider; typing reaches all that the command takes.
    start
        The value that the page starts with; None leaves the option out.
    suffix
        What follows the number in the command line, such as "/255".
    label
        What the page calls the option, if its name does not say enough.
    """

    low: float
    high: float
    step: float
    start: float | None = None
    suffix: str = ""
    label: str = ""


NOISE = Hint(0, 80, 1, None, "/255", "noise, grey levels")
HINTS: Mapping[str, Mapping[str, Hint]] = {
    "image inpaint": {"grow": Hint(0, 32, 1, None, "", "grow the mask"), "noise": NOISE},
    "image denoise": {"noise": Hint(1, 100, 1, 25, "/255", "noise, grey levels")},
    "image deblur": {
        "gaussian": Hint(0.5, 10, 0.1, 2, "", "radius (std), pixels"),
        "blind": Hint(5, 31, 2, None, "", "find a kernel of this size"),
        "noise": NOISE,
    },
    "image upscale": {"factor": Hint(2, 8, 1, 2), "noise": NOISE},
    "image colorize": {"noise": NOISE},
    "image dejpeg": {"quality": Hint(5, 95, 1)},
    "image declip": {
        "gain": Hint(1, 4, 0.1, 1.5, "", "over-exposure"),
        "noise": NOISE,
    },
    "image edit": {"count": Hint(1, 8, 1, 1)},
    "image generate": {"count": Hint(1, 16, 1, 4)},
    "audio extend": {"by": Hint(0.1, 10, 0.1, 1, "", "seconds to add")},
    "audio generate": {"count": Hint(1, 8, 1, 1), "length": Hint(1, 30, 0.5, 4, "", "seconds")},
    "molecule target": {"count": Hint(1, 64, 1, 8)},
    "molecule generate": {"count": Hint(1, 64, 1, 16)},
    "molecule grow": {"count": Hint(1, 64, 1, 8)},
}
"""Command: option: its hint."""
ONE_OF: Mapping[str, tuple[str, ...]] = {
    "image deblur": ("gaussian", "motion", "kernel", "blind"),
    "audio restore": ("cutoff", "rate"),
    "audio denoise": ("noise", "profile"),
}
"""Command: options of which one is given."""
STARTS: Mapping[str, Mapping[str, str]] = {
    "image deblur": {"motion": "9,30"},
    "audio restore": {"cutoff": "4kHz", "rate": "16kHz"},
    "molecule target": {"gap": "6eV"},
}
"""Command: option: the text that the page starts with."""
FRONT = {
    "image": {"noise", "samples", "method", "posterior"},
    "image edit": {"prompt", "label", "reward"},
    "image generate": {"prompt", "label", "count", "reward"},
    "audio": {"count", "length"},
    "molecule": {"count"},
}
"""Options of the shared groups that are shown at once; a command's own are, but for those of `BACK`."""
BACK = {"seed", "source", "steps", "size", "strength", "weight", "keep_broken"}
"""Options that are never shown at once."""
ABOUT: Mapping[str, str] = {
    "image inpaint": "Paint what is lost. It is filled; all else stays.",
    "image denoise": "Remove noise of a known level.",
    "image deblur": "Sharpen a photo. Its blur is known, or found (blind).",
    "image edit": "Change a picture to another label or text, or to more of a reward. "
    "Paint what may change, or nothing for all of it.",
    "image generate": "Draw pictures of the model, or such that have more of something.",
    "audio check": "Find clicks, drop-outs, clipping and hum. They become regions, which the other tasks take.",
    "audio inpaint": "Fill gaps: drag over the waveform to mark them. All other samples stay as they are.",
    "audio declip": "Recover peaks that were cut off. Samples below the level stay as they are.",
    "audio denoise": "Remove noise: white noise of an estimated level, or noise like that of a region.",
    "audio dereverb": "Remove a room or a device whose impulse response is known.",
    "audio restore": "Bring back a lost upper band.",
    "audio generate": "Draw music from the model.",
    "molecule target": "Find molecules that have the properties asked for.",
    "molecule generate": "Draw molecules of the model, of any or given atoms.",
    "molecule grow": "Complete a fragment, whose atoms stay where they are.",
    "molecule score": "Validity, stability and six properties of molecules.",
}
"""What the page says of a command whose help speaks of options."""
ALWAYS: Mapping[str, str] = {"molecule score": "--output={stem}-scores.csv"}
"""A word that the page adds: without it the command prints, and writes nothing."""
