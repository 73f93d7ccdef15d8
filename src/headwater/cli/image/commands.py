"""`headwater image ...`: signatures and help of the commands.

A restoration is read by `requests` and done by `restoration`; `samples` uses the model without a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from headwater.cli.image.options import (
    NO_COMMON,
    NO_RESTORE,
    Boundary,
    Common,
    Downsampling,
    Grey,
    Level,
    Restore,
    Size,
    Subsampling,
)
from headwater.cli.shared import values
from headwater.cli.shared.options import (
    EXAMPLES,
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
    word,
)
from headwater.errors import Misuse

if TYPE_CHECKING:
    from headwater.cli.image.requests import Request
    from headwater.cli.shared.job import Job

image = App(name="image", help="Restore, generate and examine images of any size.")

BoxOption = Annotated[
    tuple[int, int, int, int] | None,
    word(values.NumberParser("TOP,LEFT,HEIGHT,WIDTH", int, (0, 100_000)), "TOP,LEFT,HEIGHT,WIDTH"),
]
Motion = Annotated[
    tuple[float, float] | None,
    word(values.NumberParser("LENGTH,ANGLE", limits=(-1000, 1000)), "LENGTH,ANGLE"),
]


@image.command
def inpaint(
    *photos: Path,
    mask: Path | None = None,
    box: BoxOption = None,
    grow: Annotated[int | None, whole(0, 1000)] = None,
    options: Restore = NO_RESTORE,
) -> int:
    """Fill a hole: the white of --mask, the --box, or the transparent part of the photo.

    Parameters
    ----------
    photos
        Image files, or folders of them.
    mask
        An image of the same size: white is filled, black is kept.
    box
        A rectangle to fill, in pixels.
    grow
        Fill this many pixels around the hole too: the halo that JPEG compression or a soft brush leaves.
    """
    from headwater.cli.image import requests

    return _restore(photos, options, lambda photo, o: requests.inpaint(photo, mask, box, grow, o))


@image.command
def upscale(
    *photos: Path,
    factor: Annotated[int, whole(1, 32)] = 2,
    filter: Downsampling = "area",
    options: Restore = NO_RESTORE,
) -> int:
    """Enlarge a small image.

    Parameters
    ----------
    photos
        Image files, or folders of them.
    factor
        Pixels of the result per pixel of the photo.
    filter
        How the photo became small: means of boxes, every n-th pixel, or bicubic.
    """
    from headwater.cli.image import requests

    return _restore(photos, options, lambda photo, o: requests.upscale(photo, factor, filter, o))


@image.command
def deblur(
    *photos: Path,
    kernel: Path | None = None,
    gaussian: Annotated[float | None, number(0.01, 200)] = None,
    motion: Motion = None,
    blind: Annotated[int | None, whole(3, 63)] = None,
    boundary: Boundary = "reflect",
    options: Restore = NO_RESTORE,
) -> int:
    """Sharpen a photo: its blur is known by --kernel, --gaussian or --motion, or found by --blind.

    Parameters
    ----------
    photos
        Image files, or folders of them.
    kernel
        The picture of a blurred point: .npy, .txt or an image, of odd size.
    gaussian
        Standard deviation of a Gaussian blur in pixels.
    motion
        Length in pixels and angle in degrees of a straight stroke.
    blind
        Find the kernel, of at most this odd number of pixels along. It is written as NAME-kernel.png; the blur must
        be the same everywhere, and the answer is worse than that with a known kernel. A photo that seems sharp is
        written as it was.
    boundary
        What lies beyond the border; 'valid': the photo ends where the kernel no longer fits.
    """
    from headwater.cli.image import requests

    if blind is not None:
        from headwater.cli.image.blind import blind_job, blind_request

        if kernel is not None or gaussian is not None or motion is not None:
            raise Misuse(
                "A known blur was given, and --blind to find it.", "Give --blind alone, or the known blur."
            )
        return _restore(
            photos, options, lambda photo, o: blind_request(photo, blind, boundary, o), make=blind_job
        )
    return _restore(
        photos, options, lambda photo, o: requests.deblur(photo, kernel, gaussian, motion, boundary, o)
    )


@image.command
def denoise(*photos: Path, options: Restore = NO_RESTORE) -> int:
    """Remove noise of a known level, --noise.

    Parameters
    ----------
    photos
        Image files, or folders of them.
    """
    from headwater.cli.image import requests

    return _restore(photos, options, lambda photo, o: requests.denoise(photo, o))


@image.command
def colorize(*photos: Path, grey: Grey = "luma", options: Restore = NO_RESTORE) -> int:
    """Give a grey photo colours.

    Parameters
    ----------
    photos
        Image files, or folders of them; of a colour image the grey version is taken.
    grey
        How grey was made of colour.
    """
    from headwater.cli.image import requests

    return _restore(photos, options, lambda photo, o: requests.colorize(photo, grey, o))


@image.command
def dejpeg(
    *photos: Path,
    quality: Annotated[int | None, whole(1, 100)] = None,
    subsampling: Subsampling | None = None,
    options: Restore = NO_RESTORE,
) -> int:
    """Undo the artefacts of JPEG compression.

    Parameters
    ----------
    photos
        Image files, or folders of them.
    quality
        1 to 100; by default read from the quantisation tables of the file.
    subsampling
        How the chroma was stored; by default read from the file.
    """
    from headwater.cli.image import jpeg_request

    return _restore(photos, options, lambda photo, o: jpeg_request.dejpeg(photo, quality, subsampling, o))


@image.command
def declip(
    *photos: Path,
    low: Level = -1.0,
    high: Level = 1.0,
    gain: Annotated[float, number(0.01, 100)] = 1.0,
    options: Restore = NO_RESTORE,
) -> int:
    """Recover what an over- or under-exposed photo lost.

    Parameters
    ----------
    photos
        Image files, or folders of them.
    low
        The level below which the photo lost everything, in [-1, 1] or as 20/255.
    high
        The level above which it lost everything, in [-1, 1] or as 235/255.
    gain
        Over-exposure: how many times too bright the photo is.
    """
    from headwater.cli.image import requests

    return _restore(photos, options, lambda photo, o: requests.declip(photo, low, high, gain, o))


@image.command
def restore(*photos: Path, operator: str, size: Size = None, options: Restore = NO_RESTORE) -> int:
    """Undo any damage that can be written as a Python function.

    The file holds a function operator(x) of images [batch, 3, height, width] in [-1, 1], made of
    differentiable torch operations, or an object with the methods A and A_adjoint.

    Parameters
    ----------
    photos
        What the operator made of each image: an image file, or the array of a .npy file.
    operator
        The file my.py, or my.py:name if the function has another name than 'operator'.
    size
        Height and width of the result; by default those of the photo.
    """
    from headwater.cli.image import operator_request

    return _restore(photos, options, lambda photo, o: operator_request.restore(photo, operator, size, o))


@image.command
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


@image.command
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
    with_: Annotated[Path | None, Parameter(name="--with", metavar="FOLDER", group=EXAMPLES)] = None,
    without: Annotated[Path | None, Parameter(metavar="FOLDER", group=EXAMPLES)] = None,
    distance: Annotated[float | None, number(-10_000, 10_000, group=EXAMPLES)] = None,
    strength: Annotated[str | None, Parameter(metavar="NUMBER|FILE")] = None,
    method: EditName | None = None,
    steps: Annotated[int | None, whole(1, MOST_STEPS)] = None,
    count: Annotated[int, whole(1, MOST_SAMPLES, alias="-n")] = 1,
    seed: Seed = 0,
    common: Common = NO_COMMON,
) -> int:
    """Change a picture: towards another --prompt or --label, more of a --reward, or what examples have.

    The rest of it is kept.

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
    with_
        A folder of images that have what the photo is to get; they are brought to its size.
    without
        A folder of images without it.
    distance
        How far beyond the boundary between the examples the photo goes, in units of the model's state, below 0 to the
        side without it; by default as far as the examples with it lie.
    strength
        How much may change, 0 to 1; or an image of the same size: white may change, black is kept, grey is freed
        late. By default the method's own.
    method
        For a prompt or a label: the difference of two velocities (flowedit), inversion, noise (sdedit), controlled
        ODEs (rf-inversion), the h-transform (h-edit). For a reward: control of the source (reward), of the
        trajectory (trajectory), h-edit. For examples: the normal of their boundary (boundary). By default flowedit,
        reward, h-edit where both are given, and boundary.
    steps
        Steps of the ODE or SDE over its whole length; by default the method's.
    count
        How many results, with a seed each; one of the methods inversion, reward, trajectory and boundary, which draw
        nothing.
    seed
        Seed of the first result.
    """
    from headwater.cli.image.edit_request import edit_job
    from headwater.cli.shared.job import run

    numbers = {"steps": steps, "weight": weight, "gradients": gradients, "distance": distance}
    return run(
        edit_job(photo, source, reward, (with_, without), strength, method, numbers, count, seed, common)
    )


@image.command
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


@image.command
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


def _restore(
    photos: Sequence[Path],
    options: Restore,
    read: Callable[[Path, Restore], Request],
    make: Callable[[Request, Restore], Job] | None = None,
) -> int:
    """Read a request from each photo and carry it out, by `make` if it is given; the exit code."""
    from headwater.cli.image.outputs import name_result
    from headwater.cli.image.posterior import posterior_job
    from headwater.cli.image.restoration import restore_job
    from headwater.cli.shared.batch import plan_batch
    from headwater.cli.shared.job import run_each
    from headwater.cli.shared.posterior import plan_posterior
    from headwater.image.io.files import FORMATS

    def make_job(photo: Path, o: Restore) -> Job:
        if make is not None:
            return make(read(photo, o), o)
        plan = plan_posterior(o)
        return restore_job(read(photo, o), o) if plan is None else posterior_job(read(photo, o), o, plan)

    return run_each(plan_batch(photos, options, suffixes=FORMATS, name_result=name_result), make_job)
