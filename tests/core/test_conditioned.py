"""Guidance of a conditional network, with a condition per problem."""

import pytest
import torch

import headwater as hw
from headwater.errors import Misuse


class Net(torch.nn.Module):
    """v = W x + U c(label) t: enough to see every argument."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = torch.nn.Parameter(torch.randn(4, 4, generator=generator, dtype=torch.float64) / 2)
        self.u = torch.nn.Parameter(torch.randn(3, 4, generator=generator, dtype=torch.float64))
        self.calls = []

    def forward(self, x, t, text, scale=None):
        self.calls.append(len(x))
        v = x @ self.w + (text @ self.u) * torch.as_tensor(t).reshape(-1, 1)
        return v if scale is None else v * scale


@pytest.fixture
def text():
    return torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


NULL = {"text": torch.zeros(1, 3, dtype=torch.float64)}


def make(text, guidance, together=True):
    return hw.Guided(Net(), {"text": text}, NULL, guidance=guidance, together=together)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("guidance", [-1.0, 0.0, 0.5, 1.0, 7.5])
@pytest.mark.parametrize("t", [torch.tensor(0.3), torch.tensor([0.1, 0.5, 0.9])])
def test_guidance_is_the_formula(text, guidance, together, t):
    velocity, x = make(text, guidance, together), torch.ones(3, 4, dtype=torch.float64)
    net = Net()
    null, v = net(x, t, torch.zeros(3, 3, dtype=torch.float64)), net(x, t, text)
    torch.testing.assert_close(velocity(x, t.double()), null + guidance * (v - null))


def test_calls_of_the_network(text):
    x, t = torch.ones(3, 4, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    counted = {}
    for guidance, together in [(1.0, True), (0.0, True), (2.0, True), (2.0, False)]:
        velocity = make(text, guidance, together)
        velocity(x, t)
        counted[guidance, together] = velocity.network.calls
    assert counted == {(1.0, True): [3], (0.0, True): [3], (2.0, True): [6], (2.0, False): [3, 3]}


def test_a_batch_with_its_own_conditions_equals_one_by_one(text):
    target = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    cost = hw.Each(lambda x1, target: (x1 - target).square().sum(1), target=target)
    flow = hw.Flow(make(text, 2.0), shape=(4,))
    x0 = flow.noise([0, 1, 2], dtype=torch.float64)
    together = hw.control(flow, cost, x0, gradients=8)
    for i in range(3):
        index = torch.tensor([i])
        alone = hw.control(
            hw.Flow(flow.velocity.select(index), shape=(4,)), cost.select(index), x0[i : i + 1], gradients=8
        )
        torch.testing.assert_close(alone.x1, together.x1[i : i + 1])
    different = hw.solve(flow, x0[:1].expand(3, -1))
    assert (different[0] - different[1]).abs().max() > 0.1


def test_one_condition_serves_all_problems_and_follows_select(text):
    velocity = make(text[:1], 2.0)
    x, t = torch.ones(3, 4, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    torch.testing.assert_close(velocity(x, t), make(text[:1].repeat(3, 1), 2.0)(x, t))
    torch.testing.assert_close(velocity.select(torch.tensor([2]))(x[:1], t), velocity(x, t)[2:])


def test_the_network_is_found_and_not_trained(text):
    flow = hw.Flow(make(text, 2.0), shape=(4,))
    assert [type(net).__name__ for net in flow.modules] == ["Net"]


@pytest.mark.parametrize("guidance", [float("nan"), float("inf")])
def test_a_guidance_that_is_not_finite_is_refused(text, guidance):
    with pytest.raises(Misuse, match="is not finite"):
        make(text, guidance)


def test_guidance_without_null_is_refused(text):
    hw.Guided(Net(), {"text": text})
    with pytest.raises(Misuse, match="needs the network without its condition"):
        hw.Guided(Net(), {"text": text}, guidance=2.0)


def test_wrong_rows_are_refused(text):
    with pytest.raises(Misuse, match="'text' has 3 rows for 2 problems"):
        make(text, 2.0)(torch.ones(2, 4, dtype=torch.float64), torch.tensor(0.5))
