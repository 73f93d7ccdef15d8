"""Flows made of flows: sums of scores, stacks of parts, regions of a canvas."""

import math

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.flows.composed import combine_flows, stack_flows
from headwater.flows.regions import Region, place_regions
from headwater.flows.windowed import extend_to_canvas, place_windows
from headwater.problem.parts import SumOfParts
from headwater.recipes.composition import Projected

F64 = torch.float64


def gaussian(mean, std, path=None):
    return hw.Gaussian(torch.tensor(mean, dtype=F64), torch.tensor(std, dtype=F64), path)


# Sums


def test_a_sum_of_weight_one_has_the_summed_score():
    """At any t and on any path: score = sum w_i score_i, and so the velocity is affine in the scores."""
    for path in (hw.CondOT(), hw.Cosine(), hw.VP()):
        a, b = gaussian([1.0, 0.0], [1.0, 0.5], path), gaussian([0.0, 2.0], [0.3, 1.0], path)
        flow, x, t = (
            combine_flows([a.flow, b.flow], (1.5, -0.5)),
            torch.randn(4, 2, dtype=F64),
            torch.tensor(0.6),
        )
        score = path.score_from_v(x, flow(x, t), t)
        each = [path.score_from_v(x, law.flow(x, t), t) for law in (a, b)]
        assert_close(score, 1.5 * each[0] - 0.5 * each[1])


def test_the_sum_of_scores_is_biased_as_the_docstring_says():
    """Equal weights of N(0, 1) and N(0, 1/4): v = (v_1 + v_2) / 2 gives the product of the standard deviations."""
    flow = combine_flows([gaussian([0.0], [s]).flow for s in (1.0, 0.5)], (0.5, 0.5))
    x1 = hw.solve(flow, torch.ones(1, 1, dtype=F64), method=hw.RK4, steps=48)
    assert abs(float(x1) ** 2 - 0.5) < 1e-3 and abs(1 / (0.5 + 0.5 * 4) - 0.4) < 1e-12


def test_a_flow_without_weight_is_not_asked():
    def never(x, t):
        raise AssertionError

    flow = combine_flows([hw.Flow(lambda x, t: -x, (1,)), hw.Flow(never, (1,))], (1.0, 0.0))
    assert flow(torch.ones(1, 1), torch.tensor(0.5)).item() == -1


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0), (math.nan, 1.0)])
def test_weights_that_do_not_sum_to_one_are_refused(weights):
    with pytest.raises(hw.Misuse, match="do not sum to 1"):
        combine_flows([gaussian([0.0], [1.0]).flow] * 2, weights)


def test_data_per_problem_follows_its_problems():
    each = hw.Flow(hw.Each(lambda x, t, rate: rate[:, None] * x, rate=torch.tensor([1.0, 2.0, 3.0])), (2,))
    still = hw.Flow(lambda x, t: 0 * x, (2,))
    x, t, index = torch.ones(3, 2), torch.tensor(0.5), torch.tensor([2, 0])
    flow = combine_flows([each, still], (0.5, 0.5))
    assert_close(flow.select(index)(x[index], t), flow(x, t)[index])
    stack = stack_flows([each, still])
    both = torch.ones(3, 2, 2)
    assert_close(stack.select(index)(both[index], t), stack(both, t)[index])
    picture = hw.Flow(hw.Each(lambda x, t, k: k[:, None, None, None] * x, k=torch.arange(3.0)), (1, 2, 2))
    canvas = place_regions([Region(picture), Region(picture, left=1)], (2, 3))
    x = torch.ones(3, 1, 2, 3)
    assert_close(canvas.select(index)(x[index], t), canvas(x, t)[index])


def test_networks_of_all_flows_are_found():
    nets = [torch.nn.Linear(2, 2) for _ in range(2)]

    class Velocity:
        def __init__(self, net):
            self.net = net

        def __call__(self, x, t):
            return self.net(x)

    flows = [hw.Flow(Velocity(net), (2,)) for net in nets]
    assert set(combine_flows(flows, (0.5, 0.5)).modules) == set(nets) == set(stack_flows(flows).modules)


# Parts


def test_signal_and_noise_are_parted_by_the_wiener_filter():
    """y = x + n of two Gaussians with full covariances: the mean and the variances of x given y are known."""
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 2, generator=g, dtype=F64) for _ in range(2))
    s, r = a @ a.T + 0.2 * torch.eye(2), b @ b.T + 0.2 * torch.eye(2)
    m, y, noise = torch.tensor([1.0, -1.0], dtype=F64), torch.tensor([[0.5, 1.0]]), 0.3
    flow = stack_flows([hw.Gaussian(m, s).flow, hw.Gaussian(torch.zeros(2, dtype=F64), r).flow])
    misfit = hw.Misfit(SumOfParts(), y, noise)
    gain = s @ torch.linalg.inv(s + r + noise**2 * torch.eye(2))
    mean, covariance = m + gain @ (y[0] - m), s - gain @ s
    x = hw.posterior(flow, misfit, [3], chains=48, draws=1, steps=6).x1[0, :, 0, 0].double()
    assert_close(x.mean(0), mean, atol=0.3, rtol=0)
    assert_close(x.var(0), covariance.diagonal(), rtol=0.6, atol=0)


def test_the_sum_of_parts_is_linear_with_its_adjoint():
    operator = SumOfParts((2.0, -0.5, 1.0))
    x, y = torch.randn(2, 3, 4, dtype=F64), torch.randn(2, 4, dtype=F64)
    assert_close((operator(x) * y).sum(), (x * operator.adjoint(y)).sum())
    assert_close(operator(operator.pinv(y)), y)
    assert_close(operator.norm(x.shape), hw.LinearOperator.norm(operator, x.shape), rtol=1e-3, atol=0)
    ridge = operator.pinv(y, ridge=0.7)
    assert_close(ridge, hw.LinearOperator.pinv(operator, y, ridge=0.7))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(hw.Misuse, match="does not have 2 parts"):
        SumOfParts()(torch.ones(1, 3, 4))
    for gains in ((), (0.0, 0.0), (math.inf,)):
        with pytest.raises(hw.Misuse, match="make no sum"):
            SumOfParts(gains)
    with pytest.raises(hw.Misuse, match="paths"):
        stack_flows([gaussian([0.0], [1.0]).flow, gaussian([0.0], [1.0], hw.VP()).flow])
    with pytest.raises(hw.Misuse, match="No flow"):
        stack_flows([])


# Constraints between parts


def tie(stds, seeds=range(200)):
    """Two samples of one number each that are to be equal."""
    flow = stack_flows([gaussian([m], [s]).flow for m, s in zip((-1.0, 2.0), stds, strict=True)])
    same = Projected(lambda x1: x1.mean(1, keepdim=True).expand_as(x1))
    x1 = hw.solve_stochastic(flow, flow.noise(seeds, F64), seeds, method=same, steps=60)
    assert_close(x1[:, 0], x1[:, 1], atol=1e-9, rtol=0)
    return x1[:, 0, 0]


def test_a_constraint_between_parts_of_one_covariance_has_the_exact_law():
    """N(-1, 1) and N(2, 1) given that both are equal: N(1/2, 1/2)."""
    x = tie((1.0, 1.0))
    assert abs(float(x.mean()) - 0.5) < 0.16 and abs(float(x.std()) - math.sqrt(0.5)) < 0.12


def test_a_constraint_between_unequal_parts_is_biased():
    """N(-1, 1) and N(2, 1/16) given equality have the mean 1.82; the projection forgets who is known better."""
    exact = (-1 + 2 * 16) / 17
    assert float(tie((1.0, 0.25)).mean()) < exact - 0.3


def test_projections_that_are_none_are_refused():
    flow = gaussian([0.0, 0.0], [1.0, 1.0]).flow
    for project in (lambda x1: x1[:, :1], lambda x1: x1 / 0):
        with pytest.raises(hw.Misuse, match="projection"):
            hw.solve_stochastic(flow, flow.noise([0]), [0], method=Projected(project))


# Regions


def law_flow(mean, size=(2, 2)):
    """N(mean, 1/4) at every pixel of one channel."""
    law = hw.Gaussian(torch.full((4,), mean), torch.full((4,), 0.5))
    return hw.Flow(lambda x, t: law.velocity(x.flatten(1), t).reshape(x.shape), (1, *size))


def test_regions_of_one_flow_are_its_windows():
    g = torch.Generator().manual_seed(0)
    net = torch.randn(16, 16, generator=g, dtype=F64) / 4
    flow = hw.Flow(lambda x, t: torch.tanh(x.flatten(1) @ net).reshape(x.shape), (1, 4, 4))
    windowed = extend_to_canvas(flow, (6, 8))
    corners = [(top, left) for top in place_windows(6, 4, 2) for left in place_windows(8, 4, 2)]
    regions = place_regions([Region(flow, *corner) for corner in corners], (6, 8))
    x, t = torch.randn(2, 1, 6, 8, generator=g, dtype=F64), torch.tensor(0.3)
    assert_close(regions(x, t), windowed(x, t), rtol=1e-6, atol=1e-6)


def test_regions_that_do_not_overlap_keep_their_laws():
    flow = place_regions([Region(law_flow(-2.0)), Region(law_flow(3.0), left=2)], (2, 4))
    x1 = hw.solve(flow, flow.noise(range(100)), steps=24)
    assert abs(float(x1[..., :2].mean()) + 2) < 0.1 and abs(float(x1[..., 2:].mean()) - 3) < 0.1
    assert abs(float(x1[..., :2].std()) - 0.5) < 0.06


def test_a_weight_gives_a_region_a_form():
    """A column of the second region has no weight: there the first alone counts."""
    form = torch.tensor([[0.0, 1e6], [0.0, 1e6]])
    flow = place_regions([Region(law_flow(0.0)), Region(law_flow(4.0), weight=form)], (2, 2))
    x, t = torch.zeros(1, 1, 2, 2), torch.tensor(0.5)
    assert_close(flow(x, t)[..., 0], law_flow(0.0)(x, t)[..., 0])
    assert_close(flow(x, t)[..., 1], law_flow(4.0)(x, t)[..., 1], rtol=1e-4, atol=1e-4)


def test_control_works_on_a_canvas_of_regions():
    flow = place_regions([Region(law_flow(-1.0)), Region(law_flow(1.0), left=1)], (2, 3))
    cost = hw.Misfit(hw.Identity(), torch.zeros(1, 1, 2, 3), 0.1)
    assert float(hw.control(flow, cost, flow.noise([0]), gradients=8).cost) < 0.1


def test_regions_that_do_not_fit_are_refused():
    flow = law_flow(0.0)
    for regions, canvas, words in (
        ([], (2, 2), "No region"),
        ([Region(flow)], (2, 3), "belong to no region"),
        ([Region(flow, left=2)], (2, 3), "leaves the canvas"),
        ([Region(flow), Region(hw.Flow(lambda x, t: -x, (3, 2, 2)))], (2, 2), "same channels"),
    ):
        with pytest.raises(hw.Misuse, match=words):
            place_regions(regions, canvas)
    for settings in ({"top": -1}, {"weight": torch.ones(3, 3)}, {"weight": -torch.ones(2, 2)}):
        with pytest.raises(hw.Misuse):
            Region(flow, **settings)
