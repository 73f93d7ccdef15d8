"""Networks that multiply in bfloat16."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import headwater as hw
from headwater.errors import Misuse
from headwater.flows.conditioned import Guided
from headwater.flows.precision import is_in_bfloat16
from headwater.flows.watched import watch_flow
from headwater.flows.windowed import extend_to_canvas
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


def test_a_canvas_and_a_watch_do_not_hide_the_lower_precision():
    """`control` compares problems with the tolerance of what computes, however deep it lies."""
    flow = hw.Flow(nn.Conv2d(1, 1, 3, padding=1).eval(), (1, 8, 8))
    flow = hw.Flow(hw.Each(lambda x, t, net: net(x), net=flow.velocity), (1, 8, 8), modules=flow.modules)
    for wrap in (
        lambda f: watch_flow(f, lambda: None),
        lambda f: extend_to_canvas(f, (12, 8)),
        lambda f: extend_to_canvas(watch_flow(f, lambda: None), (12, 8)),
    ):
        for found, kind in ((wrap(flow), torch.float32), (wrap(hw.in_bfloat16(flow)), torch.bfloat16)):
            assert choose_tolerance(found, found.noise([0])) == TOLERANCE[kind]


def test_a_flow_in_bfloat16_stays_itself():
    rounded = flows(2)[2]
    assert is_in_bfloat16(rounded) and hw.in_bfloat16(rounded) is rounded


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_network_in_another_precision_is_refused(dtype):
    with pytest.raises(Misuse, match=r"only one in float32 can multiply in bfloat16\. Leave it"):
        hw.in_bfloat16(hw.Flow(Net().to(dtype), (6,), dtype=dtype))


def test_a_network_alone_is_refused():
    with pytest.raises(Misuse, match=r"A Net is no flow and no model on latents\. Give hw\.Flow"):
        hw.in_bfloat16(Net())


@pytest.mark.parametrize(
    "make", ["from_denoiser", "from_noise_prediction", "from_score", "from_v_prediction"]
)
def test_predictions_are_converted_in_float32_and_both_gradients_agree(make):
    net = Net().eval()
    flow = getattr(hw.Flow, make)(lambda x, t: net(x, t, 0), (6,), hw.CondOT(), modules=(net,))
    rounded, x = hw.in_bfloat16(flow), flow.noise([0, 1])
    gap = rounded(x, torch.tensor(0.4)) - flow(x, torch.tensor(0.4))
    assert (
        net.kinds[0] == torch.bfloat16 and 0 < gap.abs().max() < 0.02 * flow(x, torch.tensor(0.4)).abs().max()
    )
    x0, slopes = x.requires_grad_(), []
    for strategy in (hw.Direct(), hw.Checkpoint()):
        cost = hw.solve(rounded, x0, steps=3, gradient=strategy).square().sum()
        slopes.append(torch.autograd.grad(cost, x0)[0])
    assert_close(*slopes, rtol=1e-6, atol=1e-6)


def test_a_graph_holds_a_copy_of_the_weights():
    net = nn.Sequential(*[part for _ in range(4) for part in (nn.Linear(64, 64), nn.SiLU())]).eval()
    flow = hw.Flow(hw.Each(lambda x, t, net: net(x), net=net), (64,), modules=(net,))
    need = [
        hw.forecast(f, lambda x: x.sum(1), 1, steps=1, gradient=hw.Direct()).bytes
        for f in (flow, hw.in_bfloat16(flow))
    ]
    assert need[1] - need[0] > 2 * sum(p.numel() for p in net.parameters())
