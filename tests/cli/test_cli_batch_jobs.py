"""`headwater batch`: tables and folders of commands, wrong lines, results as of single runs."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import call, pixels, report, two_sentences
from PIL import Image

from headwater.cli.batch import words
from headwater.cli.batch.lines import read_lines
from headwater.cli.batch.run import Request, hire
from headwater.cli.batch.work import CommandWork, describe_code
from headwater.cli.image import restoration
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel
from headwater.image import restoration as restoring

HEAD = "command,input,noise,seed\n"


def write(name, *lines, head=HEAD):
    with open(name, "w", encoding="utf-8") as file:
        file.write(head + "".join(f"{line}\n" for line in lines))


def records(folder):
    found = [json.loads(path.read_text()) for path in folder.glob("*/job.json")]
    return sorted(found, key=lambda record: record["name"])


@pytest.fixture
def small(monkeypatch):
    """A model in closed form, on windows of 8 x 8: restorations are real and cost next to nothing."""

    def load(common, device, seeds=None):
        weight = torch.linspace(0.5, 1.5, 3 * 64).reshape(3, 8, 8)
        return Flow(lambda x, t: -weight * x + 0.1 * torch.roll(x, 1, -1), (3, 8, 8), range=(-1, 1))

    monkeypatch.setattr(restoration, "load_model", load)


def test_a_table_of_commands(here, cheap, no_sheet, capsys):
    Image.fromarray(pixels(20, 16)).save("b.jpg")
    write(
        "jobs.csv",
        "image denoise,photo.png,0.1,",
        "image upscale,b.jpg,,3",
        "headwater image  denoise,photo.png,0.10,0",
    )
    assert call("batch jobs.csv --out results --workers 0") == 0
    assert capsys.readouterr().out.splitlines()[0] == "All 3 jobs done."
    first, second = records(here / "results")  # the third line is the first one, written otherwise
    folder = here / "results" / first["key"]
    assert set(first["files"]) == {"photo.png", "photo.json", "photo-sheet.png", "log.txt"}
    assert first["options"]["noise"] == 0.1 and first["inputs"] == {"photos": "photo.png"}
    assert first["values"]["misfit"] == pytest.approx(report(folder / "photo.json")["samples"][0]["misfit"])
    assert report(folder / "photo.json")["samples"][0]["file"] == "photo.png"  # no temporary name stays
    assert "tmp-" not in (folder / "log.txt").read_text()
    assert (
        second["name"] == "jobs.csv line 3" and "b.png" in second["files"] and second["options"]["seed"] == 3
    )
    assert set(first["maker"]["models"]) == {"photo64"} and first["maker"]["headwater"]
    assert (here / "results" / "results.parquet").exists() and (here / "results" / "report.html").exists()
    calls = len(cheap)
    assert call("batch jobs.csv --out results --workers 0") == 0 and len(cheap) == calls


def test_a_folder_and_the_words_of_a_command(here, cheap, no_sheet, capsys):
    (here / "more").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels(16, 16 + len(name) + (name == "a.png"))).save(here / "more" / name)
    (here / "more" / "notes.txt").write_text("none")
    assert call("batch more --out results --workers 0 --quiet -- image denoise --noise 0.1 --seed 2") == 0
    assert [record["name"] for record in records(here / "results")] == ["a.png", "b.png"]
    assert {record["options"]["seed"] for record in records(here / "results")} == {2}
    assert call("batch more --out results --workers 0 --quiet") == 2
    assert two_sentences(capsys.readouterr().err.removeprefix("Error: "))


def test_one_wrong_line_of_many_is_told_first_and_the_others_are_done(here, cheap, no_sheet, capsys):
    lines = [f"image denoise,photo.png,0.1,{i}" for i in range(6)]
    lines[3] = "image denoise,photo.png,loud,3"
    write("jobs.csv", *lines)
    assert call("batch jobs.csv --out results --workers 0") == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "6 jobs: 5 done, 1 refused."
    first = err.splitlines()[0]
    assert first.startswith("Error, jobs.csv line 5: 'loud' is not a number") and two_sentences(
        first.split(": ", 1)[1]
    )


def test_a_failed_job_says_what_the_command_says(here, cheap, no_sheet, capsys):
    (here / "bad.png").write_bytes(b"no picture")
    write(
        "jobs.csv", "image denoise,bad.png,0.1,", "image denoise,photo.png,,", "image denoise,photo.png,0.1,"
    )
    assert call("batch jobs.csv --out results --workers 0") == 1
    bad, silent, good = records(here / "results")
    assert [r["status"] for r in (bad, silent, good)] == ["failed", "failed", "done"]
    assert bad["sentence"].startswith("bad.png") and two_sentences(bad["sentence"])
    assert silent["sentence"].startswith("Denoising needs the level of the noise.")
    assert "Failed jobs are done again with --retry." in capsys.readouterr().out


def test_a_missed_goal_is_told(here, cheap, no_sheet, capsys):
    write("jobs.csv", "image denoise,photo.png,0.001,1", head="command,input,noise,gradients\n")
    assert call("batch jobs.csv --out results --workers 0") == 1
    (record,) = records(here / "results")
    assert record["status"] == "missed" and record["sentence"] == "The sample missed its goal."


SAME = {
    "denoise": "image denoise --noise 0.2",
    "deblur": "image deblur --gaussian 0.8 --noise 0.1 --method paper --steps 2 --gradients 2",
    "upscale": "image upscale --factor 2 --method paper --steps 2 --gradients 2",
    "colorize": "image colorize --steps 2 --gradients 2",
    "declip": "image declip --high 0.4 --method paper --steps 2 --gradients 2",
    "inpaint": "image inpaint --box 2,2,3,4 --steps 2 --gradients 2",
    "paper": "image inpaint --box 2,2,3,4 --method paper --steps 2 --gradients 2",
}


ONE_CHANNEL = ("denoise", "deblur", "upscale")
"""Where a grey picture, whose channels have one noise, is measured in one channel and is another problem."""


@pytest.mark.parametrize("name", SAME)
def test_pictures_solved_together_are_those_of_single_runs(tmp_path, monkeypatch, small, no_sheet, name):
    """Also larger than the window, and with a grey picture among them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    side = 5 if name == "upscale" else 10
    for i in range(2):
        Image.fromarray(noisy(i, side, side)).save(tmp_path / "in" / f"{i}.png")
    Image.fromarray(pixels(side, side, 1)[..., 0]).save(tmp_path / "in" / "grey.png")
    line = SAME[name]
    assert call(f"batch in --out together --workers 0 --quiet -- {line}") in (0, 1)
    found = {record["name"]: record for record in records(tmp_path / "together")}
    apart = name in ONE_CHANNEL
    assert [r["together"] for r in found.values()] == ([2, 2, 1] if apart else [3, 3, 3])
    for i in (0, 1) if apart else (0, 1, "grey"):
        assert call(f"{line} in/{i}.png -o {i}.png --quiet") in (0, 1)
        compare_with_alone(
            tmp_path / "together" / found[f"{i}.png"]["key"] / f"{i}.png", tmp_path / f"{i}.png"
        )


def noisy(seed, height, width):
    noise = np.random.default_rng(seed).normal(0, 20, (height, width, 3))
    return (pixels(height + seed, width)[:height] + noise).clip(0, 255).astype(np.uint8)


def compare_with_alone(batch, alone):
    """The picture and the report of a batch are those of a run of its own."""
    images = [np.asarray(Image.open(path)).astype(int) for path in (batch, alone)]
    assert np.abs(images[0] - images[1]).max() <= 1  # a level of 255, where a value is rounded
    one, other = report(alone.with_suffix(".json")), report(batch.with_suffix(".json"))
    assert one["misfit_unit"] == pytest.approx(other["misfit_unit"])
    for row, same in zip(one["samples"], other["samples"], strict=True):
        for name in ("seed", "status", "gradients", "evaluations"):
            assert row[name] == same[name]
        assert row["misfit"] == pytest.approx(same["misfit"], rel=1e-3)
    assert other["solved_together"] > 1 and other["seconds_of_its_share"] > 0


BOXES = ["1,1,3,3", "4,4,3,3", "2,3,3,4", "3,0,4,6"]


@pytest.mark.parametrize(
    ("size", "method", "together"),
    [
        ((8, 7), "map", [4] * 4),  # less than one window
        ((24, 20), "plausible", [3, 3, 3, 1]),  # more: the last hole needs more windows than the others
        ((24, 20), "paper", [3, 3, 3, 1]),
    ],
)
def test_pictures_with_different_masks_share_a_batch(
    tmp_path, monkeypatch, small, no_sheet, size, method, together
):
    """Each hole has its own place and its own noise around it; the results are those of single runs."""
    monkeypatch.chdir(tmp_path)
    more = "" if method == "plausible" else "2"
    for i in range(len(BOXES)):
        Image.fromarray(noisy(i, *size)).save(f"{i}.png")
    cells = [f'image inpaint,{i}.png,"{box}",{method},{more},{more},{i}' for i, box in enumerate(BOXES)]
    write("jobs.csv", *cells, head="command,input,box,method,steps,gradients,seed\n")
    assert call("batch jobs.csv --out out --workers 0 --quiet") in (0, 1)
    found = records(tmp_path / "out")
    assert [record["together"] for record in found] == together
    options = f"--method {method}" + f" --steps {more} --gradients {more}" * bool(more)
    for i, (box, record) in enumerate(zip(BOXES, found, strict=True)):
        if record["together"] > 1:
            assert call(f"image inpaint {i}.png --box {box} {options} --seed {i} -o a{i}.png --quiet") in (
                0,
                1,
            )
            compare_with_alone(tmp_path / "out" / record["key"] / f"{i}.png", tmp_path / f"a{i}.png")


def test_holes_in_pictures_of_other_sizes_share_a_batch(tmp_path, monkeypatch, small, no_sheet):
    """Around a hole the flow is asked for the same, however large the picture is."""
    monkeypatch.chdir(tmp_path)
    for i, size in enumerate(((24, 20), (17, 31))):
        Image.fromarray(noisy(i, *size)).save(f"{i}.png")
    write(
        "jobs.csv",
        *[f'image inpaint,{i}.png,"{3 + i},4,3,3",paper,2,2,{i}' for i in range(2)],
        head="command,input,box,method,steps,gradients,seed\n",
    )
    assert call("batch jobs.csv --out out --workers 0 --quiet") in (0, 1)
    for i, record in enumerate(records(tmp_path / "out")):
        assert record["together"] == 2
        options = "--method paper --steps 2 --gradients 2"
        line = f"image inpaint {i}.png --box {3 + i},4,3,3 {options} --seed {i} -o a{i}.png --quiet"
        assert call(line) in (0, 1)
        compare_with_alone(tmp_path / "out" / record["key"] / f"{i}.png", tmp_path / f"a{i}.png")


@pytest.fixture
def latent(monkeypatch):
    """A model on latents: every second pixel of a window of 8 x 8, by a flow in closed form."""

    def load(common, device, seeds=None):
        weight = torch.linspace(0.5, 1.5, 48).reshape(3, 4, 4)
        flow = Flow(lambda z, t: -weight * z + 0.1 * torch.roll(z, 1, -1), (3, 4, 4))
        return LatentModel(
            flow, lambda z: z.repeat_interleave(2, -1).repeat_interleave(2, -2), lambda x: x[..., ::2, ::2]
        )

    monkeypatch.setattr(restoration, "load_model", load)


@pytest.mark.parametrize("model", ["small", "latent"])
def test_several_samples_and_latents_share_a_batch_too(tmp_path, monkeypatch, request, no_sheet, model):
    """The second picture has one sample, the others two, and all have the results of runs of their own."""
    request.getfixturevalue(model)
    monkeypatch.chdir(tmp_path)
    line = "image deblur --gaussian 0.8 --noise 0.1 --method paper --steps 2 --gradients 2"
    counts = (2, 1, 2)
    for i in range(3):
        noise = np.random.default_rng(i).normal(0, 20, (10, 9, 3))
        picture = (pixels(10 + i, 9)[:10] + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    cells = [f"image deblur,{i}.png,0.8,0.1,paper,2,2,{n},{5 * i}" for i, n in enumerate(counts)]
    write("jobs.csv", *cells, head="command,input,gaussian,noise,method,steps,gradients,samples,seed\n")
    assert call("batch jobs.csv --out out --workers 0 --quiet") in (0, 1)
    found = records(tmp_path / "out")
    assert [record["together"] for record in found] == [3, 3, 3]
    for i, record in enumerate(found):
        assert call(f"{line} {i}.png --samples {counts[i]} --seed {5 * i} -o alone{i}.png --quiet") in (0, 1)
        folder, one = tmp_path / "out" / record["key"], report(tmp_path / f"alone{i}.json")
        rows = report(folder / f"{i}.json")["samples"]
        assert len(rows) == counts[i] == len(one["samples"])
        for row, other in zip(rows, one["samples"], strict=True):
            same = ("seed", "status", "gradients", "evaluations")
            assert [row[name] for name in same] == [other[name] for name in same]
            assert row["misfit"] == pytest.approx(other["misfit"], rel=1e-3)
            images = (np.asarray(Image.open(at), int) for at in (folder / row["file"], other["file"]))
            assert np.abs(next(images) - next(images)).max() <= 1


def test_pictures_of_two_sizes_are_two_batches(tmp_path, monkeypatch, small, no_sheet):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for i, width in enumerate((8, 9, 8, 9)):
        Image.fromarray(pixels(8, width + i)[:, i:]).save(tmp_path / "in" / f"{i}.png")
    assert call("batch in --out out --workers 0 --quiet -- image denoise --noise 0.2") in (0, 1)
    assert [record["together"] for record in records(tmp_path / "out")] == [2, 2, 2, 2]


@pytest.mark.parametrize("most", ["6e3", "1e12"])
def test_as_many_at_once_as_memory_allows(tmp_path, monkeypatch, small, no_sheet, most):
    from headwater.cli.batch import together

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(together, "usable_memory", lambda device: float(most))
    (tmp_path / "in").mkdir()
    for i in range(3):
        Image.fromarray(pixels(8, 8 + i)[:, i:]).save(tmp_path / "in" / f"{i}.png")
    assert call("batch in --out out --workers 0 --quiet -- image denoise --noise 0.2") in (0, 1)
    assert {record["together"] for record in records(tmp_path / "out")} == {1 if most == "6e3" else 3}


def test_jobs_that_no_batch_takes_are_done_alone():
    options = {"command": "image denoise", "samples": 1, "seconds": None, "noise": 0.1, "seed": 1}
    from headwater.cli.batch.together import group_of

    assert group_of(options) == group_of(options | {"seed": 2}) is not None
    assert group_of(options | {"noise": 0.2}) != group_of(options)
    assert group_of(options | {"samples": 2}) == group_of(options)
    for other in (
        {"seconds": 3.0},
        {"command": "audio denoise", "seconds": 3.0},
        {"command": "audio check"},
        {"command": "image generate"},
        {"command": "molecule target", "seconds": 3.0},
        {"command": "molecule score"},
    ):
        assert group_of(options | other) is None
    for other in ({"gap": "5eV"}, {"mu": "1D"}):
        molecules = options | {"command": "molecule target"}
        assert group_of(molecules | other) == group_of(molecules) != group_of(molecules | {"candidates": 3})


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


def test_changed_code_computes_again(here, cheap, no_sheet, monkeypatch, tmp_path):
    """The key knows the code of a checkout, whose version is one for many commits, and torch."""
    import headwater

    package = tmp_path / "copy"
    (package / "part").mkdir(parents=True)
    for name in ("__init__.py", "part/a.py"):
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(headwater, "__file__", str(package / "__init__.py"))
    write("jobs.csv", "image denoise,photo.png,0.1,")
    counts = []
    for change in ("x = 1\n", "x = 2\n", "x = 1\n"):
        (package / "part" / "a.py").write_text(change)
        describe_code.cache_clear()
        assert call("batch jobs.csv --out results --workers 0 --quiet") == 0
        counts.append(len(cheap))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.99.0+cu130")
    describe_code.cache_clear()
    assert call("batch jobs.csv --out results --workers 0 --quiet") == 0
    describe_code.cache_clear()
    assert [*counts, len(cheap)] == [1, 2, 2, 3]
    assert records(here / "results")[0]["maker"]["torch"].count("+") == 0


def test_the_key_knows_the_captions_of_a_reward_of_a_text():
    job = words.job_of(("image", "generate", "--reward=text: a dog"), "", "")
    assert set(CommandWork().describe(job)["models"]) == {"photo64", "pictograms-captions"}


@pytest.mark.parametrize(
    ("request_", "processor", "gpu"),
    [
        ({"workers": 8}, 8, 3),
        ({"workers": 0}, 1, 1),
        ({"ray": "auto", "cores": 2}, 3, 1),
        ({"ray": "auto", "cores": 2, "workers": 2}, 2, 1),
        ({"ray": "auto", "cores": 16}, 1, 1),
    ],
)
def test_workers_share_the_memory_of_a_machine_or_of_a_gpu(monkeypatch, request_, processor, gpu):
    """On a machine of six cores and three GPUs."""
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    work, _ = hire(Request(Path("jobs.csv"), (), Path("out"), **request_))
    assert work.count_sharers(torch.device("cpu")) == processor
    assert work.count_sharers(torch.device("cuda")) == gpu


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
    write("jobs.csv", "image denoise,photo.png,1", "image denoise,photo.png,2", head="command,input,nois\n")
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
    write("jobs.csv", "image denoise,photo.png,0.1,")
    assert call(line) == 2
    assert two_sentences(capsys.readouterr().err.removeprefix("Error: "))


def test_an_output_that_is_a_file_and_a_share_that_is_none(here, cheap, no_sheet, capsys):
    write("jobs.csv", "image denoise,photo.png,0.1,")
    for line in (
        "batch jobs.csv --out photo.png --workers 0",
        "batch jobs.csv --out r --shard 3 --workers 0",
    ):
        assert call(line) == 2
        assert two_sentences(capsys.readouterr().err.splitlines()[-1].removeprefix("Error: ")) and cheap == []


def test_ctrl_c_leaves_what_the_same_command_goes_on_from(here, cheap, no_sheet, monkeypatch):
    cheap_restore = restoring.restore

    def restore(*arguments, **more):
        if len(cheap) == 1:
            signal.raise_signal(signal.SIGINT)
        return cheap_restore(*arguments, **more)

    monkeypatch.setattr(restoring, "restore", restore)
    write("jobs.csv", "image denoise,photo.png,0.001,", "image denoise,photo.png,0.002,")
    assert call("batch jobs.csv --out results --workers 0") == 130
    assert [record["name"] for record in records(here / "results")] == ["jobs.csv line 2"]
    assert not list((here / "results").glob(".headwater-tmp-*"))
    assert call("batch jobs.csv --out results --workers 0") in (0, 1)
    assert len(cheap) == 3 and len(records(here / "results")) == 2


def test_a_full_disk_ends_the_run_and_is_no_failure_of_a_job(here, cheap, no_sheet, monkeypatch, capsys):
    def write_image(*arguments, **more):
        raise Misuse("The output photo.png cannot be written: No space left on device.", "Free some space.")

    monkeypatch.setattr(restoration, "write_image", write_image)
    write("jobs.csv", "image denoise,photo.png,0.1,", "image denoise,photo.png,0.2,")
    assert call("batch jobs.csv --out results --workers 0 --quiet") == 2
    err = capsys.readouterr().err.splitlines()[-1].removeprefix("Error: ")
    assert err.startswith("The results cannot be written to") and two_sentences(err)
    assert records(here / "results") == []


def test_a_share_has_a_table_and_a_page_of_its_own(here, cheap, no_sheet):
    write("jobs.csv", *[f"image denoise,photo.png,0.1,{i}" for i in range(4)])
    for share in ("1/2", "2/2"):
        assert call(f"batch jobs.csv --out results --workers 0 --shard {share} --quiet") == 0
    assert {"results-1-of-2.parquet", "report-2-of-2.html"} <= {
        path.name for path in (here / "results").iterdir()
    }
    assert len(cheap) == 4 or len(records(here / "results")) == 4


def test_without_pyarrow_the_extra_is_named_before_any_work(here, cheap, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    write("jobs.csv", "image denoise,photo.png,0.1,")
    assert call("batch jobs.csv --out results --workers 0") == 2
    assert "pip install headwater[batch]" in capsys.readouterr().err and cheap == []


def test_a_shipped_input_may_move(here, cheap, no_sheet):
    """The key knows the bytes of the input and not its name."""
    write("jobs.csv", "image denoise,photo.png,0.1,")
    call("batch jobs.csv --out results --workers 0 --quiet")
    (here / "moved").mkdir()
    shutil.move("photo.png", "moved/photo.png")
    write("jobs.csv", "image denoise,moved/photo.png,0.1,")
    assert call("batch jobs.csv --out results --workers 0 --quiet") == 0 and len(cheap) == 1


def test_a_refusal_is_a_misuse():
    with pytest.raises(Misuse):
        words.words_of({"command": ""})
