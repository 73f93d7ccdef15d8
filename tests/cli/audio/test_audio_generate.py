"""`headwater audio generate`."""

import json

import numpy as np
import pytest
import soundfile
import torch
from audio_takes import samples

from headwater.cli.app import main

torch.set_num_threads(1)


@pytest.mark.parametrize("count", [1, 3])
def test_draws_of_the_model(folder, count):
    assert (
        main(f"audio generate -n {count} --length 1.5 --steps 2 --seed 5 -o song.flac --quiet".split()) == 0
    )
    names = ["song.flac"] if count == 1 else [f"song-{i}.flac" for i in range(count)]
    tracks = [soundfile.read(n) for n in names]
    assert all(
        len(x) == 6000 and rate == 4000 and x.std() == pytest.approx(0.1, rel=0.02) for x, rate in tracks
    )
    assert json.loads((folder / "song.flac.json").read_text())["samples"][-1]["seed"] == 4 + count
    assert (folder / "song.flac-sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_draw_depends_on_its_own_seed_alone(folder):
    for words in ("-n 2 -o two.wav", "-n 1 --seed 1 -o one.wav"):
        main(["audio", "generate", *words.split(), "--length", "0.5", "--steps", "2", "--quiet"])
    np.testing.assert_array_equal(samples("two-1.wav"), samples("one.wav"))
