"""Make the demo photos that ship in headwater/image/photos from CC0 and public-domain files of scikit-image.

Run: python tools/make_photos.py (scikit-image is needed here only, not by the demo).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parents[1] / "src/headwater/image/photos"
PHOTOS = {  # name: file in the scikit-image wheel, crop (left, top, right, bottom), size (width, height)
    "cat": ("chelsea.png", (90, 20, 370, 300), (64, 64)),
    "astronaut": ("astronaut.png", (120, 0, 344, 224), (96, 96)),
    "coffee": ("coffee.png", (50, 0, 550, 375), (128, 96)),
    "rocket": ("rocket.jpg", (80, 0, 600, 416), (160, 128)),
}


def main() -> None:
    """Write every photo as an 8-bit RGB PNG."""
    import skimage.data

    source = Path(skimage.data.__file__).parent
    FOLDER.mkdir(exist_ok=True)
    for name, (file, box, size) in PHOTOS.items():
        photo = Image.open(source / file).convert("RGB").crop(box)
        photo.resize(size, Image.Resampling.LANCZOS).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
