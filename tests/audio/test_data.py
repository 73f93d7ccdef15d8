"""Scores, renditions and the windows that are learned."""

import shutil
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from headwater.audio.model import render, scores
from headwater.audio.model.instruments import FAMILIES, HELD_OUT, MODERN, PITCHES
from headwater.audio.model.render import DRUMS, draw, octaves, split_data, write_midi
from headwater.audio.model.rhythm import KITS, draw_strokes
from headwater.audio.model.scores import NOTE, Score, held_out
from headwater.audio.model.train import Recordings

synthesiser = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not any(p.exists() for p in render.SOUNDFONTS),
    reason="needs fluidsynth and FluidR3_GM.sf2",
)


def score(name="x#0", count=32, parts=2, pitch=60):
    notes = np.zeros(count, dtype=NOTE)
    notes["onset"] = np.arange(count) // parts * 0.5
    notes["length"], notes["part"] = 0.5, np.arange(count) % parts
    notes["pitch"] = pitch + np.arange(count) % 5
    return Score(name, notes)


# ---- scores


def test_a_twentieth_is_held_out_and_names_decide():
    names = [f"folder/piece{i}.mxl#0" for i in range(4000)]
    kept = [held_out(n) for n in names]
    assert 0.035 < np.mean(kept) < 0.065
    assert kept == [held_out(n) for n in names]


def test_a_score_of_the_corpus_is_read():
    found = scores.parse(scores.find_corpus() / "bach" / "bwv66.6.mxl")
    assert [s.parts for s in found] == [4]
    notes = found[0].notes
    assert (np.diff(notes["onset"]) >= 0).all() and notes["length"].min() > 0
    soprano = notes[notes["part"] == 0]
    assert [int(p) for p in soprano["pitch"][:4]] == [73, 71, 69, 71]  # c#'' b' a' b'
    assert found[0].quarters == 36


def test_what_cannot_be_read_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scores, "find_corpus", lambda: tmp_path)
    (tmp_path / "a").mkdir()
    broken = tmp_path / "a" / "broken.mxl"
    broken.write_bytes(b"PK nothing")
    assert scores.parse(broken) == []
    assert "left out: a/broken.mxl" in capsys.readouterr().out


def test_parsed_scores_are_stored_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "list_files", lambda: iter([scores.find_corpus() / "bach" / "bwv66.6.mxl"]))
    first = scores.collect(tmp_path, processes=1)
    monkeypatch.setattr(scores, "list_files", lambda: pytest.fail("parsed again"))
    again = scores.collect(tmp_path)
    assert [s.name for s in first] == [s.name for s in again] == ["bach/bwv66.6.mxl#0"]
    np.testing.assert_array_equal(first[0].notes, again[0].notes)


# ---- renditions


def test_a_rendition_depends_on_its_seed_and_stays_in_range():
    pieces = [score(parts=p, pitch=q) for p in (1, 3) for q in (30, 60, 90)]
    seen = set()
    for seed in range(60):
        r = draw(pieces, FAMILIES, seed)
        assert r == draw(pieces, FAMILIES, seed)
        assert len(r.programs) == len(r.transposition) == r.score.parts
        assert 0.12 <= 0.5 * r.quarter <= 0.6001
        for part, (program, shift) in enumerate(zip(r.programs, r.transposition, strict=True)):
            low, high = PITCHES[program]
            middle = np.median(r.score.notes["pitch"][r.score.notes["part"] == part]) + shift
            assert low - 6 <= middle <= high + 6
        seen |= set(r.programs)
    assert len(seen) > 12


def test_held_out_instruments_and_scores_are_not_in_training():
    trained = [p for f in (FAMILIES | MODERN).values() for p in f]
    assert len(set(trained)) == len(trained)
    assert not set(trained) & {p for f in HELD_OUT.values() for p in f}
    several = split_data([score(f"s{i}#0") for i in range(200)])
    learned, kept = ({s.name for s in several[k].scores} for k in ("train", "test"))
    assert learned and kept and not learned & kept
    assert several["validation"].families is FAMILIES and several["test"].families is HELD_OUT
    assert several["train"].families == FAMILIES | MODERN
    classical = split_data([score(f"s{i}#0") for i in range(200)], classical=True)
    assert (classical["train"].families, classical["train"].with_drums) == (FAMILIES, 0)
    assert classical["test"].families is HELD_OUT
    assert [several[k].with_drums for k in ("train", "validation", "test")] == [0.2, 0, 0]
    assert len({p.seed for p in several.values()}) == 3


def test_some_recordings_have_drums_and_all_else_stays():
    pieces = [score(f"s{i}#0") for i in range(20)]
    some = [draw(pieces, FAMILIES, seed, with_drums=0.2) for seed in range(500)]
    none = [draw(pieces, FAMILIES, seed) for seed in range(500)]
    assert all(r.kit is None for r in none)
    assert 0.15 < np.mean([r.kit is not None for r in some]) < 0.25
    alone = [r for r in some if not r.programs]
    assert 0.03 < len(alone) / 500 < 0.09 and all(r.kit in KITS for r in alone)
    for a, b in zip(some, none, strict=True):
        assert replace(a, kit=None, programs=b.programs) == b


def test_parts_are_moved_by_whole_octaves():
    low = score(pitch=30, parts=1)
    assert octaves(low, 0, 0, 73) % 12 == 0  # a flute cannot play 30
    assert octaves(low, 0, 0, 73) >= 24
    assert octaves(low, 0, 0, 43) == 0  # a double bass can


def test_the_midi_file_plays_the_score(tmp_path):
    rendition = draw([score()], FAMILIES, 3)
    write_midi(rendition, tmp_path / "x.mid")
    file = mido.MidiFile(tmp_path / "x.mid")
    on = [m for m in file if m.type == "note_on"]
    off = [m for m in file if m.type == "note_off"]
    assert len(on) == len(off) == 32
    assert {m.program for m in file if m.type == "program_change"} == set(rendition.programs)
    played = sorted(m.note for m in on)
    wanted = sorted(int(n["pitch"]) + rendition.transposition[n["part"]] for n in rendition.score.notes)
    assert played == wanted
    assert file.length == pytest.approx(rendition.quarter * 8, abs=0.4)


def test_drums_are_on_their_channel_alone_or_with_the_score(tmp_path):
    r = replace(draw([score()], FAMILIES, 3), kit=8)
    for programs, others in ((r.programs, 32), ((), 0)):
        write_midi(replace(r, programs=programs), tmp_path / "x.mid")
        on = [m for m in mido.MidiFile(tmp_path / "x.mid") if m.type == "note_on"]
        assert sum(m.channel != DRUMS for m in on) == others
        assert sum(m.channel == DRUMS for m in on) > 100


# ---- rhythms


def test_tempos_that_drums_do_not_play_are_doubled_or_halved():
    def played(quarter):
        return draw_strokes(quarter, 10.0, np.random.default_rng(0))

    assert played(0.06) == played(0.48) and played(1.2) == played(0.6) != played(0.48)


@pytest.mark.parametrize("quarter", [0.4, 0.7])
def test_a_rhythm_repeats_its_bar_with_small_changes(quarter):
    bar, alike, struck = 4 * quarter, [], []
    for seed in range(20):
        played = draw_strokes(quarter, 30.0, np.random.default_rng(seed))
        assert played == draw_strokes(quarter, 30.0, np.random.default_rng(seed))
        grid = {(s.pitch, round(16 * s.onset / bar - 0.15)) for s in played}
        later = {(p, k) for p, k in grid if k >= 16}
        alike.append(np.mean([(p, k - 16) in grid for p, k in later]))
        struck.append(len(played) / 30.0)
    assert np.mean(alike) > 0.8  # by chance about 0.3
    assert 2 < np.mean(struck) < 40


@synthesiser
def test_a_rendition_is_played(tmp_path):
    x = render.play(
        draw([score(pitch=69, parts=1)], {"flutes": FAMILIES["flutes"]}, 1), render.find_soundfont()
    )
    assert x.dtype == np.int16 and np.abs(x).max() == pytest.approx(0.9 * 32767, abs=1)
    assert 2 < len(x) / render.RATE < 12
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    hertz = np.fft.rfftfreq(len(x), 1 / render.RATE)
    assert power[(hertz > 200) & (hertz < 6000)].sum() > 0.95 * power.sum()


@synthesiser
def test_shards_are_kept_and_the_rest_is_played(tmp_path, monkeypatch):
    pieces = [score(f"s{i}#0") for i in range(200)]
    scores.store_scores(tmp_path, pieces)
    render.render(tmp_path, "train", 0.005)
    stored = tmp_path / "train-000.npz"
    with np.load(stored) as z:
        assert z["offsets"][-1] == len(z["samples"]) >= 0.005 * 3600 * render.RATE
    before = stored.stat().st_mtime_ns
    render.render(tmp_path, "train", 0.005)
    assert stored.stat().st_mtime_ns == before


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(render, "SOUNDFONTS", (Path("/no/such.sf2"),))
    with pytest.raises(render.Misuse, match="apt install"):
        render.find_soundfont()


# ---- windows


def recordings(tmp_path, tracks):
    np.savez(
        tmp_path / "train-000.npz",
        samples=np.concatenate(tracks).astype(np.int16),
        offsets=np.cumsum([0, *map(len, tracks)]),
    )
    return Recordings([tmp_path / "train-000.npz"])


def test_windows_lie_in_one_recording_and_are_of_unit_loudness(tmp_path):
    r = np.random.default_rng(0)
    loud, soft = 8000 * np.sign(r.standard_normal(900)), 800 * np.sign(r.standard_normal(500))
    x = recordings(tmp_path, [loud, soft]).windows(300, 200, np.random.default_rng(1))
    assert x.shape == (300, 200) and x.dtype == torch.float32
    assert (x.abs().amax(1) / x.abs().amin(1)).max() == pytest.approx(1, abs=1e-3)  # none crosses the joint
    level = x.square().mean(1).sqrt().log()
    assert abs(level.mean()) < 0.1 and level.std().item() == pytest.approx(0.45, abs=0.08)


def test_silent_windows_are_not_learned(tmp_path):
    tracks = [np.zeros(5000), 8000 * np.ones(300)]
    assert recordings(tmp_path, tracks).windows(20, 200, np.random.default_rng(0)).abs().min() > 0.1
