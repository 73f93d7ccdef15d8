"""The table of families, and how a pipeline finds its own."""

from __future__ import annotations

from typing import Any

from headwater.adapters.diffusers.convention import Convention
from headwater.adapters.diffusers.diffusion import DIFFUSION, FEW_STEPS
from headwater.adapters.diffusers.flow_matching import FLOW_MATCHING
from headwater.adapters.diffusers.sound import SOUND
from headwater.errors import Misuse, suggest

CONVENTIONS: tuple[Convention, ...] = (*FLOW_MATCHING, *DIFFUSION, *FEW_STEPS, *SOUND)
"""Every family that is known."""

BY_PIPELINE = {name: convention for convention in CONVENTIONS for name in convention.pipelines}


def find_convention(pipeline_class: str) -> Convention:
    """The family of a class of pipelines, by its name.

    Raises
    ------
    Misuse
        If it is unknown.

    Examples
    --------
    >>> find_convention("StableDiffusion3Pipeline").name
    'Stable Diffusion 3'
    """
    if pipeline_class not in BY_PIPELINE:
        raise Misuse(
            f"Pipelines of the class {pipeline_class} are unknown.", suggest(pipeline_class, BY_PIPELINE)
        )
    return BY_PIPELINE[pipeline_class]


def require_components(convention: Convention, pipeline: Any) -> None:
    """Refuse a pipeline without its network, scheduler or decoder."""
    for name in filter(None, (convention.network, "scheduler", convention.codec.component)):
        if getattr(pipeline, name, None) is None:
            raise Misuse(
                f"The {type(pipeline).__name__} has no {name}.",
                f"Load it with its {name}, or set pipeline.{name} before.",
            )
