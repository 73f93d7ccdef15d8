"""Options and words of the image commands about how a photo came: compressed, deep, with others of its name."""

import numpy as np
import pytest
import tifffile
from cli_tools import call, pixels, report
from PIL import Image

from headwater.cli.image import requests
from headwater.cli.image.options import Restore

pytestmark = pytest.mark.usefixtures("cheap", "no_sheet")


def test_results_of_one_stem_have_reports_of_their_own(here):
    for name in ("x.png", "x.jpg", "x.tif"):
        assert call(f"image inpaint photo.png --box 2,3,6,8 -o {name} --quiet") == 0
    made = sorted(p.name for p in here.glob("x*"))
    sheets = ["x-sheet.png", "x.jpg-sheet.png", "x.tif-sheet.png"]
    assert made == sorted([*sheets, "x.jpg", "x.jpg.json", "x.json", "x.png", "x.tif", "x.tif.json"])
    for name, file in [("x.json", "x.png"), ("x.jpg.json", "x.jpg"), ("x.tif.json", "x.tif")]:
        assert report(here / name)["samples"][0]["file"] == file


@pytest.mark.parametrize("grow, filled", [(None, 48), (0, 48), (1, 48 + 2 * 14), (2, 48 + 4 * 14 + 4)])
def test_the_hole_grows(here, cheap, grow, filled):
    words = "" if grow is None else f" --grow {grow}"
    assert call(f"image inpaint photo.png --box 5,6,6,8{words} -o x.png --quiet") == 0
    found = report(here / "x.json")["settings"]
    assert (found["pixels_to_fill"], found["grow"]) == (filled, grow or 0)
    assert int((~cheap[0]["task"].operator.mask).sum()) == filled


def test_a_jpeg_photo_comes_with_a_hint(here, capsys):
    Image.open("photo.png").save("shot.jpg")
    for photo, grow, hint in [
        ("shot.jpg", "", True),
        ("shot.jpg", "--grow 0", False),
        ("photo.png", "", False),
    ]:
        call(f"image inpaint {photo} --box 5,6,6,8 {grow} -o x.png --quiet --overwrite")
        err = capsys.readouterr().err
        assert ("Warning: shot.jpg is a JPEG file" in err and "--grow" in err) is hint
        assert len(report(here / "x.json")["warnings"]) == hint


def test_12_bits_in_16_are_said_and_range_serves_them(here, capsys, cheap):
    values = pixels(channels=1, dtype=np.uint16)[..., 0] // 16
    tifffile.imwrite("deep.tif", values, photometric="minisblack")
    call("image inpaint deep.tif --box 5,6,6,8 -o x.tif --quiet")
    assert "give --range 0,4095." in capsys.readouterr().err
    call("image inpaint deep.tif --box 5,6,6,8 -o y.tif --quiet --range 0,4095")
    assert "Warning" not in capsys.readouterr().err
    dark, stated = (call["task"].y for call in cheap)
    assert float(dark.max()) <= 0 and float(stated.max()) > 0.7
    assert 2000 < tifffile.imread("y.tif").max() <= 4095  # written in the range that was stated
    noise = [requests.rounding_noise(requests.inpaint(here / "deep.tif", None, (5, 6, 6, 8), 0, o).picture)
             for o in (Restore(), Restore(range=(0, 4095)))]  # fmt: skip
    assert noise[1] == pytest.approx(16 * noise[0], rel=1e-3)


def test_the_report_says_how_a_jpeg_was_made(here):
    Image.open("photo.png").save("x.jpg", subsampling="4:2:2", qtables=[[16] * 64, [20] * 64])
    assert call("image dejpeg x.jpg -o y.png --quiet") == 0
    found = report(here / "y.json")
    assert found["settings"]["subsampling"] == "4:2:2" and found["settings"]["quality"] is None
    assert found["operator"] == "dejpeg (tables of the file)"
