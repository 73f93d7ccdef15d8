"""Spaces and operators on the canvas, at the prior's rate."""

import pytest
import torch
from audio_small import BINS, FRAMES, normal, prior
from torch.testing import assert_close

from headwater import Misuse
from headwater.audio.model.space import Patches, Spectral
from headwater.audio.operators import Clip, Decimate, Gaps, Reverb
from headwater.audio.prior import LinearCanvas
from headwater.problem.compose import compose
from headwater.problem.operator import Identity

torch.set_num_threads(1)


def solved(operator, y, sigma, guess, seeds=None):
    """The waveforms found for measurements, and how the runs ended."""
    problem = prior().pose(operator, y, sigma, guess=guess)
    result = problem.solve(range(len(y)) if seeds is None else seeds)
    return prior().canvas(guess.shape[1])(result.x1), result


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
    x, result = solved(Identity(), y, 0.1, y)
    assert x.shape == (2, samples) and all(s.ok for s in result.status)
    assert ((x - y).square().mean(1).sqrt() < 0.12).all()


@pytest.mark.parametrize(
    "operator", [Decimate.by_factor(2), Reverb.from_impulse(torch.tensor([1.0, 0.0, -0.4]))]
)
def test_a_linear_operator_keeps_its_adjoint_on_the_canvas(operator):
    canvas = prior().canvas(1500)
    assert isinstance(canvas, LinearCanvas) and canvas.frames == FRAMES
    A, z = compose(operator, canvas), normal(2, canvas.frames, BINS)
    y = A(z)
    w = normal(*y.shape, seed=1)
    assert_close((y * w).sum(), (z * A.adjoint(w)).sum(), rtol=1e-4, atol=1e-3)
    x = normal(2, 1500)
    assert_close(canvas(canvas.encode(x)), x, atol=1e-5, rtol=0)


def test_clipped_samples_end_beyond_the_level():
    x = normal(1, 1500)
    A = Clip(0.8)
    found, _ = solved(A, A(x), 0.05, A(x))
    beyond = found[A.clipped(A(x))].abs()
    assert (beyond > 0.7).all() and beyond.mean() > 0.85


def test_problems_do_not_depend_on_their_batch():
    known = torch.ones(1, 1000, dtype=torch.bool)
    known[:, 400:500] = False
    A, x = Gaps(known), normal(3, 1000)
    three, _ = solved(A, A(x), 0.05, A(x), [5, 6, 7])
    one, _ = solved(A, A(x[1:2]), 0.05, A(x[1:2]), [6])
    assert_close(three[1:2], one, atol=1e-4, rtol=0)


@pytest.mark.parametrize("noise", [-1.0, float("inf"), float("nan")])
def test_a_noise_level_is_not_negative_and_finite(noise):
    y = normal(2, 100)
    with pytest.raises(Misuse, match="is not 0 or more"):
        prior().pose(Identity(), y, noise, guess=y)
