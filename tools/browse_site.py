"""Open pages of the built site in a real browser and say what they ask for outside, what fails, and what overflows.

    pip install playwright; apt install chromium
    python tools/browse_site.py build/docs index methods --browser /usr/bin/chromium --pictures build/pictures

Without names all pages are opened. The exit code is 1 if a page asks for anything that is not a file of the site,
logs an error, or is wider than the window.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTHS = {"wide": 1280, "narrow": 390}


def examine(page: Any, file: Path, width: int, picture: Path | None) -> list[str]:
    """What is wrong with a page of the site in a window of this width."""
    found: list[str] = []

    def hear(request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            found.append(f"asks for {request.url}")

    def log(message: Any) -> None:
        if message.type == "error":
            found.append(f"logs {message.text}")

    page.on("request", hear)
    page.on("requestfailed", lambda request: found.append(f"fails to load {request.url}"))
    page.on("console", log)
    page.on("pageerror", lambda error: found.append(f"raises {error}"))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(file.as_uri())
    page.wait_for_load_state("load")
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        found.append(f"is {wide} pixels wide in a window of {width}")
    if picture is not None:
        page.screenshot(path=str(picture), full_page=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("site", type=Path)
    parser.add_argument("names", nargs="*", help="pages without .html; by default all")
    parser.add_argument("--browser", type=Path, help="the program; by default playwright's own")
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each page")
    o = parser.parse_args(arguments)
    names = o.names or sorted(str(f.relative_to(o.site))[:-5] for f in o.site.rglob("*.html"))
    if missing := [name for name in names if not (o.site / f"{name}.html").is_file()] or not names:
        parser.error(f"no such pages in {o.site}: {missing if names else 'it has none; run make docs first'}")
    if o.pictures:
        o.pictures.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, as in a container; the pages are files of ours.
        browser = playwright.chromium.launch(executable_path=o.browser, args=["--no-sandbox"])
        for name in names:
            for kind, width in WIDTHS.items():
                page = browser.new_page()
                picture = o.pictures and o.pictures / f"{name.replace('/', '-')}-{kind}.png"
                for line in examine(page, (o.site / f"{name}.html").resolve(), width, picture):
                    print(f"{name} ({kind}) {line}")
                    wrong += 1
                page.close()
        browser.close()
    print(f"{len(names)} pages, each in {len(WIDTHS)} widths: {wrong} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
