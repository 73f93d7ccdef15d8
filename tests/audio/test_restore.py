"""Spaces and operators on the canvas, at the prior's rate."""

import pytest
import torch
from audio_small import BINS, FRAMES, normal, prior
from torch.testing import assert_close

from headwater import Misuse
from headwater.audio.model.space import Patches, Spectral
from headwater.audio.operators import Clip, Decimate, Gaps, Identity, Reverb
from headwater.audio.restore import LinearHeard, on_canvas, restore

torch.set_num_threads(1)


@pytest.mark.parametrize(
    "space",
    [
        Patches(torch.tensor(0.3, dtype=torch.float64), 16),
        Spectral(torch.linspace(0.1, 2, 16, dtype=torch.float64)),
        Spectral(torch.linspace(0.1, 2, 16, dtype=torch.float64), 0.5),
    ],
)
def test_spaces_are_bijections(space):
    x, z = normal(3, 160).double(), normal(3, 10, 16, seed=1).double()
    assert_close(space.decode(space.encode(x)), x)
    assert_close(space.encode(space.decode(z)), z)
    if space.linear:
        assert_close((space.decode(z) * x).sum(), (z * space.adjoint(x)).sum())


@pytest.mark.parametrize("samples", [1, 10, 1000, FRAMES * BINS, 3000])
def test_any_length(samples):
    y = normal(2, samples)
    done = restore(prior(), Identity(), y, 0.1, guess=y)
    assert done.waveforms.shape == (2, samples) and all(s.ok for s in done.result.status)
    assert ((done.waveforms - y).square().mean(1).sqrt() < 0.12).all()


@pytest.mark.parametrize("operator", [Decimate.by_factor(2), Reverb.from_impulse(torch.tensor([1.0, 0.0, -0.4]))])
def test_a_linear_operator_keeps_its_adjoint_on_the_canvas(operator):
    heard = on_canvas(prior(), operator, 1500)
    assert isinstance(heard, LinearHeard) and heard.frames == FRAMES
    z = normal(2, heard.frames, BINS)
    y = heard(z)
    w = normal(*y.shape, seed=1)
    assert_close((y * w).sum(), (z * heard.adjoint(w)).sum(), rtol=1e-4, atol=1e-3)
    x = normal(2, 1500)
    assert_close(heard.waveform(heard.state(x)), x, atol=1e-5, rtol=0)


def test_clipped_samples_end_beyond_the_level():
    x = normal(1, 1500)
    A = Clip(0.8)
    done = restore(prior(), A, A(x), 0.05, guess=A(x))
    beyond = done.waveforms[A.clipped(A(x))].abs()
    assert (beyond > 0.7).all() and beyond.mean() > 0.85


def test_problems_do_not_depend_on_their_batch():
    known = torch.ones(1, 1000, dtype=torch.bool)
    known[:, 400:500] = False
    A, x = Gaps(known), normal(3, 1000)
    three = restore(prior(), A, A(x), 0.05, guess=A(x), seeds=[5, 6, 7]).waveforms
    one = restore(prior(), A, A(x[1:2]), 0.05, guess=A(x[1:2]), seeds=[6]).waveforms
    assert_close(three[1:2], one, atol=1e-4, rtol=0)


def test_refusals_of_restore():
    y = normal(2, 100)
    for how, words in (
        ({"preset": "defalt"}, "Did you mean 'default'"),
        ({"seeds": [1]}, "1 seeds for 2 recordings"),
    ):
        with pytest.raises(Misuse, match=words):
            restore(prior(), Identity(), y, 0.1, guess=y, **how)
    with pytest.raises(Misuse, match="noise level -1 is not"):
        restore(prior(), Identity(), y, -1, guess=y)
