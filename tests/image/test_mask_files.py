"""Masks and kernels from files."""

import numpy as np
import pytest
import torch
from PIL import Image

from headwater.errors import Misuse
from headwater.image.io.masks import alpha_mask, read_kernel, read_mask
from headwater.image.io.picture import Picture

torch.set_num_threads(1)


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_masks(tmp_path):
    marked = noise(6, 8) > 127
    Image.fromarray((marked * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", marked)
    for name in ("mask.png", "mask.npy"):
        mask = read_mask(tmp_path / name, (6, 8))
        assert mask.dtype == torch.bool and np.array_equal(mask[0, 0].numpy(), marked)
        with pytest.raises(Misuse, match="6 x 8 but the image is 8 x 6"):
            read_mask(tmp_path / name, (8, 6))
    for value, word in [(0, "no pixel"), (255, "every pixel")]:
        Image.fromarray(np.full((6, 8), value, np.uint8)).save(tmp_path / "bad.png")
        with pytest.raises(Misuse, match=word):
            read_mask(tmp_path / "bad.png", (6, 8))
    np.save(tmp_path / "scalar.npy", np.array(1.0))
    with pytest.raises(Misuse):
        read_mask(tmp_path / "scalar.npy", (6, 8))
    with pytest.raises(Misuse, match="no transparent"):
        alpha_mask(Picture())


def test_kernels(tmp_path):
    table = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.uint8)
    np.save(tmp_path / "k.npy", table)
    np.savetxt(tmp_path / "k.txt", table)
    Image.fromarray(table * 30).save(tmp_path / "k.png")
    for name in ("k.npy", "k.txt", "k.png"):
        kernel = read_kernel(tmp_path / name, (3, 3))
        assert kernel.dtype == torch.float32 and np.allclose(kernel, table / 8, atol=1e-6)
        with pytest.raises(Misuse, match="3 x 3 but the image is 2 x 9"):
            read_kernel(tmp_path / name, (2, 9))
    for text in ("1 2\n3", "a b", "0 0", "nan 1", " "):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(Misuse):
            read_kernel(tmp_path / "bad.txt")
    np.save(tmp_path / "c.npy", np.array(["x"]))
    with pytest.raises(Misuse, match="no numbers"):
        read_kernel(tmp_path / "c.npy")
