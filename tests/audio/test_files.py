"""Files of sound: exact in and out, whatever the depth; damaged ones are refused with two sentences."""

import os
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headwater import Misuse
from headwater.audio.io.files import BLOCK, Patch, as_float, as_stored, examine
from headwater.audio.io.write import write_patched

LOSSLESS = [
    (kind, subtype)
    for kind in ("wav", "flac", "aiff", "w64", "caf")
    for subtype in ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    if soundfile.check_format(kind.upper(), subtype)
]


def noise(frames, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels))


def stored(folder, frames=1000, channels=2, kind="wav", subtype="PCM_16", rate=44100, name="take"):
    path = folder / f"{name}.{kind}"
    soundfile.write(path, noise(frames, channels), rate, subtype=subtype, format=kind.upper())
    return path


@pytest.mark.parametrize("kind", ["wav", "aiff", "caf", "w64"])
def test_floats_have_no_time_in_them(tmp_path, kind):
    """The same samples make the same file: a PEAK chunk would hold the time. A patch may begin before the file."""
    source = examine(stored(tmp_path, kind=kind))
    patch = Patch(-5, np.full((10, 2), 0.5), np.ones((10, 2), dtype=bool))
    out = write_patched(source, [patch], tmp_path / f"out.{kind}", peaks=True).file.path
    assert b"PEAK" not in out.read_bytes()
    before, after = (soundfile.read(path)[0] for path in (source.path, out))
    assert (after[:5] == 0.5).all() and np.array_equal(after[5:], before[5:])


def raw(path, dtype):
    return soundfile.read(path, dtype=dtype, always_2d=True)[0]


@pytest.mark.parametrize(("kind", "subtype"), LOSSLESS)
def test_what_is_not_patched_is_bit_identical(tmp_path, kind, subtype):
    path = stored(tmp_path, 700, 3, kind, subtype, 48000)
    source, out = examine(path), tmp_path / f"out.{kind}"
    assert (source.rate, source.frames, source.channels, source.subtype) == (48000, 700, 3, subtype)
    changed = np.zeros((100, 3), dtype=bool)
    changed[10:20, 1] = True
    written = write_patched(source, [Patch(50, np.full((100, 3), 0.25), changed)], out)
    file = written.file
    assert (file.subtype, file.format, file.rate) == (subtype, source.format, 48000)
    assert written.exact and written.over == 0
    before, after = raw(path, source.dtype), raw(out, source.dtype)
    expected = before.copy()
    expected[60:70, 1] = as_stored(np.array(0.25), source.depth)
    assert np.array_equal(after, expected)
    assert soundfile.read(out, always_2d=True)[0][60, 1] == 0.25


def test_patches_that_cross_blocks_and_ends(tmp_path):
    path = stored(tmp_path, BLOCK + 50, 1)
    source, out = examine(path), tmp_path / "out.wav"
    every = np.ones((40, 1), dtype=bool)
    starts = (-20, BLOCK - 10, BLOCK + 30)
    write_patched(source, [Patch(s, np.full((40, 1), 0.5), every) for s in starts], out)
    before, after = raw(path, "int32"), raw(out, "int32")
    inside = np.zeros(BLOCK + 50, dtype=bool)
    for s in starts:
        inside[max(s, 0) : s + 40] = True
    assert (after[inside] == 2**30).all() and np.array_equal(after[~inside], before[~inside])
    assert len(after) == len(before)


def test_parts_are_read_with_zeros_beyond_the_ends(tmp_path):
    source = examine(stored(tmp_path, 100))
    whole = soundfile.read(source.path, always_2d=True)[0]
    assert np.array_equal(source.read(0, 100), whole)
    part = source.read(-30, 120)
    assert np.array_equal(part[30:130], whole) and not part[:30].any() and not part[130:].any()
    assert source.read(200, 210).shape == (10, 2)


@pytest.mark.parametrize("depth", [8, 16, 24, 32])
def test_rounding_is_exact_and_bounded(depth):
    levels = np.arange(-(2 ** (depth - 1)), 2 ** (depth - 1), max(1, 2**depth // 999), dtype=np.int64)
    whole = (levels << (32 - depth)).astype(np.int32)
    assert np.array_equal(as_stored(as_float(whole), depth), whole)
    top = 2.0 ** (depth - 1)
    assert as_float(as_stored(np.array([3.0, -3.0]), depth)).tolist() == [(top - 1) / top, -1.0]


def test_names_of_the_format_and_of_the_samples(tmp_path):
    source = examine(stored(tmp_path, kind="wav", subtype="PCM_24"))
    nothing = []
    assert write_patched(source, nothing, tmp_path / "a.flac").file.subtype == "PCM_24"
    lossy = write_patched(source, nothing, tmp_path / "a.ogg")
    assert lossy.file.subtype == "VORBIS" and not lossy.exact and source.lossless
    floats = examine(stored(tmp_path, kind="wav", subtype="FLOAT", name="floats"))
    assert write_patched(floats, nothing, tmp_path / "b.flac").file.subtype == "PCM_24"
    back = soundfile.read(tmp_path / "b.flac", always_2d=True)[0]
    assert np.abs(back - soundfile.read(floats.path, always_2d=True)[0]).max() <= 2**-24


def test_a_longer_copy_goes_on_in_silence(tmp_path):
    source, out = examine(stored(tmp_path, 100, 1)), tmp_path / "out.wav"
    tone = Patch(95, np.full((20, 1), 0.5), np.ones((20, 1), dtype=bool))
    assert write_patched(source, [tone], out, frames=BLOCK + 200).file.frames == BLOCK + 200
    before, after = raw(source.path, "int32"), raw(out, "int32")
    assert len(after) == BLOCK + 200 and np.array_equal(after[:95], before[:95])
    assert (after[95:115] == 2**30).all() and not after[115:].any()


def test_tags_are_kept(tmp_path):
    path = tmp_path / "take.flac"
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16", format="FLAC") as f:
        f.title, f.artist = "Sarabande", "Nobody"
        f.write(noise(100, 1))
    write_patched(examine(path), [], tmp_path / "out.flac")
    with soundfile.SoundFile(tmp_path / "out.flac") as f:
        assert (f.title, f.artist) == ("Sarabande", "Nobody")


def damaged(folder):
    """What a user may hand over, by the words of the refusal."""
    whole = stored(folder, 5000, kind="wav", name="whole").read_bytes()
    flac = stored(folder, 50_000, kind="flac", name="whole").read_bytes()
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no sound at all")
    (folder / "head.wav").write_bytes(whole[:20])
    (folder / "bent.flac").write_bytes(flac[:60_000] + bytes(300) + flac[60_300:])
    soundfile.write(folder / "slow.wav", noise(100), 1)
    soundfile.write(folder / "many.wav", noise(100, 65), 8000)
    os.mkfifo(folder / "pipe.wav")
    soundfile.write(folder / "nothing.wav", np.zeros((0, 1)), 8000)
    x = noise(100)
    x[30, 1] = np.nan
    soundfile.write(folder / "nan.wav", x, 1000, subtype="FLOAT")
    return {
        "missing.wav": "does not exist",
        ".": "is a folder",
        "empty.wav": "is empty",
        "text.wav": "cannot be read as sound",
        "head.wav": "cannot be read as sound|has no samples",
        "bent.flac": r"damaged",
        "slow.wav": "a sampling rate of 1 Hz",
        "many.wav": "65 channels",
        "pipe.wav": "a pipe or a device",
        "nothing.wav": "has no samples",
        "nan.wav": r"not finite, at 0\.0300 s",
    }


def test_damaged_files_are_refused_and_nothing_is_written(tmp_path):
    for name, words in damaged(tmp_path).items():
        before = sorted(p.name for p in tmp_path.iterdir())
        with pytest.raises(Misuse, match=words) as told:
            source = examine(tmp_path / name)
            source.read(0, source.frames)
        assert len(re.findall(r"[.!?](?:\s|$)", str(told.value))) >= 2
        with pytest.raises(Misuse, match=words):
            write_patched(examine(tmp_path / name), [], tmp_path / "out.wav")
        assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_outputs_are_refused_before_they_are_lost(tmp_path):
    source = examine(stored(tmp_path))
    with pytest.raises(Misuse, match="unknown kind"):
        write_patched(source, [], tmp_path / "out.xyz")
    with pytest.raises(Misuse, match="exists already"):
        write_patched(source, [], source.path)
    write_patched(source, [], source.path, overwrite=True)
    assert examine(source.path).frames == 1000


# ---- what does not fit


def test_narrowing_is_told_and_rounds(tmp_path):
    path = stored(tmp_path, 400, 1, "wav", "PCM_32")
    written = write_patched(examine(path), [], tmp_path / "out.flac")
    assert written.file.subtype == "PCM_24" and not written.exact and written.over == 0
    before, after = raw(path, "int32").astype(float), raw(tmp_path / "out.flac", "int32").astype(float)
    assert np.abs(after - before).max() <= 128  # half a step of 24 bits


def test_what_is_beyond_full_scale_is_counted(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, 1.5, -2.0, 1.0]), 8000, subtype="FLOAT")
    source = examine(tmp_path / "a.wav")
    written = write_patched(source, [], tmp_path / "b.flac")
    assert (written.over, written.exact) == (2, False)
    assert write_patched(source, [], tmp_path / "b.wav").over == 0
    high = Patch(0, np.array([[1.5], [0.2]]), np.array([[True], [True]]))
    low = examine(stored(tmp_path, 100, 1))
    assert write_patched(low, [high], tmp_path / "c.wav").over == 1


@pytest.mark.parametrize(
    ("subtype", "floats"), [("PCM_16", "FLOAT"), ("PCM_24", "FLOAT"), ("PCM_32", "DOUBLE")]
)
def test_peaks_are_kept_as_floats(tmp_path, subtype, floats):
    source = examine(stored(tmp_path, 300, 1, "wav", subtype))
    high = Patch(10, np.array([[1.75]]), np.array([[True]]))
    written = write_patched(source, [high], tmp_path / "out.wav", peaks=True)
    assert (written.file.subtype, written.over, written.exact) == (floats, 0, True)
    x, y = (soundfile.read(p)[0] for p in (source.path, tmp_path / "out.wav"))
    assert y[10] == 1.75 and np.array_equal(np.delete(x, 10), np.delete(y, 10))
    with pytest.raises(Misuse, match="cannot hold peaks"):
        write_patched(source, [], tmp_path / "out.flac", peaks=True)


def test_formats_that_cannot_be_written_are_known_before(tmp_path):
    soundfile.write(tmp_path / "a.mp3", 0.1 * noise(8000, 1), 44_100, format="MP3")
    written = write_patched(examine(tmp_path / "a.mp3"), [], tmp_path / "a.wav")
    assert written.file.subtype == "FLOAT" and written.exact
    soundfile.write(tmp_path / "many.wav", noise(100, 10), 8000)
    with pytest.raises(Misuse, match="10 channels at 8000 Hz"):
        write_patched(examine(tmp_path / "many.wav"), [], tmp_path / "many.flac")
    soundfile.write(tmp_path / "fast.wav", noise(100, 1), 1_000_000)
    with pytest.raises(Misuse, match="1000000 Hz"):
        write_patched(examine(tmp_path / "fast.wav"), [], tmp_path / "fast.flac")


def test_no_channels_is_no_sound(tmp_path):
    path = stored(tmp_path, 100, 1, "wav")
    content = bytearray(path.read_bytes())
    content[22:24] = b"\0\0"
    path.write_bytes(content)
    with pytest.raises(Misuse, match=r"cannot be read as sound|no samples"):
        examine(path)


def test_tags_that_a_format_lacks_are_left_out(tmp_path):
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1) as file:
        file.title = "take three"
        file.write(np.zeros(100))
    assert write_patched(examine(tmp_path / "a.wav"), [], tmp_path / "a.w64").exact


@pytest.mark.parametrize("kind", ["wav", "aiff", "w64", "caf", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("left", [0.5, 0.9, -9])
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path, kind, left):
    path = tmp_path / f"take.{kind}"
    x = 0.3 * np.sin(np.arange(400_000) / 9)[:, None] + 0.1 * noise(400_000, 1)
    soundfile.write(path, x, 44_100)
    whole, content = raw(path, "int32"), path.read_bytes()
    path.write_bytes(content[: left if left < 0 else int(left * len(content))])
    source = examine(path)
    assert "ends early" in source.note and f"{source.seconds:.3f} s" in source.note
    share = 0.95 if left < 0 else left
    assert (share - 0.15) * 400_000 < source.frames < 400_000
    got = np.concatenate([part for _, part in source.blocks()])
    assert len(got) == source.frames and np.allclose(as_float(got), source.read(0, source.frames), atol=1e-6)
    if source.lossless:
        assert np.array_equal(got, whole[: source.frames])
    written = write_patched(source, [], tmp_path / "out.wav")
    assert examine(tmp_path / "out.wav").frames == written.file.frames == source.frames


@pytest.mark.parametrize(
    ("riff", "data", "cut"),
    [(0, 0, True), (None, 0, True), (2**32 - 1, 2**32 - 1, False), (0, None, False), (None, 10**6, True)],
)
def test_the_header_of_a_crashed_recorder_is_not_believed(tmp_path, riff, data, cut):
    path = stored(tmp_path, 1000, 2, "wav")
    content, whole = bytearray(path.read_bytes()), raw(path, "int32")
    place = content.find(b"data") + 4
    for at, size in ((4, riff), (place, data)):
        if size is not None:
            content[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    source = examine(path)
    assert source.frames == 1000 and bool(source.note) == cut
    assert np.array_equal(np.concatenate([part for _, part in source.blocks()]), whole)
    assert path.read_bytes() == content


def test_what_is_not_finite_is_read_as_zero_where_it_is_to_be_repaired(tmp_path):
    x = noise(1000)
    x[300:310, 0], x[305, 1] = np.nan, -np.inf
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="DOUBLE")
    source = examine(tmp_path / "a.wav")
    with pytest.raises(Misuse, match=r"not finite, at 0\.0375 s"):
        source.read(0, 1000)
    got = replace(source, lost=((290, 320),)).read(0, 1000)
    assert np.array_equal(got, np.where(np.isfinite(x), x, 0))
    with pytest.raises(Misuse, match=r"not finite, at 0\.038[67] s"):
        replace(source, lost=((290, 309),)).read(0, 1000)
    x[305, 1], x[300:310, 0] = 0, 1e30
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="DOUBLE")
    with pytest.raises(Misuse, match=r"has a sample of 1e\+30, at"):
        examine(tmp_path / "a.wav").read(0, 1000)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    path = stored(tmp_path)
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    with pytest.raises(Misuse, match="cannot be reached: Too many levels of symbolic links"):
        examine(tmp_path / "loop.wav")

    def denied(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", denied)
    with pytest.raises(Misuse, match=r"cannot be read: Permission denied\. Check its permissions"):
        examine(path)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "aiff", "caf"])
def test_a_full_disk_is_told_and_nothing_half_is_left(tmp_path, kind):
    """The system refuses bytes beyond a limit, as a full disk does; libsndfile alone would swallow that."""
    path = stored(tmp_path, 100_000, 2)
    code = f"""
import resource, signal
from pathlib import Path
from headwater.audio.io.files import examine
from headwater.audio.io.write import write_new, write_patched
from headwater.errors import Misuse
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
source = examine({str(path)!r})
x = source.read(0, 100_000)
for write in (lambda out: write_patched(source, [], out), lambda out: write_new(out, x, 44_100)):
    try:
        write(Path({str(tmp_path / ("out." + kind))!r}))
    except Misuse as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (
        done.stdout.count("cannot be written: File too large. Free some space, or name another output.") == 2
    )
    assert done.stderr == "" and [p.name for p in tmp_path.iterdir()] == ["take.wav"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_takes_no_header_leaves_nothing_open():
    """What libsndfile still holds is let go of before the file is closed, and calls no closed file later."""
    code = """
import gc
from pathlib import Path
from headwater.audio.io.encode import Encoder
try:
    Encoder(Path("/dev/full"), 8000, 1, "PCM_16", "FILE", "WAV")
except OSError as error:
    print(error.strerror)
gc.collect()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("No space left on device", "")


def test_several_ogg_streams_are_refused_and_an_open_end_is_none(tmp_path):
    """libsndfile reads the first stream only; captures of a stream lack the mark of the end."""
    path = stored(tmp_path, 40_000, 1, "ogg", "VORBIS")
    content = path.read_bytes()
    other = stored(tmp_path, 40_000, 1, "ogg", "VORBIS", name="other").read_bytes()
    path.write_bytes(content + b"\0" * 70_000)
    assert examine(path).frames == 40_000
    path.write_bytes(content + other)
    with pytest.raises(Misuse, match="several streams"):
        examine(path)


def test_floats_hold_what_a_lossy_coding_decodes_to(tmp_path):
    soundfile.write(tmp_path / "a.ogg", 0.1 * np.sin(np.arange(4000) / 9), 8000)
    written = write_patched(examine(tmp_path / "a.ogg"), [], tmp_path / "a.wav")
    assert written.file.subtype == "FLOAT" and written.exact
    a, b = (soundfile.read(tmp_path / name, dtype="float32")[0] for name in ("a.ogg", "a.wav"))
    assert np.array_equal(a, b)
