"""The command line as it presents itself, without torch."""

import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
from cli_tools import call, two_sentences

from headwater.cli.app import app, as_misuse
from headwater.cli.audio.commands import audio
from headwater.cli.image import options
from headwater.cli.image.commands import image
from headwater.errors import is_out_of_memory

RESTORING = ["inpaint", "upscale", "deblur", "denoise", "colorize", "dejpeg", "declip", "restore"]
LIGHT = """
import sys
from headwater.cli import main
code = main({arguments!r})
assert code == {code}, code
heavy = [m for m in ("torch", "numpy", "PIL", "matplotlib") if m in sys.modules]
assert not heavy, heavy
"""
ALONE = """
import sys, types
package = types.ModuleType("headwater")
package.__path__ = [{folder!r}]
sys.modules["headwater"] = package
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def names(app):
    return [name for name in app if not name.startswith("-")]


def test_the_commands_are_those_we_promise():
    assert sorted(names(image)) == sorted([*RESTORING, "generate", "edit", "invert", "likelihood"])
    assert sorted(names(app)) == [
        "audio",
        "batch",
        "demo",
        "forecast",
        "image",
        "methods",
        "models",
        "molecule",
        "serve",
    ]
    damage = ["declip", "denoise", "dereverb", "restore"]
    assert sorted(names(audio)) == sorted([*damage, "check", "inpaint", "extend", "generate"])


@pytest.mark.parametrize(
    "line, code",
    [
        ("--help", 0),
        ("image --help", 0),
        ("image inpaint --help", 0),
        ("image inpiant", 2),
        ("audio --help", 0),
    ],
)
def test_help_and_typing_errors_load_nothing_heavy(line, code):
    """The modules of the command line themselves: the package's __init__ is left out."""
    folder = str(Path(options.__file__).parents[2])
    done = python(ALONE.format(folder=folder) + LIGHT.format(arguments=line.split(), code=code))
    assert done.returncode == 0, done.stderr


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "headwater", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "headwater")


@pytest.mark.parametrize("command", RESTORING)
def test_every_option_has_a_help_text(command, capsys):
    assert call(f"image {command} --help") == 0
    shown = capsys.readouterr().out
    for name in signature(options.Restore).parameters:
        assert f"--{name}" in shown
    assert "--empty" not in shown and "--no-" not in shown
    for argument in image[command].assemble_argument_collection(parse_docstring=True):
        if argument.show and argument.parameter.name:
            assert argument.parameter.help, argument.parameter.name


def test_the_choices_are_those_of_the_code():
    from headwater.image.operators.blur import BOUNDARIES
    from headwater.image.operators.colorize import GREY_WEIGHTS
    from headwater.image.operators.jpeg import SUBSAMPLINGS
    from headwater.image.operators.resize import METHODS

    assert get_args(options.Downsampling) == METHODS
    assert get_args(options.Boundary) == BOUNDARIES
    assert get_args(options.Grey) == tuple(GREY_WEIGHTS)
    assert get_args(options.Subsampling) == tuple(SUBSAMPLINGS)


def test_the_defaults_name_what_ships():
    from headwater import zoo
    from headwater.cli.image.prior import model_of

    assert model_of(options.Common()) in zoo.list_models("image")
    assert model_of(options.Common(model="other")) == "other"


@pytest.mark.parametrize(
    "line, hint",
    [
        ("imge", "Did you mean 'image'?"),
        ("image inpiant x.png", "Did you mean 'inpaint'?"),
        ("image inpaint", "Name one or more files"),
        ("image inpaint x.png --bax 1,2,3,4", "Did you mean --box?"),
        ("image denoise x.png --noise", "headwater image denoise --help"),
        ("image denoise x.png --seed one", "Give a whole number"),
        ("image denoise x.png --method papre", "Did you mean 'paper'?"),
        ("image denoise x.png --method qqqqq", "Choose from: 'faithful', 'plausible', 'default'"),
        ("methods papre", "Did you mean 'paper'?"),
        ("image upscale x.png --filter aria", "Did you mean 'area'?"),
        ("image upscale x.png --factor 1.5", "Give a whole number"),
        ("image restore x.png", "headwater image restore --help"),
    ],
)
def test_typing_errors_are_two_sentences(line, hint, capsys):
    assert call(line) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Error: ") and two_sentences(err), err
    assert hint in err


@pytest.mark.parametrize(
    "error, expected",
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_parse_error_keeps_the_words_of_a_misuse():
    from cyclopts import CycloptsError

    from headwater.errors import Misuse

    error = CycloptsError()
    error.__cause__ = Misuse("No.", "Yes.")
    assert str(as_misuse(error)) == "No. Yes."
