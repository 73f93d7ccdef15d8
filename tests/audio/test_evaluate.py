"""The figures of a music prior's card, in small."""

import json

import numpy as np
import pytest
import soundfile
import torch

from headwater.audio.model import evaluate, models

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _few_features(monkeypatch):
    """The powers in eight bands for CDPAM's 512 features, whose Frechet distance takes long."""

    def powers(x, rate):
        return torch.fft.rfft(x).abs().square()[:, :4000].reshape(len(x), 8, -1).mean(2)

    monkeypatch.setattr(evaluate, "cdpam_embedding", powers)


def test_it_writes_the_draws_and_the_figures(tmp_path):
    tone = 8000 * np.sin(np.arange(4 * models.WINDOW) / 5)
    np.savez(tmp_path / "validation-000.npz", samples=tone.astype(np.int16), offsets=np.array([0, len(tone)]))
    words = [
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path),
        "--count",
        "2",
        "--steps",
        "1",
        "--threads",
        "1",
    ]
    evaluate.main(words)
    x, rate = soundfile.read(tmp_path / "music16-samples.flac")
    assert rate == 16_000 and len(x) == 2 * (models.WINDOW + rate // 4)
    assert (tmp_path / "music16-samples.png").stat().st_size > 0
    rows = json.loads((tmp_path / "music16-evaluation.json").read_text())["rows"]
    assert [row["windows"] for row in rows] == [1, 2, 2] and [row["NFE"] for row in rows] == [0, 0, 2]
    assert rows[0]["Frechet (CDPAM)"] < min(row["Frechet (CDPAM)"] for row in rows[1:])


def test_a_set_has_no_distance_to_itself_at_any_loudness():
    x = torch.randn(3, models.WINDOW, generator=torch.Generator().manual_seed(0))
    rows = evaluate.distances(models.load_prior(), {1: 0.2 * x}, x)
    assert abs(rows[-1]["Frechet (CDPAM)"]) < 1e-3
