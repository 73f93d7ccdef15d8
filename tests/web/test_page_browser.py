"""The page in a real browser, with a real server and real jobs: from the file to the download.

    pip install playwright; apt install chromium

Without both these tests are skipped. HEADWATER_BROWSER names another program than `chromium`. All of them share a
browser and a server, whose workers are forked (`forked_page.py`), since most of a small job is to import torch.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="The page in a browser needs playwright")
soundfile = pytest.importorskip("soundfile", reason="Recordings need soundfile")
BROWSER = os.environ.get("HEADWATER_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="The page in a browser needs Chromium: apt install chromium"),
    pytest.mark.xdist_group("browser"),
]
PATIENCE = 120_000
"""Milliseconds that a busy machine may take for anything."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the server keeps its jobs."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(folder):
    """A server of its own."""
    words = [sys.executable, str(Path(__file__).parent / "forked_page.py"), str(folder)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    yield re.search(r"http://\S+/", line)[0]
    server.terminate()
    assert server.wait(30) is not None
    server.stdout.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, as in a container; the pages are ours.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(address, browser):
    """A window on the page; at the end nothing may have gone wrong in it, or been asked for elsewhere."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    window, wrong = context.new_page(), []
    window.set_default_timeout(PATIENCE)
    window.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    window.on("pageerror", lambda error: wrong.append(str(error)))
    own = (address, "blob:", "data:")
    window.on(
        "request", lambda request: request.url.startswith(own) or wrong.append(f"asks for {request.url}")
    )
    window.on(
        "response", lambda answer: answer.status >= 400 and wrong.append(f"{answer.status} {answer.url}")
    )
    window.goto(address)
    yield window
    context.close()
    assert wrong == []


def paint(page):
    box = page.locator("canvas.paint").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 40, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 20, steps=5)
    page.mouse.up()


def wait_for_words(page, part):
    """Until the command line on the page has a part."""
    page.locator("#panel .words", has_text=part).wait_for()


def until(page, condition):
    """Until a function of JavaScript is true: the page's policy forbids what `wait_for_function` does."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def pixel(page, x, y):
    """What the page shows of a pixel of the picture: red, green, blue."""
    return page.evaluate(f"""async () => {{
        const {{ editor }} = (await import("/static/js/main.js")).page.benches.image;
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        const [left, top] = [editor.x + editor.scale * {x + 0.5}, editor.y + editor.scale * {y + 0.5}];
        return [...editor.canvas.getContext("2d").getImageData(left, top, 1, 1).data].slice(0, 3);
    }}""")


def upload_a_mask(page, path, size, box):
    mask = Image.new("L", size)
    mask.paste(255, box)
    mask.save(path)
    page.get_by_label("Upload a mask").set_input_files(str(path))


def marked(page):
    """How many pixels the mask marks that a job would get, and the corners of their box."""
    return page.evaluate("""async () => {
        const { editor } = (await import("/static/js/main.js")).page.benches.image;
        const image = await createImageBitmap(await editor.blob());
        const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
        context.drawImage(image, 0, 0);
        const { data } = context.getImageData(0, 0, image.width, image.height), found = [];
        for (let i = 0; i < data.length / 4; i++)
            if (data[4 * i]) found.push([i % image.width, Math.floor(i / image.width)]);
        const [xs, ys] = [0, 1].map((k) => found.map((place) => place[k]));
        return [found.length, Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    }""")


def state_of(page):
    return page.locator(".job-head .chip").inner_text()


def test_paint_a_mask_run_watch_reload_cancel(page, tmp_path):
    Image.fromarray((np.indices((64, 64)).sum(0) * 2).astype(np.uint8)).convert("RGB").save(
        tmp_path / "ramp.png"
    )
    page.set_input_files("#stage input[type=file]", str(tmp_path / "ramp.png"))
    run, words = page.locator("button.run"), page.locator("#panel .words")
    page.locator("text=Paint what is lost first.").wait_for()
    assert run.is_disabled()
    upload_a_mask(page, tmp_path / "small.png", (32, 16), (4, 4, 8, 8))
    page.locator("#toasts", has_text="The mask small.png is 32 x 16 but the picture is 64 x 64.").wait_for()
    assert run.is_disabled()
    (tmp_path / "text.png").write_text("no picture")
    page.get_by_label("Upload a mask").set_input_files(str(tmp_path / "text.png"))
    page.locator("#toasts", has_text="text.png is no picture").wait_for()
    upload_a_mask(page, tmp_path / "white.png", (64, 64), (16, 20, 40, 44))
    wait_for_words(page, "--mask=ramp-mask.png")
    assert marked(page) == [24 * 24, 16, 20, 39, 43]
    inside, beside, far = (15, 30), (13, 30), (8, 30)
    before = [pixel(page, *place) for place in (inside, beside, far)]
    page.get_by_label("grow the mask", exact=True).fill("4")
    wait_for_words(page, "--grow=4")
    after = [pixel(page, *place) for place in (inside, beside, far)]
    assert after[0] != before[0] and after[1] != before[1] and after[2] == before[2]
    page.get_by_label("grow the mask", exact=True).fill("")
    page.locator("button", has_text="Undo").click()
    page.locator("text=Paint what is lost first.").wait_for()
    paint(page)
    wait_for_words(page, "--mask=ramp-mask.png")
    page.keyboard.press("Control+z")
    page.locator("text=Paint what is lost first.").wait_for()
    page.keyboard.press("Control+y")
    page.locator("button", has_text="Clear").click()
    page.locator("text=Paint what is lost first.").wait_for()
    page.keyboard.press("Control+z")
    wait_for_words(page, "--mask=ramp-mask.png")
    page.keyboard.press("e")
    assert page.locator("button", has_text="Eraser").get_attribute("aria-pressed") == "true"
    before = page.locator(".size input").input_value()
    page.keyboard.press("]")
    assert float(page.locator(".size input").input_value()) > float(before)
    page.locator("summary", has_text="More settings").click()
    page.get_by_label("method", exact=True).select_option("map")
    page.get_by_label("gradients", exact=True).fill("0")
    page.locator(".wrong", has_text="--gradients is 0. Give 1 to").wait_for()  # the command's own words
    page.get_by_label("gradients", exact=True).fill("100000")
    page.get_by_label("noise, grey levels", exact=True).fill("0.01")
    wait_for_words(page, "--gradients=100000")
    assert words.inner_text().startswith("headwater image inpaint ramp.png --mask=ramp-mask.png")
    run.click()
    page.locator("img.live:not(.before):not([hidden])").wait_for()  # a sample is seen
    page.reload()
    page.locator("img.live:not(.before):not([hidden])").wait_for()
    assert state_of(page) == "running"
    page.locator(".job-head button", has_text="Cancel").click()
    page.locator(".job-head .chip.cancelled").wait_for()
    page.locator(".results img").first.wait_for()  # the best so far, or the last preview


def test_compare_and_download_on_a_phone(page):
    """The mean of a posterior, with the std of its draws as a tab."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("button.link", has_text="cat").click()
    page.locator("[data-command='image denoise']").click()
    page.get_by_label("posterior", exact=True).fill("4")
    page.locator("summary", has_text="More settings").click()
    page.get_by_label("steps", exact=True).fill("1")
    wait_for_words(page, "--posterior=4")
    page.locator("button.run:not([disabled])").click()
    page.locator("img-comparison-slider").wait_for()
    page.locator("img-comparison-slider").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    with page.expect_download() as download:
        page.locator(".downloads a", has_text=re.compile("^cat-denoise.png$")).click()
    with Image.open(download.value.path()) as image:
        assert image.size == (64, 64) and download.value.suggested_filename == "cat-denoise.png"
    for label, name in (("Report", "cat-denoise.json"), ("Sheet", "cat-denoise-sheet.png")):
        with page.expect_download() as download:
            page.locator(".downloads a", has_text=label).click()
        assert download.value.suggested_filename == name
    assert page.locator(".thumbs button").all_inner_texts() == ["", "q05", "q95", "sample", "std"]
    page.locator(".thumbs button", has_text="std").click()
    page.locator("figure img[alt=std]").wait_for()
    until(page, "() => document.querySelector('figure img[alt=std]').naturalWidth === 64")
    caption = page.locator("figcaption").inner_text()
    assert caption.startswith("The standard deviation of every pixel") and "Here white is 0." in caption
    page.locator(".thumbs button").first.click()
    page.locator("button", has_text="Use as input").click()
    page.locator("canvas.paint").wait_for()
    wait_for_words(page, "headwater image denoise cat-denoise.png")


def test_pictures_are_drawn_by_a_reward_and_one_is_edited_where_it_is_painted(page):
    page.locator("[data-command='image generate']").click()
    page.get_by_label("prompt", exact=True).fill("red apple")
    wait_for_words(page, "--prompt=red apple")
    page.get_by_label("prompt", exact=True).fill("")
    page.get_by_label("reward", exact=True).fill("nothing")
    page.locator(".wrong", has_text="--reward is 'nothing'.").wait_for()
    page.get_by_label("reward", exact=True).fill("brightness: 0.2; 2 * symmetry")
    page.get_by_label("count", exact=True).fill("2")
    few_steps(page)
    wait_for_words(page, "'--reward=brightness: 0.2' '--reward=2 * symmetry'")
    page.locator("button.run:not([disabled])").click()
    page.locator(".gallery img").nth(1).wait_for()
    until(page, "() => [...document.querySelectorAll('.gallery img')].every((i) => i.naturalWidth === 64)")
    page.get_by_role("tab", name="Pictures").click()
    page.locator("[data-command='image edit']").click()
    page.locator("button.link", has_text="cat").click()
    page.locator("text=Give a label, a prompt or a reward.").wait_for()
    page.get_by_label("reward", exact=True).fill("symmetry")
    few_steps(page)
    paint(page)
    wait_for_words(page, "--strength=cat-mask.png")
    page.locator("button.run:not([disabled])").click()
    page.locator("img-comparison-slider img[alt=After]").wait_for()


def few_steps(page):
    page.locator("summary", has_text="More settings").click()
    for name in ("steps", "gradients"):
        page.get_by_label(name, exact=True).fill("1")


def test_a_picture_is_dropped_pasted_and_seen_in_the_dark(page, address, tmp_path):
    """A file from a folder, a picture from the clipboard; the theme is kept."""
    size = "() => [window.page.benches.image.editor].map((e) => e ? `${e.width} x ${e.height}` : '')[0]"
    page.evaluate("async () => { window.page = (await import('/static/js/main.js')).page; }")
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "dropped.png")
    mouse, place = page.context.new_cdp_session(page), page.locator(".drop").bounding_box()
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(tmp_path / "dropped.png")], "dragOperationsMask": 1}
        where = {"x": place["x"] + 50, "y": place["y"] + 50}
        mouse.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})
    page.locator("canvas.paint").wait_for()
    wait_for_words(page, "headwater image inpaint dropped.png")
    assert page.evaluate(size) == "40 x 30"

    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address.rstrip("/"))
    page.evaluate("""async () => {
        const canvas = new OffscreenCanvas(24, 16);
        canvas.getContext("2d").fillRect(0, 0, 24, 16);
        const item = new ClipboardItem({ "image/png": await canvas.convertToBlob({ type: "image/png" }) });
        await navigator.clipboard.write([item]);
    }""")
    page.keyboard.press("Control+v")
    until(page, size.replace("=> ", "=> '24 x 16' === ", 1))
    wait_for_words(page, "headwater image inpaint image.png")

    colour = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(colour)
    page.locator("#theme").click()
    dark = page.evaluate(colour)
    assert max(levels(dark)) < 80 and min(levels(light)) > 200
    page.reload()
    assert page.evaluate(colour) == dark
    page.locator("#theme").click()
    assert page.evaluate(colour) == light


def levels(colour):
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


def test_two_fingers_zoom_and_one_paints(page):
    page.locator("button.link", has_text="cat").click()
    box = page.locator("canvas.paint").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": x + dx, "y": y + dy, "id": i} for i, (dx, dy) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def seen():
        return page.evaluate("""async () => {
            const { editor } = (await import("/static/js/main.js")).page.benches.image;
            return [editor.scale, editor.strokes.length];
        }""")

    until(page, "() => document.querySelector('canvas.paint').width > 300")
    scale, strokes = seen()
    touch("touchStart", (-20, 0))
    touch("touchStart", (-20, 0), (20, 0))  # the first finger of two paints nothing
    for step in range(1, 6):
        touch("touchMove", (-20 - 10 * step, 0), (20 + 10 * step, 0))
    touch("touchEnd")
    larger, none = seen()
    assert larger > 2 * scale and none == strokes == 0
    touch("touchStart", (-20, 0))
    touch("touchMove", (20, 10))
    touch("touchEnd")
    assert seen() == [larger, 1]


def test_a_recording_is_checked_and_filled(page, tmp_path):
    t = np.arange(16_000) / 8000
    sound = 0.3 * np.sin(2 * np.pi * 330 * t) + 0.1 * np.sin(2 * np.pi * 771 * t)
    sound[8000:8080] = 0
    soundfile.write(tmp_path / "tone.wav", sound, 8000)
    page.get_by_role("tab", name="Recordings").click()
    page.set_input_files("#stage input[type=file]", str(tmp_path / "tone.wav"))
    page.locator("button.run:not([disabled])").click()
    page.locator("button", has_text="Fill the gaps").click()
    wait_for_words(page, "--gap=")
    gap = re.search(r"--gap=([\d.]+)-([\d.]+)", page.locator("#panel .words").inner_text())
    assert abs(float(gap[1]) - 1) < 2e-3 and abs(float(gap[2]) - 1.01) < 2e-3
    page.locator("button.run:not([disabled])").click()
    page.locator(".track").nth(1).wait_for()
    page.keyboard.press("x")
    assert page.locator(".player [aria-pressed=true]", has_text="after").count() == 1
    page.keyboard.press("l")
    page.locator(".player [aria-pressed=true]", has_text="Loop").wait_for()


def test_a_molecule_is_found_and_turned(page):
    page.get_by_role("tab", name="Molecules").click()
    page.locator("summary", has_text="More settings").click()
    page.get_by_label("count", exact=True).fill("2")
    page.get_by_label("candidates", exact=True).fill("1")
    page.get_by_label("check", exact=True).select_option("none")
    page.get_by_label("HOMO-LUMO gap", exact=True).fill("5")
    page.locator(".quantity select").first.select_option("meV")
    wait_for_words(page, "--gap=5meV")
    page.locator(".quantity select").first.select_option("eV")
    wait_for_words(page, "--gap=5eV")
    page.locator("button.run:not([disabled])").click()
    page.locator(".molecules tbody tr").nth(1).wait_for()
    page.locator(".three canvas").wait_for()
    with page.expect_download() as download:
        page.locator(".downloads a", has_text=re.compile(r"\.sdf$")).click()
    assert download.value.suggested_filename == "hits.sdf"
    page.locator("th button", has_text="#").click()
    assert page.locator("tbody tr td:first-child").all_inner_texts() == ["1", "2"]
    page.locator("th button", has_text="#").click()
    assert page.locator("tbody tr td:first-child").all_inner_texts() == ["2", "1"]
    page.get_by_label("Filter").fill("no such formula")
    assert page.locator("tbody tr").count() == 0


def test_a_sound_is_heard_while_it_is_made_and_kept_when_its_worker_is_killed(page, folder):
    page.get_by_role("tab", name="Recordings").click()
    page.locator("button.link", has_text="guitar").click()
    page.locator("[data-command='audio inpaint']").click()
    box = page.locator(".wave").bounding_box()
    until(page, "() => document.querySelector('.wave').clientHeight > 200")  # the spectrogram is there
    page.mouse.move(box["x"] + 200, box["y"] + 48)
    page.mouse.down()
    page.mouse.move(box["x"] + 240, box["y"] + 48, steps=6)
    page.mouse.up()
    wait_for_words(page, "--gap=")
    page.locator("summary", has_text="More settings").click()
    page.get_by_label("method", exact=True).select_option("map")
    page.get_by_label("gradients", exact=True).fill("100000")
    wait_for_words(page, "--gradients=100000")
    page.locator("button.run:not([disabled])").click()
    page.locator(".watch .player .wave").wait_for()
    os.kill(int((folder / "worker").read_text()), 9)
    page.locator(".job-head .chip.failed").wait_for()
    assert "SIGKILL" in page.locator(".words-of").inner_text()
    page.locator(".results .player .wave").wait_for()
