"""The properties that every operator of the catalogue must have."""

import dataclasses
import inspect
import pkgutil
from importlib import import_module

import pytest
import torch
from torch.autograd import gradcheck

import headwater.image.operators as package
from headwater.image.operators import (
    CATALOGUE,
    Blur,
    Clip,
    Identity,
    Inpaint,
    LinearOperator,
    Operator,
    SuperResolution,
    chain,
    examples,
    gaussian_kernel,
    motion_kernel,
    random_mask,
)

torch.set_num_threads(1)
NAMES = list(CATALOGUE)
LINEAR = [name for name, operator in examples().items() if operator.linear]
HARD = ["deblur (motion)", "deblur (valid)"]  # some frequencies are all but wiped out
EASY = [name for name in LINEAR if name not in HARD]
FULL_RANK = [name for name in EASY if not name.startswith("inpaint")]


def images(h=24, w=40, batch=2, channels=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, h, w, generator=generator, dtype=torch.float64).to(dtype) * 1.9 - 0.95


def like(y, seed=1):
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(y)


def channels_of(operator):
    return [operator.channels] if operator.channels else [1, 3]


def cases(names):
    return [(name, c) for name in names for c in channels_of(CATALOGUE[name](8, 8))]


def known_or_all(operator, x):
    """Where y says something."""
    return operator.known_pixels(x.shape) if hasattr(operator, "known_pixels") else torch.tensor(True)


def dense(operator, h, w):
    """The matrix of a linear operator, column by column."""
    c = operator.channels or 1
    basis = torch.eye(c * h * w, dtype=torch.float64).reshape(-1, c, h, w)
    return operator(basis).flatten(1).mT


def test_every_operator_is_in_the_catalogue():
    abstract = {Operator, LinearOperator}
    found = {Identity}  # it serves images and recordings alike
    for info in pkgutil.iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{info.name}")
        found |= {
            k
            for _, k in inspect.getmembers(module, inspect.isclass)
            if issubclass(k, Operator) and not k.__module__.startswith("headwater.adapters")
        }
    composed = {type(chain(*parts)) for parts in ((Identity(), Identity()), (Clip(), Clip()))}
    assert (found | composed) - abstract == {type(operator) for operator in examples().values()}


@pytest.mark.parametrize("name", NAMES)
def test_operators_are_frozen_named_and_say_what_they_are(name):
    operator = CATALOGUE[name](16, 16)
    assert dataclasses.is_dataclass(operator) and operator.name
    assert operator.linear == isinstance(operator, LinearOperator) == hasattr(operator, "adjoint")
    for field in dataclasses.fields(operator):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(operator, field.name, None)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("name", "channels"), cases(LINEAR))
def test_adjoint(name, channels, dtype, tolerance):
    operator = CATALOGUE[name](24, 40)
    x = images(batch=3, channels=channels, dtype=dtype)
    measured = operator(x)
    y = like(measured)
    back = operator.adjoint(y)
    assert back.dtype == dtype
    left, right = (measured * y).flatten(1).sum(1), (x * back).flatten(1).sum(1)
    scale = measured.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
    assert ((left - right).abs() <= tolerance * scale).all()


@pytest.mark.parametrize("name", LINEAR)
def test_linearity(name):
    operator = CATALOGUE[name](24, 40)
    a, b = images(seed=2), images(seed=3)
    torch.testing.assert_close(
        operator(2.5 * a - 0.5 * b), 2.5 * operator(a) - 0.5 * operator(b), rtol=0, atol=1e-12
    )
    assert operator(torch.zeros_like(a)).abs().max() == 0


@pytest.mark.parametrize("name", LINEAR)
def test_norm_adjoint_and_pinv_against_the_dense_matrix(name):
    h, w = 8, 12
    operator = CATALOGUE[name](h, w)
    matrix = dense(operator, h, w)
    c = operator.channels or 1
    norm = operator.norm((2, c, h, w))
    largest = torch.linalg.svdvals(matrix)[0]
    torch.testing.assert_close(norm, largest.expand(2), rtol=1e-3, atol=0)

    y = like(operator(images(h, w, batch=1, channels=c)))
    flat = y.flatten(1).mT
    torch.testing.assert_close(operator.adjoint(y).flatten(1).mT, matrix.mT @ flat, rtol=0, atol=1e-12)
    for ridge in (0.1,) if name in HARD else (0.0, 0.1):
        gram = matrix @ matrix.mT + ridge * torch.eye(len(matrix), dtype=torch.float64)
        wanted = matrix.mT @ torch.linalg.pinv(gram, hermitian=True) @ flat
        closed = operator.pinv(y, ridge=ridge)
        generic = operator.pseudo_inverse(y, ridge=ridge, iterations=300, tolerance=1e-12)
        torch.testing.assert_close(closed.flatten(1).mT, wanted, rtol=0, atol=1e-4)
        torch.testing.assert_close(generic.flatten(1).mT, wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", FULL_RANK)
def test_pinv_explains_any_measurement_where_the_rows_are_independent(name):
    operator = CATALOGUE[name](24, 40)
    y = like(operator(images()))
    torch.testing.assert_close(operator(operator.pinv(y, ridge=0.0)), y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["inpaint (box)", "inpaint (random)"])
def test_pinv_of_a_mask_explains_its_own_measurements(name):
    operator = CATALOGUE[name](24, 40)
    y = operator(images())
    assert torch.equal(operator(operator.pinv(y)), y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", EASY)
def test_project_is_the_nearest_point_that_meets_the_measurement(name, dtype):
    operator = CATALOGUE[name](24, 40)
    truth, x = images(seed=4, dtype=dtype), images(seed=5, dtype=dtype)
    y = operator(truth)
    nearest = operator.project(x, y)
    torch.testing.assert_close(operator(nearest), y, rtol=0, atol=1e-4)
    # the step is orthogonal to every direction that A does not see, such as truth - nearest
    step, unseen = (nearest - x).flatten(1), (truth - nearest).flatten(1)
    assert ((step * unseen).sum(1).abs() <= 1e-3 * step.norm(dim=1) * truth.flatten(1).norm(dim=1)).all()
    torch.testing.assert_close(operator.project(nearest, y), nearest, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("boundary", ["reflect", "circular", "valid"])
@pytest.mark.parametrize("kernel", [motion_kernel(4, 30), gaussian_kernel(1.5), gaussian_kernel(3.0)])
def test_project_of_a_strong_blur_never_gets_worse(kernel, boundary, dtype):
    operator = Blur(kernel, boundary)
    x, y = torch.zeros(2, 3, 24, 40, dtype=dtype), operator(images(dtype=dtype))
    residuals = [operator.residual(operator.project(x, y, iterations=n), y).norm() for n in (0, 5, 20, 100)]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] < 1e-2 * residuals[0]


@pytest.mark.parametrize("name", LINEAR)
def test_gradient_of_a_linear_operator_is_its_adjoint(name):
    operator = CATALOGUE[name](24, 40)
    x = images().requires_grad_()
    y = operator(x)
    u = like(y)
    (gradient,) = torch.autograd.grad((y * u).sum(), x)
    torch.testing.assert_close(gradient, operator.adjoint(u), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_of_operator_and_residual(name):
    operator = CATALOGUE[name](8, 8)
    channels = channels_of(operator)[-1]
    x = images(8, 8, batch=1, channels=channels, seed=6).requires_grad_()
    y = operator(images(8, 8, batch=1, channels=channels, seed=7))
    assert gradcheck(operator, (x,), fast_mode=True)
    assert gradcheck(lambda x: operator.residual(x, y), (x,), fast_mode=True)
    if isinstance(operator, LinearOperator):
        assert gradcheck(operator.adjoint, (y.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "channels"), cases(NAMES))
def test_dtype_device_shapes_and_independence(name, channels, dtype):
    operator = CATALOGUE[name](24, 40)
    x = images(batch=3, channels=channels, dtype=dtype)
    y = operator(x)
    assert y.dtype == dtype and y.device == x.device and y.shape[0] == 3
    residual = operator.residual(x, y)
    assert residual.dtype == dtype
    torch.testing.assert_close(residual, torch.zeros_like(y), rtol=0, atol=1e-6)
    other = like(y, seed=2).clamp(-0.9, 0.9)  # inside the limits of a clipping, where it is a difference, too
    gap = torch.where(known_or_all(operator, x), y - other, torch.zeros_like(y))
    if operator.kind not in ("declip", "composition") or operator.linear:
        torch.testing.assert_close(operator.residual(x, other), gap)
    known = operator.known_pixels(x.shape).sum() * channels if hasattr(operator, "known_pixels") else None
    assert operator.count(y).tolist() == [y[0].numel() if known is None else int(known)] * 3
    assert operator.count(y).dtype == torch.int64
    for k in range(3):
        one = operator.select([k]).to("cpu")(x[k : k + 1])
        torch.testing.assert_close(y[k : k + 1], one, rtol=0, atol=10 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("name", LINEAR)
def test_solutions_of_one_problem_do_not_depend_on_the_batch(name):
    operator = CATALOGUE[name](24, 40)
    x, y = images(batch=3), like(operator(images(batch=3)))
    y[1] *= 1e-3  # stops at another iteration
    together = operator.project(x, operator(operator.adjoint(y)))
    alone = torch.cat(
        [operator.project(x[k : k + 1], operator(operator.adjoint(y[k : k + 1]))) for k in range(3)]
    )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [n for n, operator in examples().items() if operator.local is not None])
def test_local_bounds_what_a_measurement_sees(name):
    operator = CATALOGUE[name](48, 64)
    x = images(48, 64, batch=1, channels=3).requires_grad_()
    y = operator(x)
    i, j = y.shape[-2] // 2, y.shape[-1] // 2
    (gradient,) = torch.autograd.grad(y[..., i, j].sum(), x)
    rows, columns = gradient[0].abs().amax(0).gt(1e-12).nonzero(as_tuple=True)
    s = operator.stride
    for seen, centre in ((rows, i * s), (columns, j * s)):
        assert len(seen) == 0 or (seen - centre).abs().max() <= operator.local


@pytest.mark.parametrize("make", [
    lambda: Inpaint(torch.cat([random_mask(16, 16, seed=k) for k in range(3)])),
    lambda: Blur(torch.stack([gaussian_kernel(s, 7) for s in (0.5, 1.0, 2.0)])),
    lambda: Blur(torch.stack([gaussian_kernel(s, 7) for s in (0.5, 1.0, 2.0)]), "circular"),
])  # fmt: skip
def test_one_tensor_per_problem(make):
    operator, x = make(), images(16, 16, batch=3)
    field = operator.per_problem[0]
    y = operator(x)
    for k in range(3):
        alone = type(operator)(
            getattr(operator, field)[k], *([operator.boundary] if field == "kernel" else [])
        )
        torch.testing.assert_close(y[k : k + 1], alone(x[k : k + 1]), rtol=0, atol=1e-14)
        back = operator.adjoint(y)[k : k + 1]
        torch.testing.assert_close(back, alone.adjoint(y[k : k + 1]), rtol=0, atol=1e-14)
        torch.testing.assert_close(operator.norm(x.shape)[k], alone.norm((1, 3, 16, 16))[0])
        assert operator.count(y)[k] == alone.count(y[:1])[0]
    for index in ([2, 0], torch.tensor([2, 0]), torch.tensor([True, False, True])):
        chosen = operator.select(index)
        order = [0, 2] if getattr(index, "dtype", None) == torch.bool else [2, 0]
        torch.testing.assert_close(chosen(x[order]), y[order], rtol=0, atol=1e-14)
    assert torch.equal(operator.select([1]).select([0])(x[1:2]), operator.select([1])(x[1:2]))
    nested = chain(operator, SuperResolution(2)).select([1])
    torch.testing.assert_close(nested(x[1:2]), SuperResolution(2)(y[1:2]), rtol=0, atol=1e-14)


def test_chain_adds_up_reach_and_damage():
    mask = random_mask(16, 16)
    both = chain(SuperResolution(2), Blur(gaussian_kernel(1.0, 5)))
    assert (both.local, both.stride, both.linear) == (2 + 2 * 2, 2, True)
    assert chain(Inpaint(mask), Clip()).damaged((1, 3, 16, 16)).equal(~mask)
    assert chain(Inpaint(mask), both).damaged((1, 3, 16, 16)) is None
    assert chain(Clip(), Clip()).damaged((1, 3, 16, 16)) is None
    assert not chain(Clip(), both).linear and chain(Clip(), both).local == both.local


def test_chain_keeps_the_residual_and_count_of_its_last_operator():
    mask = random_mask(16, 16)
    operator = chain(Clip(gain=2.0), Inpaint(mask))
    x = images(16, 16)
    y = operator(x) + (~mask) * 7.0
    assert operator.residual(x, y).abs().max() == 0
    assert operator.count(y).tolist() == [3 * int(mask.sum())] * 2
