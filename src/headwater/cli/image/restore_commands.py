"""The commands that undo a damage: signatures and help. `requests` reads a photo, `restoration` does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from headwater.cli.image.options import (
    NO_RESTORE,
    Boundary,
    Downsampling,
    Grey,
    Level,
    Restore,
    Size,
    Subsampling,
)
from headwater.cli.shared import values
from headwater.cli.shared.options import number, whole, word
from headwater.errors import Misuse

if TYPE_CHECKING:
    from headwater.cli.image.requests import Request
    from headwater.cli.shared.job import Job

BoxOption = Annotated[
    tuple[int, int, int, int] | None,
    word(values.NumberParser("TOP,LEFT,HEIGHT,WIDTH", int, (0, 100_000)), "TOP,LEFT,HEIGHT,WIDTH"),
]
Motion = Annotated[
    tuple[float, float] | None,
    word(values.NumberParser("LENGTH,ANGLE", limits=(-1000, 1000)), "LENGTH,ANGLE"),
]


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


def denoise(*photos: Path, options: Restore = NO_RESTORE) -> int:
    """Remove noise of a known level, --noise.

    Parameters
    ----------
    photos
        Image files, or folders of them.
    """
    from headwater.cli.image import requests

    return _restore(photos, options, lambda photo, o: requests.denoise(photo, o))


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
        1 to 100; by default read from the tables of the file, or, of a picture that was saved anew, from its pixels.
    subsampling
        How the chroma was stored; by default as the quality.
    """
    from headwater.cli.image import jpeg_request

    return _restore(photos, options, lambda photo, o: jpeg_request.dejpeg(photo, quality, subsampling, o))


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
