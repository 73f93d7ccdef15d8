"""`Flow`: conversions of networks, frozen parameters, gradients that follow x0, refusals, seeds."""

import functools

import pytest
import torch
from core_laws import F64, SmallNet, gaussian, normal, time
from torch.testing import assert_close

from headwater import (
    VP,
    BetaTable,
    CondOT,
    Cosine,
    Flow,
    Gaussian,
    Misuse,
    invert,
    log_likelihood,
    solve,
)

PATHS = [CondOT(), VP(), Cosine(), BetaTable.linear(1000)]
every_path = pytest.mark.parametrize("path", PATHS, ids=["condot", "vp", "cosine", "table"])
NETWORK = SmallNet(seed=5)


def predictions(path):
    """The exact eps, xhat, u = alpha eps - sigma xhat and score of a Gaussian law, at table indices for a table."""
    law, m, s = gaussian(3, path)

    def at(clock):
        return path.time(clock.to(F64)) if isinstance(path, BetaTable) else clock

    def xhat(x, clock):
        return law.denoise(x, at(clock))

    def eps(x, clock):
        return path.eps_from_xhat(x, xhat(x, clock), at(clock))

    def u(x, clock):
        a, b, _, _ = path.coefficients(x, at(clock))
        return a * eps(x, clock) - b * xhat(x, clock)

    def score(x, clock):
        """grad log N(x; alpha m, alpha^2 C + sigma^2 I), by autograd."""
        a, b, _, _ = path.coefficients(x, at(clock))
        a, b = a.reshape(-1, 1), b.reshape(-1, 1)
        spread = (a**2)[..., None] * s + (b**2)[..., None] * torch.eye(3, dtype=F64)
        z = x.detach().requires_grad_()
        with torch.enable_grad():
            density = torch.distributions.MultivariateNormal(a * m, spread).log_prob(z)
            return torch.autograd.grad(density.sum(), z)[0]

    return law, xhat, eps, u, score


@every_path
@pytest.mark.parametrize(
    "t", [time(0.4003), torch.tensor([0.1003, 0.5003, 0.9003], dtype=F64)], ids=["one", "each"]
)
def test_networks_of_every_kind_give_the_exact_velocity(path, t):
    law, xhat, eps, u, score = predictions(path)
    x = normal(3, 3)
    for flow in (
        Flow.from_denoiser(xhat, (3,), path),
        Flow.from_noise_prediction(eps, (3,), path),
        Flow.from_v_prediction(u, (3,), path),
        Flow.from_score(score, (3,), path),
    ):
        assert_close(flow(x, t), law.velocity(x, t), rtol=1e-8, atol=1e-8)
        assert_close(flow.denoise(x, t), law.denoise(x, t), rtol=1e-8, atol=1e-8)


def test_a_converted_network_follows_its_problems():
    """A network that holds a label per problem keeps it through the conversion when problems are dropped."""

    class Labelled:
        def __init__(self, label):
            self.label = label

        def __call__(self, x, t):
            return x * self.label[:, None]

        def select(self, index):
            return Labelled(self.label[index])

    flow = Flow.from_noise_prediction(Labelled(torch.tensor([1.0, 2.0, 3.0], dtype=F64)), (2,), CondOT())
    x, t, keep = normal(3, 2), time(0.5), torch.tensor([2, 0])
    assert_close(flow.select(keep)(x[keep], t), flow(x, t)[keep], rtol=0, atol=0)


class Owner:
    """A pipeline-like thing with a network inside."""

    def __init__(self, net):
        self.net = net
        self.nets = {"main": [net]}

    def velocity(self, x, t):
        return self.net(x, t)

    def nested(self, x, t):
        return self.nets["main"][0](x, t)

    def by_global(self, x, t):
        return NETWORK(x, t)

    def __call__(self, x, t):
        return self.net(x, t)


def wrapped(function):
    @functools.wraps(function)
    def inner(x, t):
        return function(x, t)

    return inner


def ways(net):
    """Ways in which people hand over a network."""
    nets = [net]
    return {
        "module": net,
        "closure": lambda x, t: net(x, t),
        "closure over a list": lambda x, t: nets[0](x, t),
        "partial": functools.partial(lambda n, x, t: n(x, t), net),
        "keyword": functools.partial(lambda x, t, n: n(x, t), n=net),
        "method": Owner(net).velocity,
        "nested method": Owner(net).nested,
        "callable": Owner(net),
        "decorated": wrapped(lambda x, t: net(x, t)),
        "bound forward": net.forward,
    }


HIDDEN = ("closure", "closure over a list", "decorated")


@pytest.mark.parametrize("way", ways(NETWORK))
def test_parameters_get_no_gradient_and_stay_trainable(way):
    """x1.backward() reaches x0 only; x1 requires a gradient exactly if x0 does, though the network would.

    Networks in closures are not looked for: they are named with `modules`.
    """
    net = SmallNet()
    flow = Flow(ways(net)[way], (2, 4, 4), modules=(net,) if way in HIDDEN else ())
    x0 = normal(1, 2, 4, 4)
    assert flow.modules == (net,)
    assert not solve(flow, x0, steps=2).requires_grad
    x0.requires_grad_()
    x1 = solve(flow, x0, steps=2)
    x1.sum().backward()
    assert float(x0.grad.abs().min()) > 0
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    with torch.no_grad():
        assert not solve(flow, x0, steps=2).requires_grad


@pytest.mark.parametrize("way", [*HIDDEN, "global", "global method"])
def test_closures_and_globals_are_not_searched(way):
    hidden = {"global": lambda x, t: NETWORK(x, t), "global method": Owner(None).by_global}
    assert Flow((ways(NETWORK) | hidden)[way], (2, 4, 4)).modules == ()


def test_modules_survive_select_and_conversion():
    net = SmallNet()
    flow = Flow.from_denoiser(lambda x, t: net(x, t), (2, 4, 4), CondOT(), modules=(net,))
    assert flow.modules == flow.select(torch.tensor([0])).modules == (net,)


def test_parameters_frozen_by_the_user_stay_frozen():
    net = SmallNet()
    net.one.weight.requires_grad_(False)
    Flow(net, (2, 4, 4))(normal(1, 2, 4, 4), time(0.5))
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]


def test_parameters_are_released_when_the_network_fails():
    net = SmallNet()
    with pytest.raises(RuntimeError):
        Flow(net, (3, 4, 4))(normal(1, 3, 4, 4), time(0.5))
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("velocity", "what"),
    [
        (lambda x, t: x[:, :1], r"shape \(2, 1\)"),
        (lambda x, t: x.sum(), r"shape \(\)"),
        (lambda x, t: (x, x), "tuple"),
        (lambda x, t: None, "NoneType"),
    ],
)
def test_a_velocity_of_another_shape_is_refused(velocity, what):
    with pytest.raises(Misuse, match=what) as caught:
        Flow(velocity, (3,))(normal(2, 3), time(0.5))
    assert caught.value.what.endswith(".") and caught.value.cure.startswith("Return")


@pytest.mark.parametrize("velocity", [lambda x, t: -x.detach(), torch.no_grad()(lambda x, t: -x)])
def test_a_detached_velocity_is_refused(velocity):
    flow = Flow(velocity, (3,))
    flow(normal(2, 3), time(0.5))  # without gradients there is nothing to lose
    with pytest.raises(Misuse, match="does not carry gradients") as caught:
        flow(normal(2, 3).requires_grad_(), time(0.5))
    assert caught.value.cure.startswith("Remove")


def test_noise_depends_on_the_seed_only():
    flow = Flow(lambda x, t: -x, (2, 3))
    a, b = flow.noise([4, 9, 2]), flow.noise([9])
    assert_close(a[1], b[0], rtol=0, atol=0)
    assert_close(flow.noise([2, 4]), a[[2, 0]], rtol=0, atol=0)
    assert bool((a[0] != a[1]).all())
    assert_close(flow.noise([9], dtype=F64), b.to(F64), rtol=0, atol=0)


def test_noise_is_standard_normal():
    """20,000 numbers: mean 0, variance 1, kurtosis 3, within 5 standard errors."""
    z = Flow(lambda x, t: -x, (100,)).noise(range(200), dtype=F64).flatten()
    n = len(z)
    assert abs(float(z.mean())) < 5 / n**0.5
    assert abs(float((z**2).mean()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float((z**4).mean()) - 3) < 5 * (96 / n) ** 0.5


def test_dimension_of_an_event():
    assert Flow(lambda x, t: x, [3, 4, 5]).event_size == 60
    assert Gaussian(normal(7), torch.ones(7)).flow.shape == (7,)


@every_path
@pytest.mark.parametrize("kind", ["eps", "xhat", "u", "score"])
def test_every_prediction_on_every_path_can_be_solved_inverted_and_scored(path, kind):
    """x1, its inversion and log p1 are finite and near the closed form, also where a conversion divides by zero."""
    law = Gaussian(torch.tensor([0.3, -0.2]), torch.tensor([0.8, 0.5]), path)

    def network(x, clock):
        t = path.time(clock.to(F64)) if isinstance(path, BetaTable) else clock
        xhat = law.denoise(x, t)
        if kind == "xhat":
            return xhat
        v = law.velocity(x, t)
        eps = path.eps_from_v(x, v, t)
        a, b, _, _ = path.coefficients(x, t)
        return {"eps": eps, "u": a * eps - b * xhat, "score": -eps / b}[kind]

    build = {
        "eps": Flow.from_noise_prediction,
        "xhat": Flow.from_denoiser,
        "u": Flow.from_v_prediction,
        "score": Flow.from_score,
    }[kind]
    flow = build(network, (2,), path)
    x0 = flow.noise(range(3), dtype=F64)
    x1 = solve(flow, x0, steps=24)
    assert_close(x1, law.endpoint(x0), atol=0.05, rtol=0)
    assert_close(invert(flow, x1, steps=24), x0, atol=0.15, rtol=0)
    score, _ = log_likelihood(flow, x1, steps=24)
    assert_close(score, law.log_density(x1), atol=0.25, rtol=0)
