"""An operator that the user wrote: a Python file with a function, loaded, tried once, and matched with y."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.atomic import read_bytes
from headwater.cli.image.options import Restore
from headwater.cli.image.tasks import Task
from headwater.cli.shared import python_file
from headwater.errors import Misuse, suggest
from headwater.image.io.files import read_image
from headwater.image.io.picture import Picture
from headwater.image.operators import Operator, UserOperator, from_physics


def restore(photo: Path, where: str, size: tuple[int, int] | None, o: Restore) -> Task:
    """Restore what the user's operator damaged."""
    file, operator = load(where)
    y, picture = _measurement(photo, operator, size, o)
    known = size or (int(y.shape[-2]), int(y.shape[-1]))
    made = tried(operator, known, where)
    if made.shape != y.shape:
        raise Misuse(
            f"The operator makes {list(made.shape)} of an image of {known[0]} x {known[1]} pixels "
            f"but {photo} holds {list(y.shape)}.",
            "Give --size HEIGHT,WIDTH of the image, or the measurement of this operator.",
        )
    guess = y if y.shape == (1, 3, *known) else None
    settings = {"operator": where, "size": known}
    return Task("restore", (photo, file), operator, y, known, o.noise or 0.0, picture, guess, settings)


def load(where: str) -> tuple[Path, Operator]:
    """The operator at `file.py` (its `operator`) or `file.py:name`, and the file."""
    path, _, name = where.rpartition(":") if ":" in where and not where.endswith(".py") else (where, "", "")
    file, name = Path(path), name or "operator"
    read_bytes(file)
    found = getattr(module := python_file.run(file), name, None)
    if found is None:
        names = [
            n
            for n, v in vars(module).items()
            if callable(v) and getattr(v, "__module__", "") == module.__name__
        ]
        cure = suggest(name, names) if names else f"Define one as def {name}(x)."
        raise Misuse(f"{file} has no function named {name!r}.", cure)
    if isinstance(found, Operator):
        return file, found
    if isinstance(found, type) or not (callable(found) or hasattr(found, "A")):
        raise Misuse(
            f"{name!r} in {file} is {'a class' if isinstance(found, type) else 'of type ' + type(found).__name__}.",
            f"Make it a function {name}(x), or an object with the methods A and A_adjoint.",
        )
    return file, from_physics(found) if hasattr(found, "A") else UserOperator(found, name)


def tried(operator: Operator, size: tuple[int, int], where: str) -> Tensor:
    """What the operator makes of a grey image that wants a gradient; its own failures as a Misuse."""
    x = torch.zeros(1, 3, *size, requires_grad=True)
    cure = "Write it for images [batch, 3, height, width] in the range [-1, 1]."
    with python_file.failing(where, f"an image {list(x.shape)}", cure):
        return operator(x).detach()


def _measurement(
    photo: Path, operator: Operator, size: tuple[int, int] | None, o: Restore
) -> tuple[Tensor, Picture | None]:
    """An image; or the plain array of a .npy file, if the operator makes that shape of the size."""
    if photo.suffix.lower() == ".npy" and size is not None:
        read_bytes(photo)
        try:
            array = np.load(photo, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise Misuse(f"{photo} cannot be read: {error}.", "Write it with numpy.save.") from error
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise Misuse(f"{photo} does not hold finite floats.", "Write it from an array of floats.")
        y = torch.from_numpy(array.astype(np.float32))
        made = tried(operator, size, str(photo)).shape
        if y.shape in (made, made[1:]):
            return y.reshape(made), None
    y, picture = read_image(photo, span=o.range)
    return y, picture
