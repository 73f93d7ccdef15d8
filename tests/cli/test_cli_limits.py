"""Every number that a command takes has limits: a refusal at once, which names them."""

import re
from time import perf_counter

import pytest
from cli_tools import two_sentences

from headwater.cli.app import app, main

KINDS = {"int", "float"}
WORDS = {"STD": "/255", "SIZE": "GB", "ENERGY": "eV", "DIPOLE": "D", "VOLUME": "Bohr^3", "HEAT": "cal/mol/K"}
"""What is written behind a number of this metavar; none behind others."""
OWN = {"STD", "SIZE", "ENERGY", "DIPOLE", "VOLUME", "HEAT", "TIME", "HZ", "LEVEL", "START-END"}
"""Readers with refusals of their own, which name a cure and not always both limits."""


def commands(group=app, words=()):
    for name in group:
        if not name.startswith("-"):
            if group[name].default_command:
                yield (*words, name), group[name]
            yield from commands(group[name], (*words, name))


def numbers():
    """(words of the command, positional arguments, option, metavar, how many) of every option of numbers."""
    for words, command in commands():
        arguments = list(command.assemble_argument_collection())
        own = {("image", "restore"): ["--operator=x"], ("batch",): ["--out=x"]}.get(words, [])
        needed = own + ["x"] * sum(
            a.required and a.parameter.name_transform and not a.name.startswith("-") for a in arguments
        )
        for argument in arguments:
            kinds = re.findall(r"\w+", str(argument.hint))
            if KINDS & set(kinds) and argument.name.startswith("--"):
                count = sum(kinds.count(kind) for kind in KINDS)
                yield words, needed, argument.name, argument.parameter.metavar, count


CASES = list(numbers())


def test_the_cases_are_there():
    found = {(*words, option) for words, _, option, *_ in CASES}
    assert {
        ("image", "denoise", "--steps"),
        ("audio", "generate", "--length"),
        ("forecast", "--size"),
    } <= found
    assert len(found) > 100


@pytest.mark.parametrize("words, needed, option, metavar, count", CASES, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("number", ["9" * 20, "9" * 5000, "-" + "9" * 20])
def test_a_number_beyond_all_limits_is_refused_at_once(words, needed, option, metavar, count, number, capsys):
    text = ",".join([number] * count) + WORDS.get(metavar, "")
    start = perf_counter()
    assert main([*words, *needed, f"{option}={text}"]) == 2
    assert perf_counter() - start < 2
    out, err = capsys.readouterr()
    assert err.startswith("Error: ") and two_sentences(err) and len(err) < 400 and out == ""
    if metavar not in OWN and len(number) < 100:
        assert re.search(r"Give -?[\d,.e]+ to [\d,.e+]+\.$", err.strip()), err


@pytest.mark.parametrize(
    "line",
    [
        "image generate --size 100000,100000",
        "image upscale photo.png --factor 32",
        "image denoise photo.png --noise 0.1 --samples 1000",
        "image denoise window.png --noise 0.1 --samples 100",
        "forecast --size 50000,50000",
    ],
)
def test_what_does_not_fit_into_memory_is_refused_before_the_work(line, here, cheap, monkeypatch, capsys):
    from PIL import Image

    from headwater.cli.shared import machine

    Image.new("RGB", (64, 64), (90, 120, 40)).save("window.png")
    monkeypatch.setattr(machine, "available_memory", lambda device: 10_000_000)
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert re.search(r"This needs [\d,.]+ [GM]B of memory and 10 MB are free\. Give ", err) and two_sentences(
        err
    )
    assert cheap == [] and {p.name for p in here.iterdir()} == {"photo.png", "window.png"}


def test_black_and_white_differ(here, cheap, capsys):
    assert main(["image", "denoise", "photo.png", "--noise", "0.1", "--range", "1,1"]) == 2
    assert "Black and white are both 1. Give two values" in capsys.readouterr().err and cheap == []


def test_the_page_quotes_a_refusal(capsys):
    from pathlib import Path

    page = Path(__file__).parents[2].joinpath("docs", "commands.md").read_text(encoding="utf-8")
    (quoted,) = re.findall(r"`(--steps is .*?)`", page)
    assert main(["image", "denoise", "x.png", "--noise=0.1", "--steps=99999"]) == 2
    assert quoted in capsys.readouterr().err
