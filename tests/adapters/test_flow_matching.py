"""Networks v(t, x) and v(x, t): their order, labels, refusals; against torchcfm and flow_matching where installed."""

import functools
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.adapters import flow_matching

F64 = torch.float64
LABELS = torch.tensor([2, 0, 1])


class TimeFirst(torch.nn.Module):
    """v(t, x, y), in which t and x play different parts; t is a scalar or `[batch]`."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.weight = torch.nn.Parameter(torch.randn(2, 2, generator=draw, dtype=F64))
        self.shift = torch.nn.Parameter(torch.randn(3, 2, generator=draw, dtype=F64))

    def forward(self, t, x, y):
        return torch.tanh(x @ self.weight) * (1 - t.reshape(-1, 1) ** 2) + self.shift[y]


class StateFirst(TimeFirst):
    def forward(self, x, t, y):
        return super().forward(t, x, y)


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def euler(velocity, x, steps):
    times = torch.linspace(0, 1, steps + 1, dtype=x.dtype)
    for t, t_next in itertools.pairwise(times):
        x = x + (t_next - t) * velocity(x, t)
    return x


@pytest.mark.parametrize("make", [TimeFirst, StateFirst])
@pytest.mark.parametrize("expand", [False, True])
def test_both_orders_give_the_solve_of_the_formula(make, expand):
    flow = flow_matching.load(make(), (2,), condition={"y": LABELS}, expand_time=expand)
    x0, net = normal(3, 2), TimeFirst()
    with torch.no_grad():
        expected = euler(lambda x, t: net(t, x, LABELS), x0, 7)
    assert_close(hw.solve(flow, x0, method=hw.EULER, steps=7), expected)
    assert [type(found).__name__ for found in flow.modules] == [make.__name__]


def test_labels_follow_their_problems():
    flow, x0 = flow_matching.load(TimeFirst(), (2,), condition={"y": LABELS}), normal(3, 2)
    target = normal(3, 2, seed=1)
    cost = hw.Each(lambda x1, target: (x1 - target).square().sum(1), target=target)
    together = hw.control(flow, cost, x0, gradients=6)
    for i in range(3):
        index = torch.tensor([i])
        alone = hw.control(flow.select(index), cost.select(index), x0[index], gradients=6)
        assert_close(alone.x1, together.x1[index])


def test_guidance_is_the_formula():
    null = {"y": torch.tensor([1])}
    flow = flow_matching.load(TimeFirst(), (2,), condition={"y": LABELS}, null=null, guidance=2.5)
    x, t, net = normal(3, 2), torch.tensor(0.3, dtype=F64), TimeFirst()
    with torch.no_grad():
        without, with_it = net(t, x, torch.ones(3, dtype=torch.long)), net(t, x, LABELS)
    assert_close(flow(x, t), without + 2.5 * (with_it - without))


def test_gradients_are_those_of_central_differences():
    flow = flow_matching.load(TimeFirst(), (2,), condition={"y": LABELS})
    x0 = normal(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: hw.solve(flow, x, steps=4), x0)


@pytest.mark.parametrize("expand", [False, True])
def test_the_time_is_a_scalar_in_a_solve_unless_it_is_expanded(expand):
    shapes = []

    def network(t, x):
        shapes.append(list(t.shape))
        return 0 * x

    flow = flow_matching.load(network, (2,), expand_time=expand)
    hw.solve(flow, torch.zeros(3, 2), method=hw.EULER, steps=1)
    flow.denoise(torch.zeros(3, 2), torch.tensor([0.1, 0.5, 0.9]))
    assert shapes == [[3] if expand else [], [3]]


class Vague(torch.nn.Module):
    def forward(self, *args):
        return args[0]


class Keywords(torch.nn.Module):
    def forward(self, a, timesteps, y=None):
        return a


def by_word(a, b, t):
    return a


@pytest.mark.parametrize(
    ("network", "order"),
    [
        (lambda t, x: x, "tx"),
        (lambda x, t, **extras: x, "xt"),
        (lambda X, T: X, "xt"),
        (Keywords(), "xt"),
        (torch.nn.Sequential(TimeFirst())[0], "tx"),
        (functools.partial(lambda net, t, x: x, None), "tx"),
    ],
)
def test_the_order_is_read_from_the_names(network, order):
    assert flow_matching.choose_order(network, None) == order
    assert flow_matching.choose_order(network, order) == order
    with pytest.raises(hw.Misuse, match="says the opposite"):
        flow_matching.choose_order(network, {"tx": "xt", "xt": "tx"}[order])


@pytest.mark.parametrize(
    "network", [Vague(), lambda a, b: a, by_word, lambda x: x, lambda t, sigma: t, torch.add]
)
def test_an_order_that_names_do_not_tell_has_to_be_said(network):
    with pytest.raises(hw.Misuse, match="do not say which of them is the time") as caught:
        flow_matching.load(network, (2,))
    assert "order=" in caught.value.cure
    assert flow_matching.load(network, (2,), order="tx").shape == (2,)


def test_refusals():
    with pytest.raises(hw.Misuse, match="The order 'x' is none"):
        flow_matching.load(TimeFirst(), (2,), order="x")
    with pytest.raises(hw.Misuse, match="no condition"):
        flow_matching.load(TimeFirst(), (2,), guidance=2.0)
    with pytest.raises(hw.Misuse, match="'y' has 3 rows for 2 problems"):
        flow_matching.load(TimeFirst(), (2,), condition={"y": LABELS})(normal(2, 2), torch.tensor(0.5))


# Against the libraries


def test_meta_sampler_and_likelihood_are_ours():
    utils = pytest.importorskip("flow_matching.utils", reason="flow_matching is not installed")
    from flow_matching.solver import ODESolver

    class Wrapped(utils.ModelWrapper):
        def forward(self, x, t, **extras):
            return self.model(t, x, **extras)

    wrapped, x0 = Wrapped(TimeFirst()), normal(3, 2)
    flow, solver = (
        flow_matching.load(wrapped, (2,), condition={"y": LABELS}),
        ODESolver(velocity_model=wrapped),
    )
    grid = torch.linspace(0, 1, 9, dtype=F64)
    for name, method in (("euler", hw.EULER), ("midpoint", hw.MIDPOINT)):
        expected = solver.sample(x_init=x0, step_size=None, method=name, time_grid=grid, y=LABELS)
        assert_close(hw.solve(flow, x0, method=method, steps=8), expected)
    x1 = normal(3, 2, seed=4)

    def source(x):
        return -0.5 * x.square().sum(1) - math.log(2 * math.pi)

    expected = solver.compute_likelihood(
        x_1=x1,
        log_p0=source,
        step_size=None,
        method="midpoint",
        time_grid=grid.flip(0),
        exact_divergence=True,
        y=LABELS,
    )
    log_p, back = hw.log_likelihood(flow, x1, method=hw.MIDPOINT, steps=8)
    assert_close(back, expected[0], check_dtype=False)
    assert_close(log_p, expected[1], rtol=1e-6, atol=1e-6, check_dtype=False)


def test_meta_schedulers_are_paths():
    scheduler = pytest.importorskip("flow_matching.path.scheduler", reason="flow_matching is not installed")
    t = torch.linspace(0.01, 0.99, 50, dtype=F64)
    for theirs, ours in (
        (scheduler.CondOTScheduler(), hw.CondOT()),
        (scheduler.CosineScheduler(), hw.Cosine()),
        (scheduler.VPScheduler(), hw.VP()),
    ):
        path = flow_matching.load(TimeFirst(), (2,), path=theirs).path
        for name in ("alpha", "sigma", "dalpha", "dsigma"):
            assert_close(getattr(path, name)(t), getattr(ours, name)(t), msg=f"{type(ours).__name__}.{name}")
        assert path.span == ours.span


def test_a_scheduler_is_a_path():
    """The same without the library: a cubic path, against its own formula."""

    class Cubic:
        def __call__(self, t):
            self.alpha_t, self.sigma_t, self.d_alpha_t, self.d_sigma_t = t**3, 1 - t**3, 3 * t**2, -3 * t**2
            return self

    flow = flow_matching.load(lambda x, t: x, (2,), path=Cubic())
    x0, x1, t = normal(3, 2), normal(3, 2, seed=1), torch.tensor(0.4, dtype=F64)
    assert_close(flow.path.interpolate(x0, x1, t), 0.064 * x1 + 0.936 * x0)
    assert_close(flow.path.velocity(x0, x1, t), 0.48 * (x1 - x0))


@pytest.fixture(scope="module")
def unet():
    """torchcfm's own small class-conditional network; its last layer starts at zero, so all weights are drawn."""
    torchcfm = pytest.importorskip("torchcfm.models.unet", reason="torchcfm is not installed")
    net = torchcfm.UNetModel((1, 8, 8), 32, 1, channel_mult=(1, 2), num_classes=3, class_cond=True).eval()
    draw = torch.Generator().manual_seed(0)
    for weight in net.parameters():
        weight.data = 0.2 * torch.randn(weight.shape, generator=draw)
    return net


@pytest.mark.parametrize(("name", "method"), [("euler", hw.EULER), ("midpoint", hw.MIDPOINT)])
def test_torchcfm_network_is_sampled_as_by_its_examples(unet, name, method):
    """Its examples hand `model.forward(t, x, y)` to torchdiffeq; labels per problem."""
    torchdiffeq = pytest.importorskip("torchdiffeq", reason="torchdiffeq is not installed")
    flow = flow_matching.load(unet, (1, 8, 8), condition={"y": LABELS})
    x0 = normal(3, 1, 8, 8, dtype=torch.float32)
    with torch.no_grad():
        expected = torchdiffeq.odeint(
            lambda t, x: unet.forward(t, x, LABELS), x0, torch.linspace(0, 1, 5), method=name
        )[-1]
    x1 = hw.solve(flow, x0, method=method, steps=4)
    assert float((x1 - x0).std()) > 0.1
    assert_close(x1, expected, rtol=1e-4, atol=1e-4)
    index = torch.tensor([1])
    assert_close(
        hw.solve(flow.select(index), x0[index], method=method, steps=4), x1[index], rtol=1e-4, atol=1e-4
    )


def test_torchcfm_paths_are_ours():
    torchcfm = pytest.importorskip("torchcfm", reason="torchcfm is not installed")
    x0, x1, t = normal(3, 2), normal(3, 2, seed=1), torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    for matcher, path in (
        (torchcfm.ConditionalFlowMatcher(sigma=0.0), hw.CondOT()),
        (torchcfm.VariancePreservingConditionalFlowMatcher(sigma=0.0), hw.Cosine()),
    ):
        xt = matcher.compute_mu_t(x0, x1, t)
        assert_close(path.interpolate(x0, x1, t), xt)
        assert_close(path.velocity(x0, x1, t), matcher.compute_conditional_flow(x0, x1, t, xt))


def test_a_path_of_flow_matching_stands_for_its_scheduler():
    """`AffineProbPath(scheduler=...)` is what its users hold; it cannot be called."""
    scheduler = lambda t: SimpleNamespace(alpha_t=t**2, sigma_t=1 - t**2, d_alpha_t=2 * t, d_sigma_t=-2 * t)  # noqa: E731
    flow = flow_matching.load(lambda t, x: x, (2,), path=SimpleNamespace(scheduler=scheduler))
    assert float(flow.path.alpha(torch.tensor(0.5))) == 0.25 and flow.path.span == (0.0, 1.0)
