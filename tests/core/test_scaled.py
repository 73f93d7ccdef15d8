"""Scaled noise and velocity, and flows that are switched, where the answer is known."""

import pytest
import torch
from core_laws import F64, MIXTURE, normal, time
from torch.testing import assert_close

import headwater as hw
from headwater import Gaussian
from headwater.flows.frequency import ScaleBands
from headwater.flows.scaled import scale_noise, scale_velocity
from headwater.flows.switched import switch_flows


@pytest.mark.parametrize("omega", [0.8, 1.0, 1.3])
def test_scaled_noise_on_a_gaussian_has_the_known_spread(omega):
    """d(x/alpha) = omega eps d(sigma/alpha) has the solution in the docstring, from `begin` on."""
    begin, s = 0.2, 0.7
    law = Gaussian(torch.zeros(1), torch.tensor([s]))
    flow, grid = scale_noise(law.flow, omega, begin=begin), torch.linspace(begin, 1, 81).double()
    x1 = hw.solve(flow, law.endpoint(torch.ones(1, 1, dtype=F64), 0.0, begin), method=hw.RK4, steps=grid)
    r = (1 - begin) / begin
    assert_close(x1.item(), s**omega * (s * s + r * r) ** ((1 - omega) / 2), rtol=1e-4, atol=0)


def test_a_ddim_step_of_scaled_noise_is_omegances():
    x, t, t_next, omega = normal(3, 3), time(0.4), time(0.5), 0.93
    eps = MIXTURE.path.eps_from_v(x, MIXTURE.flow(x, t), t)
    expected = 0.5 * (x - 0.6 * omega * eps) / 0.4 + 0.5 * omega * eps
    found = hw.DDIM.step(scale_noise(MIXTURE.flow, omega), MIXTURE.path, x, t, t_next)
    assert_close(found, expected)


def test_a_velocity_is_scaled_about_its_mean():
    x, t = normal(3, 3), time(0.4)
    v, mean = MIXTURE.flow(x, t), MIXTURE.flow(x, t).mean(1, keepdim=True)
    assert_close(scale_velocity(MIXTURE.flow, 0.9)(x, t), mean + 0.9 * (v - mean))
    assert_close(scale_velocity(MIXTURE.flow, 0.9, keep_mean=False)(x, t), 0.9 * v)


def test_masks_schedules_and_bands_scale_too():
    x, t, mask = normal(3, 3), torch.tensor([0.1, 0.4, 0.9], dtype=F64), 1 + 0.1 * normal(3, 3, seed=2)
    v, eps = MIXTURE.flow(x, t), MIXTURE.path.eps_from_v(x, MIXTURE.flow(x, t), t)
    masked = scale_noise(MIXTURE.flow, mask, begin=0.2, end=0.8)
    expected = MIXTURE.path.v_from_eps(x, mask * eps, t)
    assert_close(masked(x, t), torch.stack([v[0], expected[1], v[2]]))  # only the second is within the times
    assert_close(masked.select(torch.tensor([1]))(x[1:2], t[1]), expected[1:2])
    late = scale_velocity(MIXTURE.flow, lambda v, t: (1 + t[:, None]) * v, keep_mean=False)
    assert_close(late(x, t), (1 + t[:, None]) * v)
    bands = scale_noise(MIXTURE.flow, lambda eps, t: ScaleBands(1.0, 0.0, 0.01, axes=(-1,))(eps))
    assert_close(bands(x, t), MIXTURE.path.v_from_eps(x, eps.mean(1, keepdim=True).expand(3, 3), t))


@pytest.mark.parametrize(
    ("method", "begin", "end"),
    [
        *((method, 0.3, 0.7) for method in (hw.EULER, hw.HEUN, hw.MIDPOINT, hw.RK4)),
        *(
            (method, 0.1 * 3, 1.0) for method in (hw.EULER, hw.MIDPOINT)
        ),  # others ask at 0.3 for the step before
    ],
)
def test_a_change_between_two_times_holds_for_the_steps_between_them(method, begin, end):
    """v = 1 and 2 between the times: x1 = 1 + end - begin, whatever places of a step a method asks at."""
    flow = scale_velocity(hw.Flow(lambda x, t: 1 + 0 * x, (1,)), 2.0, begin=begin, end=end, keep_mean=False)
    for dtype in (torch.float32, F64):
        x1 = hw.solve(flow, torch.zeros(1, 1, dtype=dtype), method=method, steps=10)
        assert x1.item() == pytest.approx(1 + end - begin, abs=1e-6)


def test_a_switched_flow_is_one_after_the_other():
    first, second = (
        Gaussian(torch.ones(2), torch.tensor([2.0, 1.0])),
        Gaussian(-torch.ones(2), torch.tensor([0.5, 1.0])),
    )
    flow, x0 = switch_flows(first.flow, second.flow, at=0.25), normal(3, 2)
    x1 = hw.solve(flow, x0, method=hw.MIDPOINT, steps=400)
    assert_close(x1, second.endpoint(first.endpoint(x0, 0.0, 0.25), 0.25, 1.0), atol=1e-4, rtol=0)
    t = torch.tensor([0.2, 0.25, 0.3], dtype=F64)
    assert_close(flow(x0, t), torch.cat([first.flow(x0, t)[:1], second.flow(x0, t)[1:]]))


def test_a_switch_at_a_time_of_the_grid_from_other_arithmetic_is_no_step_late():
    assert 0.1 * 3 > 0.3
    up, down = (hw.Flow(lambda x, t, v=v: v + 0 * x, (1,)) for v in (1, -1))
    x1 = hw.solve(switch_flows(up, down, at=0.1 * 3), torch.zeros(1, 1, dtype=F64), method=hw.EULER, steps=10)
    assert x1.item() == pytest.approx(-0.4)
