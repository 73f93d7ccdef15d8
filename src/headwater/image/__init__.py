"""Images: operators, files, metrics, pictures of any size, shipped priors and their training.

>>> import headwater as hw
>>> x, picture = hw.image.read_image(hw.image.photos.path("cat"))
>>> task = hw.image.ImageTask(hw.Identity(), x, noise=13 / 255 * 2, size=picture.size)  # 13 of 255 grey levels
>>> hw.image.restore(task, hw.image.flow("photo64")).images.shape == x.shape
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.doors import open_door

if TYPE_CHECKING:
    from headwater.image.exports import *  # noqa: F403

__getattr__, __dir__ = open_door(__name__)
