"""Icon sets of drawings of emoji, and what each drawing is called.

A set is an npm package of Iconify: `icons.json` holds the bodies of SVG drawings by name. The names differ between
sets ("flag-for-canada", "flag-canada", "admissiontickets"), so each is matched to an emoji of the npm package
`emojibase-data`, whose label and tags are the words of the caption. What matches no emoji, and so every variant of a
skin tone, is left out.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.errors import Misuse

SETS = {
    "noto": ("@iconify-json/noto", "1.2.9", "Apache-2.0", "Google"),
    "noto-v1": ("@iconify-json/noto-v1", "1.2.5", "Apache-2.0", "Google"),
    "fluent-emoji": ("@iconify-json/fluent-emoji", "1.2.7", "MIT", "Microsoft Corporation"),
    "fluent-emoji-flat": ("@iconify-json/fluent-emoji-flat", "1.2.6", "MIT", "Microsoft Corporation"),
    "fxemoji": ("@iconify-json/fxemoji", "1.2.2", "Apache-2.0", "Mozilla"),
    "twemoji": ("@iconify-json/twemoji", "1.2.5", "CC-BY-4.0", "Twitter"),
    "emojione": ("@iconify-json/emojione", "1.2.3", "CC-BY-4.0", "Emoji One"),
}
"""The sets by name: npm package, version, licence and author."""
WORDS = ("emojibase-data", "17.0.0")
"""The npm package of labels and tags (MIT), and its version."""


@dataclass(frozen=True)
class Emoji:
    """An emoji: its code points, its label and tags in English, and whether it is a flag."""

    code: str
    label: str
    tags: tuple[str, ...] = ()
    flag: bool = False


@dataclass(frozen=True)
class Drawing:
    """A drawing of an emoji by one set: `name` is that of the set, `svg` a whole document."""

    set: str
    name: str
    emoji: Emoji
    svg: str


@dataclass(frozen=True)
class Emojis:
    """All emoji, found by any of their names or by their code points."""

    by_name: Mapping[str, Emoji]
    by_code: Mapping[str, Emoji] = field(default_factory=dict)

    def find(self, *names: str) -> Emoji | None:
        """The emoji of the first of the names that is known.

        Examples
        --------
        >>> emojis = read_emojis([{"hexcode": "1F1E8-1F1E6", "label": "flag: Canada"}], {})
        >>> emojis.find("no-such-thing", "flag-for-flag-canada").label
        'flag of Canada'
        """
        keys = (key for name in names for key in (squash(name), squash(strip_prefix(name))))
        return next((self.by_name[key] for key in keys if key in self.by_name), None)


def squash(name: str) -> str:
    """The letters and digits of a name in lower case: what all spellings of a name share.

    Examples
    --------
    >>> squash("Admission Tickets") == squash("admission-tickets") == squash("admissiontickets")
    True
    """
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("&", "and"))


def strip_prefix(name: str) -> str:
    """A name of a flag as emojibase spells it.

    Examples
    --------
    >>> strip_prefix("flag-for-flag-canada"), strip_prefix("flag-for-canada")
    ('flag-canada', 'flag-canada')
    """
    return re.sub(r"^flag-for-(flag-)?", "flag-", name)


def plain_code(code: str) -> str:
    """Code points in upper case without variation selectors, as a key.

    Examples
    --------
    >>> plain_code("2764-fe0f")
    '2764'
    """
    return "-".join(part for part in code.upper().split("-") if part != "FE0F")


def read_emojis(entries: list[dict[str, Any]], shortcodes: Mapping[str, str | list[str]]) -> Emojis:
    """The emoji of emojibase's `data.json`, and further names from one of its files of shortcodes.

    Labels go before shortcodes, and the first emoji of a name keeps it.
    """
    found = [
        Emoji(
            plain_code(e["hexcode"]),
            re.sub(r"^flag: ", "flag of ", e["label"]),
            tuple(e.get("tags", ())),
            e["label"].startswith("flag: "),
        )
        for e in entries
    ]
    codes = {emoji.code: emoji for emoji in found}
    names = {squash(entry["label"]): emoji for entry, emoji in zip(entries, found, strict=True)}
    for code, given in shortcodes.items():
        for name in [given] if isinstance(given, str) else given:
            if plain_code(code) in codes:
                names.setdefault(squash(name), codes[plain_code(code)])
    return Emojis(names, codes)


def read_drawings(
    set_name: str, icons: Mapping[str, Any], chars: Mapping[str, str], emojis: Emojis
) -> Iterator[Drawing]:
    """The drawings of one set that show an emoji; a body that appears twice is given once.

    Parameters
    ----------
    set_name
        The name of the set.
    icons
        What its `icons.json` holds: `icons` by name, `aliases`, and the default `width` and `height` of a drawing.
    chars
        What its `chars.json` holds: names by code points; may be empty.
    emojis
        The emoji that are known.
    """
    others: dict[str, list[str]] = {}
    for alias, what in icons.get("aliases", {}).items():
        if not {"hFlip", "vFlip", "rotate"} & what.keys():  # a turned drawing may show another emoji
            others.setdefault(what["parent"], []).append(alias)
    codes = {name: emojis.by_code.get(plain_code(code)) for code, name in chars.items()}
    bodies: set[str] = set()
    for name, icon in icons["icons"].items():
        emoji = codes.get(name) or emojis.find(name, *others.get(name, []))
        if emoji is None or icon["body"] in bodies:
            continue
        bodies.add(icon["body"])
        yield Drawing(set_name, name, emoji, svg_document(icon, icons))


def svg_document(icon: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The SVG document of an icon; its box is its own, or else the set's, or else 16 x 16.

    Examples
    --------
    >>> svg_document({"body": "<path/>", "width": 32}, {"height": 32})[:91]
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox='
    """
    left, top, width, height = (
        icon.get(key, defaults.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {space} viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'


def get_package(name: str, version: str, folder: Path) -> Path:
    """The tarball of an npm package in the folder, fetched with `npm pack` if it is not there.

    Raises
    ------
    Misuse
        npm is missing or does not get the package.
    """
    tarball = folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    if not tarball.exists():
        try:
            subprocess.run(
                ["npm", "pack", f"{name}@{version}", "--pack-destination", str(folder)],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise Misuse(
                f"npm did not get the package {name} {version}.",
                f"Put {tarball.name} into {folder} yourself, or install npm.",
            ) from error
    return tarball


def read_member(tarball: Path, member: str) -> Any:
    """The content of a JSON file of an npm package, or None if the package has no such file.

    Raises
    ------
    Misuse
        The tarball or the file is damaged.
    """
    try:
        with tarfile.open(tarball) as archive:
            if f"package/{member}" not in archive.getnames():
                return None
            content = archive.extractfile(f"package/{member}")
            assert content is not None
            return json.load(io.TextIOWrapper(content, encoding="utf-8"))
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise Misuse(
            f"The package {tarball} cannot be read.", "Delete it, so that it is fetched again."
        ) from error


def load_emojis(folder: Path) -> Emojis:
    """The emoji of `emojibase-data`, with its tarball in the folder or fetched."""
    tarball = get_package(*WORDS, folder)
    entries = [
        e for e in read_member(tarball, "en/data.json") if "group" in e
    ]  # the others are parts of emoji
    shortcodes: dict[str, list[str]] = {}
    for file in ("cldr", "emojibase", "iamcal", "joypixels", "emojibase-legacy"):
        for code, given in read_member(tarball, f"en/shortcodes/{file}.json").items():
            shortcodes.setdefault(code, []).extend([given] if isinstance(given, str) else given)
    return read_emojis(entries, shortcodes)


def load_drawings(folder: Path) -> Iterator[Drawing]:
    """The drawings of all sets, with their tarballs in the folder or fetched."""
    emojis = load_emojis(folder)
    for name, (package, version, _, _) in SETS.items():
        tarball = get_package(package, version, folder)
        yield from read_drawings(
            name, read_member(tarball, "icons.json"), read_member(tarball, "chars.json") or {}, emojis
        )
