"""Prompts, labels and embeddings as conditions of the network, one row per problem."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.convention import Convention, Request
from headwater.errors import Misuse, suggest
from headwater.text import counted, shorten

Tensors = dict[str, Tensor]
HUGE = 10**6
"""The maximal length of tokenizers that have none."""


@dataclass(frozen=True)
class Texts:
    """What the samples should show.

    Attributes
    ----------
    prompt, negative
        One text per problem, or one for all; None if there is none.
    given
        Embeddings by the pipeline's names of them, in place of the prompt.
    labels
        One class label per problem, or one for all.
    """

    prompt: list[str] | None = None
    negative: list[str] | None = None
    given: Mapping[str, Tensor] = field(default_factory=dict)
    labels: list[int] | None = None


def make_texts(
    prompt: str | Sequence[str] | None,
    negative: str | Sequence[str] | None,
    embeddings: Mapping[str, Tensor] | None,
    labels: Sequence[int] | None,
) -> Texts:
    """The texts, with a negative prompt for every prompt.

    Raises
    ------
    Misuse
        If there is no prompt for a negative prompt, as many of neither kind, or both a prompt and embeddings.
    """
    positive = as_texts(prompt)
    if positive is not None and embeddings:
        raise Misuse("Both a prompt and embeddings were given.", "Give one of them.")
    if negative is not None and positive is None:
        raise Misuse("There is a negative prompt but no prompt.", "Give prompt=..., or negative embeddings.")
    against = as_texts(negative)
    if against is not None and positive is not None and len(against) != len(positive):
        if not isinstance(negative, str):
            raise Misuse(
                f"There are {counted(len(positive), 'prompt')} but {counted(len(against), 'negative prompt')}.",
                "Give one negative prompt for all, or one for each.",
            )
        against = against * len(positive)
    return Texts(positive, against, dict(embeddings or {}), None if labels is None else list(labels))


def as_texts(given: str | Sequence[str] | None) -> list[str] | None:
    """One text, or several, as a list; a `Misuse` if there is none in it, or something else than text."""
    texts = [given] if isinstance(given, str) else None if given is None else list(given)
    if texts is not None and not (texts and all(isinstance(text, str) for text in texts)):
        raise Misuse(
            f"The prompt {shorten(repr(given))} is no text.",
            "Give a string, or a list with one for each problem.",
        )
    return texts


def require_taken(convention: Convention, texts: Texts, seconds: float | None) -> None:
    """Refuse what the family does not take, rather than leave it out."""
    reads_text = any("prompt" in name or "text" in name for name in convention.arguments)
    takes = {
        "prompt": texts.prompt is None or reads_text,
        "embeddings": not texts.given or reads_text,
        "labels": texts.labels is None or "labels" in convention.arguments,
        "seconds": seconds is None or convention.codec.sound,
    }
    for name, fine in takes.items():
        if not fine:
            raise Misuse(f"A pipeline of {convention.name} takes no {name}.", f"Leave {name} out.")


def require_given(convention: Convention, pipeline: Any, texts: Texts) -> None:
    """Refuse embeddings that the pipeline's call does not know, that are no tensors, or of another width."""
    known = [name for name in call_defaults(pipeline) if "embeds" in name or "mask" in name]
    for name, value in texts.given.items():
        if name not in known:
            raise Misuse(f"The pipeline takes no embedding {name!r}.", suggest(name, known))
        if not isinstance(value, Tensor):
            raise Misuse(
                f"The embedding {name!r} is a {type(value).__name__}.", "Give a tensor [batch or 1, ...]."
            )
        wide = convention.channels.get(name.removeprefix("negative_"))
        if wide is not None and (value.ndim < 2 or value.shape[-1] != wide(pipeline)):
            raise Misuse(
                f"The embedding {name!r} has the shape {list(value.shape)}.",
                f"Give [batch or 1, ..., {wide(pipeline)}], as the pipeline's encode_prompt does.",
            )


def encode(
    convention: Convention, request: Request, texts: Texts, twice: bool
) -> tuple[Tensors, Tensors | None]:
    """The condition of the network and, if guidance evaluates it twice, that of no prompt; by the network's names."""
    encoder = convention.encode or encode_prompts
    with torch.no_grad():
        named = (
            encoder(convention, request, texts, twice)
            if texts.given == {} or convention.encode
            else texts.given
        )
    condition = {argument: named[name] for name, argument in convention.arguments.items() if name in named}
    require_embeddings(convention, named, "")
    extra = convention.extra(request)
    if not twice:
        return {**condition, **extra}, None
    require_embeddings(convention, named, "negative_")
    null = {argument: named["negative_" + name] for name, argument in convention.arguments.items()}
    return {**condition, **extra}, {**null, **extra}


def require_embeddings(convention: Convention, named: Mapping[str, Tensor], sign: str) -> None:
    """Refuse a condition from which an embedding of the family is missing."""
    missing = [sign + name for name in convention.arguments if sign + name not in named]
    if missing and not (convention.optional and not sign):
        raise Misuse(
            f"A pipeline of {convention.name} needs {', '.join(missing)}.",
            "Give prompt='...', or these tensors as embeddings={...}; with guidance=1 no negative ones.",
        )


def encode_prompts(convention: Convention, request: Request, texts: Texts, twice: bool) -> Tensors:
    """What `encode_prompt` of the pipeline returns, by name, with the defaults of the pipeline's call."""
    if texts.prompt is None:
        return {}
    pipeline = request.pipeline
    defaults = call_defaults(pipeline)
    asked = {
        **defaults,
        "prompt": texts.prompt,
        "device": request.device,
        "do_classifier_free_guidance": twice,
        "num_images_per_prompt": 1,
        "num_waveforms_per_prompt": 1,
    }
    if texts.negative is not None:
        asked["negative_prompt"] = texts.negative
    names = inspect.signature(pipeline.encode_prompt).parameters
    found = pipeline.encode_prompt(**{name: asked[name] for name in names if name in asked})
    return {
        name: value
        for name, value in zip(convention.encoded, found, strict=True)
        if name and isinstance(value, Tensor)
    }


def call_defaults(pipeline: Any) -> dict[str, Any]:
    """The defaults of a call of the pipeline, by name."""
    parameters = inspect.signature(type(pipeline).__call__).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


def check_lengths(pipeline: Any, texts: Texts) -> tuple[str, ...]:
    """What is to be told of prompts that some tokenizer cuts off.

    Raises
    ------
    Misuse
        If every tokenizer of the pipeline cuts a prompt off.
    """
    notes = []
    for text in dict.fromkeys([*(texts.prompt or []), *(texts.negative or [])]):
        sizes = [(count_tokens(tokenizer, text), limit) for tokenizer, limit in tokenizers_of(pipeline)]
        over = [size for size in sizes if size[0] > size[1]]
        if over and len(over) == len(sizes):
            tokens, limit = max(over, key=lambda size: size[1])
            raise Misuse(
                f"The prompt {shorten(text, 40)!r} has {tokens} tokens, and the pipeline reads at most {limit}.",
                "Shorten it, or give embeddings of your own.",
            )
        notes += [
            f"One text encoder reads only the first {limit} of the {tokens} tokens of {shorten(text, 40)!r}."
            for tokens, limit in over
        ]
    return tuple(dict.fromkeys(notes))


def tokenizers_of(pipeline: Any) -> list[tuple[Any, int]]:
    """The tokenizers of a pipeline, with the number of tokens that each is asked for."""
    found = []
    longest = call_defaults(pipeline).get("max_sequence_length")
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor holds its tokenizer
        if tokenizer is not None:
            own = int(min(getattr(tokenizer, "model_max_length", HUGE), HUGE))
            clip = type(tokenizer).__name__.startswith("CLIP")
            found.append((tokenizer, own if clip or longest is None else int(longest)))
    return found


def count_tokens(tokenizer: Any, text: str) -> int:
    """The number of tokens of a text, with those of its beginning and end."""
    return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def encode_labels(convention: Convention, request: Request, texts: Texts, twice: bool) -> Tensors:
    """Class labels, and the label of no class, the one after the last."""
    network = getattr(request.pipeline, convention.network)
    config = network.config
    count = config.get("num_embeds_ada_norm") or config.get("num_class_embeds")
    if count is None and texts.labels is not None:
        raise Misuse("This network was trained without labels.", "Leave labels out.")
    if count is None:
        return {}
    labels = texts.labels
    if labels is None or not all(isinstance(k, int) and 0 <= k < count for k in labels):
        raise Misuse(
            f"The network wants class labels from 0 to {count - 1}, and was given {labels}.",
            "Give labels=[...], one for each problem or one for all.",
        )
    return {"labels": torch.tensor(labels), "negative_labels": torch.tensor([count])}
