"""What lies beside the samples of a WAV file comes back."""

import struct

import numpy as np
import soundfile

from headwater.audio.io.chunks import list_chunks
from headwater.audio.io.files import examine
from headwater.audio.io.write import write_patched


def stored(folder, frames):
    path = folder / "take.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, frames), 44_100)
    return path


def with_chunks(path, *more):
    """Append chunks to a WAV file."""
    content = path.read_bytes()
    for name, inside in more:
        content += name + struct.pack("<I", len(inside)) + inside + b"\0" * (len(inside) % 2)
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])


def test_timecode_and_markers_of_wav_files_are_kept(tmp_path):
    path, out = stored(tmp_path, 101), tmp_path / "out.wav"
    with_chunks(path, (b"bext", b"field recorder" * 50), (b"cue ", b"odd"), (b"LIST", b"adtl" + b"labl" * 3))
    with_chunks(path, (b"JUNK", b"\0" * 99))
    write_patched(examine(path), [], out)
    found = {c.name: out.read_bytes()[c.start : c.start + c.size] for c in list_chunks(out)}
    assert found[b"bext"] == b"field recorder" * 50 and found[b"cue "] == b"odd"
    assert found[b"LIST:adtl"] == b"adtl" + b"labl" * 3 and b"JUNK" not in found
    assert np.array_equal(*(soundfile.read(p, dtype="int16")[0] for p in (path, out)))
    assert struct.unpack("<I", out.read_bytes()[4:8])[0] == out.stat().st_size - 8
    write_patched(examine(path), [], tmp_path / "out.flac")
    assert list_chunks(tmp_path / "out.flac") == [] and examine(out).frames == 101


def test_a_chunk_that_is_cut_off_is_left_out(tmp_path):
    path = stored(tmp_path, 100)
    path.write_bytes(path.read_bytes() + b"bext" + struct.pack("<I", 500) + b"too short")
    write_patched(examine(path), [], tmp_path / "out.wav")
    assert {c.name for c in list_chunks(tmp_path / "out.wav")} == {b"fmt ", b"data"}


def test_what_follows_the_last_chunk_is_none(tmp_path):
    path, out = stored(tmp_path, 4000), tmp_path / "out.wav"
    path.write_bytes(path.read_bytes() + b"\0" * 100_000)
    write_patched(examine(path), [], out)
    assert out.stat().st_size == path.stat().st_size - 100_000


def test_files_that_are_no_riff_have_no_chunks(tmp_path):
    x = np.zeros(100)
    for name, how in (("a.rf64", {"format": "RF64"}), ("b.wav", {"endian": "BIG"}), ("c.aiff", {})):
        soundfile.write(tmp_path / name, x, 8000, **how)
        assert list_chunks(tmp_path / name) == []
