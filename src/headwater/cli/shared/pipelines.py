"""Pipelines of diffusers on the command line: a folder is read, and refusals name options in place of arguments."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.flows.latent import LatentModel

CURES = (
    (r"Give prompt='\.\.\.'.*|Give prompt=.*", "Give --prompt."),
    (r"Give one negative prompt.*", "Give one --negative."),
    (r"Give labels=.*", "Give --label and a number."),
    (r"Give a guidance above 1.*|(Leave it out), or give a guidance above 1.*", "Leave --negative out."),
    (r"Leave it out; hw\.Checkpoint.*", "Leave it out."),
    (r"Shorten it, or give embeddings.*", "Shorten it."),
    (r"Give it without, .*, (\w+)=False\)\.", r"Set \1 to false in scheduler/scheduler_config.json."),
    (r"Leave labels out\.", "Leave --label out."),
    (r"Leave height and width out\.", "Leave --size out."),
    (r"Leave (prompt|guidance) out\.", r"Leave --\1 out."),
    (
        r"Read it with from_single_file.*",
        "Save it as a folder: from_single_file(file).save_pretrained(folder).",
    ),
    (
        r"Take EulerDiscreteScheduler\.from_config.*",
        "Give other --steps, which divide the table of the scheduler.",
    ),
)
"""The cures of the adapter that speak of Python, and what is said in their place."""


def is_path(name: str) -> bool:
    """Whether the name of a model is that of a folder, or of a file.

    Examples
    --------
    >>> is_path("photo64"), is_path("models/my-pipeline"), is_path("weights.ckpt")
    (False, True, True)
    """
    return Path(name).exists() or any(mark in name for mark in ("/", os.sep)) or bool(Path(name).suffix)


def open_folder(folder: str, prompt: str | None, **options: Any) -> LatentModel:
    """The diffusers pipeline of a folder, by `headwater.adapters.diffusers.load`.

    Raises
    ------
    Misuse
        As there, with options of the command line where it names arguments.
    """
    from headwater.adapters import diffusers

    if not Path(folder).exists():
        raise Misuse(
            f"There is no folder {folder}.",
            "Nothing is downloaded: give the folder of a pipeline, or a model that 'headwater models' lists.",
        )
    for library in ("diffusers", "transformers"):  # what they say is no part of what the command says
        log = import_optional(f"{library}.utils.logging", extra="diffusers")
        log.disable_progress_bar()
        log.set_verbosity(log.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return diffusers.load(folder, prompt, **options)
    except Misuse as error:
        raise Misuse(error.what, translate(error.cure)) from error


def translate(cure: str) -> str:
    """A cure in options of the command line, where it speaks of Python.

    Examples
    --------
    >>> translate("Give labels=[...], one for each problem or one for all."), translate("Shorten it.")
    ('Give --label and a number.', 'Shorten it.')
    """
    for pattern, words in CURES:
        if found := re.fullmatch(pattern, cure):
            return found.expand(words)
    return cure
