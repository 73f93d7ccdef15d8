"""The properties that every operator on recordings must have."""

import dataclasses
import inspect

import pytest
import torch
from scipy.signal import convolve, resample_poly
from torch.autograd import gradcheck
from torch.testing import assert_close

from headwater import Misuse
from headwater.audio import operators as module
from headwater.audio.operators import (
    CATALOGUE,
    Clip,
    Convolution,
    Decimate,
    Gaps,
    Identity,
    Lowpass,
    Reverb,
    UserOperator,
    lowpass_taps,
)
from headwater.problem.operator import LinearOperator, Operator

torch.set_num_threads(1)
F64 = torch.float64
NAMES = list(CATALOGUE)
LINEAR = [name for name, make in CATALOGUE.items() if make(64).linear]


def signal(batch=2, n=64, seed=0, dtype=F64):
    return torch.randn(batch, n, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def dense(operator, n):
    return operator(torch.eye(n, dtype=F64)).mT


def test_every_operator_is_in_the_catalogue():
    found = {
        k
        for _, k in inspect.getmembers(module, inspect.isclass)
        if issubclass(k, Operator) and k not in (Operator, LinearOperator, Convolution)
    }
    assert found == {type(make(64)) for make in CATALOGUE.values()}
    kinds = [k.kind for k in found]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_named_and_refusing(name):
    operator = CATALOGUE[name](64)
    assert dataclasses.is_dataclass(operator) and operator.name
    assert operator.linear == isinstance(operator, LinearOperator) == hasattr(operator, "adjoint")
    for wrong in (
        (signal()[None], signal().long()) if name != "denoise" else ()
    ):  # the identity takes anything
        with pytest.raises(Misuse, match=r"Give floating signals \[batch, samples\]"):
            operator(wrong)


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", LINEAR)
def test_adjoint_and_linearity(name, dtype, tolerance):
    operator = CATALOGUE[name](64)
    a, b = signal(dtype=dtype), signal(seed=1, dtype=dtype)
    y = operator(a)
    z = signal(2, y.shape[1], seed=2, dtype=dtype)
    back = operator.adjoint(z)
    assert back.shape == a.shape and back.dtype == y.dtype == dtype
    assert_close((y * z).sum(1), (a * back).sum(1), atol=100 * tolerance, rtol=0)
    assert_close(operator(2.5 * a - b), 2.5 * y - operator(b), atol=20 * tolerance, rtol=0)


@pytest.mark.parametrize("name", LINEAR)
def test_norm_and_pinv_against_the_dense_matrix(name):
    operator = CATALOGUE[name](32)
    matrix = dense(operator, 32)
    assert_close(operator.norm((2, 32))[0], torch.linalg.svdvals(matrix)[0], rtol=1e-3, atol=0)
    y = operator(signal(1, 32))
    gram = matrix @ matrix.mT + 0.1 * torch.eye(len(matrix), dtype=F64)
    wanted = matrix.mT @ torch.linalg.solve(gram, y[0])
    assert_close(operator.pinv(y, ridge=0.1)[0], wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradient(name):
    operator = CATALOGUE[name](32)
    x = (0.2 * signal(2, 32)).requires_grad_()
    assert gradcheck(operator, (x,))


@pytest.mark.parametrize("name", NAMES)
def test_problems_do_not_see_each_other(name):
    operator, x = CATALOGUE[name](64), signal(3)
    assert_close(operator(x)[1:2], operator(x[1:2]), atol=1e-12, rtol=0)
    assert operator.count(operator(x)).tolist()[0] <= operator(x).shape[1]


@pytest.mark.parametrize("name", NAMES)
def test_no_residual_at_the_truth(name):
    operator, x = CATALOGUE[name](64), signal()
    assert operator.residual(x, operator(x)).abs().max() < 1e-12


@pytest.mark.parametrize("name", [n for n in LINEAR if CATALOGUE[n](64).local is not None])
def test_local_bounds_what_an_entry_sees(name):
    operator = CATALOGUE[name](64)
    matrix = dense(operator, 64)
    rows, columns = torch.nonzero(matrix.abs() > 1e-12, as_tuple=True)
    assert (rows * operator.stride - columns).abs().max() <= operator.local


def test_decimation_is_what_scipy_does():
    """With scipy's own filter: resample_poly's Kaiser(5.0) window of 20 taps a sample."""
    x = signal(1, 640)
    for factor in (2, 4, 8):
        wanted = torch.from_numpy(resample_poly(x[0].numpy(), 1, factor, window=("kaiser", 5.0)))
        assert_close(Decimate.by_factor(factor)(x)[0], wanted, atol=1e-6, rtol=0)


def test_band_limiting_keeps_what_is_below_and_the_rate():
    t = torch.arange(4000, dtype=F64)
    low, high = (torch.sin(torch.pi * f * t)[None] for f in (0.2, 0.3))
    kept, lost = Lowpass.with_cutoff(0.25)(low)[:, 500:-500], Lowpass.with_cutoff(0.25)(high)[:, 500:-500]
    assert_close(kept, low[:, 500:-500], atol=2e-3, rtol=0)
    assert lost.abs().max() < 2e-3
    assert_close(lowpass_taps(0.25, 255).sum(), torch.tensor(1.0, dtype=F64))


def test_band_limiting_and_decimation_differ():
    x = signal(1, 800)
    assert Lowpass.with_cutoff(0.25)(x).shape != Decimate.by_factor(4)(x).shape


def test_reverberation_is_causal_convolution():
    h, x = signal(1, 30, seed=3)[0], signal(1, 200)
    wanted = convolve(x[0].numpy(), h.numpy())[:200]
    assert_close(Reverb.from_impulse(h)(x)[0], torch.from_numpy(wanted), atol=1e-12, rtol=0)


def test_clipping_asks_an_inequality_of_clipped_samples():
    A = Clip(0.5)
    x = torch.tensor([[0.2, 0.7, -0.9]], dtype=F64)
    y = A(x)
    assert y.tolist() == [[0.2, 0.5, -0.5]] and A.clipped(y).tolist() == [[False, True, True]]
    beyond = torch.tensor([[0.2, 3.0, -0.6]], dtype=F64)
    assert A.residual(beyond, y).abs().max() == 0
    short = torch.tensor([[0.3, 0.4, -0.1]], dtype=F64)
    assert_close(A.residual(short, y), torch.tensor([[0.1, -0.1, 0.4]], dtype=F64))
    assert Clip(0.5, slack=0.1).clipped(torch.tensor([[0.41, 0.39]])).tolist() == [[True, False]]


def test_masks_follow_their_problems():
    known = torch.tensor([[True, False], [False, True]])
    A, x = Gaps(known), torch.ones(2, 2)
    assert A(x).tolist() == [[1, 0], [0, 1]] and A.count(A(x)).tolist() == [1, 1]
    assert A.select(torch.tensor([1]))(x[:1]).tolist() == [[0, 1]]
    assert A.damaged((2, 2)).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Clip(0.0), "is not a measurement"),
        (lambda: Clip(0.5, 0.6), "is not a measurement"),
        (lambda: Decimate.by_factor(1), "does nothing"),
        (lambda: Lowpass.with_cutoff(1.0), "not a share of the Nyquist"),
        (lambda: Gaps(torch.ones(1, 4)), "bool mask"),
        (lambda: Reverb.from_impulse(torch.zeros(4)), "all zero"),
        (lambda: Reverb.from_impulse(torch.tensor([1.0, float("nan")])), "not finite"),
        (lambda: Decimate.by_factor(2)(torch.zeros(1, 5)), "not a multiple of 2"),
        (lambda: Gaps(torch.ones(1, 4, dtype=torch.bool))(torch.zeros(1, 5)), "mask of the recording"),
        (lambda: Identity().residual(torch.zeros(1, 5), torch.zeros(1, 4)), "belongs to this operator"),
        (
            lambda: UserOperator(lambda x: x.detach())(torch.zeros(1, 4, requires_grad=True)),
            "lost the gradient",
        ),
        (lambda: UserOperator(lambda x: x.sum())(torch.zeros(1, 4)), "Keep the first axis"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(Misuse, match=words):
        make()
