"""Recordings of a batch that ask the flow at once: their results are those of runs of their own."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_takes import RATE, samples

from headwater.audio import gaps
from headwater.cli.app import main
from headwater.cli.audio import repair
from headwater.cli.batch import together
from headwater.cli.batch.sharing import Strand

torch.set_num_threads(1)

LINES = {
    "audio inpaint": [
        "take.wav,1.0-1.101,,",
        "take.wav,1.3-1.41,,3",
        "take.wav,2.0-2.02,,",
    ],  # the last by prediction alone
    "audio denoise": ["hiss.wav,,0.05,", "hiss.wav,,0.06,4", "hiss.wav,,-25dB,5"],
}
ASKED = {"audio inpaint": [2, 2, 1], "audio denoise": [3, 3, 3]}


@pytest.fixture(autouse=True)
def no_sheet(monkeypatch):
    """Drawing takes longer than solving here."""
    monkeypatch.setattr(repair, "write_sheet", lambda *arguments, **options: None)


def run_batch(lines, head):
    with open("jobs.csv", "w", encoding="utf-8") as file:
        file.write(head + "".join(f"{line}\n" for line in lines))
    code = main(["batch", "jobs.csv", "--out", "out", "--workers", "0", "--quiet"])
    return code, sorted(read_records(), key=lambda record: record["name"])


def read_records():
    return [json.loads(path.read_text()) for path in Path("out").glob("*/job.json")]


@pytest.mark.parametrize("command", LINES)
def test_recordings_solved_together_are_those_of_single_runs(folder, monkeypatch, command):
    """Gaps at other places and noise of other levels: each has an operator of its own."""
    monkeypatch.setattr(
        gaps, "repeat_gaps", lambda *arguments: None
    )  # what looks for repetitions takes longer
    method = "--method paper --steps 2 --gradients 2" if command == "audio denoise" else ""
    cells = "paper,2,2" if method else ",,"
    lines = [f"{command},{line},{cells}" for line in LINES[command]]
    code, found = run_batch(lines, "command,input,gap,noise,seed,method,steps,gradients\n")
    assert code in (0, 1) and [record["together"] for record in found] == ASKED[command]
    for i, (line, record) in enumerate(zip(LINES[command], found, strict=True)):
        name, gap, noise, seed = line.split(",")
        words = [f"--{k}={v}" for k, v in (("gap", gap), ("noise", noise), ("seed", seed)) if v]
        assert main([*command.split(), name, *words, *method.split(), "-o", f"{i}.wav", "--quiet"]) in (0, 1)
        place, one = folder / "out" / record["key"], json.loads((folder / f"{i}.json").read_text())
        gap = np.abs(samples(place / name).astype(float) - samples(f"{i}.wav").astype(float)).max()
        assert gap <= 2 * 2**16  # two steps of 16 bits in 32
        of_batch = json.loads((place / name).with_suffix(".json").read_text())
        assert of_batch.get("solved_together", 1) == ASKED[command][i]
        for row, other in zip(of_batch["stretches"], one["stretches"], strict=True):
            assert [row[k] for k in ("status", "gradients", "evaluations")] == [
                other[k] for k in ("status", "gradients", "evaluations")
            ]
            assert row["misfit"] == pytest.approx(other["misfit"], rel=1e-3)


def test_lengths_that_differ_and_a_refused_one_are_solved_apart(folder):
    """A longer stretch is another problem; a silent recording is refused in its own words."""
    x, _ = soundfile.read("take.wav")
    soundfile.write("short.wav", x[:RATE], RATE, subtype="PCM_16")
    rows = ["take.wav,0.05", "short.wav,0.05", "mute.wav,", "short.wav,0.06"]
    code, found = run_batch(
        [f"audio denoise,{row},paper,2,1" for row in rows], "command,input,noise,method,steps,gradients\n"
    )
    assert code == 1
    assert [record["together"] for record in found] == [1, 2, 1, 2]
    assert found[2]["status"] == "failed" and found[2]["sentence"].startswith("No white noise")


@pytest.mark.parametrize("most", [1e3, 1e12])
def test_as_many_recordings_at_once_as_memory_allows(folder, monkeypatch, most):
    monkeypatch.setattr(together, "usable_memory", lambda device: most)
    lines = [f"audio denoise,hiss.wav,0.05,paper,2,1,{seed}" for seed in range(2)]
    _, found = run_batch(lines, "command,input,noise,method,steps,gradients,seed\n")
    assert {record["together"] for record in found} == {1 if most == 1e3 else 2}


def test_a_batch_that_is_refused_is_solved_one_by_one(folder, monkeypatch):
    def refuse(asked):
        raise MemoryError

    monkeypatch.setattr(together, "solve", refuse)
    lines = [f"audio denoise,hiss.wav,0.05,paper,2,1,{seed}" for seed in range(2)]
    _, found = run_batch(lines, "command,input,noise,method,steps,gradients,seed\n")
    assert {record["together"] for record in found} == {1}
    assert {record["status"] for record in found} <= {"done", "missed"}


def test_a_job_that_breaks_ends_no_other(folder, monkeypatch):
    """What is no refusal is the failure of that job alone, after a try on its own."""
    from headwater.cli.audio.damage_job import DamageJob

    show = DamageJob.show

    def broken(job, report):
        if job.options.seed == 1:
            raise ValueError("boom")
        show(job, report)

    monkeypatch.setattr(DamageJob, "show", broken)
    lines = [f"audio denoise,hiss.wav,0.05,paper,2,1,{seed}" for seed in range(3)]
    _, found = run_batch(lines, "command,input,noise,method,steps,gradients,seed\n")
    assert [record["status"] == "failed" for record in found] == [False, True, False]
    assert "boom" in found[1]["sentence"]


def test_a_strand_keeps_its_own_output(capsys):
    def speak(ask):
        print(ask("first"))
        return "over"

    strands = [Strand(speak), Strand(speak)]
    assert [strand.go_on() for strand in strands] == ["first", "first"]
    assert [strand.go_on(word) for strand, word in zip(strands, "ab", strict=True)] == [None, None]
    assert capsys.readouterr().out == "a\nb\n" and strands[0].value == "over"
