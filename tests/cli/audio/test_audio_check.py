"""`headwater audio check`, and the commands that take what it wrote."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from audio_takes import RATE

from headwater.cli.app import main
from headwater.cli.shared.progress import Watch


@pytest.fixture
def broken(folder):
    """A take with NaN, a drop-out, and two clipped parts of different loudness."""
    x = soundfile.read("take.wav")[0]
    x[4000:4100] = 0
    x[6000:6004, 0] = np.nan
    for start, stop, level in ((9000, 13_000, 0.25), (18_000, 22_000, 0.4)):
        x[start:stop] = np.clip(x[start:stop] * 2, -level, level)
    soundfile.write("broken.wav", x, RATE, subtype="FLOAT")
    return folder


def test_a_check_writes_labels_and_names_the_commands_that_mend(broken, capsys):
    assert main(["audio", "check", "broken.wav"]) == 0
    out = capsys.readouterr().out
    report = json.loads((broken / "broken-check.json").read_text())
    kinds = [f["kind"] for f in report["findings"]]
    assert {"drop-out", "not finite", "clipping"} <= set(kinds)
    lines = (broken / "broken-check.txt").read_text().splitlines()
    assert len(lines) == len(kinds) and all(len(line.split("\t")) == 3 for line in lines)
    assert all(f"  {command}" in out for command in report["commands"])
    file = "broken.wav"
    for command in report["commands"]:
        words = shlex.split(command)
        assert words[:2] == ["headwater", "audio"] and words[3] == file
        assert main([*words[1:], "--quiet"]) == 0
        file = f"{file[:-4]}-{words[2]}.wav"
    before, after = soundfile.read("broken.wav")[0], soundfile.read(file)[0]
    assert np.isfinite(after).all() and after[4040:4060].any(1).all()
    assert np.array_equal(before[23_000:], after[23_000:])
    assert np.abs(after[9000:13_000]).max() > 0.27 and np.abs(after[18_000:22_000]).max() > 0.42
    assert main(["audio", "check", file, "-o", "again.txt", "--quiet"]) == 0
    again = json.loads((broken / "again.json").read_text())["findings"]
    assert not {"drop-out", "not finite", "clipping"} & {f["kind"] for f in again}


def glide(seconds=3):
    """A tone that rises, and its fifth: a tone that stays would repeat itself."""
    t = np.arange(seconds * RATE) / RATE
    x = sum(np.sin(2 * np.pi * f * t * (1 + 0.1 * t)) for f in (150, 225))
    return 0.9 * x / np.abs(x).max() + 1e-4 * np.random.default_rng(1).standard_normal(len(t))


def add_clicks_and_a_gap(x):
    """Three clicks, the first two in what the tests clip, and 30 ms of zeros; where they are."""
    places = {"clicks": [(4800, 4801), (5900, 5901), (10_900, 10_901)], "gap": [(9000, 9120)]}
    for first, last in places["clicks"]:
        x[first:last] = -0.7 * np.sign(x[first])
    x[9000:9120] = 0
    return places


@pytest.mark.parametrize(("start", "stop", "level"), [(4000, 6800, 0.24), (0, 3 * RATE, 0.4)])
def test_mixed_damage_is_mended_by_the_commands_that_are_printed(folder, start, stop, level):
    """Sound beside the clipped part is louder, and clicks stand above its level: neither moves the level."""
    truth = glide()
    x = truth.copy()
    x[start:stop] = x[start:stop].clip(-level, level)
    clipped = np.flatnonzero(np.abs(x - truth) > 1e-6)
    places = add_clicks_and_a_gap(x)
    soundfile.write("mixed.wav", x, RATE, subtype="PCM_24")
    assert main(["audio", "check", "mixed.wav", "--quiet"]) == 0
    report = json.loads((folder / "mixed-check.json").read_text())
    found = {kind: [f for f in report["findings"] if f["kind"] == kind] for kind in ("click", "drop-out")}
    levels = [f["level"] for f in report["findings"] if f["kind"] == "clipping"]
    assert levels and levels == pytest.approx([level] * len(levels), rel=1e-3)
    for kind, spans in (("click", places["clicks"]), ("drop-out", places["gap"])):
        assert [f["start"] for f in found[kind]] == pytest.approx([a / RATE for a, _ in spans], abs=0.002)
    file = "mixed.wav"
    for command in report["commands"]:
        words = shlex.split(command)
        assert words[3] == file and main([*words[1:], "--quiet"]) == 0
        file = f"{file[:-4]}-{words[2]}.wav"
    assert file == "mixed-inpaint-declip.wav"
    mended = soundfile.read(file)[0]
    parts = [np.arange(a, b) for spans in places.values() for a, b in spans]
    for part in (clipped, *parts):
        worse, better = (np.sum((y[part] - truth[part]) ** 2) for y in (x, mended))
        assert better < 0.25 * worse


def test_plain_declip_takes_the_level_from_plateaus(folder):
    """A part is clipped, the rest is louder and stays; clicks are above the level."""
    truth = glide()
    x = truth.copy()
    x[4000:6800] = x[4000:6800].clip(-0.24, 0.24)
    damaged = np.flatnonzero(np.abs(x - truth) > 1e-6)
    soundfile.write("part.wav", x, RATE, subtype="PCM_24")
    assert main(["audio", "declip", "part.wav", "--quiet"]) == 0
    levels = json.loads((folder / "part-declip.json").read_text())["damage"]["levels"]
    assert levels == [pytest.approx([0.24, 0.24], abs=1e-4)]
    before, after = soundfile.read("part.wav")[0], soundfile.read("part-declip.wav")[0]
    assert np.array_equal(before[:3900], after[:3900]) and np.array_equal(before[6900:], after[6900:])
    worse, better = (np.sum((y[damaged] - truth[damaged]) ** 2) for y in (before, after))
    assert better < 0.1 * worse


def test_several_files_are_checked(broken, capsys):
    assert main(["audio", "check", "broken.wav", "take.wav", "-o", "labels"]) == 0
    assert "2 of 2 files done" in capsys.readouterr().out
    assert {file.name for file in (broken / "labels").iterdir()} == {
        "broken-check.txt",
        "broken-check.json",
        "take-check.json",
    }
    assert main(["audio", "check", "broken.wav", "take.wav", "-o", "all.txt"]) == 2
    assert capsys.readouterr().err == (
        "Error: The output all.txt is one file for 2 inputs. Name a folder, as in -o out/.\n"
    )
    assert not (broken / "all.txt").exists()


def test_nothing_found_writes_no_labels(folder, capsys):
    assert main(["audio", "check", "take.wav"]) == 0
    assert "no damage found" in capsys.readouterr().out
    assert not (folder / "take-check.txt").exists() and (folder / "take-check.json").exists()


def test_regions_are_declipped_each_at_its_level_and_nothing_else(broken):
    x = np.nan_to_num(soundfile.read("broken.wav")[0])
    x[15_000:15_300] = np.clip(x[15_000:15_300], -0.2, 0.2)  # is clipped, too, but not labelled
    soundfile.write("parts.wav", x, RATE, subtype="FLOAT")
    (broken / "parts.txt").write_text(f"{9000 / RATE}\t{13_000 / RATE}\tclipping\n1.5\t1.5\there\n")
    assert main(["audio", "declip", "parts.wav", "--labels", "parts.txt", "--quiet"]) == 0
    a, b = soundfile.read("parts.wav")[0], soundfile.read("parts-declip.wav")[0]
    changed = np.flatnonzero((a != b).any(1))
    assert changed[0] >= 9000 and changed[-1] < 13_000 and len(changed) > 100
    assert (np.abs(b[changed]) >= np.abs(a[changed])).all()


def test_clipping_and_points_among_the_labels_are_no_gaps(folder, capsys):
    (folder / "mixed.txt").write_text(
        "0.5\t0.52\tclick\n1\t2\tclipping at 1\n0\t3\thum 50 Hz\n0.1\t0.1\tintro\n"
    )
    assert main(["audio", "inpaint", "take.wav", "--labels", "mixed.txt", "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "points in time are left out: 1." in said and "clipping and hum are left out: 2." in said
    gaps = [s["gaps"] for s in json.loads((folder / "take-inpaint.json").read_text())["stretches"]]
    assert gaps == [[[0.5, 0.52]]]


def test_samples_that_are_not_finite_are_repaired_in_a_named_gap(folder):
    """nan.wav has one at 1.125 s; elsewhere it would be refused."""
    assert main(["audio", "inpaint", "nan.wav", "--gap", "1.12-1.13", "--quiet"]) == 0
    before, after = soundfile.read("nan.wav")[0], soundfile.read("nan-inpaint.wav")[0]
    assert np.isfinite(after).all() and np.abs(after[9000]).max() < 0.5
    known = np.ones(len(before), dtype=bool)
    known[round(1.12 * RATE) : round(1.13 * RATE)] = False
    assert np.array_equal(before[known], after[known])


def test_a_cut_file_is_told(folder, capsys):
    content = (folder / "take.wav").read_bytes()
    (folder / "cut.wav").write_bytes(content[: len(content) * 2 // 3])
    assert main(["audio", "inpaint", "cut.wav", "--gap", "0.5-0.52", "--quiet"]) == 0
    assert "cut.wav ends early" in capsys.readouterr().err
    assert soundfile.info("cut-inpaint.wav").frames == soundfile.info("cut.wav").frames < 3 * RATE


@pytest.mark.parametrize(("extra", "fewest"), [("", 4.0), ("--profile 0.1-0.9", 4.0)])
def test_noise_is_removed_without_its_level(folder, capsys, extra, fewest):
    t = np.arange(3 * RATE) / RATE
    music = np.where(t > 1, 0.3 * np.sin(2 * np.pi * 440 * t) * np.exp(-(t % 0.5) * 4), 0)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(t))
    if extra:
        noise = np.convolve(noise, [1, 0.9, 0.7, 0.4], "same")
    soundfile.write("noisy.wav", music + noise, RATE, subtype="FLOAT")
    assert main(f"audio denoise noisy.wav {extra} --steps 2 --gradients 1 --quiet".split()) == 0
    found = soundfile.read("noisy-denoise.wav")[0]
    gained = 20 * np.log10(np.std(noise[RATE:]) / np.std((found - music)[RATE:]))
    assert gained > fewest
    damage = json.loads((folder / "noisy-denoise.json").read_text())["damage"]
    assert damage["estimated"] and damage["noise"][0] == pytest.approx(noise.std(), rel=0.15)
    assert ("as estimated" in capsys.readouterr().err) != bool(extra)


def test_without_scipy_or_soundfile_the_extra_is_named(folder):
    """Each in a fork of a process that has torch already."""
    code = """
import os
import sys
import torch
for missing in sys.argv[1:]:
    if not (child := os.fork()):
        break
    assert os.waitpid(child, 0)[1] == 0
else:
    sys.exit()
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from headwater.cli.app import main
from headwater.cli.shared.progress import Watch
for words in ("inpaint take.wav --gap 1-1.1", "check take.wav", "denoise take.wav", "generate"):
    assert main(["audio", *words.split()]) == 2
from headwater.errors import Misuse
if missing == "scipy":
    try:
        import headwater.audio.gaps
    except Misuse:
        pass
"""
    packages = ("scipy", "soundfile")
    done = subprocess.run([sys.executable, "-c", code, *packages], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [f"Error: This needs the package {name}. Run: pip install headwater[audio]\n" for name in packages]
    assert done.stderr == 4 * told[0] + 4 * told[1]


def test_misfits_have_one_scale_and_a_goal(folder, monkeypatch):
    lines, line = [], Watch.line
    monkeypatch.setattr(Watch, "line", lambda self, event: lines.append(line(self, event)) or lines[-1])
    main(["audio", "denoise", "hiss.wav", "--noise", "0.05", "--steps", "2", "--gradients", "1"])
    assert "done at 2.00)" in lines[-1]
    report = json.loads((folder / "hiss-denoise.json").read_text())
    assert [s["goal"] for s in report["stretches"]] == [2.0] and "`goal`" in report["definitions"]["misfit"]
    main(["audio", "inpaint", "take.wav", "--gap", "1-1.1", "--steps", "2", "--gradients", "1", "--quiet"])
    assert json.loads((folder / "take-inpaint.json").read_text())["stretches"][0]["goal"] == 1.05
