"""The mask makers: True = known, [1 or batch, 1, h, w]."""

import pytest
import torch

from headwater.errors import Misuse
from headwater.image.operators import as_mask, box_mask, grow_mask, random_mask


def test_box_is_where_it_was_asked_for():
    mask = box_mask(10, 12, 3, 4, top=1, left=2)
    assert mask.shape == (1, 1, 10, 12) and mask.dtype == torch.bool
    missing = (~mask[0, 0]).nonzero()
    assert missing.amin(0).tolist() == [1, 2] and missing.amax(0).tolist() == [3, 5] and len(missing) == 12
    centred = (~box_mask(10, 12, 4, 6)[0, 0]).nonzero()
    assert centred.amin(0).tolist() == [3, 3] and centred.amax(0).tolist() == [6, 8]


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7, 0.99])
def test_random_mask_has_the_exact_share_and_follows_its_seed(missing):
    mask = random_mask(20, 30, missing=missing, seed=1)
    assert mask.shape == (1, 1, 20, 30) and int((~mask).sum()) == round(missing * 600)
    assert torch.equal(mask, random_mask(20, 30, missing=missing, seed=1))
    assert torch.equal(mask, random_mask(20, 30, missing=missing, seed=torch.Generator().manual_seed(1)))
    if missing:
        assert not torch.equal(mask, random_mask(20, 30, missing=missing, seed=2))


def test_random_mask_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    random_mask(8, 8)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("values", [
    torch.tensor([[True, False]]),
    torch.tensor([[255, 0]], dtype=torch.uint8),
    torch.tensor([[128, 127]], dtype=torch.uint8),
    torch.tensor([[1.0, 0.0]]),
    torch.tensor([[0.5, 0.49]], dtype=torch.float64),
])  # fmt: skip
def test_values_of_files_become_masks(values):
    assert as_mask(values).tolist() == [[[[True, False]]]]
    assert as_mask(values, known="dark").tolist() == [[[[False, True]]]]
    assert as_mask(values[None]).equal(as_mask(values)) and as_mask(values[None, None]).equal(as_mask(values))
    assert as_mask(values[None].repeat(3, 1, 1)).shape == (3, 1, 1, 2)


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 9, 1000])
def test_a_mask_grows_by_a_disk(radius):
    marked = torch.zeros(2, 1, 23, 31, dtype=torch.bool)
    marked[0, 0, 3, 5] = marked[0, 0, 22, 30] = marked[1, 0, 11, 0] = True
    rows, columns = torch.meshgrid(torch.arange(23), torch.arange(31), indexing="ij")
    expected = torch.zeros_like(marked)
    for batch, _, row, column in marked.nonzero().tolist():
        expected[batch, 0] |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    if radius == 1000:
        with pytest.raises(Misuse, match="covers the whole"):
            grow_mask(marked, radius)
    else:
        assert torch.equal(grow_mask(marked, radius), expected)
    with pytest.raises(Misuse, match="cannot grow"):
        grow_mask(marked, -1)
