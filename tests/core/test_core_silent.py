"""What would once have been a wrong answer without a word: each case was found by trying."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from core_laws import F64, normal
from problems import EXACT, quadratic
from torch import nn
from torch.testing import assert_close

import headwater as hw
from headwater import (
    Adam,
    Checkpoint,
    Direct,
    Each,
    Flow,
    Misfit,
    Misuse,
    Status,
    Stop,
    WarmStart,
    control,
    solve,
)
from headwater.flows.recompute import recompute
from headwater.flows.windowed import extend_to_canvas
from headwater.problem.operator import Identity, LinearOperator
from headwater.recipes.estimate import solve_proximal

LAW = hw.Gaussian(torch.zeros(4), torch.tensor([1.0, 2.0, 0.5, 0.3])).flow


def square(x):
    return x.flatten(1).square().sum(1)


# ---- gradients


def test_recomputed_parts_can_be_differentiated_twice():
    x = normal(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: recompute(lambda y: torch.sin(y) * y, z), (x,))
    assert torch.autograd.gradgradcheck(lambda z: recompute(lambda y: torch.sin(y) * y, z), (x,))


def test_the_likelihood_of_a_canvas_has_one_gradient_however_it_is_cut():
    """Chunks are recomputed in the backward pass, also in that of the divergence."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 1, 3, padding=1)).double()
    canvas = extend_to_canvas(Flow(lambda x, t: net(x), (1, 8, 8), modules=(net,)), (16, 16))
    x = canvas.noise([0], dtype=F64).requires_grad_()
    found = [
        torch.autograd.grad(
            hw.TargetLikelihood(replace(canvas, velocity=replace(canvas.velocity, chunk=c)), steps=2)(
                x
            ).sum(),
            x,
        )[0]
        for c in (2, 1000)
    ]
    assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_a_checkpointed_solve_under_autocast_may_be_differentiated_outside_of_it():
    net = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 64)).requires_grad_(False)
    flow = Flow(lambda x, t: 3 * net(x), (64,))
    gradients = []
    for strategy in (Checkpoint(), Direct()):
        x = flow.noise(range(2)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            x1 = solve(flow, x, gradient=strategy)
        gradients.append(torch.autograd.grad(x1.square().sum(), x)[0])
    assert_close(*gradients, rtol=2e-2, atol=2e-2)


# ---- networks that change what they are given


@pytest.mark.parametrize("make", ["velocity", "noise", "denoiser", "v", "score"])
@pytest.mark.parametrize("what", ["x", "t"])
def test_in_place_networks_are_right_in_every_constructor(make, what):
    def careless(x, t):
        if what == "x":
            return torch.sin(x.mul_(0.5))
        return x * torch.cos(t.mul_(3.0))

    def careful(x, t):
        return torch.sin(0.5 * x) if what == "x" else x * torch.cos(3.0 * t)

    build = {
        "velocity": lambda n: Flow(n, (2,)),
        "noise": lambda n: Flow.from_noise_prediction(n, (2,), hw.VP()),
        "denoiser": lambda n: Flow.from_denoiser(n, (2,), hw.CondOT()),
        "v": lambda n: Flow.from_v_prediction(n, (2,), hw.Cosine()),
        "score": lambda n: Flow.from_score(n, (2,), hw.VP()),
    }[make]
    x, t = normal(3, 2), torch.tensor(0.5, dtype=F64)
    kept = x.clone()
    for call in (lambda f: f(x, t), lambda f: f.denoise(x, t), lambda f: solve(f, x, steps=3)):
        assert_close(call(build(careless)), call(build(careful)), **EXACT)
    assert torch.equal(x, kept) and float(t) == 0.5


def test_costs_and_stops_that_work_in_place_are_refused():
    flow = Flow(lambda x, t: -x, (2,))

    def clamps(x):
        x.clamp_(0, 1)
        return (x - 2).square().sum(1)

    with pytest.raises(Misuse, match="cost changes its argument"):
        control(flow, clamps, flow.noise([0, 1]))
    with pytest.raises(Misuse, match="stop changes its argument"):
        control(flow, square, flow.noise([0, 1]), stop=Stop(lambda x: x.mul_(0).sum(1) + 1, 0.5))


# ---- problems that lose their data


def test_labels_that_four_problems_cannot_tell_are_found_by_turning_all():
    label = torch.tensor([1.0, 1, 3, 1, 3, 1, 3, 3, 1])
    flow = Flow(lambda x, t: label[: len(x), None] * x, (2,))
    with pytest.raises(Misuse, match="velocity of problem"):
        control(flow, quadratic(0.0), flow.noise(range(9)))


def test_random_costs_are_no_excuse():
    """A cost with a new crop at every call is refused as such, and cannot hide undeclared data behind its noise."""
    y, g = 2 * normal(6, 64), torch.Generator().manual_seed(0)
    flow = hw.Gaussian(torch.zeros(64), torch.ones(64)).flow

    def cost(x1):
        i = int(torch.randint(0, 48, (), generator=g))
        return (x1 - y[: len(x1)])[:, i : i + 16].square().sum(1)

    with pytest.raises(Misuse):
        control(flow, cost, flow.noise(range(6), dtype=F64))


def test_adaptive_solves_refuse_undeclared_data_and_take_whole_batches():
    rate = torch.tensor([1.0, 2.0, 8.0], dtype=F64)
    x = torch.tensor([[1e-9] * 2, [1.0] * 2, [1.0] * 2], dtype=F64)
    with pytest.raises(Misuse, match="do not follow"):
        hw.solve_adaptive(Flow(lambda x, t: rate[: len(x), None] * x, (2,)), x)
    expected = x * torch.exp(rate)[:, None]
    for velocity in (
        Each(lambda x, t, r: r[:, None] * x, r=rate),
        hw.WholeBatch(lambda x, t: rate[:, None] * x),
    ):
        out = hw.solve_adaptive(Flow(velocity, (2,)), x, rtol=1e-9, atol=1e-12)
        assert_close(out.x, expected, rtol=1e-6, atol=1e-9)
        assert len(set(out.evaluations.tolist())) > 1  # they do not end together


@pytest.mark.parametrize("kind", ["array", "mapping", "tuple"])
def test_rows_of_arrays_and_mappings_follow(kind):
    rate = torch.tensor([1.0, 2.0, 3.0])
    data = {"array": rate.numpy(), "mapping": {"rate": rate}, "tuple": tuple(rate)}[kind]

    def velocity(x, t, c):
        c = (
            c["rate"]
            if isinstance(c, dict)
            else torch.stack(c)
            if isinstance(c, tuple)
            else torch.as_tensor(c)
        )
        return -c[:, None] * x

    flow = Flow(Each(velocity, c=data), (2,))
    result = control(flow, square, flow.noise(range(3)), gradients=5)
    assert_close(result.x1, solve(flow, result.x0), **EXACT)
    with pytest.raises(Misuse, match="3 rows for 2 problems"):
        flow(torch.zeros(2, 2), torch.tensor(0.5))


def test_the_users_own_error_is_quoted():
    calls = []

    def flaky(x):
        calls.append(1)
        if len(x) == 1:
            raise RuntimeError("database down")
        return square(x)

    with pytest.raises(Misuse, match="database down"):
        control(LAW, flaky, LAW.noise([0, 1]))


# ---- networks that the flow does not know


def test_trainable_weights_in_a_closure_are_named_or_frozen():
    """They would hide that x is detached on the way: the weights alone would carry the gradient."""
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))
    x0 = LAW.noise([0, 1])
    with pytest.raises(Misuse, match=r"modules=\(network,\)"):
        control(Flow(lambda x, t: net(x.detach()), (4,)), square, x0)
    with pytest.raises(Misuse, match="does not carry gradients"):
        control(Flow(lambda x, t: net(x.detach()), (4,), modules=(net,)), square, x0)
    assert control(
        Flow(lambda x, t: net(x), (4,), modules=(net,)), square, x0, gradients=2
    ).gradients.tolist() == [2, 2]
    net.requires_grad_(False)
    assert control(Flow(lambda x, t: net(x), (4,)), square, x0, gradients=2).gradients.tolist() == [2, 2]


def test_time_features_in_another_dtype_get_a_sentence():
    class Timed(nn.Module):
        def __init__(self):
            super().__init__()
            self.time, self.state = nn.Linear(1, 8), nn.Linear(4, 8)

        def forward(self, x, t):
            return self.state(x)[:, :4] + self.time(t.expand(len(x))[:, None])[:, :4]

    flow = Flow(Timed().bfloat16(), (4,), dtype=torch.bfloat16)
    with pytest.raises(Misuse, match=r"t\.to\(x\.dtype\)"):
        solve(flow, flow.noise([0]))


def test_large_buffers_are_not_copied_and_inference_buffers_are_no_crash():
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            with torch.inference_mode():
                self.register_buffer("table", torch.ones(4))

        def forward(self, x, t):
            return -x * self.table.clone()

    flow = Flow(Quantised().eval(), (4,))
    assert control(flow, square, flow.noise([0]), gradients=1).gradients.tolist() == [1]


# ---- measurements


class Fourier(LinearOperator):
    kind = "fourier"

    def __call__(self, x):
        return torch.fft.fft(x, norm="ortho")

    def adjoint(self, y):
        return torch.fft.ifft(y, norm="ortho").real


def test_a_warm_start_takes_complex_measurements():
    truth = normal(2, 4).float()
    misfit = Misfit(Fourier(), torch.fft.fft(truth, norm="ortho"), 0.05)
    result = WarmStart()(LAW, misfit, [0, 1], guess=torch.zeros(2, 4))
    assert result.status == (Status.REACHED,) * 2
    assert float((result.x1 - truth).abs().max()) < 0.3
    assert_close(Fourier().pseudo_inverse(misfit.y), truth, rtol=1e-4, atol=1e-4)


def test_the_proximal_step_of_a_masked_measurement_is_the_dense_one():
    xhat, y, r, sigma = normal(2, 4), normal(2, 4, seed=1), 0.5, 0.2
    mask = torch.tensor([[True, True, False, False]])
    expected = torch.where(mask, (xhat / r**2 + y / sigma**2) / (1 / r**2 + 1 / sigma**2), xhat)
    assert_close(
        solve_proximal(Misfit(Identity(), y, sigma, measured=mask), xhat, r), expected, rtol=1e-6, atol=1e-6
    )


def test_one_measurement_serves_several_seeds_with_any_operator():
    misfit = Misfit(Identity(), torch.zeros(1, 4), 0.1)
    result = WarmStart()(LAW, misfit, range(3), guess=torch.zeros(1, 4))
    assert result.x1.shape == (3, 4) and result.status == (Status.REACHED,) * 3


def test_masks_of_a_misfit_are_checked_and_hide_what_is_missing():
    y = torch.tensor([[1.0, 2.0, float("nan"), 0.0]])
    misfit = Misfit(lambda x: x, y, 0.1, measured=~y.isnan())
    assert misfit.rms(torch.tensor([[1.0, 2.0, 5.0, 0.0]])).item() == 0
    row = torch.tensor([True, True, False, False])
    assert Misfit(lambda x: x, torch.zeros(2, 4), 1.0, measured=row).rms(torch.ones(2, 4)).tolist() == [
        1.0,
        1.0,
    ]
    for bad in (row[None].float(), torch.zeros(1, 4, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)):
        with pytest.raises(Misuse, match="measured is"):
            Misfit(lambda x: x, torch.zeros(2, 4), 1.0, measured=bad)
    with pytest.raises(Misuse, match="sigma_y has the shape"):
        Misfit(lambda x: x, torch.zeros(2, 4), torch.tensor([0.1, 0.2, 0.3]))


def test_a_composition_keeps_what_a_plain_operator_says():
    class Below:
        def __call__(self, x):
            return x

        def residual(self, x, y):
            return (x - y).clamp(min=0)

        def count(self, y):
            return torch.tensor(2)

    misfit, x = Misfit(Below(), torch.zeros(1, 4), 1.0), torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    through = hw.compose(misfit, lambda z: z)
    assert misfit(x).item() == through(x).item() == 1.0
    assert misfit.rms(x).item() == through.rms(x).item() == 1.0


def test_a_misfit_of_the_users_own_kind_survives_the_correction():
    @dataclass(frozen=True)
    class Weighted(Misfit):
        weight: float = 1.0

        def __call__(self, x1):
            return self.weight * super().__call__(x1)

    misfit = Weighted(lambda x: x, torch.ones(1, 4), 0.1, None, 2.0)
    result = WarmStart(correct_round_trip=True)(LAW, misfit, [0], guess=torch.ones(1, 4))
    assert_close(result.cost, misfit(result.x1).double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "thing", [hw.NegativePSNR(Misfit(lambda x: x, torch.zeros(1, 4), 1.0)), square], ids=["psnr", "cost"]
)
def test_only_a_misfit_has_a_discrepancy(thing):
    with pytest.raises(Misuse, match="no noise level"):
        hw.discrepancy(thing)


# ---- going on, and time


def test_what_cannot_be_resumed_is_refused():
    misfit = Misfit(lambda x: x, torch.ones(2, 4), 0.05)
    corrected = WarmStart(correct_round_trip=True, gradients=2, tau=0.1)(
        LAW, misfit, [0, 1], guess=torch.zeros(1, 4)
    )
    with pytest.raises(Misuse, match="corrected after the solve"):
        control(LAW, misfit, LAW.noise([0, 1]), state=corrected)
    other = control(LAW, misfit, LAW.noise([0, 1]), optimizer=Adam(lr=0.1), gradients=3)
    with pytest.raises(Misuse, match="another optimiser than LBFGS"):
        control(LAW, misfit, LAW.noise([0, 1]), state=other)
    with pytest.raises(Misuse, match="x0 is"):
        control(LAW, misfit, LAW.noise([0, 1, 2]), state=other.state, optimizer=Adam(lr=0.1))


def test_a_resumed_run_counts_what_made_its_start():
    misfit = Misfit(lambda x: x, torch.ones(2, 4), 0.01)
    first = WarmStart(gradients=1, tau=1e-3)(LAW, misfit, [0, 1], guess=torch.zeros(1, 4))
    again = control(LAW, misfit, LAW.noise([0, 1]), state=first, gradients=2, steps=hw.logit_grid(8))
    assert first.preparation == again.preparation == 56
    assert (again.evaluations == 56 + 2 * 16).all()


def test_after_a_cancel_in_the_estimate_no_control_begins():
    seen = []

    def callback(event):
        seen.append(event.round)
        return Status.CANCELLED if event.round == 0 else None

    misfit = Misfit(lambda x: x, torch.ones(2, 4), 0.1)
    result = WarmStart(tau=0.01)(
        LAW, misfit, [0, 1], guess=torch.zeros(1, 4), options=hw.RecipeOptions(callback=callback)
    )
    assert seen == [0] and result.status == (Status.CANCELLED,) * 2


@pytest.mark.parametrize("run", ["control", "invert"])
def test_times_that_run_from_the_data_to_the_source_are_refused(run):
    grid = np.linspace(1, 0, 7)
    with pytest.raises(Misuse, match="time runs from the source"):
        control(LAW, square, LAW.noise([0]), steps=grid) if run == "control" else hw.invert(
            LAW, torch.ones(1, 4), steps=grid
        )
