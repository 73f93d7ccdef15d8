"""What a browser cannot show, as a file that it can: a TIFF as PNG, an AIFF as WAV.

A rendering lies beside its file under a name that begins with a dot, is made once, and goes with the folder. It is
made in a process of its own, `python -m headwater.web.renderings FILE RENDERING`: a decoder that dies takes no server
with it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.errors import Misuse
from headwater.extras import import_optional

FORMS: Mapping[str, str] = {".tif": ".png", ".tiff": ".png", ".aif": ".wav", ".aiff": ".wav"}
"""The ending of a file that browsers do not show, and that of its rendering."""
BLOCK = 1 << 18
"""Frames that are copied at a time."""
PATIENCE = 120.0
"""Seconds that a rendering may take."""
AT_ONCE = asyncio.Semaphore(2)
"""Renderings at a time."""


def is_shown(path: Path) -> bool:
    """Whether browsers show a file as it is.

    >>> is_shown(Path("a.png")), is_shown(Path("a.TIF"))
    (True, False)
    """
    return path.suffix.lower() not in FORMS


async def render(path: Path) -> Path:
    """The rendering of a file, which is made if it is missing; the file itself if browsers show it.

    Raises
    ------
    Misuse
        The file cannot be decoded, or takes too long.
    """
    if is_shown(path):
        return path
    form = FORMS[path.suffix.lower()]
    shown = path.with_name(f".{path.name}{form}")
    if not shown.is_file():
        part = path.with_name(f".part-{secrets.token_hex(4)}{form}")
        try:
            async with AT_ONCE:
                await run_alone(path, part)
            os.replace(part, shown)
        except (FileNotFoundError, TimeoutError):
            raise Misuse(f"{path.name} cannot be shown.", "Is the file whole?") from None
        finally:
            part.unlink(missing_ok=True)
    return shown


async def run_alone(path: Path, part: Path) -> None:
    """Make a rendering in a process of its own, which leaves no file where it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(path), str(part), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        part.unlink(missing_ok=True)


def render_picture(path: Path, target: Path) -> None:
    """Write a picture as a PNG of 8 bits, with its transparency."""
    import numpy as np

    from headwater.image.io.decode import decode
    from headwater.image.io.picture import turn_upright

    pixels, picture = decode(path, path.read_bytes())
    levels = to_bytes(turn_upright(pixels, picture.orientation))
    levels = levels[..., 0] if levels.shape[2] == 1 else np.ascontiguousarray(levels)
    import_optional("PIL.Image").fromarray(levels).save(target, compress_level=1)


def to_bytes(pixels: Any) -> Any:
    """Pixels `[...]` in 8 bits: whole numbers up to their largest value, floats from -1 to 1.

    >>> import numpy as np
    >>> to_bytes(np.array([0, 65535], dtype="uint16")).tolist(), to_bytes(np.array([-1, 0.5])).tolist()
    ([0, 255], [0, 191])
    """
    import numpy as np

    whole = pixels.dtype.kind == "u"
    share = pixels / np.float32(np.iinfo(pixels.dtype).max) if whole else (np.nan_to_num(pixels) + 1) / 2
    return np.rint(255 * share).clip(0, 255).astype(np.uint8)


def render_recording(path: Path, target: Path) -> None:
    """Write a recording as a WAV of 16 bits, block by block."""
    import numpy as np

    from headwater.audio.io.decode import Decoder, find_mending

    soundfile = import_optional("soundfile", "audio")
    with Decoder(path, find_mending(path)[0]) as decoder:
        rate, channels = decoder.file.samplerate, decoder.file.channels
        with soundfile.SoundFile(target, "w", rate, channels, "PCM_16", format="WAV") as file:
            while len(block := decoder.read(BLOCK, "float32")):
                file.write(np.nan_to_num(block).clip(-1, 1))


def main() -> int:
    """Make the rendering that the words of the command line name."""
    path, target = map(Path, sys.argv[1:])
    (render_picture if target.suffix == ".png" else render_recording)(path, target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
