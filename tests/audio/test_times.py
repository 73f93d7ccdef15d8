"""Times and gaps as people write them."""

import numpy as np
import pytest
import soundfile

from headwater import Misuse
from headwater.audio.io.files import examine
from headwater.audio.io.marks import Labels, read_labels, read_mask, to_frames, write_labels
from headwater.audio.io.times import parse_seconds, parse_span


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", 0),
        ("12.4", 12.4),
        (".5", 0.5),
        ("3s", 3),
        (" 250 ms ", 0.25),
        ("1:02.5", 62.5),
        ("2:00:01", 7201),
    ],
)
def test_seconds(text, wanted):
    assert parse_seconds(text) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1,5,2", "1:60", "1:61:00", "1::2", "nan", "inf", "1:200ms", "5m"]
)
def test_what_is_no_time(text):
    with pytest.raises(Misuse, match=r"not a time|60 or more"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("12.40-12.65", (12.4, 12.65)), ("1:02-1:03", (62, 63)), ("5+20ms", (5, 5.02)), ("250ms-1s", (0.25, 1))],
)
def test_spans(text, wanted):
    assert parse_span(text) == pytest.approx(wanted)


@pytest.mark.parametrize("text", ["12.4", "3-2", "3-3", "2+0", "a-b", "1-2-3", "-1-2"])
def test_what_is_no_span(text):
    with pytest.raises(Misuse):
        parse_span(text)


@pytest.fixture
def source(tmp_path):
    soundfile.write(tmp_path / "take.wav", np.zeros((1000, 1)), 1000)
    return examine(tmp_path / "take.wav")


def test_frames_are_those_that_are_touched(source):
    assert to_frames([(0.1, 0.2), (0.3004, 0.3006), (0.9, 1.0)], source) == [
        (100, 200),
        (300, 301),
        (900, 1000),
    ]
    with pytest.raises(Misuse, match=r"beyond the recording of 1\.000 s"):
        to_frames([(0.5, 1.2)], source)


def test_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("0.5\t0.6\tclick\n\\\t200\t400\n\n1.25,1.5\n")
    assert read_labels(path) == Labels(((0.5, 0.6), (1.25, 1.5)), ("click", ""))
    path.write_text("0,5\t0,6\tclick, loud\n")  # as Audacity writes where decimals have a comma
    assert read_labels(path).spans == ((0.5, 0.6),)
    for text, words in (
        ("", "is empty"),
        ("\n", "no labels"),
        ("a\tb", "Line 1"),
        ("2\t1", "not a gap"),
        ("nan\t1", "not a gap"),
    ):
        path.write_text(text)
        with pytest.raises(Misuse, match=words):
            read_labels(path)
    with pytest.raises(Misuse, match="does not exist"):
        read_labels(tmp_path / "missing.txt")


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_labels_in_the_codings_that_programs_write(tmp_path, coding):
    path = tmp_path / "labels.txt"
    path.write_bytes("0.5\t0.6\tKl\u00e4cks\r\n1\t2\tclick\r\n".encode(coding))
    labels = read_labels(path)
    assert labels.spans == ((0.5, 0.6), (1, 2)) and labels.texts[1] == "click"


def test_points_among_regions_are_counted_and_binary_files_refused(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("0.5\t0.6\tclick\n0.7\t0.7\there\n0\t0\tstart\n")
    assert read_labels(path) == Labels(((0.5, 0.6),), ("click",), points=2)
    path.write_text("0.7\t0.7\there\n")
    with pytest.raises(Misuse, match="points only"):
        read_labels(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(Misuse, match="cannot be read as labels"):
        read_labels(path)


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000, 96_000, 192_000, 384_000])
def test_times_of_six_decimals_touch_no_sample_more(tmp_path, rate):
    """A region of whole samples survives being written as a label and read."""
    soundfile.write(tmp_path / "take.wav", np.zeros(rate), rate)
    source, r = examine(tmp_path / "take.wav"), np.random.default_rng(0)
    starts = r.integers(0, rate - 100, 500)
    gaps = [(int(a), int(a + n)) for a, n in zip(starts, r.integers(1, 100, 500), strict=True)]
    write_labels(tmp_path / "l.txt", [((a / rate, b / rate), "") for a, b in gaps])
    assert to_frames(read_labels(tmp_path / "l.txt").spans, source) == gaps


def test_masks(tmp_path, source):
    path = tmp_path / "mask.wav"
    for spans in ([(0, 10)], [(5, 6), (20, 30), (990, 1000)], [(0, 1000)]):
        x = np.zeros((1000, 2))
        for a, b in spans:
            x[a:b, 1] = 1
        soundfile.write(path, x, 1000)
        assert read_mask(path, source) == spans
    soundfile.write(path, np.zeros((1000, 1)), 1000)
    with pytest.raises(Misuse, match="marks nothing"):
        read_mask(path, source)
    soundfile.write(path, np.ones((999, 1)), 1000)
    with pytest.raises(Misuse, match="999 frames at 1000 Hz"):
        read_mask(path, source)
