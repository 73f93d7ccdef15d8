"""Methods of other papers on laws whose posterior is known in closed form: where exact, how biased, what they cost.

On a Gaussian law most of them are affine in their noise, so that the mean and covariance of their samples are known
without Monte Carlo: `law_of` runs them once with one coordinate of one draw at 1 per problem, and all others at 0.
"""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from headwater import (
    VP,
    BetaTable,
    CondOT,
    Cosine,
    Flow,
    Gaussian,
    GaussianMixture,
    Misfit,
    Misuse,
    RecipeOptions,
    Status,
)
from headwater.flows import flow as flow_module
from headwater.flows.watched import watch_flow
from headwater.image.operators import Inpaint
from headwater.recipes.rivals import levels as levels_module
from headwater.recipes.rivals.diffpir import DiffPIR
from headwater.recipes.rivals.dps import DPS, norm_gradient
from headwater.recipes.rivals.flow_chef import FlowChef
from headwater.recipes.rivals.flow_dps import FlowDPS, step_down
from headwater.recipes.rivals.lanpaint import LanPaint
from headwater.recipes.rivals.levels import CLEAN, ddim_step, ddpm_levels
from headwater.recipes.rivals.linear import find_known
from headwater.recipes.rivals.oscillator import oscillate
from headwater.recipes.rivals.ot_ode import OTODE
from headwater.recipes.rivals.pigdm import PiGDM

F64 = torch.float64
RIVALS = (DPS(), PiGDM(), OTODE(), DiffPIR(), FlowDPS(), FlowChef(), LanPaint())
each_rival = pytest.mark.parametrize("rival", RIVALS, ids=[r.about.name for r in RIVALS])
GRADIENTS = {"dps", "pigdm", "ot-ode"}  # those that differentiate the network
PER_STEP = {"lanpaint": 6}  # evaluations, 1 for the others


class Matrix:
    """x -> A x."""

    def __init__(self, a):
        self.a = a

    def __call__(self, x):
        return x @ self.a.T.to(x)

    def adjoint(self, y):
        return y @ self.a.to(y)


HALF = torch.eye(4)[:2]  # two of four coordinates


def posterior(mean, covariance, a, y, sigma_y):
    """Mean and covariance of x1 ~ N(mean, covariance) given y = A x1 + sigma_y n."""
    gain = (
        covariance
        @ a.T
        @ torch.linalg.inv(a @ covariance @ a.T + sigma_y**2 * torch.eye(len(a), dtype=a.dtype))
    )
    return mean + gain @ (y - a @ mean), covariance - gain @ a @ covariance


def sample(rival, flow, a, y, sigma_y, seeds, options=RecipeOptions(), dtype=torch.float32):  # noqa: B008
    """The result for one measurement y and many seeds."""
    operator, y = Matrix(a), y.to(dtype).expand(len(seeds), -1)
    return rival(flow, Misfit(operator, y, sigma_y), seeds, guess=operator.adjoint(y), options=options)


def law_of(rival, flow, a, y, sigma_y, monkeypatch):
    """Mean and covariance of the samples of a method that is affine in its noise, in float64."""
    count, d = count_draws(rival, flow, a, y, sigma_y, monkeypatch), flow.shape[0]
    asked = iter(range(count))

    def unit(shape, generators):
        noise, k = torch.zeros(len(generators), d, dtype=F64), next(asked)
        noise[1 + k * d : 1 + (k + 1) * d] = torch.eye(d, dtype=F64)
        return noise

    for module in (levels_module, flow_module):
        monkeypatch.setattr(module, "draw_normal", unit)
    x1 = sample(rival, flow, a, y, sigma_y, range(1 + count * d), dtype=F64).x1
    monkeypatch.undo()
    ways = x1[1:] - x1[0]
    return x1[0], ways.T @ ways


def count_draws(rival, flow, a, y, sigma_y, monkeypatch):
    """How often the method draws noise."""
    asked = []

    def none(shape, generators):
        asked.append(None)
        return torch.zeros(len(generators), *shape)

    for module in (levels_module, flow_module):
        monkeypatch.setattr(module, "draw_normal", none)
    sample(rival, flow, a, y, sigma_y, [0])
    monkeypatch.undo()
    return len(asked)


def bias(rival, mean, covariance, a, y, sigma_y, monkeypatch):
    """(mean - exact) / exact std and std / exact std, of every coordinate."""
    found = law_of(rival, Gaussian(mean, covariance).flow, a, y, sigma_y, monkeypatch)
    exact = posterior(mean.double(), covariance.double(), a.double(), y.double(), sigma_y)
    std = exact[1].diagonal().sqrt()
    return (found[0] - exact[0]) / std, found[1].diagonal().sqrt() / std


def error(rival, mean, covariance, a, y, sigma_y, monkeypatch):
    """The largest error of mean and covariance."""
    found = law_of(rival, Gaussian(mean, covariance).flow, a, y, sigma_y, monkeypatch)
    exact = posterior(mean.double(), covariance.double(), a.double(), y.double(), sigma_y)
    return max((f - e).abs().max().item() for f, e in zip(found, exact, strict=True))


# N(m, I) in three dimensions under two measurements that are neither a mask nor orthogonal.
UNIT = (torch.tensor([0.5, -1.0, 2.0]), torch.eye(3))
MIXED = torch.tensor([[1.0, 0.5, -0.5], [0.2, -1.0, 0.7]])
SEEN = torch.tensor([1.0, -1.0])


# Where a method is exact.


def test_pigdm_with_the_weight_of_the_score_is_exact_for_a_unit_gaussian(monkeypatch):
    """N(m, I) and any A: of first order in the steps, with and without fresh noise."""
    for eta in (0.0, 1.0):
        errors = [
            error(PiGDM(steps, eta, adaptive=False), *UNIT, MIXED, SEEN, 0.5, monkeypatch)
            for steps in (30, 60, 120)
        ]
        assert errors[2] < 0.06
        assert errors[0] / errors[1] == pytest.approx(2, abs=0.3)
        assert errors[1] / errors[2] == pytest.approx(2, abs=0.3)


def test_ot_ode_is_exact_for_a_unit_gaussian_when_it_starts_from_noise(monkeypatch):
    errors = [
        error(OTODE(steps, start=0.5 / steps), *UNIT, MIXED, SEEN, 0.5, monkeypatch)
        for steps in (30, 60, 120)
    ]
    assert errors[2] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.2)


def test_lanpaint_comes_near_the_conditional_law(monkeypatch):
    """Two correlated numbers of which one is known exactly: N(0.8 y, 0.36). BiG is what makes it fast."""
    law = torch.zeros(2), torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    problem = torch.eye(2)[:1], torch.tensor([1.5]), 1e-3
    found = [
        bias(r, *law, *problem, monkeypatch) for r in (LanPaint(weight=0.0), LanPaint(), LanPaint(inner=10))
    ]
    shifts, widths = [shift[1].item() for shift, _ in found], [width[1].item() for _, width in found]
    assert shifts[0] < -0.5 and shifts[1] == pytest.approx(-0.18, abs=0.05) and abs(shifts[2]) < 0.1
    assert widths[1:] == pytest.approx([1, 1], abs=0.05)


def test_a_measurement_that_says_nothing_leaves_the_prior(monkeypatch):
    """A huge noise level: those that know it give back N(m, S), up to the error of 60 steps."""
    mean, covariance = UNIT[0], torch.diag(torch.tensor([0.3, 1.0, 2.0]) ** 2)
    for rival in (PiGDM(60), PiGDM(60, eta=0.0), DiffPIR(60)):
        shift, width = bias(rival, mean, covariance, MIXED, SEEN, 1e3, monkeypatch)
        assert shift.abs().max() < 0.05 and (width - 1).abs().max() < 0.15


# How biased they are with the papers' settings. The bounds are loose; a change of sign or size is to be seen.


def half_of_a_unit_gaussian(rival, sigma_y, monkeypatch):
    """The bias for N(0, I) with two of four numbers measured: of a measured and of the other numbers."""
    shift, width = bias(
        rival, torch.zeros(4), torch.eye(4), HALF, torch.tensor([1.0, -1.0]), sigma_y, monkeypatch
    )
    assert_close(shift[0], -shift[1], atol=1e-4, rtol=0)  # y is 1 and -1: positive is away from the prior
    assert shift[2:].abs().max() < 1e-4
    return shift[0].item(), width[0].item(), width[2].item()


def test_bias_of_pigdm(monkeypatch):
    """Its weight overfits: nearer to y, and half as wide."""
    shift, width, free = half_of_a_unit_gaussian(PiGDM(), 0.1, monkeypatch)
    assert 0.05 < shift < 0.2 and 0.4 < width < 0.6 and 0.9 < free < 1.02
    shift, width, _ = half_of_a_unit_gaussian(PiGDM(), 0.5, monkeypatch)
    assert 0.35 < shift < 0.55 and 0.35 < width < 0.55


def test_bias_of_ot_ode(monkeypatch):
    """A few percent: the start from the guess, and 80 steps."""
    for sigma_y in (0.1, 0.5):
        shift, width, free = half_of_a_unit_gaussian(OTODE(), sigma_y, monkeypatch)
        assert abs(shift) < 0.12 and 0.85 < width < 1 and 0.9 < free < 1


def test_bias_of_diffpir(monkeypatch):
    """lambda = 7 trusts the network more than the measurement: drawn to the prior, and too wide where measured."""
    shift, width, free = half_of_a_unit_gaussian(DiffPIR(), 0.1, monkeypatch)
    assert -0.8 < shift < -0.3 and 2 < width < 2.8 and 0.85 < free < 1.02
    shift, width, _ = half_of_a_unit_gaussian(DiffPIR(weight=1.0), 0.1, monkeypatch)
    assert abs(shift) < 0.3 and width < 1.5


def test_flow_chef_fits_the_noise(monkeypatch):
    """It ends at y, whatever its noise, and leaves no width where something was measured."""
    for sigma_y, most in ((0.1, 0.12), (0.5, 0.5)):
        shift, width, free = half_of_a_unit_gaussian(FlowChef(), sigma_y, monkeypatch)
        assert most - 0.1 < shift < most + 0.1 and width < 0.05 and 0.95 < free < 1.05


def test_lanpaint_fits_the_noise(monkeypatch):
    shift, width, free = half_of_a_unit_gaussian(LanPaint(), 0.5, monkeypatch)
    assert shift == pytest.approx(0.2 / 0.2**0.5, abs=1e-3) and width < 1e-5 and 0.85 < free < 1.15


def test_bias_of_dps():
    """The width is that of the step, whatever the noise level."""
    flow, y = Gaussian(torch.zeros(4), torch.eye(4)).flow, torch.tensor([1.0, -1.0])
    for zeta, low, high in ((1.0, 0.2, 0.6), (0.1, 0.02, 0.06)):
        for sigma_y in (0.1, 0.5):
            x1 = sample(DPS(200, zeta), flow, HALF, y, sigma_y, range(150)).x1
            assert bool(((x1.std(0)[:2] > low) & (x1.std(0)[:2] < high)).all())
            assert (x1.std(0)[2:] - 1).abs().max() < 0.2


def test_a_weak_measurement_between_two_modes():
    """It makes them 1 to 2. The others take it for less than that, DPS for far more."""
    means = torch.tensor([[-2.0, -0.3], [2.0, 0.3]])
    law = GaussianMixture([0.5, 0.5], means, torch.tensor([0.3, 0.3]))
    second, y = torch.tensor([[0.0, 1.0]]), torch.tensor([0.15])
    odds = torch.exp(-0.5 * (means[:, 1] - y).square() / (0.3**2 + 0.2**2))
    assert (odds[0] / odds.sum()).item() == pytest.approx(1 / 3, abs=0.01)
    left = {}
    for rival in (DPS(200, 0.3), PiGDM(), OTODE(), FlowChef()):
        x1 = sample(rival, law.flow, second, y, 0.2, range(200)).x1
        left[rival.about.name] = (x1[:, 0] < 0).double().mean().item()
    assert left.pop("dps") < 0.2 and all(0.3 < share < 0.6 for share in left.values())


def test_bias_of_flow_dps():
    """Drawn to the prior and too wide at small noise; narrower than the prior where nothing was measured."""
    flow, y = Gaussian(torch.zeros(4), torch.eye(4)).flow, torch.tensor([1.0, -1.0])
    x1 = sample(FlowDPS(), flow, HALF, y, 0.1, range(1000)).x1
    assert bool((x1.mean(0)[:2].abs() < 0.96).all()) and bool((x1.mean(0)[:2].abs() > 0.8).all())
    assert bool((x1.std(0)[:2] > 0.2).all()) and bool((x1.std(0)[:2] < 0.35).all())
    assert bool((x1.std(0)[2:] > 0.7).all()) and bool((x1.std(0)[2:] < 0.9).all())


@each_rival
def test_two_modes_that_fit_alike_are_both_found(rival):
    law = GaussianMixture([0.5, 0.5], torch.tensor([[-2.0, 0.5], [2.0, 0.5]]), torch.tensor([0.3, 0.3]))
    options = RecipeOptions(steps=100 if rival.about.name == "dps" else None)
    x1 = sample(rival, law.flow, torch.tensor([[0.0, 1.0]]), torch.tensor([0.5]), 0.2, range(200), options).x1
    left = (x1[:, 0] < 0).double().mean().item()
    assert left == pytest.approx(0.5, abs=0.12)  # 3.4 standard errors
    assert ((x1[:, 0].abs() - 2).abs() < 1.2).double().mean() > 0.97


# What holds for all of them.


def problems(k=3, path=None):
    """k problems, each with its own y and noise level."""
    law = GaussianMixture(
        [0.4, 0.6],
        torch.tensor([[-1.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.0, -1.0]]),
        torch.tensor([0.5, 0.8]),
        path,
    )
    y = torch.linspace(-1, 1, 2 * k).view(k, 2)
    misfit = Misfit(Matrix(HALF), y, torch.linspace(0.1, 0.5, k))
    return law.flow, misfit, Matrix(HALF).adjoint(y)


FEW = RecipeOptions(steps=12)


@each_rival
def test_a_batch_gives_what_its_problems_give_alone(rival):
    flow, misfit, guess = problems()
    batch = rival(flow, misfit, [5, 6, 7], guess=guess, options=FEW)
    for i, seed in enumerate((5, 6, 7)):
        index = torch.tensor([i])
        alone = rival(flow, misfit.select(index), [seed], guess=guess[index], options=FEW)
        assert_close(batch.x1[index], alone.x1, rtol=1e-4, atol=1e-5)
        assert batch.status[i] is alone.status[0]


@each_rival
def test_counts_are_those_of_the_docstring(rival):
    flow, misfit, guess = problems()
    name = rival.about.name
    result = rival(flow, misfit, [0, 1, 2], guess=guess, options=FEW)
    count = 12 * PER_STEP.get(name, 1)
    assert result.evaluations.tolist() == [count] * 3
    assert result.gradients.tolist() == [count if name in GRADIENTS else 0] * 3
    assert str(rival.steps) in rival.about.cost.replace(",", "")
    assert bool(result.x0.isnan().all()) and not result.on_flow and result.state is None


@each_rival
@pytest.mark.parametrize("most", [0, 1, 7])
def test_a_watched_flow_ends_between_evaluations(rival, most):
    flow, misfit, guess = problems()
    asked = []

    def check():
        asked.append(None)
        return Status.CANCELLED if len(asked) > most else None

    result = rival(watch_flow(flow, check), misfit, [0, 1, 2], guess=guess, options=FEW)
    assert len(asked) == most + 1
    assert result.status == (Status.CANCELLED,) * 3 and bool(result.x1.isfinite().all())
    assert result.evaluations.tolist() == [most] * 3
    if most == 0:
        assert torch.equal(result.x1, guess)


@each_rival
def test_a_callback_sees_every_step_and_ends_the_run(rival):
    flow, misfit, guess = problems()
    seen = []

    def callback(event):
        seen.append(event)
        return Status.SECONDS if len(seen) == 3 else None

    options = dataclasses.replace(FEW, callback=callback)
    result = rival(flow, misfit, [0, 1, 2], guess=guess, options=options)
    assert result.status == (Status.SECONDS,) * 3 and torch.equal(result.x1, seen[-1].x1)
    assert result.evaluations.tolist() == [3 * PER_STEP.get(rival.about.name, 1)] * 3
    assert_close(seen[-1].measure, misfit.rms(seen[-1].x1).double())
    assert {event.round for event in seen} == {0}


@each_rival
def test_the_path_does_not_matter(rival):
    """Methods see noise levels, not times. VP ends at t = 0.999, and starts with 0.007 of the data."""
    results = []
    for path in (CondOT(), Cosine(), VP(), BetaTable.linear()):
        flow, misfit, guess = problems(path=path)
        results.append(rival(flow, misfit, [0, 1, 2], guess=guess, options=FEW).x1)
    for other in results[1:]:
        assert_close(other, results[0], rtol=0, atol=0.03)


@each_rival
def test_the_same_seeds_give_the_same_samples_and_nothing_is_changed_in_place(rival):
    flow, misfit, guess = problems()
    y, before = misfit.y.clone(), guess.clone()
    first = rival(flow, misfit, [0, 1, 2], guess=guess, options=FEW).x1
    assert torch.equal(first, rival(flow, misfit, [0, 1, 2], guess=guess, options=FEW).x1)
    assert torch.equal(misfit.y, y) and torch.equal(guess, before)
    other = rival(flow, misfit, [3, 4, 5], guess=guess, options=FEW).x1
    assert bool((first != other)[:, 2:].all())


@each_rival
def test_entries_that_are_no_measurements_do_not_count(rival):
    """By `measured=`: y may hold anything there."""
    flow, misfit, guess = problems()
    mask, results = torch.tensor([[True, True, False, False]]), []
    for filler in (0.0, 1e3):
        y = torch.cat([misfit.y, torch.full_like(misfit.y, filler)], 1)
        masked = Misfit(Matrix(torch.eye(4)), y, misfit.sigma_y, measured=mask)
        results.append(rival(flow, masked, [0, 1, 2], guess=guess, options=FEW).x1)
    assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


@each_rival
def test_pictures_with_holes(rival):
    """Events of three axes, an operator with a residual of its own, and a noise level per problem."""
    flow = Flow(lambda x, t: (2 * t - 1) / (t * t + (1 - t) ** 2) * x, (3, 8, 8))  # N(0, I)
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[2:6, 2:6] = False
    operator, truth = Inpaint(mask), flow.noise([8, 9])
    misfit = Misfit(operator, operator(truth), torch.tensor([0.1, 0.3]))
    steps = RecipeOptions(steps=200 if rival.about.name == "dps" else 40)
    result = rival(flow, misfit, [0, 1], guess=operator(truth), options=steps)
    assert bool((result.measure < 0.5 * misfit.rms(flow.noise([0, 1]))).all())
    alone = rival(flow, misfit.select(torch.tensor([1])), [1], guess=operator(truth)[1:], options=steps)
    assert_close(alone.x1, result.x1[1:], rtol=1e-3, atol=1e-4)
    holes = result.x1[:, :, 2:6, 2:6]
    assert 0.7 < holes.std() < 1.3 and (holes - truth[:, :, 2:6, 2:6]).std() > 0.8


@pytest.mark.parametrize("rival", [PiGDM(), OTODE()], ids=["pigdm", "ot-ode"])
def test_an_operator_without_an_adjoint_is_refused(rival):
    flow, _, guess = problems()
    with pytest.raises(Misuse, match=r"linear operators.*adjoint"):
        rival(flow, Misfit(torch.tanh, guess, 0.1), [0, 1, 2], guess=guess)


def test_lanpaint_refuses_what_is_no_mask():
    flow, _, guess = problems()
    for a in (torch.ones(1, 4), 2 * HALF, torch.tensor([[0.6, 0.8, 0.0, 0.0], [-0.8, 0.6, 0.0, 0.0]])[:1]):
        misfit = Misfit(Matrix(a), torch.zeros(3, len(a)), 0.1)
        with pytest.raises(Misuse, match=r"mask.*numbers"):
            LanPaint()(flow, misfit, [0, 1, 2], guess=guess)


def test_data_steps_of_flow_dps_without_an_adjoint_end_at_the_minimum_along_the_gradient():
    """For a mask, whose A' A is itself, they are the steps with one; for a bent operator the misfit falls."""
    x, y = torch.randn(3, 4), torch.randn(3, 2)
    known = FlowDPS().fit_data(Misfit(Matrix(HALF), y, 0.1), x)
    assert_close(FlowDPS().fit_data(Misfit(lambda x: x @ HALF.T, y, 0.1), x), known, rtol=1e-4, atol=1e-5)
    skew = Misfit(lambda x: x @ torch.tensor([[1.0, 2.0, 0.0, 0.5]]).T, y[:, :1], 0.1)
    assert bool((step_down(skew, x) != x).any()) and bool((skew(step_down(skew, x)) < 1e-3 * skew(x)).all())
    bent = Misfit(torch.tanh, torch.tensor([[0.5, -0.2, 0.1, 0.8]]).expand(3, -1), 0.05)
    assert bool((bent(FlowDPS().fit_data(bent, x / 2)) < bent(x / 2)).all())
    flow, _, guess = problems()
    result = FlowDPS()(flow, bent, [0, 1, 2], guess=guess)  # its last steps are those of the prior alone
    assert bool((result.measure < bent.rms(flow.noise([0, 1, 2])) - 2).all())


def test_a_data_step_of_flow_dps_without_a_slope_or_a_finite_misfit_changes_nothing():
    """Beyond the ends of a clamped operator there is no slope; the other problem takes its step."""
    clamped = Misfit(lambda x: x.clamp(-1, 1), torch.full((2, 4), 0.5), 0.05)
    x = torch.tensor([[3.0] * 4, [0.0] * 4])
    assert_close(step_down(clamped, x), torch.tensor([[3.0] * 4, [0.5] * 4]))
    steep = Misfit(lambda x: torch.where(x > 0.2, x, torch.nan), torch.zeros(1, 4), 0.05)
    assert step_down(steep, torch.full((1, 4), 0.3)).equal(torch.full((1, 4), 0.3))


@pytest.mark.parametrize("rival", [DPS(100), DiffPIR(20), FlowChef()], ids=["dps", "diffpir", "flow-chef"])
def test_a_non_linear_operator_is_fitted(rival):
    flow, _, guess = problems()
    y = torch.tanh(torch.tensor([[0.5, -0.2, 0.1, 0.8]])).expand(3, -1)
    result = rival(flow, Misfit(torch.tanh, y, 0.05), [0, 1, 2], guess=guess)
    assert bool((result.measure < 8).all()) and bool(result.x1.isfinite().all())


# The parts.


def test_the_ancestral_step_has_the_law_of_the_path():
    """From u_t = alpha_t x1 + sigma_t eps with the true x1 as xhat: u_s ~ N(alpha_s x1, sigma_s^2)."""
    now, then = ddpm_levels(CondOT(), 10)[4:6]
    noise = iter(torch.randn(2, 100000, 1, generator=torch.Generator().manual_seed(0)))
    x1 = torch.full((100000, 1), 0.7)
    for eta in (0.0, 1.0):
        u = now.alpha * x1 + now.sigma * next(noise)
        u = ddim_step(
            u, x1, now, then, eta, lambda: torch.randn(100000, 1, generator=torch.Generator().manual_seed(9))
        )
        assert u.mean().item() == pytest.approx(then.alpha * 0.7, abs=0.01)
        assert u.std().item() == pytest.approx(then.sigma, rel=0.02)
    assert torch.equal(ddim_step(u, x1, then, CLEAN, 1.0, lambda: u), x1)


def test_norm_gradient_is_that_of_the_norm_and_zero_at_zero():
    _, misfit, _ = problems()
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (exact,) = torch.autograd.grad((Matrix(HALF)(x) - misfit.y).norm(dim=1).sum(), x)
    assert_close(norm_gradient(misfit, x.detach()), exact)
    assert bool((norm_gradient(misfit, Matrix(HALF).adjoint(misfit.y)) == 0).all())


def test_the_oscillator_keeps_its_stationary_law_and_is_a_semigroup():
    """Two half steps are a whole one, and N(f / a, 1 / a) x N(0, 1) stays."""
    a, friction, f = 4.0, 1.5, torch.full((200000,), 2.0)
    g = torch.Generator().manual_seed(0)

    def noise():
        return tuple(torch.randn(2, len(f), generator=g))

    u, v = f / a + noise()[0] / a**0.5, noise()[1]
    u, v = oscillate(u, v, f, noise(), a, friction, 0.3)
    assert u.mean().item() == pytest.approx(0.5, abs=0.01) and u.std().item() == pytest.approx(0.5, rel=0.01)
    assert (
        v.std().item() == pytest.approx(1, rel=0.01)
        and torch.corrcoef(torch.stack([u, v]))[0, 1].abs() < 0.01
    )
    zero, one = (torch.zeros(1), torch.zeros(1)), torch.ones(1)
    whole = oscillate(one, one, one, zero, a, friction, 0.3)
    half = oscillate(*oscillate(one, one, one, zero, a, friction, 0.15), one, zero, a, friction, 0.15)
    assert_close(half, whole)


def test_find_known_sees_the_mask_and_the_numbers():
    misfit = Misfit(Matrix(HALF[[1, 0]]), torch.tensor([[3.0, 4.0]]), 1e-4)
    known, y = find_known(misfit, torch.zeros(1, 4))
    assert known.tolist() == [[True, True, False, False]]
    assert_close(y, torch.tensor([[4.0, 3.0, 0.0, 0.0]]))
