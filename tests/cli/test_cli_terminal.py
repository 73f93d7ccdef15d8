"""What is printed: in any encoding, cleaned, to an output that may be full or closed; and names of any bytes."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from cli_tools import call, two_sentences

from headwater.cli.shared import terminal

SOURCE = Path(terminal.__file__).parents[2]
DENOISE = ["image", "denoise", "--noise", "0.1"]
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")


def headwater(*words, stdout=subprocess.PIPE, **environment):
    """The command in a process of its own."""
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-m", "headwater", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **paths, **environment},
    )


def test_what_the_output_cannot_show_is_replaced(here, cheap, pictures, monkeypatch):
    """As in LANG=C: the work is done, and the words are shown as far as they can be."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii", write_through=True))
    shutil.copy("photo.png", "β-日本.png")
    assert call([*DENOISE, "β-日本.png"]) in (0, 1)
    assert b"?-??-denoise.png" in shown.getvalue()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of glyphs that the sheet's font lacks
        assert call([*DENOISE, "β-日本.png", "--overwrite", "-o", "$x$ \\frac 日.png"]) in (0, 1)
    found = json.loads(Path("β-日本-denoise.json").read_bytes().decode("utf-8"))
    assert found["inputs"] == ["β-日本.png"] and Path("β-日本-denoise-sheet.png").exists()


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.png"), "a\x1b[2J\x07b\u202egnp.png"])
def test_names_of_any_bytes_are_cleaned_for_show_and_in_json(name, here, cheap, capsys):
    shutil.copy("photo.png", name)
    assert call([*DENOISE, name]) in (0, 1)
    out, err = capsys.readouterr()
    assert not CONTROL.search(out + err) and "-denoise.png" in out
    stem = Path(name).stem
    assert Path(f"{stem}-denoise.png").exists() and Path(f"{stem}-denoise-sheet.png").exists()
    text = Path(f"{stem}-denoise.json").read_bytes().decode("utf-8")
    assert json.loads(text)["samples"][0]["file"] and not re.search("[\x00-\x09\x0b-\x1f]", text)
    assert call([*DENOISE, name + "x"]) == 2
    out, err = capsys.readouterr()
    assert not CONTROL.search(err) and two_sentences(err.replace(".png", ""))


def test_names_that_are_not_utf8_are_told_apart_in_json(here, cheap):
    for byte in (b"\xe9", b"\xe8"):
        name = os.fsdecode(b"caf" + byte + b".png")
        shutil.copy("photo.png", name)
        assert call([*DENOISE, name]) in (0, 1)
        report = json.loads(Path(Path(name).stem + "-denoise.json").read_bytes())
        assert report["inputs"] == [f"caf\\x{byte.hex()}.png"]


def test_every_line_goes_through_one_place():
    """`say`, which cleans it; the two others are the handler of an import and the log of progress, which cleans."""
    printing = re.compile(r"(?<![\w.])print\(")
    found = {
        str(file.relative_to(SOURCE)): len(printing.findall(file.read_text(encoding="utf-8")))
        for file in (SOURCE / "cli").rglob("*.py")
    }
    allowed = {"cli/shared/terminal.py": 1, "cli/__init__.py": 1, "cli/shared/progress.py": 1}
    assert {file: n for file, n in found.items() if n} == allowed


def test_a_locale_that_is_not_utf8(tmp_path):
    """JSON and CSV are UTF-8 in any locale, and names are read as UTF-8."""
    (tmp_path / "greek.xyz").write_text("3\nβ-water\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n", encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = headwater(
        "molecule", "score", str(tmp_path / "greek.xyz"), "-o", str(tmp_path / "s.csv"), **locale
    )
    assert ended.returncode == 0 and b"Traceback" not in ended.stderr and b"?-water" in ended.stdout
    for name in ("s.csv", "s.json"):
        assert "β-water" in (tmp_path / name).read_bytes().decode("utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [["models"], ["models", "photo64"], ["--help"], ["--version"]])
def test_a_full_disk_behind_the_output(words):
    with open("/dev/full", "wb") as full:
        ended = headwater(*words, stdout=full)
    error = ended.stderr.decode()
    assert ended.returncode == 2 and "No space left on device" in error and two_sentences(error)


def test_the_files_are_written_all_the_same(here, cheap, monkeypatch, capsys):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert call([*DENOISE, "photo.png"]) == 2
    assert "cannot be shown: No space left on device" in capsys.readouterr().err
    assert {p.name for p in here.iterdir()} >= {
        "photo-denoise.png",
        "photo-denoise.json",
        "photo-denoise-sheet.png",
    }


def test_a_reader_that_has_gone_is_no_failure():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        ended = headwater("models", "photo64", "--classes", stdout=closed)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_report_that_cannot_be_written_keeps_neither_picture_nor_sheet(here, cheap, monkeypatch, capsys):
    from headwater.cli.shared import job
    from headwater.errors import Misuse

    def full(path, *_, **__):
        raise Misuse(f"The output {path} cannot be written: No space left on device.", "Free some space.")

    monkeypatch.setattr(job, "write_json", full)
    assert call([*DENOISE, "photo.png"]) == 2
    out, err = capsys.readouterr()
    assert "Error: The output photo-denoise.json cannot be written" in err and "photo-denoise.png" in out
    assert {p.name for p in here.iterdir()} == {"photo.png", "photo-denoise.png", "photo-denoise-sheet.png"}


def test_what_the_system_refuses_is_two_sentences(here, monkeypatch, capsys):
    from headwater.cli import models

    def refuse(*_):
        raise PermissionError(13, "Permission denied", "a.png")

    monkeypatch.setattr(models, "show", refuse)
    assert call("models") == 2
    assert two_sentences(err := capsys.readouterr().err) and "Permission denied" in err
