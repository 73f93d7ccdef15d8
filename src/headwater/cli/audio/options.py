"""Options of `headwater audio ...`: frozen dataclasses, flattened into the commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from headwater.audio.io import times
from headwater.cli.shared.options import (
    LAST_SEED,
    MODEL,
    MOST_GRADIENTS,
    MOST_SECONDS,
    MOST_STEPS,
    REWARDS,
    SCORES,
    SEARCH,
    SHORTEST,
    Draws,
    EventOption,
    Files,
    MethodName,
    Rewards,
    SamplerOption,
    SearchName,
    number,
    whole,
    word,
)

if TYPE_CHECKING:  # help needs no solver
    from headwater.audio.restoration import SolveOptions
    from headwater.dflow.result import Callback
    from headwater.recipes.recipe import Recipe

DAMAGE = Group("What is lost", sort_key=0)


@Parameter(name="*")
@dataclass(frozen=True)
class Pipeline:
    """What a pipeline of diffusers is told."""

    prompt: Annotated[str | None, Parameter(group=MODEL)] = None
    """What is to be heard, in English; for a pipeline."""

    negative: Annotated[str | None, Parameter(group=MODEL)] = None
    """What to keep away from; for a pipeline."""

    guidance: Annotated[float | None, number(-100, 100, group=MODEL)] = None
    """Weight of the prompt; by default the pipeline's own."""

    device: Annotated[str | None, Parameter(group=MODEL)] = None
    """Where a pipeline computes: cpu, cuda, cuda:1, mps. By default a GPU if there is one."""


@Parameter(name="*")
@dataclass(frozen=True)
class Draw(Pipeline, Files):
    """What `generate` understands."""

    count: Annotated[int, whole(1, 10_000, alias="-n", group=SEARCH)] = 4
    """How many recordings."""

    length: Annotated[
        float | None, word(times.parse_seconds, "TIME", limits=(SHORTEST, 600.0), group=SEARCH)
    ] = None
    """How long each is, as in 4 or 1:30; by default 4 s, of a pipeline its own length."""

    seed: Annotated[int, whole(0, LAST_SEED, group=SEARCH)] = 0
    """Seed of the first recording; recording i has seed + i."""

    steps: Annotated[int | None, whole(1, MOST_STEPS, group=SEARCH)] = None
    """Steps of the ODE solver; by default 32 midpoint steps, with a reward fewer, and for a pipeline its own."""

    reward: Rewards = ()
    """What the recordings should have more of: loudness, 'loudness: -20' (dB), brightness, 'brightness: 2kHz',
    'like: recording.wav', 'chroma: C E G' (the share of these notes), 'curve: -30 -20 -30' (dB of equal parts), or
    my_reward.py with a function reward(x) of sounds [batch, samples]. Give the option again for a sum, with weights
    as in '2 * brightness', or '0..2 * brightness' for one that rises while the gradients are spent."""

    strength: Annotated[float | None, number(0.001, 1000, group=REWARDS)] = None
    """How much the rewards count, about their rise in standard deviations among draws of the model."""

    gradients: Annotated[int | None, whole(1, MOST_GRADIENTS, group=REWARDS)] = None
    """Most gradient evaluations per recording, for rewards."""

    score: Annotated[
        tuple[str, ...], Parameter(metavar="SCORE", group=SCORES, negative="", allow_leading_hyphen=True)
    ] = ()
    """As --reward, without a gradient: onsets, 'onsets: 4' (a second), my_score.py with any function score(x), or the
    words of a reward. Again for a sum, with weights as in '-1 * onsets'."""

    search: Annotated[SearchName | None, Parameter(group=SCORES)] = None
    """How a score is raised: draws alone (best-of-n), evolution of the source (cma, es), particles along the path
    (fk), the best of several continuations after each part of the path (code) or each step (scg). By default
    best-of-n."""

    draws: Annotated[int | None, whole(4, 100_000, group=SCORES)] = None
    """What a recording may cost, in draws without a search; by default 16."""

    model: Annotated[str | None, Parameter(group=MODEL)] = None
    """A shipped model of music, or the folder of a diffusers pipeline of sound (Stable Audio, AudioLDM 2); by default
    music16."""


@Parameter(name="*")
@dataclass(frozen=True)
class Repair(Pipeline, Files):
    """What every repair understands."""

    model: Annotated[str | None, Parameter(group=MODEL)] = None
    """The folder of a diffusers pipeline of sound with an encoder (Stable Audio), or music16, the default."""

    seed: Annotated[int, whole(0, LAST_SEED, group=SEARCH)] = 0
    """Seed of the noise; another one gives another filling."""

    method: Annotated[MethodName, Parameter(group=SEARCH, show_choices=False)] = "default"
    """How it is solved: 'headwater methods' lists what there is; 'paper' is D-Flow as published."""

    steps: Annotated[int | None, whole(1, MOST_STEPS, group=SEARCH)] = None
    """Steps of the ODE solver; by default the method's."""

    gradients: Annotated[int | None, whole(1, MOST_GRADIENTS, group=SEARCH)] = None
    """Most gradient evaluations per stretch; by default the method's."""

    seconds: Annotated[float | None, number(SHORTEST, MOST_SECONDS, group=SEARCH)] = None
    """Stop after this many seconds and keep the best so far; a stretch that was begun takes a little more."""

    @property
    def folder(self) -> str | None:
        """The folder of a pipeline; None is the model of music."""
        from headwater.audio.model.models import MUSIC

        return None if self.model == MUSIC else self.model

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of the method; None is each task's own."""
        from headwater.recipes.methods import find_method

        return None if self.method == "default" else find_method(self.method)

    def solve_options(self, callback: Callback) -> SolveOptions:
        """How stretches are solved; the callback follows the solves."""
        from headwater.audio.restoration import SolveOptions
        from headwater.recipes.recipe import RecipeOptions

        limits = RecipeOptions(steps=self.steps, gradients=self.gradients, callback=callback)
        return SolveOptions(self.seed, self.recipe, limits)


@Parameter(name="*")
@dataclass(frozen=True)
class GapOptions(Repair):
    """Where the gaps are."""

    gap: Annotated[tuple[str, ...], Parameter(metavar="START-END", group=DAMAGE, negative="")] = ()
    """A gap in seconds, as in 12.40-12.65, 1:02.4-1:02.6 or 12.4+250ms; may be repeated."""

    labels: Annotated[Path | None, Parameter(group=DAMAGE)] = None
    """A label track as Audacity exports it: every labelled region is a gap."""

    mask: Annotated[Path | None, Parameter(group=DAMAGE)] = None
    """A file of sound of the same rate and length that is not zero where something is lost."""

    posterior: Draws = None
    """Draw this many fillings of each gap, in four chains. The result holds a plausible one, NAME-mean their mean;
    sheet and report have the level within which 90 % of them lie. After Ctrl-C a second run goes on."""

    sampler: SamplerOption = None
    """How it draws; by default daps, without a gradient and with 64 times, or as many as --steps. perturb-and-map
    takes about three times as long; the others are Markov chains, which take longer still."""

    event: EventOption = None
    """my.py with a function event(x), true or false for the stretch with a gap, x [channels, frames], full scale 1,
    or my.py:name: its probability."""


Level = Annotated[float | None, word(times.parse_amplitude, "LEVEL", limits=(0.0, 1e6))]
"""An amplitude: a share of full scale, or dB below it."""
LabelTrack = Annotated[Path | None, Parameter(negative="")]
"""A label track as Audacity exports it."""
Profile = Annotated[tuple[float, float] | None, word(times.parse_span, "START-END")]
"""From when to when, in seconds."""
NO_DRAW = Draw()
NO_FILES = Files()
NO_REPAIR = Repair()
NO_GAPS = GapOptions()
