"""`headwater image ...`: the commands, those that undo a damage and those that ask the model itself."""

from __future__ import annotations

from cyclopts import App

from headwater.cli.image.model_commands import edit, generate, invert, likelihood
from headwater.cli.image.restore_commands import (
    colorize,
    deblur,
    declip,
    dejpeg,
    denoise,
    inpaint,
    restore,
    upscale,
)

image = App(name="image", help="Restore, generate and examine images of any size.")
for command in (
    *(inpaint, upscale, deblur, denoise, colorize, dejpeg, declip, restore),
    *(generate, edit, invert, likelihood),
):
    image.command(command)
