"""Files of sound: exact in and out, whatever the depth; damaged ones are refused with two sentences."""

import re

import numpy as np
import pytest
import soundfile

from headwater import Misuse
from headwater.audio.files import BLOCK, Patch, as_float, as_stored, examine, write_patched

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
    assert (written.subtype, written.format, written.rate) == (subtype, source.format, 48000)
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
    assert write_patched(source, nothing, tmp_path / "a.flac").subtype == "PCM_24"
    lossy = write_patched(source, nothing, tmp_path / "a.ogg")
    assert lossy.subtype == "VORBIS" and not lossy.lossless and source.lossless
    floats = examine(stored(tmp_path, kind="wav", subtype="FLOAT", name="floats"))
    assert write_patched(floats, nothing, tmp_path / "b.flac").subtype == "PCM_24"
    back = soundfile.read(tmp_path / "b.flac", always_2d=True)[0]
    assert np.abs(back - soundfile.read(floats.path, always_2d=True)[0]).max() <= 2**-24


def test_a_longer_copy_goes_on_in_silence(tmp_path):
    source, out = examine(stored(tmp_path, 100, 1)), tmp_path / "out.wav"
    tone = Patch(95, np.full((20, 1), 0.5), np.ones((20, 1), dtype=bool))
    assert write_patched(source, [tone], out, frames=BLOCK + 200).frames == BLOCK + 200
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
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "head.wav").write_bytes(whole[:20])
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    soundfile.write(folder / "nothing.wav", np.zeros((0, 1)), 8000)
    x = noise(100)
    x[30, 1] = np.nan
    soundfile.write(folder / "nan.wav", x, 1000, subtype="FLOAT")
    return {
        "missing.wav": "does not exist",
        ".": "is a folder",
        "empty.wav": "is empty",
        "text.wav": "cannot be read as sound",
        "head.wav": "cannot be read as sound|has no samples|cut off",
        "cut.wav": "cut off",
        "cut.flac": "cut off",
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
