"""What is particular about a family of pipelines, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.latents import Codec
from headwater.adapters.diffusers.velocity import NetworkCall


@dataclass(frozen=True)
class Request:
    """A pipeline and what is asked of it, as the functions of a convention see it.

    Attributes
    ----------
    pipeline
        The pipeline.
    height, width
        The size of the picture in pixels.
    guidance
        The weight of the condition.
    steps
        The number of steps.
    seconds
        The length of a sound; None means the pipeline's own.
    device
        The device of the networks.
    """

    pipeline: Any
    height: int
    width: int
    guidance: float
    steps: int
    seconds: float | None = None
    device: str | torch.device = "cpu"


def no_tensors(request: Request) -> dict[str, Tensor]:
    """No further tensors."""
    return {}


def no_arguments(request: Request, event: tuple[int, ...]) -> dict[str, Any]:
    """No further arguments."""
    return {}


def all_samples(request: Request) -> int | None:
    """None: all."""
    return None


def no_rate(pipeline: Any) -> int | None:
    """None: a picture has none."""
    return None


def one_size(pipeline: Any) -> int:
    """0: the pipeline has one size only."""
    return 0


def entry(component: str, name: str) -> Callable[[Any], int]:
    """An entry of the configuration of a component, of a pipeline."""
    return lambda pipeline: int(getattr(pipeline, component).config[name])


@dataclass(frozen=True)
class Convention:
    """The convention of a family of pipelines.

    Parameters
    ----------
    name
        What the family is called.
    pipelines
        The classes of its pipelines.
    network
        The name of the component that is evaluated.
    call
        How the network is called, with x in the layout of the flow.
    event
        The shape of a state.
    codec
        From the state to pixels or samples and back.
    encoded
        What `encode_prompt` of the pipeline returns, in its order; "" is left out.
    arguments
        The network's arguments by the embedding that they get, and labels.
    channels
        The entries of the last axis of each embedding that may be given, by the pipeline.
    encode
        How prompts or labels become embeddings; None means by the pipeline's `encode_prompt`.
    optional
        Whether the network may be asked without a condition.
    extra
        Further tensors for the network, one row for all problems.
    grid
        Further arguments of the scheduler's `set_timesteps`.
    guidance
        "twice" if guidance evaluates the network twice, "input" if the network takes its weight as an input, "none"
        if there is none.
    together
        Whether guidance evaluates both halves as one batch, as the pipeline does.
    checkpointing
        Whether gradient checkpointing of the network works.
    samples
        The number of samples of a sound that are kept; None means all.
    rate
        The samples per second of a sound; None of a picture.
    multiple
        What height and width are multiples of; 0 if the pipeline has one size only.
    normalised
        Whether guidance keeps the norm of the conditional output along the last axis.
    """

    name: str
    pipelines: tuple[str, ...]
    call: NetworkCall
    event: Callable[[Request], tuple[int, ...]]
    codec: Codec
    network: str = "transformer"
    encoded: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, Callable[[Any], int]] = field(default_factory=dict)
    encode: Callable[..., dict[str, Tensor]] | None = None
    optional: bool = False
    extra: Callable[[Request], dict[str, Tensor]] = no_tensors
    grid: Callable[[Request, tuple[int, ...]], dict[str, Any]] = no_arguments
    guidance: str = "twice"
    together: bool = True
    normalised: bool = False
    checkpointing: bool = True
    samples: Callable[[Request], int | None] = all_samples
    rate: Callable[[Any], int | None] = no_rate
    multiple: Callable[[Any], int] = one_size
