"""Compose docs/demo.png from the output folder of `headwater demo`: damaged above, restored below.

python tools/make_demo_picture.py demo-output
"""

import sys
from pathlib import Path

from PIL import Image

HEIGHT = 240


def tile(file: Path) -> Image.Image:
    """A picture enlarged to the common height."""
    image = Image.open(file).convert("RGB")
    return image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.NEAREST)


def main() -> None:
    folder = Path(sys.argv[1])
    names = [f.name.removesuffix("-damaged.png") for f in sorted(folder.glob("*-damaged.png"))]
    pairs = [(tile(folder / f"{n}-damaged.png"), tile(folder / f"{n}.png")) for n in names]
    width = sum(max(a.width, b.width) for a, b in pairs) + 8 * (len(pairs) - 1)
    page = Image.new("RGB", (width, 2 * HEIGHT + 8), "white")
    left = 0
    for above, below in pairs:
        page.paste(above, (left, 0))
        page.paste(below, (left, HEIGHT + 8))
        left += max(above.width, below.width) + 8
    page.save(Path(__file__).parent.parent / "docs" / "demo.png", optimize=True)


if __name__ == "__main__":
    main()
