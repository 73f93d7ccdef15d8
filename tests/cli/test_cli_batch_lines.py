"""`headwater batch`: the lines of a table, their words, inputs and keys, and what is refused."""

from pathlib import Path

import pytest
from cli_tools import call, two_sentences, write_table

from headwater.cli.batch import words
from headwater.cli.batch.lines import read_lines
from headwater.cli.batch.work import CommandWork
from headwater.errors import Misuse


def test_every_command_has_a_name_for_its_result(here):
    assert len(words.commands()) >= 23 and set(words.NAMES) <= set(words.commands())
    for command in words.commands():
        inputs = {name: Path("take.wav") for name in words.positions(command)}
        name = words.name_output(command, inputs)
        assert Path(name).name == name and Path(name).suffix
        assert bool(inputs) or command in words.NAMES


def test_a_file_within_a_text_is_an_input(here):
    (here / "my.py").write_text("def operator(x): return x")
    job = words.job_of(("image", "restore", "--operator=my.py:operator", "--", "photo.png"), "", "")
    assert {str(path) for path in job.inputs.values()} == {"photo.png", "my.py"}
    job = words.job_of(("image", "generate", "--reward=2 * my.py", "--reward=class: volcano"), "", "")
    assert [str(path) for path in job.inputs.values()] == ["my.py"] and job.given.output == "samples.png"


@pytest.mark.parametrize("option", ["--model=weights", "--reward=2 * clip: weights: a dog"])
def test_a_folder_that_is_named_without_a_slash_is_an_input(here, option):
    (here / "weights").mkdir()
    keys = []
    for text in ("1", "2"):
        (here / "weights" / "a.bin").write_text(text)
        job = words.job_of(("image", "generate", option), "", "")
        keys.append(job.key({}))
    assert [str(path) for path in job.inputs.values()] == ["weights"] and keys[0] != keys[1]


@pytest.mark.parametrize(
    "option",
    [
        "--prompt=apple",
        "--reward=text: apple",
        "--reward=2 * symmetry",
        "--model=photo64",
        "--reward=clip: a b: apple",
    ],
)
def test_a_word_that_is_also_the_name_of_a_folder_is_no_input(here, option):
    """The folder of the results, most likely, which changes while they are computed."""
    for name in ("apple", "symmetry", "photo64", "clip", "2"):
        (here / name).mkdir()
    assert words.job_of(("image", "generate", option), "", "").inputs == {}


def test_the_key_knows_the_captions_of_a_reward_of_a_text():
    job = words.job_of(("image", "generate", "--reward=text: a dog"), "", "")
    assert set(CommandWork().describe(job)["models"]) == {"photo64", "pictograms-captions"}


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (
            {"command": "image denois", "input": "photo.png"},
            "There is no command 'image denois'. Did you mean",
        ),
        ({"command": "models"}, "There is no command 'models'."),
        ({"input": "photo.png"}, "It names no command. Give one"),
        (
            {"command": "image denoise", "input": "photo.png", "nois": "1"},
            "Unknown option: --nois=1. Did you mean --noise?",
        ),
        ({"command": "image denoise", "input": "photo.png", "quiet": "true"}, "A job has no option --quiet."),
        (
            {"command": "image denoise", "input": "foto.png"},
            "There is no file foto.png. Did you mean photo.png?",
        ),
        ({"command": "image denoise"}, "The command 'image denoise' names no input."),
        ({"command": "image denoise", "input": "sub"}, "The input sub is a folder."),
        (
            {"command": "image denoise", "input": "photo.png", "output": "a/b.png"},
            "The output a/b.png is in a folder.",
        ),
        ({"command": "image denoise", "input": "photo.png", "noise": {"a": 1}}, "The value of 'noise' is"),
        ({"command": "molecule target", "gap": "5.0"}, ""),
        ({"command": "image inpaint", "input": "photo.png", "mask": "m.png"}, "There is no file m.png."),
    ],
)
def test_lines_that_are_refused(here, cells, sentence):
    from headwater.cli.batch.lines import Line

    (here / "sub").mkdir()
    job = words.make_job(Line(7, cells), "jobs.csv")
    assert job.name == "jobs.csv line 7" and sentence in job.refusal and two_sentences(job.refusal)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("empty.csv", b"", "empty.csv is empty."),
        ("head.csv", b"command,input\n", "head.csv has no jobs."),
        ("blank.jsonl", b"\n \n", "blank.jsonl has no jobs."),
        (
            "utf16.csv",
            "command,input\nimage denoise,ä.png\n".encode("utf-16"),
            "utf16.csv is not UTF-8: line 1",
        ),
        (
            "latin.csv",
            "command,input\nx,y\nimage denoise,ä.png\n".encode("latin-1"),
            "latin.csv is not UTF-8: line 3",
        ),
        ("zero.csv", b"command,input\nimage\0,a\n", "zero.csv is no text: line 2"),
        ("open.csv", b'command,input\nx,a\nx,"b\nx,c\n', "open.csv cannot be read from line 3 on"),
        ("none.csv", b"comand,input\nimage denoise,a\n", "names no column 'command'."),
        ("two.csv", b"command,input,input\nx,a,b\n", "two.csv has two columns named 'input'."),
        ("jobs.txt", b"command\n", "jobs.txt is no table of jobs."),
        ("missing.csv", None, "There is no file missing.csv."),
    ],
)
def test_tables_that_are_refused(here, capsys, name, data, sentence):
    if data is not None:
        (here / name).write_bytes(data)
    assert call(f"batch {name} --out results --workers 0") == 2
    err = capsys.readouterr().err.removeprefix("Error: ")
    assert sentence in err and two_sentences(err) and not (here / "results").exists()


def test_a_table_of_which_every_line_is_wrong_is_refused(here, capsys):
    write_table(
        "jobs.csv", "image denoise,photo.png,1", "image denoise,photo.png,2", head="command,input,nois\n"
    )
    assert call("batch jobs.csv --out results --workers 0") == 2
    err = capsys.readouterr().err
    assert err.startswith("Error: None of 2 jobs can be begun. jobs.csv line 2: Unknown option")
    assert not (here / "results").exists()


def test_a_table_that_was_cut_off_or_written_elsewhere(here):
    (here / "a.csv").write_bytes(
        "\ufeffCommand;input\n".replace("C", "c").encode() + b"image denoise;x.png\r\n\r\nimage de"
    )
    first, last = read_lines(here / "a.csv")
    assert first.cells == {"command": "image denoise", "input": "x.png"} and first.number == 2
    assert last.number == 4 and last.refusal == (
        "It has 1 cells, and the first line has 2. Write all cells, also empty ones, and quotes around commas."
    )
    (here / "a.jsonl").write_text(
        '{"command": "image denoise", "keep_broken": true, "seed": null}\n[1]\n{"command": "im'
    )
    first, second, third = read_lines(here / "a.jsonl")
    assert first.cells == {"command": "image denoise", "keep-broken": True}
    assert second.refusal.startswith("It is no JSON object.") and third.refusal.startswith("It is not JSON: ")


def test_a_quoted_cell_may_hold_commas_and_lines(here):
    (here / "a.csv").write_text('command,input,motion\nimage deblur,x.png,"5,-3"\n"image\ndenoise",y.png,\n')
    first, second = read_lines(here / "a.csv")
    assert words.words_of(first.cells) == ("image", "deblur", "--motion=5,-3", "--", "x.png")
    assert second.number == 3 and words.words_of(second.cells)[:2] == ("image", "denoise")


def test_values_of_json_are_written_as_on_the_command_line():
    cells = {"command": "audio inpaint", "recordings": "a.wav", "gap": ["1-2", "3-4"], "seed": 3}
    assert words.words_of(cells) == ("audio", "inpaint", "--gap=1-2", "--gap=3-4", "--seed=3", "--", "a.wav")
    assert words.words_of({"command": "molecule generate", "unique": True})[-1] == "--unique=true"


@pytest.mark.parametrize(
    "line", ["batch jobs.csv --out results -- image denoise", "batch . --out results -- image nope"]
)
def test_words_that_do_not_fit(here, capsys, line):
    write_table("jobs.csv", "image denoise,photo.png,0.1,")
    assert call(line) == 2
    assert two_sentences(capsys.readouterr().err.removeprefix("Error: "))


def test_a_refusal_is_a_misuse():
    with pytest.raises(Misuse):
        words.words_of({"command": ""})
