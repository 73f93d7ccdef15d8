"""The networks of the pictograms: shapes, gradients, the linear part of the velocity, scaled latents."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from headwater import EULER, Flow, solve
from headwater.errors import Misuse
from headwater.flows.flow import Flow as FlowClass
from headwater.image.pictograms.autoencoder import Autoencoder, AutoencoderConfig
from headwater.image.pictograms.models import (
    Decode,
    Encode,
    Parts,
    make_model,
    style_number,
)
from headwater.image.pictograms.network import PictogramConfig, PictogramNet
from headwater.image.pictograms.prompts import embed_prompts, pack_captions, plain_text, unpack_captions

torch.set_num_threads(1)
SMALL = AutoencoderConfig(size=16, narrow=16, middle=16, wide=16, blocks=1)
TINY = PictogramConfig(side=2, text=6, styles=2, widths=(16, 32), blocks=(1, 1), embedding=16, heads=2)


def parts(seed=0):
    torch.manual_seed(seed)
    nets = PictogramNet(TINY).eval(), Autoencoder(SMALL).eval()
    for net in nets:
        net.requires_grad_(False)
    mean, std = torch.randn(1, 4, 1, 1), torch.rand(1, 4, 1, 1) + 0.5
    return Parts(*nets, mean, std, {})


def model(n=2, guidance=1.0, styles=(0, 2), seed=0):
    text = torch.nn.functional.normalize(torch.randn(n, 6, generator=torch.Generator().manual_seed(1)))
    return make_model(parts(seed), text, torch.tensor(styles[:n]), guidance)


def test_the_networks_fit_their_budget():
    flow, autoencoder = PictogramNet(PictogramConfig()), Autoencoder(AutoencoderConfig())
    with FlopCounterMode(display=False) as count:
        v = flow(torch.zeros(1, 4, 16, 16), torch.tensor(0.5))
    assert v.shape == (1, 4, 16, 16) and count.get_total_flops() < 0.5e9
    with FlopCounterMode(display=False) as count:
        assert autoencoder.decode(v).shape == (1, 3, 128, 128)
    assert count.get_total_flops() < 1e9
    weights = [p.numel() for net in (flow, autoencoder) for p in net.parameters()]
    assert 2 * sum(weights) < 23.3e6


def test_without_its_network_the_velocity_is_that_of_gaussian_data():
    # for x1 ~ N(0, I) on the Cond-OT path, E[x1 - x0 | x_t] = (2 t - 1) / (t^2 + (1 - t)^2) x_t
    net = PictogramNet(TINY)
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)
    x, t = torch.randn(3, 4, 2, 2), torch.tensor([0.0, 0.3, 1.0])
    expected = ((2 * t - 1) / (t**2 + (1 - t) ** 2))[:, None, None, None] * x
    assert_close(net(x, t), expected)
    # its flow carries N(0, I) to itself: here, every point to itself
    flow = Flow(lambda x, t: net(x, t), (4, 2, 2), modules=(net,))
    assert_close(solve(flow, x, steps=16), x, atol=1e-2, rtol=0)


def test_no_text_and_any_style_are_zeros_and_the_last_number():
    net, x = PictogramNet(TINY), torch.randn(2, 4, 2, 2)
    told = net(x, torch.tensor(0.2), torch.zeros(2, 6), torch.tensor([2, 2]))
    assert torch.equal(told, net(x, torch.tensor(0.2)))
    other = net(x, torch.tensor(0.2), torch.ones(2, 6), torch.tensor([0, 1]))
    assert not torch.allclose(told, other)


def test_a_scalar_time_is_one_for_all():
    net, x = PictogramNet(TINY), torch.randn(2, 4, 2, 2)
    assert_close(net(x, torch.tensor(0.7)), net(x, torch.tensor([0.7, 0.7])))


def test_gradients_of_the_codec_are_right():
    p = parts()
    autoencoder = p.autoencoder.double()
    codec = (autoencoder, p.mean.double(), p.std.double())
    torch.manual_seed(0)
    z = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    assert gradcheck(Decode(*codec, (4, 2, 2), 1), z, fast_mode=True)
    assert gradcheck(Encode(*codec, (3, 16, 16), 8), x, fast_mode=True)


def test_encode_undoes_the_scale_of_decode():
    p = parts()
    decode, encode = (
        codec(p.autoencoder, p.mean, p.std, shape, multiple)
        for codec, shape, multiple in ((Decode, (4, 2, 2), 1), (Encode, (3, 16, 16), 8))
    )
    z, x = torch.randn(2, 4, 2, 2), torch.randn(2, 3, 16, 16)
    assert_close(decode(z), p.autoencoder.decode(z * p.std + p.mean))
    assert_close(encode(x) * p.std + p.mean, p.autoencoder.encode(x))


def test_events_of_another_shape_are_refused():
    m = model()
    assert m.decode(torch.zeros(1, 4, 4, 3)).shape == (1, 3, 32, 24)  # convolutions take any size
    with pytest.raises(
        Misuse, match=r"the shape \[3, 2, 2\], and the model takes \[4, 2, 2\] or other multiples"
    ):
        m.decode(torch.zeros(1, 3, 2, 2))
    with pytest.raises(Misuse, match=r"the shape \[3, 32, 36\]"):
        m.encode(torch.zeros(1, 3, 32, 36))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_problems_are_independent(guidance):
    both = model(guidance=guidance)
    x0 = both.flow.noise([0, 1])
    pictures = both.decode(solve(both.flow, x0, steps=2, method=EULER))
    assert isinstance(both.flow, FlowClass) and pictures.shape == (2, 3, 16, 16)
    for i in range(2):
        alone = both.flow.velocity.select(torch.tensor([i]))
        one = solve(Flow(alone, both.flow.shape), x0[i : i + 1], steps=2, method=EULER)
        assert_close(both.decode(one), pictures[i : i + 1], atol=1e-5, rtol=1e-5)


def test_guidance_is_affine_in_its_weight():
    x, t = torch.randn(2, 4, 2, 2), torch.tensor(0.4)
    v = {w: model(guidance=w).flow(x, t) for w in (0.0, 1.0, 2.5)}
    assert_close(v[2.5], v[0.0] + 2.5 * (v[1.0] - v[0.0]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(v[0.0], v[1.0])


def test_captions_are_stored_within_a_percent():
    texts = ["red apple", "woman\u2019s hat", "cat"]
    rows = torch.nn.functional.normalize(torch.randn(3, 384, generator=torch.Generator().manual_seed(0)))
    stored = pack_captions(texts, rows)
    assert stored["captions.embeddings"].dtype == torch.int8
    again = unpack_captions(stored)
    assert list(again) == texts
    cosine = (torch.stack(list(again.values())) * rows).sum(1)
    assert (cosine > 0.9998).all()


def test_known_prompts_need_no_language_model():
    known = {"red apple": torch.ones(3), "cat": torch.zeros(3)}
    assert embed_prompts(["Cat", " red  apple"], known).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert plain_text("Woman\u2019s hat") == "woman's hat"
    for wrong in ([], ["  "], [3]):
        with pytest.raises(Misuse, match=r"A prompt is empty or no text\. Give words"):
            embed_prompts(wrong, known)


def test_styles_are_found_by_name():
    assert [style_number(["noto", "twemoji"], s) for s in (None, "noto", "twemoji")] == [2, 0, 1]
    with pytest.raises(Misuse, match=r"There is no style 'notto'\. Did you mean 'noto'\?"):
        style_number(["noto", "twemoji"], "notto")
