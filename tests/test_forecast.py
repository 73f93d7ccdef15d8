"""The forecast of memory against what `control` really takes."""

import pytest
import torch

from headwater.dflow.control import control
from headwater.dflow.forecast import forecast
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.image.model.network import UNet, UNetConfig
from headwater.optimizers import LBFGS, Adam
from headwater.problem.compose import compose
from headwater.problem.cost import Misfit
from headwater.problem.operator import Identity
from headwater.solvers import EULER, MIDPOINT
from headwater.solvers.differentiation import Auto, Checkpoint, Direct
from headwater.solvers.memory import PeakMemory

torch.set_num_threads(1)


class Velocity:
    def __init__(self, network):
        self.network = network

    def __call__(self, x, t):
        return self.network(x, t, None)


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(0)
    return Flow(Velocity(UNet(UNetConfig()).eval()), (3, 64, 64))


def measured(flow, batch, **options):
    misfit = Misfit(lambda x: x[..., ::2], torch.zeros(1, 3, 64, 32), 0.1)
    x0 = flow.noise(range(batch))
    with PeakMemory() as memory:
        result = control(flow, misfit, x0, gradients=3, **options)
    assert result.gradients.tolist() == [3] * batch
    return memory.peak


def predicted(flow, batch, **options):
    misfit = Misfit(lambda x: x[..., ::2], torch.zeros(1, 3, 64, 32), 0.1)
    return forecast(flow, misfit, batch, **options)


@pytest.mark.parametrize(
    ("strategy", "batch"), [(Direct(), 1), (Checkpoint(), 3), (Checkpoint(states=4), 1)], ids=str
)
def test_the_memory_of_the_shipped_network_is_forecast_within_20_percent(flow, batch, strategy):
    options = dict(steps=3, gradient=strategy)
    seen = predicted(flow, batch, **options)
    assert seen.strategy == strategy
    assert seen.bytes == pytest.approx(measured(flow, batch, **options), rel=0.2)


def through_decoder(width):
    """A small network on latents, and a misfit behind a decoder with so many channels."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 32, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(32, 4, 3, padding=1)
    )
    decoder = torch.nn.Sequential(
        torch.nn.Upsample(scale_factor=8),
        torch.nn.Conv2d(4, width, 3, padding=1),
        torch.nn.SiLU(),
        torch.nn.Conv2d(width, 3, 3, padding=1),
    )
    flow = Flow(lambda x, t: network(x), (4, 16, 16), modules=(network,))
    misfit = compose(Misfit(Identity(), torch.zeros(1, 3, 128, 128), 0.1), decoder)
    return flow, misfit


@pytest.mark.parametrize("strategy", [Direct(), Checkpoint()], ids=str)
@pytest.mark.parametrize("width", [2, 16])
def test_the_memory_of_a_decoder_in_the_cost_is_forecast_within_10_percent(strategy, width):
    """A small network on latents, and a decoder that takes more memory than the whole solve, or less."""
    flow, misfit = through_decoder(width)
    options = dict(steps=6, gradient=strategy)
    with PeakMemory() as memory:
        control(flow, misfit, flow.noise([0, 1]), gradients=3, **options)
    assert forecast(flow, misfit, 2, **options).bytes == pytest.approx(memory.peak, rel=0.1)


@pytest.mark.parametrize("optimizer", [LBFGS(memory=40), Adam(lr=0.1)], ids=lambda o: type(o).__name__)
def test_the_state_of_the_optimiser_counts(flow, optimizer):
    options = dict(steps=1, method=EULER, gradient=Direct(), optimizer=optimizer)
    assert predicted(flow, 2, **options).bytes == pytest.approx(measured(flow, 2, **options), rel=0.2)


def test_where_the_optimiser_is_all_there_is():
    flow = Flow(lambda x, t: -x, (100_000,))
    x0 = flow.noise([0, 1])
    with PeakMemory() as memory:
        control(flow, lambda x1: x1.square().sum(1), x0, gradients=4, steps=2, gradient=Direct())
    seen = forecast(flow, lambda x1: x1.square().sum(1), 2, steps=2, gradient=Direct())
    assert seen.bytes == pytest.approx(memory.peak, rel=0.2)


def test_direct_grows_with_the_steps_and_checkpoint_does_not(flow):
    few, many = (predicted(flow, 1, steps=n, gradient=Direct()).bytes for n in (6, 48))
    assert 6 < many / few < 8.2
    few, many = (predicted(flow, 1, steps=n, gradient=Checkpoint()).bytes for n in (6, 48))
    assert many / few < 1.15


def test_auto_says_what_it_takes(flow):
    assert predicted(flow, 1, gradient=Auto(memory=1e6)).strategy == Checkpoint()
    assert predicted(flow, 1, gradient=Auto(memory=1e12)).strategy == Direct()


def test_auto_leaves_room_for_a_decoder_in_the_cost():
    """Beside a decoder that keeps 8 MB a solve of 3 MB no longer fits into 10 MB, and alone it does."""
    flow = Flow(lambda x, t: (0.1 * x).sin(), (64_000,))  # keeps 256 kB an evaluation

    def decoded(x1):
        return sum((x1 + k).sin().sum(1) for k in range(31))

    def plain(x1):
        return x1.sum(1)

    auto, x0 = Auto(memory=10e6), flow.noise([0])
    for cost, expected in ((plain, Direct()), (decoded, Checkpoint())):
        assert forecast(flow, cost, 1, steps=6, gradient=auto).strategy == expected
        with PeakMemory() as memory:
            control(flow, cost, x0, steps=6, gradients=1, gradient=auto)
        with PeakMemory() as fixed:
            control(flow, cost, x0, steps=6, gradients=1, gradient=expected)
        assert memory.peak == pytest.approx(fixed.peak, rel=0.02)


@pytest.mark.parametrize("width", [2, 16])
def test_auto_holds_its_memory_through_a_decoder(width):
    """The least memory in which `Auto` takes `Direct` is what the control takes, within 10 %."""
    flow, misfit = through_decoder(width)
    x0 = flow.noise([0, 1])
    direct = forecast(flow, misfit, 2, steps=6, gradient=Direct()).bytes
    for share, expected in ((0.9, Checkpoint()), (1.02, Direct())):
        auto = Auto(memory=share * direct)
        assert auto.leave_room(flow, misfit, MIDPOINT, x0, 6).choose(flow, MIDPOINT, x0, 6) == expected
    with PeakMemory() as memory:
        control(flow, misfit, x0, steps=6, gradients=2, gradient=Auto(memory=1.02 * direct))
    assert memory.peak <= 1.1 * 1.02 * direct


def test_seconds_are_positive_and_checkpoint_counts_its_forwards(flow, monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(
        "headwater.dflow.forecast._now", lambda device: float(next(ticks))
    )  # 1 s for anything
    assert predicted(flow, 1, steps=5, gradient=Direct()).seconds_per_gradient == 5 * 2 * 2 + 1
    assert predicted(flow, 1, steps=5, gradient=Checkpoint()).seconds_per_gradient == 5 * 2 * 3 + 1
    assert predicted(flow, 1, steps=50, gradient=Checkpoint()).seconds_per_gradient == 50 * 2 * 4 + 1


def test_misuse():
    flow = Flow(lambda x, t: -x, (2,))
    with pytest.raises(Misuse, match="0 problems"):
        forecast(flow, lambda x: x.sum(1), 0)
    with pytest.raises(Misuse, match="one value per problem"):
        forecast(flow, lambda x: x.sum(), 2)


def test_a_network_on_another_method(flow):
    options = dict(steps=2, method=MIDPOINT, gradient=Direct())
    half = predicted(flow, 1, steps=4, method=EULER, gradient=Direct()).bytes
    assert predicted(flow, 1, **options).bytes == pytest.approx(half, rel=0.01)
