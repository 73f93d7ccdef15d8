"""Denoisers and physics of deepinv: by objects of the same shape always, by the library itself where it imports."""

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.adapters import deepinv

F64 = torch.float64


class GaussianNoise(torch.nn.Module):
    def __init__(self, sigma):
        super().__init__()
        self.register_buffer("sigma", torch.as_tensor(sigma))


class PoissonNoise(torch.nn.Module):
    pass


class Physics(torch.nn.Module):
    """What is asked of deepinv's class: A, and the model of the noise."""

    __module__ = "deepinv.physics.forward"

    def __init__(self, noise_model=None):
        super().__init__()
        self.noise_model = noise_model

    def A(self, x, **parameters):
        return x.square()


class LinearPhysics(Physics):
    """y = mask * (a cyclic blur of x); as in deepinv a mask that comes with a call is kept."""

    __module__ = "deepinv.physics.forward"
    mask = 1.0

    def blur(self, x, way):
        return 0.5 * x + 0.3 * x.roll(way, -1) + 0.2 * x.roll(2 * way, -2)

    def A(self, x, mask=None):
        self.mask = self.mask if mask is None else mask
        return self.mask * self.blur(x, 1)

    def A_adjoint(self, y, mask=None):
        self.mask = self.mask if mask is None else mask
        return self.blur(self.mask * y, -1)


class PhaseRetrieval(Physics):
    """Not linear, though it has an A_adjoint, that of its linear part."""

    def A_adjoint(self, y):
        return y


class Stacked(Physics):
    def A(self, x, **parameters):
        return [x, x]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


MASKS = (normal(3, 1, 4, 4, seed=9) > 0).to(F64)


def assert_adjoint(operator, x):
    y = normal(*operator(x).shape, seed=7)
    left, right = (operator(x) * y).sum(), (x * operator.adjoint(y)).sum()
    assert_close(left, right)


def test_adjoint_and_least_squares():
    x = normal(3, 1, 4, 4)
    operator = deepinv.as_operator(LinearPhysics(), mask=MASKS)
    assert isinstance(operator, hw.LinearOperator) and operator.name == "physics (LinearPhysics)"
    assert_adjoint(operator, x)
    y = operator(x)
    assert_close(operator(operator.pinv(y)), y, rtol=1e-4, atol=1e-5)
    columns = deepinv.as_operator(LinearPhysics())(torch.eye(16, dtype=F64).reshape(16, 1, 4, 4)).reshape(
        16, 16
    )
    norm = deepinv.as_operator(LinearPhysics()).norm((2, 1, 4, 4))
    assert_close(norm, torch.linalg.matrix_norm(columns, 2).expand(2), rtol=1e-3, atol=0)


def test_parameters_follow_their_problems_and_the_physics_of_the_user_stays():
    physics, x = LinearPhysics(), normal(3, 1, 4, 4)
    operator = deepinv.as_operator(physics, mask=MASKS)
    expected = operator(x)
    for index in (torch.tensor([2, 0]), torch.tensor([True, False, True])):
        assert_close(operator.select(index)(x[index]), expected[index])
        assert_close(operator.select(index).adjoint(expected[index]), operator.adjoint(expected)[index])
    assert physics.mask == 1.0
    assert_close(
        deepinv.as_operator(LinearPhysics(), mask=MASKS[:1]).select([1])(x[1:2]),
        MASKS[:1] * physics.A(x[1:2]),
    )


@pytest.mark.parametrize("make", [Physics, PhaseRetrieval])
def test_what_is_not_linear_is_an_operator(make):
    operator = deepinv.as_operator(make())
    assert not operator.linear and not isinstance(operator, hw.LinearOperator)
    assert_close(operator(normal(2, 3)), normal(2, 3).square())


@pytest.mark.parametrize(
    ("sigma", "shape"), [(0.3, ()), ([0.1, 0.2, 0.3], (3,)), ([[0.1], [0.2], [0.3]], (3,))]
)
def test_the_noise_level_is_that_of_the_noise_model(sigma, shape):
    level = deepinv.noise_level(LinearPhysics(GaussianNoise(sigma)))
    assert_close(level, torch.as_tensor(sigma).reshape(shape))
    misfit = deepinv.misfit(LinearPhysics(GaussianNoise(sigma)), normal(3, 1, 4, 4), mask=MASKS)
    assert_close(misfit.sigma_y, level)
    assert misfit.select(torch.tensor([1])).operator.parameters["mask"].shape[0] == 1


class GaussianDenoiser(torch.nn.Module):
    """D of deepinv for pixels N(0.5, 0.2^2), each for itself."""

    def forward(self, x, sigma):
        return 0.5 + (x - 0.5) * 0.04 / (0.04 + sigma.reshape(-1, 1, 1, 1) ** 2)


def test_a_restoration_is_the_posterior_mode():
    """Denoiser, physics and noise model in; of a Gaussian the most likely image is that of the normal equations."""
    flow = deepinv.load(GaussianDenoiser(), (1, 4, 4), sigma_min=1e-3, sigma_max=500.0)
    physics = LinearPhysics(GaussianNoise(torch.tensor(0.05, dtype=F64)))
    truth = 0.5 + 0.2 * normal(3, 1, 4, 4)
    y = physics.A(truth, MASKS) + 0.05 * MASKS * normal(3, 1, 4, 4, seed=1)
    misfit = deepinv.misfit(LinearPhysics(physics.noise_model), y, mask=MASKS)
    x0 = flow.noise(range(3), dtype=F64)
    result = hw.control(flow, misfit, x0, prior=hw.GaussianPrior(), gradients=12, method=hw.RK4, steps=16)
    blur = LinearPhysics().A(torch.eye(16, dtype=F64).reshape(16, 1, 4, 4)).reshape(16, 16).T
    for i in range(3):
        a = MASKS[i].reshape(-1, 1) * blur
        curvature = a.T @ a / 0.05**2 + torch.eye(16, dtype=F64) / 0.2**2
        mode = 0.5 + torch.linalg.solve(
            curvature, a.T @ (y[i].flatten() - a @ torch.full((16,), 0.5, dtype=F64)) / 0.05**2
        )
        assert_close(result.x1[i].flatten(), mode, rtol=0, atol=1e-3)


def test_denoisers_are_flows_of_unit_range():
    flow = deepinv.load(GaussianDenoiser(), (1, 4, 4), sigma_max=100.0)
    assert flow.range == (0.0, 1.0) and flow.path.sigma_max == 100.0
    x1 = hw.solve(flow, flow.noise(range(64)), steps=flow.path.grid(18))
    assert abs(float(x1.mean()) - 0.5) < 0.02 and abs(float(x1.std()) - 0.2) < 0.02


@pytest.mark.parametrize(
    ("call", "what", "cure"),
    [
        (lambda: deepinv.as_operator(3), "int is not an operator: it has no method A", "A_adjoint"),
        (lambda: deepinv.as_operator(Stacked())(normal(1, 2)), "makes 2 parts", "WeightedSum"),
        (lambda: deepinv.noise_level(Physics(PoissonNoise())), "PoissonNoise", "Give sigma_y"),
        (lambda: deepinv.noise_level(Physics()), "NoneType", "Give sigma_y"),
        (lambda: deepinv.noise_level(object()), "NoneType", "Give sigma_y"),
        (
            lambda: deepinv.noise_level(Physics(GaussianNoise(0.0))),
            "0.0 of the physics is not positive",
            "rounding",
        ),
        (lambda: deepinv.noise_level(Physics(GaussianNoise(float("nan")))), "nan", "rounding"),
        (lambda: deepinv.load(lambda sigma, x: x, (1, 2, 2)), r"takes \(sigma, x\)", "swaps"),
    ],
)
def test_refusals(call, what, cure):
    with pytest.raises(hw.Misuse, match=what) as caught:
        call()
    assert cure in caught.value.cure and caught.value.what.endswith(".") and caught.value.cure.endswith(".")


# Against the library


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("deepinv", reason="deepinv, or torchvision that it imports, is not installed")


def test_physics_of_the_library(library):
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    masks = (torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    noise = library.physics.GaussianNoise(sigma=0.1)
    inpainting = library.physics.Inpainting(img_size=(1, 8, 8), mask=0.5, noise_model=noise)
    operator = deepinv.as_operator(inpainting, mask=masks)
    assert_close(operator(x), masks * x)
    assert_close(operator.select([1])(x[1:2]), masks[1:2] * x[1:2])
    assert_close(deepinv.noise_level(inpainting), torch.tensor(0.1))
    kernel = torch.tensor([[0.1, 0.2, 0.1], [0.0, 0.3, 0.1], [0.1, 0.1, 0.0]])[None, None]
    for physics in (
        inpainting,
        library.physics.Blur(filter=kernel, padding="circular"),
        library.physics.BlurFFT(img_size=(1, 8, 8), filter=kernel),
        library.physics.Downsampling(img_size=(1, 8, 8), factor=2, filter="bicubic"),
        library.physics.CompressedSensing(m=20, img_size=(1, 8, 8), device="cpu"),
    ):
        linear = deepinv.as_operator(physics)
        assert isinstance(linear, hw.LinearOperator)
        assert_close(linear(x), physics.A(x))
        y = torch.rand(linear(x).shape, generator=torch.Generator().manual_seed(2))
        assert_close((linear(x) * y).sum(), (x * linear.adjoint(y)).sum(), rtol=1e-4, atol=1e-4)
    with pytest.raises(hw.Misuse, match="ZeroNoise"):
        deepinv.noise_level(library.physics.Blur(filter=kernel))


def test_phase_retrieval_of_the_library_is_not_linear(library):
    physics = library.physics.RandomPhaseRetrieval(m=20, img_size=(1, 4, 4), device="cpu")
    assert not deepinv.as_operator(physics).linear


def test_a_denoiser_of_the_library_is_a_flow(library):
    net = library.models.DRUNet(
        in_channels=1, out_channels=1, nc=(8, 8, 8, 8), nb=1, pretrained=None, device="cpu"
    )
    flow = deepinv.load(net.eval(), (1, 16, 16))
    x, sigma = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.5])
    t = hw.find_time_of_noise(flow.path, sigma)
    with torch.no_grad():
        expected = net(x, sigma)
    z = x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2).sqrt()
    assert_close(flow.denoise(z, t), expected, rtol=1e-3, atol=1e-3)
    assert flow.modules == (net,)
