"""The transform of the music flow: orthogonal, local, shift by a block, and it is the MDCT of the textbooks."""

import math

import pytest
import torch
from torch.testing import assert_close

from headwater.audio.signal.mdct import inverse_mdct, mdct

torch.set_num_threads(1)
F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize(("n", "blocks"), [(2, 5), (8, 1), (16, 2), (64, 7)])
def test_it_is_an_orthogonal_matrix(n, blocks):
    matrix = mdct(torch.eye(n * blocks, dtype=F64), n).flatten(1)
    assert_close(matrix @ matrix.T, torch.eye(n * blocks, dtype=F64), atol=1e-12, rtol=0)
    x = normal(3, n * blocks)
    assert_close(inverse_mdct(mdct(x, n)), x, atol=1e-12, rtol=0)


def test_an_inner_block_is_the_windowed_cosine_sum():
    """X[k] = sqrt(2/N) sum_j w[j] x[j] cos(pi/N (j + 1/2 - N/2)(k + 1/2)) over 2N samples, with the sine window."""
    n = 16
    x = normal(4 * n)
    j, k = torch.arange(2 * n, dtype=F64) + 0.5, torch.arange(n, dtype=F64) + 0.5
    basis = torch.sin(math.pi * j / (2 * n)) * torch.cos(math.pi / n * k[:, None] * (j - n / 2))
    for block in (1, 2):  # its 2N samples begin half a block before it
        first = block * n - n // 2
        wanted = math.sqrt(2 / n) * basis @ x[first : first + 2 * n]
        assert_close(mdct(x, n)[block], wanted, atol=1e-12, rtol=0)


def test_a_shift_by_a_block_shifts_the_rows():
    n, x = 16, normal(2, 160)
    shifted = torch.cat([torch.zeros(2, n, dtype=F64), x], dim=1)
    assert_close(mdct(shifted, n)[:, 2:-1], mdct(x, n)[:, 1:-1])


def test_a_coefficient_sees_its_neighbours_only():
    x = torch.zeros(1, 160, dtype=F64)
    x[0, 84] = 1.0  # block 5, first half
    rows = mdct(x, 16)[0].abs().amax(1)
    assert torch.nonzero(rows > 1e-12).flatten().tolist() == [4, 5]


def test_a_tone_is_compact():
    t = torch.arange(256 * 40, dtype=F64)
    power = mdct(torch.sin(2 * math.pi * 440 / 16000 * t), 256)[5:-5].square().sum(0)
    assert power[13:15].sum() > 0.99 * power.sum()  # 440 / 8000 * 256 = 14.08: between bins 13 and 14
