"""The figures of an image prior's card, in small."""

import io
import json
import zipfile

import numpy as np
import torch
from PIL import Image

from headwater.image.model import evaluate, models

torch.set_num_threads(1)


def archive(path, count=4):
    """A zip of pictures of noise."""
    r = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as z:
        for i in range(count):
            data = io.BytesIO()
            Image.fromarray(r.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(data, "PNG")
            z.writestr(f"n{i}/{i}.png", data.getvalue())
    return path


def test_it_writes_the_sheet_and_the_figures(tmp_path):
    data = archive(tmp_path / "val.zip")
    words = ["--data", str(data), "--out", str(tmp_path), "--count", "4", "--steps", "1", "--threads", "1"]
    evaluate.main(words)
    assert Image.open(tmp_path / "photo64-samples.png").size == (4 * 128, 128)
    found = json.loads((tmp_path / "photo64-evaluation.json").read_text())
    assert [row["images"] for row in found["rows"]] == [4, 4, 2]
    assert all(row["Frechet"] > 0 for row in found["rows"])


def test_a_set_has_no_distance_to_itself():
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first, noise, _ = evaluate.distances(x, x)
    assert abs(first["Frechet"]) < 0.05 < noise["Frechet"]


def test_a_sample_depends_on_its_seed_alone():
    flow = models.flow()
    assert torch.allclose(evaluate.draw_samples(flow, 2, 1)[:1], evaluate.draw_samples(flow, 1, 1), atol=1e-5)
