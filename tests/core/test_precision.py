"""Networks that multiply in bfloat16."""

import torch
from torch import nn
from torch.testing import assert_close

import headwater as hw
from headwater.flows.conditioned import Guided
from headwater.solvers.checks import TOLERANCE, choose_tolerance


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(6, 32), nn.Linear(32, 6)
        self.kinds = []

    def forward(self, x, t, y):
        hidden = self.one(x + y)
        self.kinds.append(hidden.dtype)
        return self.two(torch.tanh(hidden)) - x


def flows(rows):
    net = Net().eval()
    flow = hw.Flow(Guided(net, {"y": torch.randn(rows, 6)}), (6,))
    return net, flow, hw.in_bfloat16(flow)


def test_the_network_alone_multiplies_in_bfloat16():
    net, flow, rounded = flows(3)
    x, t = flow.noise([0, 1, 2]), torch.tensor(0.4)
    v = rounded(x, t)
    assert net.kinds == [torch.bfloat16] and v.dtype == torch.float32
    assert 0 < (v - flow(x, t)).abs().max() < 0.02 * flow(x, t).abs().max()
    assert rounded.noise([0]).equal(flow.noise([0])) and rounded.modules == flow.modules


def test_each_problem_keeps_its_condition_and_a_solve_its_precision():
    _, flow, rounded = flows(3)
    x0, few = flow.noise([0, 1, 2]), torch.tensor([2])
    x1 = hw.solve(rounded, x0)
    assert x1.dtype == torch.float32 and (x1 - hw.solve(flow, x0)).abs().max() < 0.03
    assert_close(hw.solve(rounded.select(few), x0[few]), x1[few], rtol=0.02, atol=0.02)


def test_a_gradient_goes_through_and_problems_are_checked_by_the_lower_precision():
    _, flow, rounded = flows(4)
    assert choose_tolerance(rounded, flow.noise([0])) == TOLERANCE[torch.bfloat16] > TOLERANCE[torch.float32]
    y = hw.solve(flow, flow.noise(range(10, 14))) + 0.05 * torch.randn(4, 6)
    misfit = hw.Misfit(hw.Identity(), y, 0.05)
    ends = [hw.control(f, misfit, flow.noise(range(4)), stop=hw.discrepancy(misfit)) for f in (flow, rounded)]
    assert all(status.ok for status in ends[1].status)
    assert (ends[0].x1 - ends[1].x1).square().mean().sqrt() < 0.05


def test_of_a_model_on_latents_the_decoder_and_the_encoder_do_so_too():
    net = nn.Linear(6, 6)
    kinds = []

    def through(x):
        kinds.append(net(x).dtype)
        return net(x)

    model = hw.LatentModel(flows(1)[1], decode=through, encode=through)
    rounded = hw.in_bfloat16(model)
    assert rounded.decode(torch.ones(2, 6)).dtype == rounded.encode(torch.ones(2, 6)).dtype == torch.float32
    assert kinds == 2 * [torch.bfloat16] and rounded.steps == model.steps
    assert 0 < (rounded.decode(torch.ones(1, 6)) - net(torch.ones(1, 6))).abs().max() < 0.05
