"""The evaluation of the pictograms: which drawings are compared, what is drawn, and its figures."""

import torch
from torch.testing import assert_close

from headwater.image.pictograms.autoencoder import Autoencoder, AutoencoderConfig
from headwater.image.pictograms.data import Pictograms
from headwater.image.pictograms.evaluate import compare, draw, first_of_each, psnr_of, reconstruct
from headwater.image.pictograms.judge import shares
from headwater.image.pictograms.models import Parts
from headwater.image.pictograms.network import PictogramConfig, PictogramNet

torch.set_num_threads(1)
TINY = PictogramConfig(side=2, widths=(16, 32), blocks=(1, 1), embedding=16, heads=2)


def toy_parts():
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderConfig(size=16, narrow=16, middle=16, wide=16, blocks=1))
    return Parts(PictogramNet(TINY).eval(), autoencoder.eval(), *torch.ones(2, 1, 4, 1, 1), {})


def test_one_drawing_of_each_emoji_is_chosen_and_no_flag():
    codes, labels = ("A", "A", "B", "C", "C"), ("cat", "cat", "flag of Chad", "dog", "dog")
    sets = ("noto", "twemoji", "noto", "noto", "twemoji")
    data = Pictograms(torch.zeros(5, 3, 1, 1), sets, labels, codes, labels, ((),) * 5, ("train",) * 5)
    found = first_of_each(data, 10)
    assert sorted(found.labels) == ["cat", "dog"]
    assert first_of_each(data, 1).labels == found.labels[:1]


def test_a_sample_depends_on_its_own_seed_text_and_style_alone():
    parts, texts = toy_parts(), torch.randn(3, 384, generator=torch.Generator().manual_seed(1)) / 20
    all_of_them = draw(parts, texts, torch.tensor([0, 1, 7]), 2.0, 2, first=5)
    alone = draw(parts, texts[2:], torch.tensor([7]), 2.0, 2, first=7)
    assert all_of_them.shape == (3, 3, 16, 16)
    assert_close(all_of_them[2:], alone, atol=1e-5, rtol=1e-5)


def test_figures_follow_their_definitions():
    x = torch.zeros(2, 3, 4, 4)
    assert psnr_of(x + 0.2, x) == 20.0  # 10 log10(2^2 / 0.2^2)
    assert shares(torch.tensor([0, 4, 5])) == {"top1": 0.3333, "top5": 0.6667}
    a = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    near, far = compare("near", a, a), compare("far", a, a + 3)
    assert abs(near["Frechet"]) < 0.01 and abs(far["Frechet"] - 4 * 9) < 0.05
    assert far["kernel"] > 5 * far["kernel error"]


def test_reconstructions_are_those_of_the_networks():
    parts = toy_parts()
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        expected = parts.autoencoder.decode(parts.autoencoder.encode(pixels / 127.5 - 1)).clamp(-1, 1)
    assert_close(reconstruct(parts, pixels), expected)
