"""Denoisers D(x, sigma): the path, Karras's deterministic sampler, a Gaussian in closed form, labels, refusals."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import headwater as hw
from headwater.adapters import edm

F64 = torch.float64


class GaussianDenoiser(torch.nn.Module):
    """D for data N(m, S) with a full covariance, by its eigenvectors: D = m + S (S + sigma^2)^-1 (x - m)."""

    def __init__(self, d=3):
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        root = torch.randn(d, d, generator=draw, dtype=F64) * 0.4
        self.mean = torch.randn(d, generator=draw, dtype=F64) * 0.3
        self.covariance = root @ root.T
        self.values, self.basis = torch.linalg.eigh(self.covariance)

    def forward(self, x, sigma):
        gain = self.values / (self.values + sigma.reshape(-1, 1) ** 2)
        return self.mean + (x - self.mean) @ self.basis * gain @ self.basis.T

    def endpoint(self, x0, sigma_max):
        """z(0) from z(sigma_max) = x0 sqrt(1 + sigma_max^2): along an eigenvector z - m is scaled by the spread."""
        z = (x0 * math.sqrt(1 + sigma_max**2) - self.mean) @ self.basis
        return self.mean + z * (self.values / (self.values + sigma_max**2)).sqrt() @ self.basis.T


class Curved(torch.nn.Module):
    """A denoiser that is not linear, with weights."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(2)
        self.weight = torch.nn.Parameter(torch.randn(3, 3, generator=draw, dtype=F64))

    def forward(self, x, sigma):
        return torch.tanh(x @ self.weight / (1 + sigma[:, None])) + x / (1 + sigma[:, None] ** 2)


def sample_karras(denoiser, z, steps, *, heun, sigma_min=0.002, sigma_max=80.0, rho=7.0):
    """Algorithm 1 of Karras et al. 2022 with the levels of their eq. 5; `heun=False` leaves its correction out."""
    i = torch.arange(steps, dtype=F64)
    levels = (
        sigma_max ** (1 / rho) + i / (steps - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))
    ) ** rho
    levels = torch.cat([levels, torch.zeros(1, dtype=F64)])
    for now, after in itertools.pairwise(levels):
        d = (z - denoiser(z, now.expand(len(z)))) / now
        ahead = z + (after - now) * d
        if heun and after > 0:
            d_ahead = (ahead - denoiser(ahead, after.expand(len(z)))) / after
            ahead = z + (after - now) * (d + d_ahead) / 2
        z = ahead
    return z


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize("levels", [{}, {"sigma_min": 0.02, "sigma_max": 50.0, "rho": 3.0}])
@pytest.mark.parametrize("steps", [5, 18, 36])
@pytest.mark.parametrize(("method", "heun"), [(hw.DDIM, False), (edm.KARRAS_HEUN, True)])
@pytest.mark.parametrize("make", [GaussianDenoiser, Curved])
def test_the_solve_is_karras_deterministic_sampler(make, method, heun, steps, levels):
    denoiser = make()
    flow, x0 = edm.load(denoiser, (3,), **levels), normal(4, 3)
    z = x0 * math.sqrt(1 + flow.path.sigma_max**2)
    with torch.no_grad():
        expected = sample_karras(denoiser, z, steps, heun=heun, **levels)
    x1 = hw.solve(flow, x0, method=method, steps=flow.path.grid(steps))
    assert_close(x1, expected, rtol=1e-9, atol=1e-9)


def test_float32_agrees_to_its_rounding():
    denoiser = Curved().float()
    flow, x0 = edm.load(denoiser, (3,)), normal(4, 3)
    with torch.no_grad():
        expected = sample_karras(Curved(), x0 * math.sqrt(6401), 18, heun=True)
    x1 = hw.solve(flow, x0.float(), method=edm.KARRAS_HEUN, steps=flow.path.grid(18))
    assert_close(x1, expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [(0.002, 80.0, 7.0), (0.5, 3.0, 1.0), (1e-4, 200.0, 12.0)])
def test_the_derivatives_of_the_path(levels):
    """Against autograd; the velocity is continuous where the levels turn into their tangent."""
    path = edm.VEPath(*levels)
    t = torch.cat([torch.linspace(0, 1, 101, dtype=F64), torch.tensor([path.span[1]], dtype=F64)])
    t.requires_grad_()
    for value, derivative in ((path.alpha, path.dalpha), (path.sigma, path.dsigma), (path.level, path.slope)):
        (expected,) = torch.autograd.grad(value(t).sum(), t)
        assert_close(derivative(t).detach(), expected, rtol=1e-9, atol=1e-12)
    assert_close(path.alpha(t) ** 2 + path.sigma(t) ** 2, torch.ones_like(t))
    ends = path.level(torch.tensor([0.0, path.span[1], 1.0], dtype=F64))
    assert_close(ends, torch.tensor([levels[1], levels[0], 0.0], dtype=F64))
    assert bool((path.level(t[:101])[1:] < path.level(t[:101])[:-1]).all())


@pytest.mark.parametrize(
    ("method", "order"), [(hw.DDIM, 1), (edm.KARRAS_HEUN, 2), (hw.MIDPOINT, 2), (hw.RK4, 4)]
)
def test_the_endpoint_of_a_gaussian_and_the_order_of_its_solve(method, order):
    denoiser = GaussianDenoiser()
    flow, x0 = edm.load(denoiser, (3,), sigma_min=1e-4), normal(4, 3)
    exact, errors = denoiser.endpoint(x0, 80.0), []
    # Karras's steps are large where sigma passes the spread of the data, so they reach their order late.
    counts = (64, 128, 256) if order < 4 else (16, 32, 64)
    for steps in counts:
        errors.append(float((hw.solve(flow, x0, method=method, steps=flow.path.grid(steps)) - exact).norm()))
    slope = math.log2(errors[0] / errors[2]) / 2
    assert abs(slope - order) < 0.3, errors
    assert errors[-1] < 0.05


def test_the_midpoint_rule_on_the_scaled_state_beats_heun_on_the_unscaled_one():
    """The number of docs/adapters.md: for N(0, 0.5^2) and 18 steps it has 1/60 of the error."""
    flow = edm.load(lambda x, sigma: x * 0.25 / (0.25 + sigma**2), (1,), broadcast=True)
    x0, exact = torch.ones(1, 1, dtype=F64), 0.5 * math.sqrt((1 + 80**2) / (0.25 + 80**2))
    heun, midpoint = (
        abs(hw.solve(flow, x0, method=method, steps=flow.path.grid(18)).item() - exact)
        for method in (edm.KARRAS_HEUN, hw.MIDPOINT)
    )
    assert 55 < heun / midpoint < 70


def test_the_likelihood_of_a_gaussian():
    """That of the endpoints of N(0, I), which is N(m, S) up to what is left of the data at sigma_max."""
    denoiser = GaussianDenoiser()
    flow = edm.load(denoiser, (3,), sigma_min=1e-4)
    mean = denoiser.endpoint(torch.zeros(3, dtype=F64), 80.0)
    spread = denoiser.values * (1 + 80.0**2) / (denoiser.values + 80.0**2)
    covariance = denoiser.basis * spread @ denoiser.basis.T
    x1 = mean + normal(5, 3) @ torch.linalg.cholesky(covariance).T
    log_p, x0 = hw.log_likelihood(flow, x1, steps=48)
    expected = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x1)
    assert_close(log_p, expected, rtol=0, atol=1e-4)
    assert_close(denoiser.endpoint(x0, 80.0), x1, rtol=0, atol=1e-5)
    data = torch.distributions.MultivariateNormal(denoiser.mean, denoiser.covariance)
    assert_close(log_p, data.log_prob(x1), rtol=0, atol=0.02)


def test_denoising_is_the_denoiser_itself():
    """One evaluation at the time of a noise level gives D at this level, one level per problem."""
    denoiser, z, sigma = Curved(), normal(3, 3), torch.tensor([0.05, 1.0, 20.0], dtype=F64)
    flow = edm.load(denoiser, (3,))
    t = hw.find_time_of_noise(flow.path, sigma)
    x = z / (1 + sigma[:, None] ** 2).sqrt()
    assert_close(flow.denoise(x, t), denoiser(z, sigma).detach(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("method", [hw.DDIM, edm.KARRAS_HEUN, hw.MIDPOINT])
def test_gradients_are_those_of_central_differences(method):
    flow, target = edm.load(Curved(), (3,)), normal(1, 3, seed=5)
    x0 = normal(2, 3).requires_grad_()

    def cost(x):
        x1 = hw.solve(flow, x, method=method, steps=flow.path.grid(6))
        return (x1 - target).square().sum()

    (gradient,) = torch.autograd.grad(cost(x0), x0)
    step = 1e-5
    for i in range(6):
        e = torch.zeros(6, dtype=F64)
        e[i] = step
        e = e.reshape(2, 3)
        with torch.no_grad():
            difference = (cost(x0 + e) - cost(x0 - e)) / (2 * step)
        assert_close(gradient.flatten()[i], difference, rtol=1e-5, atol=1e-6)


class Labelled(torch.nn.Module):
    """D for data at one point per class, given as a one-hot label as EDM's networks take it; zeros are no class."""

    def forward(self, x, sigma, class_labels=None):
        return class_labels @ torch.tensor([[2.0, 0.0], [0.0, -3.0]], dtype=x.dtype) + 0 * sigma[:, None] * x


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.0])
def test_labels_belong_to_their_problems(guidance):
    labels = torch.eye(2, dtype=F64)[[1, 0, 1]]
    flow = edm.load(
        Labelled(),
        (2,),
        condition={"class_labels": labels},
        null={"class_labels": torch.zeros(1, 2, dtype=F64)},
        guidance=guidance,
    )
    x0 = normal(3, 2)
    x1 = hw.solve(flow, x0, method=hw.DDIM, steps=flow.path.grid(6))
    expected = guidance * torch.tensor([[0.0, -3.0], [2.0, 0.0], [0.0, -3.0]], dtype=F64)
    assert_close(x1, expected, rtol=1e-9, atol=1e-9)
    index = torch.tensor([1])
    assert_close(hw.solve(flow.select(index), x0[index], method=hw.DDIM, steps=flow.path.grid(6)), x1[index])
    result = hw.control(flow, lambda x: (x - 1).square().sum(1), x0, gradients=2)
    assert len(result.status) == 3


def test_a_raw_network_is_preconditioned_by_table_1():
    s, sigma, x = 0.7, torch.tensor([0.01, 0.7, 40.0], dtype=F64), normal(3, 2)
    seen = {}

    def network(x, c_noise, shift):
        seen.update(x=x, c_noise=c_noise)
        return torch.tanh(x) + shift

    denoiser = edm.Preconditioned(network, s)
    norm = (sigma**2 + s**2).sqrt()[:, None]
    raw = torch.tanh(x / norm) + 0.5
    expected = s**2 / norm**2 * x + sigma[:, None] * s / norm * raw
    assert_close(denoiser(x, sigma, shift=0.5), expected)
    assert_close(seen["c_noise"], sigma.log() / 4)
    flow = edm.load(network, (2,), sigma_data=s, condition={"shift": torch.tensor([[0.5]], dtype=F64)})
    t = hw.find_time_of_noise(flow.path, sigma)
    assert_close(flow.denoise(x / (1 + sigma[:, None] ** 2).sqrt(), t), expected, rtol=1e-8, atol=1e-8)


def test_the_networks_are_found_and_the_levels_cut_to_theirs():
    net = Curved()
    net.sigma_min, net.sigma_max = 0.02, float("inf")
    flow = edm.load(net, (3,))
    assert flow.modules == (net,) and (flow.path.sigma_min, flow.path.sigma_max) == (0.02, 80.0)
    assert edm.load(net, (3,), sigma_data=0.5).modules == (net,)


def test_sigma_is_one_per_problem_or_broadcast():
    shapes = []

    def denoiser(x, sigma):
        shapes.append(list(sigma.shape))
        return 0 * x

    for broadcast in (False, True):
        hw.solve(edm.load(denoiser, (3, 4, 4), broadcast=broadcast), torch.zeros(2, 3, 4, 4), steps=1)
    assert shapes == [[2], [2], [2, 1, 1, 1], [2, 1, 1, 1]]


class Levelled(Curved):
    def sigma_min(self):
        return 0.02


def evaluate(denoiser, **options) -> Tensor:
    return edm.load(denoiser, (3,), **options)(normal(2, 3), torch.tensor(0.5))


@pytest.mark.parametrize(
    ("call", "what", "cure"),
    [
        (lambda: evaluate(lambda sigma, x: x), r"takes \(sigma, x\)", "swaps"),
        (lambda: evaluate(lambda x, sigma: x * sigma), r"sigma \[2\] with x \[2, 3\]", "broadcast=True"),
        (lambda: evaluate(lambda x, sigma: x[:, :1]), r"returned shape \(2, 1\)", "one tensor of x's shape"),
        (lambda: evaluate(lambda x, sigma: (x, x)), "returned tuple", "one tensor"),
        (lambda: evaluate(Levelled()), "sigma_min of the denoiser is a method", "give sigma_min to load"),
        (lambda: evaluate(Curved(), sigma_min=0.0), "from 0 to 80", "0 < sigma_min"),
        (lambda: evaluate(Curved(), sigma_min=-1.0), "from -1 to 80", "0 < sigma_min"),
        (lambda: evaluate(Curved(), sigma_max=float("nan")), "from 0.002 to nan", "0 < sigma_min"),
        (lambda: evaluate(Curved(), sigma_min=90.0), "from 90 to 80", "0 < sigma_min"),
        (lambda: evaluate(Curved(), rho=0.5), "rho = 0.5", "Give 7"),
        (lambda: evaluate(Curved(), sigma_data=0.0), "sigma_data = 0", "standard deviation"),
        (lambda: evaluate(Curved(), guidance=2.0), "no condition", "one row per problem"),
        (lambda: edm.VEPath().grid(0), "0 steps", "at least 1"),
        (lambda: edm.load(Curved(), (3,), sigma_max=0.2).noise([0]), "0.98 of the data", "noisiest level"),
    ],
)
def test_refusals(call, what, cure):
    with pytest.raises(hw.Misuse, match=what) as caught:
        call()
    assert cure in caught.value.cure and caught.value.what.endswith(".") and caught.value.cure.endswith(".")


def test_other_errors_of_a_denoiser_pass():
    def broken(x, sigma):
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        evaluate(broken)
