"""What holds for every flow made of flows: problems alone, control, networks found, and what is refused."""

import pytest
import torch
from core_laws import F64, MIXTURE, normal, time
from torch.testing import assert_close

import headwater as hw
from headwater import Gaussian, Guided, Misuse
from headwater.flows.annealed import AnnealedCondition
from headwater.flows.density import guide_density, scale_to_quantile
from headwater.flows.factorized import factorize, hold_component
from headwater.flows.frequency import LowPass, ScaleBands
from headwater.flows.scaled import scale_noise, scale_velocity
from headwater.flows.switched import switch_flows

PAIR = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]], dtype=F64)
TRANSFORMS = {
    "gain": guide_density(MIXTURE.flow, gain=torch.tensor([0.5, -0.5])),
    "quantile": guide_density(MIXTURE.flow, quantile=0.6),
    "noise": scale_noise(MIXTURE.flow, 1 + 0.1 * PAIR),
    "velocity": scale_velocity(MIXTURE.flow, 0.9),
    "switch": switch_flows(MIXTURE.flow, Gaussian(torch.zeros(3), torch.ones(3)).flow, 0.5),
    "annealed": hw.Flow(
        AnnealedCondition(Guided(lambda x, t, y: y - x, {"y": PAIR}, {"y": 0 * PAIR}, guidance=2.0), [4, 5]),
        (3,),
    ),
    "factorized": factorize(
        [MIXTURE.flow, Gaussian(torch.zeros(3), torch.ones(3)).flow], [LowPass(0.3, axes=(-1,))]
    ),
    "held": hold_component(MIXTURE.flow, LowPass(0.3, axes=(-1,)), PAIR),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_batch_is_its_problems_and_control_takes_it(name, dtype):
    flow, x0 = TRANSFORMS[name], normal(2, 3).to(dtype)
    cost = hw.Each(lambda x1, y: (x1 - y).square().sum(1), y=PAIR.to(dtype))
    result = hw.control(flow, cost, x0, gradients=4, method=hw.EULER, steps=4)
    assert result.x1.dtype == dtype and bool(result.x1.isfinite().all())
    assert bool((result.cost < cost(hw.solve(flow, x0, method=hw.EULER, steps=4))).all())
    for i in range(2):
        index = torch.tensor([i])
        alone = hw.solve(flow.select(index), x0[i : i + 1], method=hw.EULER, steps=4)
        assert_close(alone, hw.solve(flow, x0, method=hw.EULER, steps=4)[i : i + 1])


def test_networks_are_found_through_the_flows():
    net = torch.nn.Linear(3, 3)
    flow = hw.Flow(lambda x, t: net(x), (3,), modules=(net,))
    other = factorize([flow, MIXTURE.flow], [LowPass(0.3, axes=(-1,))])
    for made in (
        scale_noise(flow, 0.9),
        guide_density(flow, gain=1.0),
        switch_flows(flow, MIXTURE.flow, 0.5),
        other,
    ):
        assert made.modules == (net,)


@pytest.mark.parametrize(
    "make",
    [
        lambda f: LowPass(0.0),
        lambda f: LowPass(float("nan")),
        lambda f: LowPass(0.5)(torch.zeros(2, 3)),
        lambda f: ScaleBands(energy=1.0),
        lambda f: ScaleBands(low=float("inf")),
        lambda f: guide_density(f),
        lambda f: guide_density(f, gain=1.0, quantile=0.5),
        lambda f: guide_density(f, gain=float("nan")),
        lambda f: guide_density(f, quantile=1.0),
        lambda f: guide_density(f, quantile=0.6, begin=0.0),
        lambda f: guide_density(f, gain=1.0, begin=0.7, end=0.5),
        lambda f: scale_to_quantile(torch.ones(1, 3), 0.0),
        lambda f: scale_to_quantile(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), 0.5),
        lambda f: scale_to_quantile(torch.tensor([[1.0, torch.nan]]), 0.5),
        lambda f: scale_to_quantile(torch.ones(1, 3), torch.tensor([0.4, 0.6])),
        lambda f: scale_noise(f, float("nan")),
        lambda f: scale_noise(f, 0.9, begin=0.0),
        lambda f: scale_noise(f, torch.ones(3)),
        lambda f: scale_velocity(f, 0.9, begin=0.5, end=0.5),
        lambda f: switch_flows(f, f, 0.0),
        lambda f: switch_flows(f, hw.Flow(lambda x, t: x, (2,)), 0.5),
        lambda f: switch_flows(f, Gaussian(torch.zeros(3), torch.ones(3), hw.Cosine()).flow, 0.5),
        lambda f: factorize([f], []),
        lambda f: factorize([f, f], [LowPass(0.5), LowPass(0.6)]),
        lambda f: factorize([f, hw.Flow(lambda x, t: x, (2,))], [LowPass(0.5)]),
        lambda f: hold_component(f, lambda x: x, torch.zeros(3)),
        lambda f: hold_component(f, lambda x: 0.5 * x, torch.ones(1, 3)),
        lambda f: hold_component(f, lambda x: x, torch.full((1, 3), torch.nan)),
        lambda f: AnnealedCondition(Guided(f, {"y": PAIR[:1]}), [0], tau1=0.9, tau2=0.6),
        lambda f: AnnealedCondition(Guided(f, {"y": PAIR[:1]}), [0], mixing=1.5),
        lambda f: AnnealedCondition(Guided(f, {"y": PAIR[:1]}), [0], scale=-1.0),
        lambda f: AnnealedCondition(Guided(f, {"y": PAIR[:1]}), []),
        lambda f: AnnealedCondition(Guided(f, {"y": PAIR}), [0, 1, 2]),
        lambda f: AnnealedCondition(Guided(f, {"label": torch.tensor([3])}), [0]),
        lambda f: AnnealedCondition(Guided(f, {"y": PAIR[:1]}), [0], names=("z",)),
        lambda f: AnnealedCondition(Guided(f, {"y": PAIR[:1]}), [0])(torch.zeros(2, 4), time(0.1)),
    ],
)
def test_what_is_refused(make):
    with pytest.raises(Misuse) as error:
        make(MIXTURE.flow)
    assert error.value.cure
