"""What lies beside the samples of a WAV file comes back."""

import struct

import numpy as np
import pytest
import soundfile

from headwater.audio.io.chunks import Extension, list_chunks, read_extension
from headwater.audio.io.files import Patch, examine
from headwater.audio.io.flac import list_blocks
from headwater.audio.io.metadata import list_lost
from headwater.audio.io.resample import raise_rate
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


def body(path, name):
    return [path.read_bytes()[c.start : c.start + c.size] for c in list_chunks(path) if c.name == name]


@pytest.mark.parametrize(
    ("name", "how", "extra"),
    [
        ("a.rf64", {"format": "RF64"}, b"bext"),
        ("b.wav", {"endian": "BIG"}, b"bext"),
        ("c.aiff", {}, b"MARK"),
        ("d.aif", {"subtype": "FLOAT", "format": "AIFF"}, b"APPL"),
    ],
)
def test_other_files_of_chunks_keep_theirs(tmp_path, name, how, extra):
    path, out = tmp_path / name, tmp_path / f"out{name}".replace(".rf64", ".wav")
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 101), 8000, **how)
    order = ">" if name != "a.rf64" else "<"
    content = path.read_bytes() + extra + struct.pack(order + "I", 5) + b"hello\0"
    size = struct.pack(order + "I", len(content) - 8)
    if name == "a.rf64":
        content = content[:20] + struct.pack("<Q", len(content) - 8) + content[28:]
        path = path.rename(tmp_path / "a.wav")
    else:
        content = content[:4] + size + content[8:]
    path.write_bytes(content)
    write_patched(examine(path), [], out)
    assert body(out, extra) == [b"hello"]
    assert np.array_equal(*(soundfile.read(p)[0] for p in (path, out)))


def test_tags_that_libsndfile_does_not_know_are_kept_in_wav(tmp_path):
    """It writes a list of its own with seven of them, in place of the whole."""
    path, out = stored(tmp_path, 100), tmp_path / "out.wav"
    info = b"INFO" + b"".join(
        k + struct.pack("<I", 4) + v for k, v in ((b"INAM", b"song"), (b"IKEY", b"loud"))
    )
    with_chunks(path, (b"LIST", info), (b"id3 ", b"ID3 tag with a cover"))
    write_patched(examine(path), [], out)
    assert body(out, b"LIST:INFO") == [info] and body(out, b"id3 ") == [b"ID3 tag with a cover"]
    assert list_lost(path, "WAV", "WAV") == [] and list_lost(path, "WAV", "FLAC") == ["id3"]


def extensible(path, bits, mask):
    content = bytearray(path.read_bytes())
    place = content.find(b"fmt ") + 8
    content[place + 18 : place + 24] = struct.pack("<HI", bits, mask)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["WAVEX", "RF64"])
def test_speakers_and_valid_bits_of_an_extensible_header_are_kept(tmp_path, kind):
    path, out = tmp_path / "quad.wav", tmp_path / "out.wav"
    x = np.random.default_rng(0).integers(-(2**19), 2**19, (400, 4)) / 2**19
    soundfile.write(path, x, 48_000, format=kind, subtype="PCM_24")
    extensible(path, 20, 0x107)
    source = examine(path)
    assert source.depth == 20
    patch = Patch(100, np.full((50, 4), 1 / 3), np.ones((50, 4), dtype=bool))
    write_patched(source, [patch], out)
    assert read_extension(out) == Extension(20, 0x107) == read_extension(path)
    got = soundfile.read(out, dtype="int32")[0]
    assert not (got & 0xFFF).any() and got[120, 2] >> 12 == round(2**19 / 3)
    before = soundfile.read(path, dtype="int32")[0]
    assert np.array_equal(np.delete(got, range(100, 150), 0), np.delete(before, range(100, 150), 0))
    write_patched(source, [], tmp_path / "peaks.wav", peaks=True)
    assert read_extension(tmp_path / "peaks.wav").mask == 0x107
    assert "speakers" in list_lost(path, kind, "FLAC")


def test_at_another_rate_what_counts_in_samples_is_left_out(tmp_path):
    path, out = stored(tmp_path, 500), tmp_path / "out.wav"
    with_chunks(path, (b"cue ", b"markers!"), (b"iXML", b"<scene/>"))
    raise_rate(examine(path), 48_000, out)
    assert body(out, b"cue ") == [] and body(out, b"iXML") == [b"<scene/>"]
    assert list_lost(path, "WAV", "WAV", other_rate=True) == ["cue"]


def blocks(path):
    return {b.kind: path.read_bytes()[b.start : b.start + b.size] for b in list_blocks(path)}


def picture(data):
    """A FLAC picture block: kind, type, description, four sizes, data."""
    parts = [
        struct.pack(">I", 3),
        struct.pack(">I", 9) + b"image/png",
        struct.pack(">I", 0),
        struct.pack(">4I", 1, 1, 8, 0),
    ]
    return b"".join(parts) + struct.pack(">I", len(data)) + data


def tagged_flac(path):
    """A FLAC file with tags that libsndfile does not know, a cover, a block of an application and padding."""
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, (9000, 2)), 44_100, format="FLAC")
    comments = [b"TITLE=song", b"COMPOSER=Bach", b"REPLAYGAIN_TRACK_GAIN=-3 dB", b"ARTIST=me"]
    vorbis = struct.pack("<I", 1) + b"x" + struct.pack("<I", 4)
    vorbis += b"".join(struct.pack("<I", len(c)) + c for c in comments)
    more = [(4, vorbis), (6, picture(b"cover" * 999)), (2, b"APPLdata"), (1, bytes(100))]
    content, own = path.read_bytes(), list_blocks(path)
    head = content[4 : own[0].start + own[0].size]
    new = b"".join(bytes([k + 128 * (i == 3)]) + len(b).to_bytes(3) + b for i, (k, b) in enumerate(more))
    path.write_bytes(b"fLaC" + bytes([0]) + head[1:] + new + content[own[-1].start + own[-1].size :])
    return vorbis


def test_all_blocks_of_a_flac_file_are_kept(tmp_path):
    path, out = tmp_path / "take.flac", tmp_path / "out.flac"
    vorbis = tagged_flac(path)
    source = examine(path)
    write_patched(source, [Patch(100, np.zeros((9, 2)), np.ones((9, 2), dtype=bool))], out)
    found = blocks(out)
    assert found[4] == vorbis and found[6] == picture(b"cover" * 999) and found[2] == b"APPLdata"
    a, b = (soundfile.read(p, dtype="int32")[0] for p in (path, out))
    assert np.array_equal(np.delete(a, range(100, 109), 0), np.delete(b, range(100, 109), 0))
    assert not b[100:109].any() and len(list(tmp_path.iterdir())) == 2
    assert list_lost(path, "FLAC", "FLAC") == []
    assert list_lost(path, "FLAC", "WAV") == ["cover", "composer", "replaygain_track_gain"]
    path.write_bytes(b"ID3\4\0\0\0\0\0\5tags!" + path.read_bytes())  # as some programs prepend
    assert blocks(path)[6] == picture(b"cover" * 999)


def test_tags_that_only_ogg_or_mp3_has_are_told(tmp_path):
    with soundfile.SoundFile(tmp_path / "a.ogg", "w", 8000, 1) as file:
        file.title = "song"
        file.write(np.zeros(1000))
    assert list_lost(tmp_path / "a.ogg", "OGG", "WAV") == []
    content = (tmp_path / "a.ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(content.replace(b"TITLE=song", b"LYRIC=song"))
    assert (
        list_lost(tmp_path / "a.ogg", "OGG", "WAV")
        == ["lyric"]
        == list_lost(tmp_path / "a.ogg", "OGG", "OGG")
    )
    frame = b"TIT2" + struct.pack(">I", 5) + b"\0\0\0song" + b"APIC" + struct.pack(">I", 5) + b"\0\0\0jpeg"
    soundfile.write(tmp_path / "a.mp3", np.zeros(9000), 44_100)
    path = tmp_path / "b.mp3"
    path.write_bytes(b"ID3\3\0\0\0\0\0" + bytes([len(frame)]) + frame + (tmp_path / "a.mp3").read_bytes())
    assert list_lost(path, "MP3", "WAV") == ["APIC"]
