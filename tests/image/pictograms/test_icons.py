"""Drawings of icon sets: names, captions, parts of the data, and pictures of tiny made-up sets."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from headwater.errors import Misuse
from headwater.image.pictograms.captions import CHANCES, captions, captions_of
from headwater.image.pictograms.data import Pictograms, gather, load, part_of, render, save
from headwater.image.pictograms.icons import (
    Emoji,
    get_package,
    read_drawings,
    read_emojis,
    read_member,
)

torch.set_num_threads(1)
ENTRIES = [
    {"hexcode": "1F534", "label": "red circle", "tags": ["circle", "geometric", "red"], "group": 8},
    {"hexcode": "1F7E6", "label": "blue square", "tags": ["blue", "square"], "group": 8},
    {"hexcode": "1F1E8-1F1E6", "label": "flag: Canada", "tags": ["CA", "flag"], "group": 9},
    {"hexcode": "2764-FE0F", "label": "red heart", "group": 0},
]
RED = '<circle cx="8" cy="8" r="8" fill="#f00"/>'
BLUE = '<rect width="16" height="8" fill="#00f"/>'
ICONS = {
    "prefix": "toy",
    "icons": {
        "redcircle": {"body": RED},
        "blue-square": {"body": BLUE, "height": 8},
        "blue-square-dark-skin-tone": {"body": BLUE + BLUE},
        "flag-for-flag-canada": {"body": '<rect width="16" height="16" fill="red"/>'},
        "maple-leaf-banner": {"body": '<rect width="15" height="16" fill="red"/>'},
        "again": {"body": RED},
        "heart": {"body": "<path d='"},
        "lonely": {"body": "<g/>"},
    },
    "aliases": {
        "flag-canada": {"parent": "maple-leaf-banner"},
        "red-heart": {"parent": "heart"},
        "red-circle": {"parent": "lonely", "hFlip": True},
    },
}


def toy_drawings(chars=None):
    return list(read_drawings("toy", ICONS, chars or {}, read_emojis(ENTRIES, {"2764": "love_heart"})))


def test_names_are_matched_by_spelling_alias_and_code_and_the_rest_is_left_out():
    found = {d.name: d.emoji.label for d in toy_drawings()}
    assert found == {
        "redcircle": "red circle",
        "blue-square": "blue square",
        "flag-for-flag-canada": "flag of Canada",
        "maple-leaf-banner": "flag of Canada",
        "heart": "red heart",
    }
    # a mirrored alias says nothing of its parent, a code does
    assert {d.name for d in toy_drawings({"1f7e6": "lonely"})} - set(found) == {"lonely"}


def test_shortcodes_are_names_too_but_never_take_a_label_away():
    emojis = read_emojis(ENTRIES, {"2764": ["love_heart", "red_circle"]})
    assert emojis.find("loveheart").label == "red heart"
    assert emojis.find("red-circle").label == "red circle"


def test_a_drawing_is_centred_on_white_in_its_own_proportions():
    wide = next(d for d in toy_drawings() if d.name == "blue-square")
    picture = render(wide.svg, 32)
    assert picture.shape == (3, 32, 32) and picture.dtype == np.uint8
    inside = picture[:, 8:24]
    assert (inside[2] == 255).all() and (inside[:2] == 0).all()
    assert (picture[:, :8] == 255).all() and (picture[:, 24:] == 255).all()


def test_a_circle_has_its_area():
    circle = next(d for d in toy_drawings() if d.name == "redcircle")
    green = render(circle.svg, 64)[1].astype(float)  # 255 outside, 0 inside
    assert abs((1 - green / 255).mean() - np.pi / 4) < 2e-3


def test_broken_and_empty_drawings_are_named_and_left_out(capsys):
    data = gather(toy_drawings({"1f7e6": "lonely"}), 32)
    said = capsys.readouterr().err
    assert "toy heart is left out. The drawing is no SVG" in said
    assert "toy lonely is left out. The drawing is empty." in said
    assert data.pixels.shape == (4, 3, 32, 32) and len(data) == 4
    with pytest.raises(Misuse, match=r"No drawing could be rendered\. Check"):
        gather([d for d in toy_drawings() if d.name == "heart"], 32)


def test_all_drawings_of_a_held_out_emoji_are_held_out_and_no_flag_is():
    emojis = [Emoji(f"{i:X}", f"thing {i}") for i in range(1000)]
    parts = {e.code: {part_of(e, s, e.label) for s in ("one", "two", "three")} for e in emojis}
    held_out = [code for code, found in parts.items() if "held-out" in found]
    assert all(parts[code] == {"held-out"} for code in held_out)
    assert abs(len(held_out) / 1000 - 1 / 7) < 3 * (1 / 7 * 6 / 7 / 1000) ** 0.5
    flags = [part_of(Emoji(e.code, e.label, flag=True), "one", e.label) for e in emojis]
    assert "held-out" not in flags
    assert abs(flags.count("judge") / 1000 - 0.3) < 3 * (0.3 * 0.7 / 1000) ** 0.5


def test_what_is_saved_is_loaded(tmp_path):
    data = gather([d for d in toy_drawings() if d.name != "heart"], 16)
    save(tmp_path / "toy.npz", data)
    again = load(tmp_path / "toy.npz")
    assert torch.equal(again.pixels, data.pixels)
    assert vars(again) | {"pixels": 0} == vars(data) | {"pixels": 0}
    assert len(again.part("train", "judge", "held-out")) == len(data)


def test_files_that_are_no_pictograms_are_refused(tmp_path):
    with pytest.raises(Misuse, match=r"There is no file .*\. Make it with"):
        load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    with pytest.raises(Misuse, match=r"holds no pictograms\. Make it again\."):
        load(tmp_path / "other.npz")


def test_packages_are_read_from_the_folder(tmp_path):
    content = json.dumps(ICONS).encode()
    with tarfile.open(tmp_path / "toy-icons-1.0.0.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo("package/icons.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    tarball = get_package("@toy/icons", "1.0.0", tmp_path)
    assert read_member(tarball, "icons.json") == ICONS
    assert read_member(tarball, "chars.json") is None
    tarball.write_bytes(tarball.read_bytes()[:100])
    with pytest.raises(Misuse, match=r"cannot be read\. Delete it"):
        read_member(tarball, "icons.json")


def test_a_missing_npm_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        Misuse, match=r"npm did not get the package @toy/icons 1\.0\.0\. Put toy-icons-1\.0\.0\.tgz"
    ):
        get_package("@toy/icons", "1.0.0", tmp_path)


def test_captions_say_what_is_known():
    assert captions("red heart", "heavy-black-heart", ("heart", "love", "xo")) == (
        "red heart",
        "heavy black heart",
        "heart, love",
        captions("red heart", "heavy-black-heart", ("heart", "love"))[3],
    )
    assert captions("flag of Canada", "flag-for-canada", ())[1] == "flag of Canada"


def test_captions_are_drawn_by_their_chances():
    data = gather([d for d in toy_drawings() if d.name in ("redcircle", "flag-for-flag-canada")], 16)
    known = captions_of(data)
    assert [[known.texts[i] for i in row] for row in known.rows.tolist()] == [
        list(captions(*given)) for given in zip(data.labels, data.names, data.tags, strict=True)
    ]
    torch.manual_seed(0)
    drawn = known.draw(torch.zeros(4000, dtype=torch.long))
    label = known.rows[0, 0]
    expected = sum(c for c, row in zip(CHANCES, known.rows[0], strict=True) if row == label)
    assert abs(float((drawn == label).float().mean()) - expected) < 0.03


def test_a_selection_keeps_the_columns_together():
    data = Pictograms(
        torch.arange(3).reshape(3, 1, 1, 1), *(tuple("abc") for _ in range(4)), ((), ("x",), ()), tuple("ABC")
    )
    part = data.select([2, 0])
    assert part.pixels.flatten().tolist() == [2, 0] and part.parts == ("C", "A") and part.names == ("c", "a")
