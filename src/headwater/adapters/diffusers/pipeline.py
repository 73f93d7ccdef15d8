"""`load`: a pipeline of diffusers as a flow on its latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request
from headwater.adapters.diffusers.families import find_convention, require_components
from headwater.adapters.diffusers.few_steps import FewStepVelocity, draw_noises, read_few_steps
from headwater.adapters.diffusers.guidance import combine_of
from headwater.adapters.diffusers.latents import MissingEncoder, PipelineFunction
from headwater.adapters.diffusers.options import (
    choose_guidance,
    choose_size,
    choose_steps,
    prepare,
    require_rescale,
    save_memory,
)
from headwater.adapters.diffusers.prompts import (
    check_lengths,
    encode,
    make_texts,
    require_given,
    require_taken,
)
from headwater.adapters.diffusers.schedule import make_schedule
from headwater.adapters.diffusers.schedulers import read_levels
from headwater.adapters.diffusers.source import keep_gradients, open_pipeline
from headwater.adapters.diffusers.velocity import CalledNetwork, NetworkVelocity
from headwater.errors import Misuse
from headwater.flows.conditioned import Guided
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel


def load(
    source: str | Path | Any,
    prompt: str | Sequence[str] | None = None,
    *,
    negative_prompt: str | Sequence[str] | None = None,
    guidance: float | None = None,
    steps: int | None = None,
    height: int | None = None,
    width: int | None = None,
    seconds: float | None = None,
    labels: Sequence[int] | None = None,
    embeddings: Mapping[str, Tensor] | None = None,
    seeds: Sequence[int] | None = None,
    rescale: float = 0.0,
    checkpointing: bool = False,
    slicing: bool = False,
    tiling: bool = False,
    download: bool = False,
    device: str | None = None,
) -> LatentModel:
    """A pipeline of diffusers as a flow on its latents.

    The pipeline's parts are used, not its call, which runs without gradients. Its weights are not copied: networks
    are put into evaluation mode, and float16 weights on a CPU are cast to float32.

    Parameters
    ----------
    source
        A pipeline, the folder of one, or the name of one that was downloaded before.
    prompt
        One text for all problems, or a list with one for each.
    negative_prompt
        What to keep away from, one for all or one for each; None means what the pipeline takes.
    guidance
        The weight of the prompt; 1 and less is none, as in the pipeline. None means the pipeline's default.
    steps
        The number of steps; None means the pipeline's default.
    height, width
        Of the picture in pixels; None means the pipeline's default.
    seconds
        The length of a sound; None means the longest, or the pipeline's default.
    labels
        Class labels, one for all problems or one for each, for networks that take them.
    embeddings
        In place of a prompt: tensors by the names that the pipeline's call has for them, `prompt_embeds`
        `[batch or 1, tokens, channels]`, `negative_prompt_embeds` and so on.
    seeds
        One per problem, for samplers that draw noise between few steps (LCM, consistency models, turbo).
    rescale
        The share of the guided output that is given the spread of the conditional one, `guidance_rescale` of the
        pipeline.
    checkpointing
        Whether network and decoder compute their activations again in the backward pass, and do not keep them. It
        freezes their weights for good.
    slicing, tiling
        Whether the decoder takes one picture, or one tile of a picture, at a time; tiles change the result a little.
    download
        Whether a name may be looked up on the hub; else nothing is asked of the network.
    device
        Where the networks are put; None leaves those of a pipeline where they are, and those of a folder on the CPU.

    Returns
    -------
    model
        The flow with its decoder, encoder and times.

    Raises
    ------
    Misuse
        If diffusers is missing; if the source is no pipeline of a known family, is incomplete, or has pickled
        weights; if its scheduler is no flow; if the prompt is too long, or missing; if the size is none that the
        decoder has.

    References
    ----------
    von Platen et al., "Diffusers: State-of-the-art diffusion models", 2022.

    Examples
    --------
    >>> try:
    ...     load("no/such/folder", "a cat")
    ... except ValueError as error:
    ...     print(str(error).split(".")[0])
    There is no folder no/such/folder
    """
    with keep_gradients():
        pipeline = open_pipeline(source, download)
        pipeline = pipeline if device is None else pipeline.to(device)
        convention = find_convention(type(pipeline).__name__)
        require_components(convention, pipeline)
        texts = make_texts(prompt, negative_prompt, embeddings, labels)
        require_taken(convention, texts, seconds)
        require_given(convention, pipeline, texts)
        require_rescale(pipeline, rescale)
        notes = (*prepare(convention, pipeline), *check_lengths(pipeline, texts))
        save_memory(convention, pipeline, checkpointing, slicing, tiling)
        request = Request(
            pipeline,
            *choose_size(convention, pipeline, height, width),
            choose_guidance(convention, pipeline, guidance),
            choose_steps(pipeline, steps),
            seconds,
            getattr(pipeline, convention.network).device,
        )
        output = make_output(convention, request, texts, rescale)
        return build_model(convention, request, output, seeds, notes)


def make_output(convention: Convention, request: Request, texts: Any, rescale: float) -> Guided:
    """The network's output with its condition, and with guidance where it takes two evaluations."""
    network = getattr(request.pipeline, convention.network)
    distilled = getattr(network.config, "time_cond_proj_dim", None) is not None
    twice = convention.guidance == "twice" and request.guidance > 1.0 and not distilled
    if texts.negative is not None and not twice:
        raise Misuse(
            f"Without guidance by two evaluations this {convention.name} pipeline does not read a negative prompt.",
            "Leave it out, or give a guidance above 1 where the network was not distilled.",
        )
    condition, null = encode(convention, request, texts, twice)
    return Guided(
        CalledNetwork(network, convention.call),
        condition,
        null,
        guidance=request.guidance if twice else 1.0,
        together=convention.together,
        combine=combine_of(convention, rescale),
    )


def build_model(
    convention: Convention,
    request: Request,
    output: Guided,
    seeds: Sequence[int] | None,
    notes: tuple[str, ...],
) -> LatentModel:
    """The model of an output: its schedule, its velocity, its decoder."""
    pipeline, codec = request.pipeline, convention.codec
    event = convention.event(request)
    arguments = convention.grid(request, event)
    few = read_few_steps(pipeline.scheduler, request.steps, arguments)
    levels = few.levels if few else read_levels(pipeline.scheduler, request.steps, arguments)
    schedule = make_schedule(levels)
    velocity: Any = (
        FewStepVelocity(output, schedule, few, draw_noises(few, event, seeds))
        if few
        else NetworkVelocity(output, schedule, levels.prediction)
    )
    network = getattr(pipeline, convention.network)
    if not levels.exact:
        name = type(pipeline.scheduler).__name__
        notes += (
            f"The {name} takes other steps; Euler's steps on its noise levels are those of the same flow.",
        )
    return LatentModel(
        Flow(velocity, event, schedule.path, modules=(network,)),
        PipelineFunction(codec.decode, pipeline, codec.component, convention.samples(request)),
        MissingEncoder(convention.name)
        if codec.encode is None
        else PipelineFunction(codec.encode, pipeline, codec.component),
        range=codec.range,
        steps=schedule.times,
        family=convention.name,
        exact=levels.exact,
        notes=notes,
        rate=convention.rate(pipeline),
        fixed=few is not None,
    )
