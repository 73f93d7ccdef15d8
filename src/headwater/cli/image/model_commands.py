"""The commands that ask the model itself, without a measurement: signatures and help of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from headwater.cli.image.options import NO_COMMON, Common, Size
from headwater.cli.shared.options import (
    MOST_GRADIENTS,
    MOST_SAMPLES,
    MOST_STEPS,
    REWARDS,
    SCORES,
    EditName,
    SearchName,
    Seed,
    Steps,
    number,
    whole,
)
from headwater.errors import Misuse


def generate(
    *,
    count: Annotated[int, whole(1, 10_000, alias="-n")] = 4,
    seed: Seed = 0,
    steps: Annotated[int | None, whole(1, MOST_STEPS)] = None,
    size: Size = None,
    reward: Annotated[
        tuple[str, ...], Parameter(metavar="REWARD", group=REWARDS, negative="", allow_leading_hyphen=True)
    ] = (),
    strength: Annotated[float | None, number(0.001, 1000, group=REWARDS)] = None,
    gradients: Annotated[int | None, whole(1, MOST_GRADIENTS, group=REWARDS)] = None,
    score: Annotated[
        tuple[str, ...], Parameter(metavar="SCORE", group=SCORES, negative="", allow_leading_hyphen=True)
    ] = (),
    search: Annotated[SearchName | None, Parameter(group=SCORES)] = None,
    draws: Annotated[int | None, whole(4, 100_000, group=SCORES)] = None,
    common: Common = NO_COMMON,
) -> int:
    """Draw samples of the model, and a contact sheet of them; with --reward or --score such that have more of it.

    Parameters
    ----------
    count
        How many samples.
    seed
        Seed of the first sample; sample i has seed + i.
    steps
        Steps of the ODE solver; by default 24, with a reward fewer, and for a pipeline its own.
    guidance
        Weight of classifier-free guidance towards --label; 1 means no guidance.
    size
        Height and width, each at least the model's; by default the model's.
    reward
        What the samples should have more of: 'class: volcano', 'palette: #e33,#fff', brightness, 'contrast: 0.4',
        symmetry, sharpness, 'like: photo.png', 'text: red apple' (drawings), 'clip: FOLDER: a red apple', or
        my_reward.py with a function reward(x). Give the option again for a sum, with weights as in '2 * symmetry', or
        '0..2 * symmetry' for one that rises while the gradients are spent.
    strength
        How much the rewards count, about their rise in standard deviations among draws of the model.
    gradients
        Most gradient evaluations per sample.
    score
        As --reward, without a gradient: jpeg (bytes as a JPEG file; 'jpeg: 90' at another quality than 75),
        'program: COMMAND' (a program that reads {"pictures": [PNG files]} and prints {"scores": [...]}), my_score.py
        with any function score(x), or the words of a reward. Again for a sum, with weights as in '-1 * jpeg'.
    search
        How a score is raised: draws alone (best-of-n), evolution of the source (cma, es), particles along the path
        (fk), the best of several continuations after each part of the path (code) or each step (scg). By default cma.
    draws
        What a sample may cost, in samples without a search; by default 32.
    """
    from headwater.cli.shared.job import run

    if score:
        if reward or gradients is not None or steps is not None:
            raise Misuse(
                "A --score goes with no --reward, --gradients or --steps.",
                "Give --score alone; it takes the words of rewards, too.",
            )
        from headwater.cli.image.scored import score_job
        from headwater.cli.shared.scores import SEARCH

        if strength is not None and search != "fk":
            raise Misuse("Only the search fk has a strength.", "Give --search fk, or leave --strength out.")
        return run(
            score_job(count, seed, score, search or SEARCH, draws or 32, strength or 4.0, size, common)
        )
    if search is not None or draws is not None:
        raise Misuse("Nothing is scored, so there is no search.", "Give a --score.")
    if reward:
        from headwater.cli.image.rewarded import reward_job
        from headwater.recipes.reward import MaximiseReward

        given: dict[str, Any] = {"steps": steps, "strength": strength, "gradients": gradients}
        recipe = MaximiseReward(**{name: value for name, value in given.items() if value is not None})
        return run(reward_job(count, seed, recipe, size, reward, common, steps=steps))
    if strength is not None or gradients is not None:
        raise Misuse("Nothing is rewarded, so there is no strength and no gradient.", "Give a --reward.")
    from headwater.cli.image.samples import generate_job

    return run(generate_job(count, seed, steps, size, common))


def edit(
    photo: Path,
    /,
    *,
    source: str | None = None,
    reward: Annotated[
        tuple[str, ...], Parameter(metavar="REWARD", group=REWARDS, negative="", allow_leading_hyphen=True)
    ] = (),
    weight: Annotated[float | None, number(0.001, 1000, group=REWARDS)] = None,
    gradients: Annotated[int | None, whole(1, MOST_GRADIENTS, group=REWARDS)] = None,
    strength: Annotated[str | None, Parameter(metavar="NUMBER|FILE")] = None,
    method: EditName | None = None,
    steps: Annotated[int | None, whole(1, MOST_STEPS)] = None,
    count: Annotated[int, whole(1, MOST_SAMPLES, alias="-n")] = 1,
    seed: Seed = 0,
    common: Common = NO_COMMON,
) -> int:
    """Change a picture: towards another --prompt or --label, or to more of a --reward, and keep the rest.

    Parameters
    ----------
    photo
        The image file.
    source
        What the picture shows now, for models that take a text; by default nothing is said of it.
    reward
        What it should have more of, as in 'image generate'. Again for a sum, with weights as in '2 * symmetry'.
    weight
        How much the rewards count, about their rise in standard deviations among draws of the model.
    gradients
        Most gradient evaluations, of the methods reward and trajectory.
    strength
        How much may change, 0 to 1; or an image of the same size: white may change, black is kept, grey is freed
        late. By default the method's own.
    method
        For a prompt or a label: the difference of two velocities (dual-velocity), inversion, noise (sdedit),
        controlled ODEs (rectified), the h-transform (h-edit). For a reward: control of the source (reward), of the
        trajectory (trajectory), h-edit. By default dual-velocity, reward, and h-edit where both are given.
    steps
        Steps of the ODE or SDE over its whole length; by default the method's.
    count
        How many results, with a seed each; one of the methods inversion, reward and trajectory, which draw nothing.
    seed
        Seed of the first result.
    """
    from headwater.cli.image.edit_request import edit_job
    from headwater.cli.shared.job import run

    numbers = {"steps": steps, "weight": weight, "gradients": gradients}
    return run(edit_job(photo, source, reward, strength, method, numbers, count, seed, common))


def invert(photo: Path, /, *, steps: Steps = 24, common: Common = NO_COMMON) -> int:
    """Find the source point x0 that the model maps to an image; writes .npy and the diagnostics.

    Parameters
    ----------
    photo
        The image file, at least as large as the model's.
    steps
        Steps of the ODE solver.
    """
    from headwater.cli.image.samples import invert_job
    from headwater.cli.shared.job import run

    return run(invert_job(photo, steps, common))


def likelihood(
    *photos: Path,
    probes: Annotated[int, whole(1, 10_000)] = 1,
    seed: Seed = 0,
    steps: Steps = 24,
    common: Common = NO_COMMON,
) -> int:
    """Print the bits per dimension that the model needs for images; lower is more plausible.

    Parameters
    ----------
    photos
        Image files, at least as large as the model's.
    probes
        Random probes of the divergence: more are slower and more precise.
    seed
        Seed of the probes.
    steps
        Steps of the ODE solver (midpoint).
    """
    from headwater.cli.image.samples import likelihood_job
    from headwater.cli.shared.job import run

    return run(likelihood_job(photos, probes, seed, steps, common))
