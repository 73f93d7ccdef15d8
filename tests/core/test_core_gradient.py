"""How the solve is differentiated: exact, equal to each other, and with the memory that was promised."""

import pytest
import torch
from core_laws import F64, Counted, SmallNet, gaussian, mixture, normal, root
from torch.testing import assert_close

from headwater import DDIM, EULER, HEUN, MIDPOINT, RK4, Auto, Checkpoint, Cosine, Direct, Flow, Misuse, solve
from headwater.image.model.network import UNet, UNetConfig
from headwater.solvers import METHODS, memory
from headwater.solvers.differentiation import Strategy
from headwater.solvers.memory import PeakMemory, activation_bytes

EVERY = [Direct(), Checkpoint(), Checkpoint(2), Checkpoint(5), Checkpoint(9), Auto(), Auto(memory=1.0)]


def source_gradient(flow, x0, gradient: Strategy, **options):
    """x1 and the gradient of sum |x1|^2 sin(i) to x0."""
    x0 = x0.detach().requires_grad_()
    x1 = solve(flow, x0, gradient=gradient, **options)
    weight = torch.arange(x1.numel(), dtype=x1.dtype).sin().reshape_as(x1)
    return x1.detach(), torch.autograd.grad((x1**2 * weight).sum(), x0)[0]


@pytest.mark.parametrize("strategy", EVERY, ids=repr)
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_strategies_agree(strategy, method):
    """Checkpoint recomputes the same numbers: 1e-12, with segments (few states) or without."""
    law = mixture(2, Cosine())
    options = {"method": method, "steps": [0.0, 0.1, 0.15, 0.4, 0.5, 0.66, 0.7, 0.95]}
    x1, g = source_gradient(law.flow, normal(3, 2), Direct(), **options)
    x1_other, g_other = source_gradient(law.flow, normal(3, 2), strategy, **options)
    assert_close(x1_other, x1, rtol=1e-12, atol=1e-12)
    assert_close(g_other, g, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strategy", EVERY, ids=repr)
def test_gradcheck_through_a_network(strategy):
    """A convolutional network whose parameters want gradients; they get none."""
    net = SmallNet()
    flow = Flow(net, (2, 3, 3))
    x0 = normal(1, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: solve(flow, x, steps=4, gradient=strategy), x0)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("strategy", [Direct(), Checkpoint(), Checkpoint(8)], ids=repr)
@pytest.mark.parametrize(
    ("method", "steps"), [(EULER, 400), (MIDPOINT, 60), (HEUN, 100), (RK4, 30), (DDIM, 400)]
)
def test_gradient_of_the_gaussian_is_the_root_of_its_covariance(strategy, method, steps):
    """grad_x0 C = S^(1/2) grad C, in the limit of many steps."""
    law, _, s = gaussian(3)
    x0, cost = normal(2, 3).requires_grad_(), normal(2, 3, seed=9)
    x1 = solve(law.flow, x0, method=method, steps=steps, gradient=strategy)
    (g,) = torch.autograd.grad((x1 * cost).sum(), x0)
    assert_close(g, cost @ root(s), rtol=0, atol=2e-2 if method in (EULER, DDIM) else 1e-3)


def test_one_gradient_step_moves_x1_by_the_covariance():
    """x1 moves by -eta S grad C: directions of the data are amplified (dflow.md section 1)."""
    law, _, s = gaussian(3)
    x0, cost, eta = normal(1, 3).requires_grad_(), normal(1, 3, seed=9), 1e-3
    (g,) = torch.autograd.grad((solve(law.flow, x0, steps=200) * cost).sum(), x0)
    moved = solve(law.flow, x0 - eta * g, steps=200) - solve(law.flow, x0, steps=200)
    assert_close(moved.detach() / -eta, cost @ s, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("strategy", EVERY, ids=repr)
def test_x1_requires_a_gradient_exactly_if_x0_does(strategy):
    flow, x0 = Flow(SmallNet(), (2, 3, 3)), normal(1, 2, 3, 3)
    plain = solve(flow, x0, gradient=strategy)
    carried = solve(flow, x0.requires_grad_(), gradient=strategy)
    assert not plain.requires_grad and carried.requires_grad
    with torch.no_grad():
        assert not solve(flow, x0, gradient=strategy).requires_grad
    assert_close(plain, carried.detach(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("strategy", "forwards"), [(Direct(), 1), (Checkpoint(24), 2), (Checkpoint(8), 3)], ids=repr
)
def test_time_law(strategy, forwards):
    """n forwards for Direct, 2 n for Checkpoint, 3 n when it cuts segments (n = 24)."""
    counted = Counted(mixture(2).velocity)
    source_gradient(Flow(counted, (2,)), normal(1, 2), strategy, steps=12)
    assert len(counted.sizes) == forwards * 24


@pytest.mark.parametrize("steps", [1, 5, 12, 48, 200, 1000])
@pytest.mark.parametrize("method", [EULER, MIDPOINT, RK4], ids=lambda m: m.name)
def test_segments_hold_about_the_least_states(steps, method):
    """With segments of k steps, steps / k + k e states; the least over k is about 2 sqrt(steps e)."""
    k, e = Checkpoint(24).stride(steps, method.evaluations), method.evaluations
    if steps * e <= 24:
        assert k == 1
    else:
        assert -(-steps // k) + k * e <= 2 * (steps * e) ** 0.5 + e + 1


@pytest.fixture(scope="module")
def unet():
    """The shipped network's architecture on 16 x 16 pixels, batch 2, untrained."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(size=16, widths=(48, 48, 48), blocks=(1, 1, 1), embedding=32))
    return Flow(net, (3, 16, 16)), torch.randn(2, 3, 16, 16)


def peak(flow, x0, strategy, steps):
    """Bytes at the peak of one gradient."""
    x0 = x0.clone().requires_grad_()
    with PeakMemory() as memory:
        x1 = solve(flow, x0, steps=steps, gradient=strategy)
        torch.autograd.grad(x1.square().sum(), x0)
    return memory.peak


def test_checkpoint_memory_does_not_grow(unet):
    """24 midpoint steps take at most 1.15 x what 4 take, if an evaluation keeps 100 states or more."""
    flow, x0 = unet
    assert activation_bytes(flow, x0[:1]) >= 100 * x0[:1].nbytes
    few, many = peak(flow, x0, Checkpoint(), 4), peak(flow, x0, Checkpoint(), 24)
    assert many <= 1.15 * few
    assert few < 0.4 * peak(flow, x0, Direct(), 4)


def test_direct_memory_is_linear_and_forecast(unet):
    """The peak grows by `activation_bytes` per evaluation and problem, within 20 %."""
    flow, x0 = unet
    a, b, c = (peak(flow, x0, Direct(), n) for n in (1, 2, 4))
    assert (c - b) / 2 == pytest.approx(b - a, rel=0.02)
    assert activation_bytes(flow, x0[:1]) * len(x0) * MIDPOINT.evaluations == pytest.approx(b - a, rel=0.2)


def test_peak_memory_counts_storages():
    """8000 + 7200 + 7200 bytes at once; views and what was there before are free."""
    before = torch.zeros(10_000)
    with PeakMemory() as memory:
        a = torch.zeros(1000, dtype=F64)
        b = a.reshape(10, 100)[1:]
        del a
        before.add_(1)
        c = b + 1
        d = c * 2
        del b
        e = c + d
        del c, d, e
    assert (memory.peak, memory.live) == (22_400, 0)


def test_auto_takes_direct_if_it_fits(unet):
    flow, x0 = unet
    need = 6 * 2 * len(x0) * activation_bytes(flow, x0[:1])
    assert Auto(memory=1.01 * need).choose(flow, MIDPOINT, x0, 6) == Direct()
    assert Auto(memory=0.99 * need).choose(flow, MIDPOINT, x0, 6) == Checkpoint()
    assert Auto(memory=1.01 * need).choose(flow, MIDPOINT, x0, 7) == Checkpoint()
    assert Auto(memory=1.01 * need).choose(flow, MIDPOINT, x0[:1], 12) == Direct()
    assert Auto().choose(flow, MIDPOINT, x0, 1) == Direct()


@pytest.mark.parametrize(
    ("share", "chosen"), [(0.55, Direct()), (0.65, Checkpoint())], ids=["below", "above"]
)
def test_auto_takes_60_percent_of_what_is_free(share, chosen, monkeypatch):
    """The rest is for what else runs: a graph of 55 % of the free memory is kept, one of 65 % is not."""
    flow, x0 = Flow(SmallNet(), (2, 8, 8)), normal(3, 2, 8, 8)
    need = 6 * 2 * 3 * activation_bytes(flow, x0[:1])
    monkeypatch.setattr(memory, "available_memory", lambda device: need / share)
    assert Auto().choose(flow, MIDPOINT, x0, 6) == chosen


def test_what_torch_keeps_of_earlier_work_on_a_gpu_is_free(monkeypatch):
    """Else a second run of the same size would find less room than the first, which gave all of it back to torch."""
    for name, value in (("mem_get_info", (50, 140)), ("memory_reserved", 80), ("memory_allocated", 10)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert memory.available_memory(torch.device("cuda")) == 50 + 80 - 10


def test_auto_measures_a_network_once():
    """Also when the velocity holds data per problem, and is restricted to a new set of problems each time."""

    class Labelled(Counted):
        def select(self, index):
            part = Labelled(self.velocity)
            part.sizes = self.sizes
            return part

    flow = Flow(Labelled(mixture(2).velocity), (2,))
    for index in ([0, 1, 2], [0, 2], [1]):
        source_gradient(flow.select(torch.tensor(index)), normal(3, 2)[index], Auto(), steps=3)
    assert len(flow.velocity.sizes) == 1 + 3 * 6


def test_too_few_states_are_refused():
    with pytest.raises(Misuse, match="states >= 2"):
        Checkpoint(1)
