"""An operator that the user wrote: a function in a Python file, tried once and matched with the measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.cli.image.options import Restore
from headwater.cli.image.requests import Request
from headwater.cli.shared import python_file
from headwater.errors import Misuse
from headwater.image.io import masks
from headwater.image.io.files import read_image
from headwater.image.io.picture import Picture
from headwater.image.operators import Operator, UserOperator, from_physics
from headwater.image.task import ImageTask


def restore(photo: Path, where: str, size: tuple[int, int] | None, o: Restore) -> Request:
    """Restore what the user's operator damaged."""
    file, operator = load_operator(where)
    y, picture = _read_measurement(photo, operator, size, o)
    known = size or (int(y.shape[-2]), int(y.shape[-1]))
    made = try_operator(operator, known, where)
    if made.shape != y.shape:
        raise Misuse(
            f"The operator makes {list(made.shape)} of an image of {known[0]} x {known[1]} pixels "
            f"but {photo} holds {list(y.shape)}.",
            "Give --size HEIGHT,WIDTH of the image, or the measurement of this operator.",
        )
    guess = y if y.shape == (1, 3, *known) else None
    settings = {"operator": where, "size": known}
    task = ImageTask(operator, y, o.noise or 0.0, known, guess, check_span=False)
    return Request("restore", (photo, file), task, picture, settings)


CURE = "Write it for images [batch, 3, height, width] in the range [-1, 1], of any batch."


def load_operator(where: str) -> tuple[Path, Operator]:
    """The operator at `file.py` (its `operator`) or `file.py:name`, and the file.

    It may be a function, an `Operator`, or an object with the methods A and A_adjoint.
    """
    file, name = python_file.split_name(where, "operator")
    found = python_file.object_in(file, name, f"{name}(x)")
    if isinstance(found, Operator):
        return file, found
    if isinstance(found, type) or not (callable(found) or hasattr(found, "A")):
        cure = f"Make it a function {name}(x), or an object with the methods A and A_adjoint."
        raise python_file.no_function(found, name, file, cure)
    if hasattr(found, "A"):
        return file, from_physics(found)
    return file, UserOperator(python_file.explain_failures(found, where, "an image", CURE), name)


def try_operator(operator: Operator, size: tuple[int, int], where: str) -> Tensor:
    """What the operator makes of a grey image `[1, 3, *size]` that needs a gradient; its own failures as a Misuse."""
    x = torch.zeros(1, 3, *size, requires_grad=True)
    with python_file.refuse_failures(where, f"an image {list(x.shape)}", CURE):
        return operator(x).detach()


def _read_measurement(
    photo: Path, operator: Operator, size: tuple[int, int] | None, o: Restore
) -> tuple[Tensor, Picture | None]:
    """An image; or the plain array of a .npy file, if the operator makes that shape of the size."""
    if photo.suffix.lower() == ".npy" and size is not None:
        array = masks.load_npy(photo)
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise Misuse(f"{photo} does not hold finite floats.", "Write it from an array of floats.")
        y = torch.from_numpy(array.astype(np.float32))
        made = try_operator(operator, size, str(photo)).shape
        if y.shape in (made, made[1:]):
            return y.reshape(made), None
    y, picture = read_image(photo, span=o.range)
    return y, picture
