"""`headwater audio ... --model FOLDER`: a diffusers pipeline in the place of the model of music."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from headwater.adapters.diffusers.latents import MissingEncoder
from headwater.audio.gaps import SETTINGS
from headwater.audio.io.files import Recording
from headwater.audio.io.segments import Gap, Segment, segments_around
from headwater.audio.latent import LatentPrior
from headwater.audio.model import models
from headwater.audio.prior import Prior
from headwater.cli.audio.options import Repair
from headwater.cli.shared.machine import device_named
from headwater.cli.shared.pipelines import open_folder
from headwater.errors import Misuse
from headwater.flows.latent import LatentModel

OPTIONS = ("prompt", "negative", "guidance", "device")


def load_pipeline(o: Repair) -> LatentPrior | None:
    """The pipeline of the options, told the prompt; None if the model of music is to repair.

    Raises
    ------
    Misuse
        The folder holds no pipeline of sound that can be held to a recording, or there is none to tell something.
    """
    if o.folder is None:
        for option in OPTIONS:
            if getattr(o, option) is not None:
                raise Misuse(f"The model of music takes no --{option}.", "Leave it out, or give a --model.")
        return None
    model = open_once(o.folder, o.prompt, o.negative, o.guidance, str(device_named(o.device)))
    if model.rate is None:
        raise Misuse(f"{o.folder} makes pictures, and no sound.", "Give the folder of Stable Audio.")
    if isinstance(model.encode, MissingEncoder):
        raise Misuse(
            f"{o.folder} is a pipeline of {model.family}, which has no encoder of sounds.",
            "Give the folder of Stable Audio.",
        )
    if model.fixed:
        raise Misuse(
            f"{o.folder} is a sampler of few steps, and no flow that a restoration could use.",
            "Give the folder of another pipeline.",
        )
    return LatentPrior(model)


def choose_prior(o: Repair) -> Prior | LatentPrior:
    """The pipeline of the options, or the model of music; raises as `load_pipeline`."""
    return load_pipeline(o) or models.load_prior()


@lru_cache(maxsize=1)
def open_once(
    folder: str, prompt: str | None, negative: str | None, guidance: float | None, device: str
) -> LatentModel:
    """The pipeline of a folder, which all recordings of a command share."""
    return open_folder(folder, prompt, negative_prompt=negative, guidance=guidance, seeds=[0], device=device)


def segments_for(prior: LatentPrior, recording: Recording, gaps: Sequence[Gap]) -> list[Segment]:
    """The segments of a recording, none longer than the sounds of a pipeline.

    Raises
    ------
    Misuse
        A gap with what is around it is longer.
    """
    context, longest = (
        round(seconds * recording.rate) for seconds in (SETTINGS.context, prior.longest / prior.rate)
    )
    segments = segments_around(gaps, context, min(8 * context, longest - 2 * context - 1))
    for segment in segments:
        prior.canvas(-(-(segment.stop - segment.start) * prior.rate // recording.rate))
    return segments
