"""What the Python API of audio refuses: two sentences instead of garbage or another library's exception."""

import math

import matplotlib.image
import numpy as np
import pytest
import torch
from audio_small import prior

from headwater import Misuse
from headwater.audio.damage import ByChannel, Clipping, Noise, Room, UserDamage
from headwater.audio.gaps import fill_gaps
from headwater.audio.io.files import Patch, examine
from headwater.audio.io.write import write_new, write_patched
from headwater.audio.metrics import log_spectral_distance, si_sdr
from headwater.audio.restoration import SolveOptions
from headwater.audio.sheet import draw_sheet, write_sheet
from headwater.audio.undo import undo_damage

RATE, FRAMES = 8000, 2000
TONE = 0.5 * np.sin(np.arange(FRAMES) / 5)
ECHO = np.array([1.0, 0.0, 0.5])


def recording(folder, channels=2):
    path = folder / f"{channels}.wav"
    write_new(path, np.repeat(TONE[:, None], channels, axis=1), RATE, overwrite=True)
    return examine(path)


def undo(folder, damage, channels=2):
    return list(undo_damage(prior(), recording(folder, channels), damage))


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (np.full((9, 1), np.nan), "not finite"),
        (np.full((9, 1), np.inf), "not finite"),
        (np.zeros(9), r"\[9\] are not \[frames, channels\]. One channel"),
        (np.zeros((0, 1)), "at least one frame"),
        (np.zeros((9, 1), dtype=np.int16), "int16"),
    ],
    ids=["nan", "inf", "1-D", "empty", "integers"],
)
@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_what_is_no_sound_is_not_written(tmp_path, x, what, suffix):
    with pytest.raises(Misuse, match=what):
        write_new(tmp_path / f"new.{suffix}", x, RATE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [0, -8000, 1, 10**7, 8000.5, math.nan])
def test_a_rate_that_no_recording_has_is_not_written(tmp_path, rate):
    with pytest.raises(Misuse, match="rate of"):
        write_new(tmp_path / "new.wav", np.zeros((9, 1)), rate)
    with pytest.raises(Misuse, match="100 channels"):
        write_new(tmp_path / "new.wav", np.zeros((9, 100)), 8000)


def test_measures_are_of_floats():
    x = torch.ones(1, 900)
    for measure in (si_sdr, log_spectral_distance):
        with pytest.raises(Misuse, match="full scale being 1"):
            measure(x.int(), x.int())
    with pytest.raises(Misuse, match="at least 4"):
        log_spectral_distance(x, x, size=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Patch(0, np.zeros(4), np.ones(4, dtype=bool)),
        lambda: Patch(0, np.zeros((4, 1)), np.ones((4, 2), dtype=bool)),
        lambda: Patch(0, np.full((4, 1), np.nan), np.ones((4, 1), dtype=bool)),
    ],
    ids=["1-D", "two shapes", "nan"],
)
def test_a_patch_has_finite_samples_of_one_shape(make):
    with pytest.raises(Misuse, match="A patch has"):
        make()


def test_what_a_patch_does_not_change_may_be_anything():
    Patch(0, np.full((4, 1), np.nan), np.zeros((4, 1), dtype=bool))


def test_a_patch_has_the_channels_of_the_recording(tmp_path):
    for channels in (1, 3):
        patch = Patch(0, np.zeros((4, channels)), np.ones((4, channels), dtype=bool))
        with pytest.raises(Misuse, match="the recording 2"):
            write_patched(recording(tmp_path), [patch], tmp_path / "out.wav")


def test_frames_are_read_forwards(tmp_path):
    with pytest.raises(Misuse, match="from 9 to 3"):
        recording(tmp_path).read(9, 3)


@pytest.mark.parametrize("gap", [(0.1, 0.2), (100, 200, 300), 100, ("1", "2"), (math.nan, 5)], ids=str)
def test_gaps_are_in_whole_frames(tmp_path, gap):
    with pytest.raises(Misuse, match="pair of whole frames"):
        list(fill_gaps(prior(), recording(tmp_path), [gap]))


def test_whole_frames_may_be_numpys(tmp_path):
    gap = np.array([1000, 1040])
    assert len(list(fill_gaps(prior(), recording(tmp_path), [gap]))) == 1


@pytest.mark.parametrize("level", [-1.0, math.nan, math.inf])
def test_a_level_of_noise_is_a_number_from_zero_on(level):
    for make in (Noise, lambda s: Room(ECHO, RATE, s), lambda s: UserDamage(lambda z: z, s)):
        with pytest.raises(Misuse, match="noise level"):
            make(level)


@pytest.mark.parametrize("power", [[], [-1.0, 0.5], [math.nan, 1.0], [[1.0]]], ids=str)
def test_a_profile_of_noise_is_a_row_of_powers(power):
    with pytest.raises(Misuse, match="profile"):
        Noise.from_profile(np.array(power))


def test_a_room_has_the_rate_of_the_recording(tmp_path):
    with pytest.raises(Misuse, match="has 44100 Hz and the recording 8000 Hz"):
        undo(tmp_path, Room(ECHO[None], 44_100))


def test_a_response_of_one_dimension_is_for_all_channels(tmp_path):
    found, other = (undo(tmp_path, Room(h, RATE))[0].patch.samples for h in (ECHO, ECHO[None]))
    assert np.array_equal(found, other)


@pytest.mark.parametrize(
    ("impulse", "rate"),
    [
        (np.zeros((0, 9)), RATE),
        (np.ones((1, 2, 3)), RATE),
        (np.ones((4000, 1)), RATE),  # as a file holds it
        (np.zeros((1, 9)), RATE),
        (np.full((1, 9), np.nan), RATE),
        (ECHO, 0),
    ],
    ids=["empty", "3-D", "of a file", "silent", "nan", "no rate"],
)
def test_what_is_no_response_is_refused(impulse, rate):
    with pytest.raises(Misuse):
        Room(impulse, rate)


@pytest.mark.parametrize(
    "damage",
    [
        Room(np.stack([ECHO, ECHO]), RATE),
        Clipping(((0.4, 0.4), (0.4, 0.4))),
        ByChannel((Noise(0.01), Noise(0.01))),
    ],
    ids=["room", "clipping", "by channel"],
)
def test_damage_of_two_channels_does_not_fit_three(tmp_path, damage, monkeypatch):
    """It is refused before the first channel is solved."""
    monkeypatch.setattr(
        "headwater.audio.undo.DamageTask.read", lambda *_: pytest.fail("a channel was looked at")
    )
    with pytest.raises(Misuse, match="2 channels"):
        undo(tmp_path, damage, channels=3)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ByChannel(()), "no damage of any channel"),
        (lambda: Clipping.at_level(-1), "level -1 is not above 0"),
        (lambda: Clipping.at_level(0), "level 0 is not above 0"),
        (lambda: Clipping.at_level(math.nan), "level nan"),
        (lambda: Clipping(()), "no rails"),
        (lambda: Clipping(((0.5, -0.5),)), "both positive"),
        (lambda: Clipping.at_level(0.5, slack=-1e-4), "slack"),
        (lambda: Clipping.in_regions([]), "no region"),
        (
            lambda: Clipping.in_regions([(0, 9, ((1.0, 1.0),)), (9, 12, 2 * ((1.0, 1.0),))]),
            "numbers of channels",
        ),
    ],
)
def test_damage_that_says_nothing_is_refused_where_it_is_made(make, what):
    with pytest.raises(Misuse, match=what):
        make()


def test_a_seed_is_not_negative():
    with pytest.raises(Misuse, match="seed -1"):
        SolveOptions(seed=-1)


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        (np.zeros(0), np.zeros(0), RATE),
        (np.zeros((9, 2)), np.zeros((9, 2)), RATE),
        (np.zeros(9), np.zeros(8), RATE),
        (np.zeros(9), np.zeros(9), 0),
    ],
    ids=["empty", "2-D", "two lengths", "no rate"],
)
def test_what_is_no_signal_is_not_drawn(tmp_path, before, after, rate):
    with pytest.raises(Misuse):
        draw_sheet(before, after, rate=rate)
    with pytest.raises(Misuse):
        write_sheet(tmp_path / "s.png", before, after, rate=rate)
    assert not list(tmp_path.iterdir())


def test_a_sheet_takes_names_and_a_path_in_words(tmp_path):
    path = write_sheet(str(tmp_path / "s.png"), before=TONE, after=TONE, rate=RATE, title="A tone")
    assert path == tmp_path / "s.png" and matplotlib.image.imread(path).shape[1] == 900
    with pytest.raises(TypeError):
        write_sheet(tmp_path / "t.png", TONE, TONE, rate=RATE, colour="red")
