"""Inputs that other people's programs were reported to fail on, with their right values."""

import numpy as np
import pytest
import torch
from core_laws import F64, normal
from torch.testing import assert_close

import headwater as hw
from headwater import DDIM, VP, BetaTable, Flow, Misfit, Misuse, control, discrepancy, invert, solve
from headwater.optimizers.state import dot


def gaussian_flow(d=4):
    return hw.Gaussian(torch.zeros(d), torch.full((d,), 0.5)).flow


# ---- time grids


@pytest.mark.parametrize(
    "grid", [torch.linspace(0, 1, 7), np.linspace(0, 1, 7), torch.linspace(0, 1, 7, dtype=F64)], ids=repr
)
def test_a_time_grid_may_be_a_tensor_or_an_array(grid):
    flow = gaussian_flow()
    x0 = flow.noise([0])
    assert_close(solve(flow, x0, steps=grid), solve(flow, x0, steps=grid.tolist()), rtol=0, atol=0)


@pytest.mark.parametrize("steps", [np.int64(6), torch.tensor(6)], ids=repr)
def test_a_number_of_steps_may_be_of_any_integer_type(steps):
    flow = gaussian_flow()
    assert_close(solve(flow, flow.noise([0]), steps=steps), solve(flow, flow.noise([0]), steps=6))


@pytest.mark.parametrize("steps", [2.5, None, "six", torch.tensor(2.5)], ids=repr)
def test_steps_that_are_neither_are_refused(steps):
    with pytest.raises(Misuse):
        solve(gaussian_flow(), torch.zeros(1, 4), steps=steps)


# ---- complex measurements


def test_misfit_of_complex_data_is_that_of_the_moduli():
    y = torch.fft.fft(torch.tensor([[0.3, -0.2, 0.1, 0.4]]))
    misfit, x = Misfit(torch.fft.fft, y, 0.5), torch.zeros(1, 4)
    assert misfit(x).item() == pytest.approx(0.5 * (y.abs() ** 2).sum().item() / 0.25) == pytest.approx(2.4)
    assert misfit.rms(x).item() == pytest.approx((y.abs() ** 2).mean().sqrt().item() / 0.5)


def test_complex_measurements_are_fitted():
    """A Fourier transform and its inverse: x is found, down to the noise that torch calls standard."""
    g = torch.Generator().manual_seed(0)
    flow, truth, sigma = gaussian_flow(64), 0.5 * torch.randn(1, 64, generator=g), 0.2
    y = torch.fft.fft(truth) + sigma * torch.randn(1, 64, generator=g, dtype=torch.complex64)
    misfit = Misfit(torch.fft.fft, y, sigma)
    assert misfit.rms(truth).item() == pytest.approx(1, abs=0.2)
    result = control(flow, misfit, flow.noise([0]), stop=discrepancy(misfit, 1.05))
    assert result.status[0] is hw.Status.REACHED
    assert (result.x1 - truth).square().mean().sqrt() < 2 * sigma / 8  # the transform gathers 64 samples


def test_a_complex_cost_is_refused():
    flow = gaussian_flow()
    with pytest.raises(Misuse, match="complex values"):
        control(flow, lambda x: torch.fft.fft(x).sum(1), flow.noise([0]))


# ---- seeds


def test_noise_depends_on_its_seed_only():
    flow = Flow(lambda x, t: -x, (16,))
    expected = flow.noise([0, 7])
    torch.set_default_dtype(torch.float64)
    try:
        other = flow.noise([0, 7])
    finally:
        torch.set_default_dtype(torch.float32)
    torch.set_default_device("meta")  # stands for a GPU
    try:
        third = flow.noise([0, 7])
    finally:
        torch.set_default_device("cpu")
    assert torch.equal(other, expected) and torch.equal(third, expected)
    assert torch.equal(flow.noise([0, 7], dtype=F64).float(), expected)


@pytest.mark.parametrize("seed", [1.5, -1, 2**64, "0", None], ids=repr)
def test_seeds_that_are_no_whole_numbers_are_refused(seed):
    with pytest.raises(Misuse, match="seed"):
        gaussian_flow().noise([seed])


def test_the_largest_seed_works():
    flow = gaussian_flow()
    assert not torch.equal(flow.noise([2**64 - 1]), flow.noise([2**63]))


# ---- precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_states_in_half_precision_are_refused_everywhere(dtype):
    flow, x = gaussian_flow(), torch.zeros(1, 4, dtype=dtype)
    for call in (
        lambda: solve(flow, x),
        lambda: invert(flow, x),
        lambda: hw.solve_adaptive(flow, x),
        lambda: flow(x, torch.tensor(0.5)),
        lambda: flow.denoise(x, torch.tensor(0.5)),
        lambda: flow.noise([0], dtype=dtype),
        lambda: control(flow, lambda x1: x1.sum(1), x),
        lambda: hw.LBFGS().init(x),
        lambda: hw.Adam(lr=0.1).init(x),
    ):
        with pytest.raises(Misuse, match="float32"):
            call()


def test_sums_of_half_precision_do_not_overflow():
    g = torch.full((1, 12288), 140.0, dtype=torch.float16)
    assert dot(g, g).item() == pytest.approx(12288 * 140.0**2)
    misfit = Misfit(lambda x: x, torch.zeros(1, 3, 64, 64, dtype=torch.float16), 0.05)
    assert misfit.rms(torch.full((1, 3, 64, 64), 0.5, dtype=torch.float16)).item() == pytest.approx(
        10, rel=1e-3
    )


class Net(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8)).to(
            dtype
        )

    def forward(self, x, t):
        return self.layers(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_of_another_dtype_gets_a_sentence_and_works_when_it_is_named(dtype):
    net, same = Net(dtype), Net(torch.float32)
    x0 = Flow(same, (8,)).noise(range(3))
    with pytest.raises(Misuse, match=rf"weights are {dtype}.*dtype={dtype}"):
        solve(Flow(net, (8,)), x0)
    flow = Flow(net, (8,), dtype=dtype)
    x1 = solve(flow, x0)
    assert x1.dtype == torch.float32
    assert_close(x1, solve(Flow(same, (8,)), x0), atol=2e-2 if dtype is torch.bfloat16 else 1e-5, rtol=1e-2)
    cost = lambda x: (x - 0.3).square().sum(1)  # noqa: E731
    result = control(flow, cost, x0, gradients=30)
    assert float(result.cost.max()) < 0.05 * float(cost(x1).min())
    assert hw.solve_adaptive(flow, x0, rtol=1e-2, atol=1e-2).x.dtype == torch.float32


def test_a_velocity_of_lower_precision_still_moves_the_state_in_float32():
    """Small steps are not lost: 1000 steps of 1e-4 add up beside 1, which bfloat16 could not tell apart."""
    flow = Flow(lambda x, t: torch.full_like(x, 0.1).to(torch.bfloat16), (1,))
    assert solve(flow, torch.ones(1, 1), steps=1000).item() == pytest.approx(1.1, abs=1e-3)


def test_conversions_around_a_half_network_are_made_in_float32():
    path = BetaTable.linear(1000)
    eps = lambda x, t: 0.9 * x  # noqa: E731
    x0 = Flow(lambda x, t: x, (4,)).noise([0])
    exact = solve(Flow.from_noise_prediction(eps, (4,), path), x0, method=DDIM, steps=20)
    half = solve(Flow.from_noise_prediction(eps, (4,), path, dtype=torch.bfloat16), x0, method=DDIM, steps=20)
    assert_close(half, exact, rtol=5e-2, atol=5e-2)


# ---- networks that work in place


@pytest.mark.parametrize(
    "run", [solve, invert, lambda f, x: hw.solve_adaptive(f, x).x], ids=["solve", "invert", "adaptive"]
)
def test_a_network_that_works_in_place_changes_nothing_of_the_caller(run):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(4, 4))
    x0 = torch.randn(2, 4)
    kept = x0.clone()
    found = run(Flow(lambda x, t: net(x), (4,)), x0)
    assert torch.equal(x0, kept)
    assert_close(found, run(Flow(lambda x, t: net(x.clone()), (4,)), x0), rtol=0, atol=0)


# ---- paths


@pytest.mark.parametrize(
    "path", [VP(), BetaTable.linear(1000), BetaTable.scaled_linear(1000)], ids=["vp", "linear", "scaled"]
)
def test_inversion_by_ddim_is_finite_and_its_round_trip_closes(path):
    flow = Flow.from_noise_prediction(lambda x, t: 0.9 * x, (4,), path)
    x1 = torch.ones(1, 4, dtype=F64)
    gaps = []
    for steps in (50, 200):
        x0 = invert(flow, x1, method=DDIM, steps=steps)
        assert bool(torch.isfinite(x0).all())
        gaps.append((solve(flow, x0, method=DDIM, steps=steps) - x1).abs().max().item())
    assert gaps[1] < 0.05 and gaps[1] < gaps[0]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_index_of_a_level_is_exact(dtype):
    """As float and as integer: a time in float32 is never one level off."""
    for count in (10, 50, 1000):
        path = BetaTable.linear(count, 1e-4, 0.5 if count < 100 else 0.02)
        wanted = torch.arange(count)
        found = path.index(path.time(wanted.to(F64)).to(dtype))
        assert torch.equal(found, wanted.to(found.dtype)) and torch.equal(found.long(), wanted)
    seen = []
    flow = Flow.from_noise_prediction(
        lambda x, t: (seen.append(float(t)), 0 * x)[1], (1,), BetaTable.linear(1000)
    )
    solve(flow, torch.zeros(1, 1, dtype=dtype), method=DDIM, steps=5)
    assert seen == [999.0, 799.0, 599.0, 399.0, 199.0]


@pytest.mark.parametrize("level", [0, 1, 198, 500, 998])
def test_the_denoiser_at_a_level_is_that_of_the_network_in_any_dtype_of_time(level):
    """xhat = (x - sigma eps) / alpha: the detour over the velocity, infinite near t = 1, loses nothing."""
    path = BetaTable.linear(1000)
    flow = Flow.from_noise_prediction(lambda x, t: 0.3 * x, (4,), path)
    x, t = torch.linspace(-1, 1, 4)[None], path.time(torch.tensor(level, dtype=F64))
    wanted = (x.double() - path.sigma(t) * 0.3 * x.double()) / path.alpha(t)
    for time in (t, t.float()):
        assert_close(flow.denoise(x, time).double(), wanted, rtol=2e-5, atol=5e-6)


def test_zero_terminal_snr_is_refused_by_its_name():
    with pytest.raises(Misuse, match="zero terminal SNR"):
        BetaTable([0.1, 0.5, 1.0])


def test_a_schedule_that_does_not_reach_noise_has_no_source():
    flow = Flow.from_noise_prediction(lambda x, t: x, (4,), BetaTable.linear(300))
    with pytest.raises(Misuse, match=r"At t = 0 this path still has 0\.2\d of the data"):
        flow.noise([0])
    assert BetaTable.scaled_linear(1000) and Flow.from_noise_prediction(
        lambda x, t: x, (4,), BetaTable.scaled_linear(1000)
    ).noise([0]).shape == (1, 4)


def test_a_velocity_that_takes_time_first_gets_a_sentence():
    with pytest.raises(Misuse, match=r"x first"):
        solve(Flow(lambda t, x: -x, (4,)), torch.zeros(1, 4))


# ---- masks, decoders, names


def test_entries_that_were_not_measured_do_not_count():
    mask = (torch.arange(10) < 3).float()[None]
    x = torch.ones(1, 10)
    misfit = Misfit(lambda z: mask * z, mask * x, 0.5, measured=mask.bool())
    assert misfit.rms(torch.zeros(1, 10)).item() == pytest.approx(2.0)
    assert Misfit(lambda z: mask * z, mask * x, 0.5).rms(torch.zeros(1, 10)).item() == pytest.approx(
        2 * 0.3**0.5
    )
    everywhere = Misfit(
        lambda z: z, mask * x, 0.5, measured=mask.bool()
    )  # what the operator says beyond is ignored
    assert_close(everywhere(torch.zeros(1, 10)), misfit(torch.zeros(1, 10)))


def test_masks_of_each_problem_follow():
    mask = torch.tensor([[True, False, False], [True, True, False]])
    misfit = Misfit(lambda z: z, torch.zeros(2, 3), 1.0, measured=mask)
    x = torch.tensor([[2.0, 9.0, 9.0], [1.0, 1.0, 9.0]])
    assert misfit.rms(x).tolist() == [2.0, 1.0]
    assert misfit.select(torch.tensor([1])).rms(x[1:]).tolist() == [1.0]


def test_the_discrepancy_of_a_decoded_misfit():
    misfit = hw.compose(Misfit(lambda x: x, torch.full((1, 3), 2.0), 0.5), lambda z: 2 * z)
    assert discrepancy(misfit).measure(torch.zeros(1, 3)).item() == pytest.approx(4.0)
    assert misfit(torch.ones(1, 3)).item() == 0


def test_nothing_at_the_top_level_hides_a_module():
    import importlib
    import types

    for name in hw.__all__:
        thing = getattr(hw, name)
        if not isinstance(thing, types.ModuleType):
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module(f"headwater.{name}")
    assert hw.recipes.warm_start.WarmStart is hw.WarmStart


def test_composition_of_linear_operators_is_adjoint():
    from headwater.problem.operator import Identity, LinearOperator

    class Scale:
        local, stride = 2, 3

        def __call__(self, x):
            return x @ M.T

        def adjoint(self, y):
            return y @ M

    M = normal(3, 5)
    a = hw.compose(Identity(), Scale())
    x, y = normal(2, 5, seed=1), normal(2, 3, seed=2)
    assert isinstance(a, LinearOperator) and (a.local, a.stride) == (2, 3)
    assert_close((a(x) * y).sum(), (x * a.adjoint(y)).sum())
    assert not isinstance(hw.compose(Identity(), torch.tanh), LinearOperator)


def test_a_network_that_looks_up_its_time_is_told_to_round():
    table = torch.nn.Embedding(1000, 2)
    flow = Flow(lambda x, t: x + table(t), (2,), modules=(table,))
    with pytest.raises(Misuse, match=r"Give it t.round\(\).long\(\)"):
        flow(torch.zeros(1, 2), torch.tensor(0.5))


def test_a_real_measurement_of_complex_numbers_is_refused():
    misfit = Misfit(torch.fft.fft, torch.ones(1, 4), 0.1)
    with pytest.raises(Misuse, match="complex numbers and the measurement is real"):
        misfit(torch.ones(1, 4))
