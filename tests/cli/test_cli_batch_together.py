"""`headwater batch`: jobs that are solved as one batch have the results of single runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import call, pixels, records, report, write_table
from PIL import Image

from headwater.cli.batch.run import Request, hire
from headwater.cli.image import restoration
from headwater.flows.flow import Flow
from headwater.flows.latent import LatentModel


@pytest.fixture
def small(monkeypatch):
    """A model in closed form, on windows of 8 x 8: restorations are real and cost next to nothing."""

    def load(common, device, seeds=None):
        weight = torch.linspace(0.5, 1.5, 3 * 64).reshape(3, 8, 8)
        return Flow(lambda x, t: -weight * x + 0.1 * torch.roll(x, 1, -1), (3, 8, 8), range=(-1, 1))

    monkeypatch.setattr(restoration, "load_model", load)


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
    write_table("jobs.csv", *cells, head="command,input,box,method,steps,gradients,seed\n")
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
    write_table(
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
    write_table("jobs.csv", *cells, head="command,input,gaussian,noise,method,steps,gradients,samples,seed\n")
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
