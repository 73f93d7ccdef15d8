"""What `headwater audio generate` draws from: the shipped model of music, or a diffusers pipeline of sound."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.audio.model import models
from headwater.audio.model.space import Space
from headwater.cli.audio.options import Draw
from headwater.cli.shared.machine import device_named
from headwater.cli.shared.pipelines import is_path, open_folder
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse, suggest
from headwater.flows.flow import Flow
from headwater.flows.windowed import extend_to_canvas
from headwater.solvers import EULER, MIDPOINT, Method, solve
from headwater.zoo import list_models

LEVEL = 0.1
"""The rms of what the shipped model is written at, -20 dB of full scale; its own sounds have one near 1."""
STEPS = 32


@dataclass(frozen=True)
class Sound:
    """A model of sound of a given length.

    Attributes
    ----------
    name
        The shipped model, or the folder.
    flow, decode
        From noise to states, and from states to sounds `[batch, channels, samples]`, differentiable.
    rate
        Of the sounds, Hz.
    method, steps
        How it is solved.
    levelled
        Whether a draw is brought to the rms `LEVEL`: the loudness of the shipped model means nothing.
    fixed
        Whether other steps than these make no sense: those of a pipeline's own sampler.
    notes
        What the user should know of the model, in sentences.
    """

    name: str
    flow: Flow
    decode: Callable[[Tensor], Tensor]
    rate: int
    method: Method
    steps: int | Sequence[float]
    levelled: bool = False
    fixed: bool = False
    notes: tuple[str, ...] = ()

    def select(self, rows: Sequence[int]) -> Sound:
        """The model of some problems, which may have prompts or noises of their own."""
        return replace(self, flow=self.flow.select(torch.tensor(rows)))

    def guard(self, watch: Watch) -> Sound:
        """The model, which a watch ends between any two evaluations of its network."""
        return replace(self, flow=watch.guard(self.flow))

    @torch.no_grad()
    def draw(self, seeds: Sequence[int], device: torch.device) -> Tensor:
        """Sounds of these seeds, `[len(seeds), channels, samples]`."""
        x0 = self.flow.noise(seeds, device=device)
        return self.decode(solve(self.flow, x0, method=self.method, steps=self.steps))


def load_sound(o: Draw, seeds: Sequence[int], device: torch.device) -> Sound:
    """The model of the options; `seeds` are those of all its problems.

    Raises
    ------
    Misuse
        There is no such model, it does not take one of the options, or it makes no sound of this length.
    """
    name = o.model or models.MUSIC
    if name not in list_models(models.KIND):
        if not is_path(name):
            known = list_models(models.KIND)
            cure = suggest(name, known)
            raise Misuse(
                f"There is no model of sound named {name!r}.", f"{cure} Or give the folder of a pipeline."
            )
        return load_pipeline(o, name, seeds, device)
    for option in ("prompt", "negative", "guidance"):
        if getattr(o, option) is not None:
            raise Misuse(f"The model {name!r} takes no --{option}.", "Leave it out, or give another --model.")
    prior = models.load_prior() if device.type == "cpu" else models.load_prior(device=str(device))
    samples = max(round((o.length or 4.0) * prior.rate), 1)
    frames = max(math.ceil(samples / prior.space.bins), prior.flow.shape[0])
    decode = functools.partial(decode_music, prior.space, samples)
    return Sound(
        name,
        extend_to_canvas(prior.flow, (frames,), axes=(-2,)),
        decode,
        prior.rate,
        MIDPOINT,
        o.steps or STEPS,
        levelled=True,
    )


def decode_music(space: Space, samples: int, z: Tensor) -> Tensor:
    """Sounds `[batch, 1, samples]` of states of the shipped model, near the rms `LEVEL`."""
    return LEVEL * space.decode(z)[:, None, :samples]


def load_pipeline(o: Draw, folder: str, seeds: Sequence[int], device: torch.device) -> Sound:
    """The diffusers pipeline of a folder, told the prompt."""
    model = open_folder(
        folder,
        o.prompt,
        negative_prompt=o.negative,
        guidance=o.guidance,
        seconds=o.length,
        steps=o.steps,
        seeds=seeds,
        device=str(device),
    )
    if model.rate is None:
        raise Misuse(f"{folder} makes pictures, and no sound.", "Use 'headwater image generate'.")
    for note in () if o.quiet else model.notes:
        say(note)

    def decode(z: Tensor) -> Tensor:
        x: Tensor = model.decode(z)
        return x[:, None] if x.ndim == 2 else x  # AudioLDM 2 has one channel, without an axis

    steps = model.steps if model.steps is not None else STEPS
    return Sound(folder, model.flow, decode, model.rate, EULER, steps, fixed=True, notes=model.notes)


def choose_device(o: Draw) -> torch.device:
    """The device of the options; by default the shipped model, which is small, stays on the CPU."""
    shipped = o.model is None or o.model in list_models(models.KIND)
    return torch.device("cpu") if shipped and o.device is None else device_named(o.device)
