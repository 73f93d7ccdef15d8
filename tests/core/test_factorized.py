"""Flows of components, and a component that is held, on Gaussians whose conditional laws are known."""

import torch
from core_laws import F64, MIXTURE, normal, time
from torch.testing import assert_close

import headwater as hw
from headwater import Gaussian
from headwater.flows.factorized import factorize, hold_component
from headwater.flows.frequency import LowPass, cosine_matrix


def test_independent_components_are_drawn_by_their_own_flows():
    """Stationary laws are diagonal in the frequencies, and so each band is the band of its own flow's sample."""
    shape, low = (1, 4, 4), LowPass(0.5)
    basis = torch.kron(cosine_matrix(4), cosine_matrix(4))
    laws = []
    for seed in (0, 1):
        spectrum = 0.1 + torch.rand(16, generator=torch.Generator().manual_seed(seed), dtype=F64)
        laws.append(Gaussian(normal(16, seed=seed), basis.T @ torch.diag(spectrum) @ basis))
    flows = [hw.Flow(lambda x, t, law=law: law.flow(x.flatten(1), t).reshape_as(x), shape) for law in laws]
    x0 = normal(3, *shape, seed=5)
    x1 = hw.solve(factorize(flows, [low]), x0, method=hw.RK4, steps=60)
    a, b = (law.endpoint(x0.flatten(1)).reshape_as(x0) for law in laws)
    assert_close(x1, low(a) + b - low(b), atol=1e-4, rtol=0)


def test_one_flow_for_all_components_is_the_flow():
    x, t = normal(2, 3), time(0.3)
    same = factorize([MIXTURE.flow] * 3, [lambda x: 0.3 * x, lambda x: 0.5 * x])
    assert_close(same(x, t), MIXTURE.flow(x, t))


def test_a_held_component_is_that_of_the_reference_and_the_rest_its_law():
    law = Gaussian(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([2.0, 0.5, 1.0]))
    mask, reference = torch.tensor([1.0, 0.0, 0.0], dtype=F64), torch.tensor([[5.0, 9.0, 9.0]], dtype=F64)
    x0 = normal(4, 3)
    x1 = hw.solve(hold_component(law.flow, lambda x: mask * x, reference), x0, method=hw.RK4, steps=60)
    assert_close(x1[:, 0], torch.full((4,), 5.0, dtype=F64), atol=2e-2, rtol=0)
    assert_close(x1[:, 1:], law.endpoint(x0)[:, 1:], atol=1e-4, rtol=0)


def test_a_held_component_of_correlated_data_binds_the_rest_too_little():
    """The bias that the docstring names: the mean of x1[1] given x1[0] = 2 is 0.9 * 2."""
    law = Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]]))
    mask, reference = torch.tensor([1.0, 0.0], dtype=F64), torch.tensor([[2.0, 0.0]], dtype=F64)
    held = hold_component(law.flow, lambda x: mask * x, reference)
    mean = hw.solve(held, torch.zeros(1, 2, dtype=F64), steps=100)[0, 1]
    assert 0.3 < mean < 1.8
