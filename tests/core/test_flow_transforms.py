"""Flows made of flows: density guidance, scaling, switching, annealing and factorizing, where the answer is known."""

import math

import pytest
import torch
from core_laws import F64, gaussian, normal, time
from scipy import stats
from torch.testing import assert_close

import headwater as hw
from headwater import CondOT, Gaussian, GaussianMixture, Guided, Misuse
from headwater.flows.annealed import AnnealedCondition
from headwater.flows.density import chi_square_quantile, guide_density, scale_to_quantile
from headwater.flows.factorized import factorize, hold_component
from headwater.flows.frequency import (
    BandGuidance,
    LowPass,
    ScaleBands,
    cosine_matrix,
    frequency_radius,
    from_frequencies,
    to_frequencies,
)
from headwater.flows.scaled import scale_noise, scale_velocity
from headwater.flows.switched import switch_flows

MIXTURE = GaussianMixture(
    [0.4, 0.6], torch.tensor([[-1.0, 0.5, 0.0], [1.0, 0.0, -0.5]]), torch.tensor([0.6, 0.4])
)


# Frequencies


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_cosine_transform_is_scipys(n):
    from scipy.fft import dct

    x = normal(3, n)
    assert_close(to_frequencies(x, (-1,)), torch.tensor(dct(x.numpy(), norm="ortho")))
    assert_close(cosine_matrix(n) @ cosine_matrix(n).T, torch.eye(n, dtype=F64))


def test_frequencies_that_were_first_asked_for_in_inference_mode_have_gradients():
    cosine_matrix.cache_clear()
    with torch.inference_mode():
        LowPass(0.3, axes=(-1,))(normal(1, 3))
    x = normal(1, 3).requires_grad_()
    assert_close(torch.autograd.grad(LowPass(0.01, axes=(-1,))(x).sum(), x)[0], torch.ones(1, 3, dtype=F64))


def test_a_low_pass_is_a_projection_and_a_soft_one_a_symmetric_blur():
    x, y = normal(2, 3, 8, 6), normal(2, 3, 8, 6, seed=1)
    sharp, soft = LowPass(0.3), LowPass(0.3, soft=True)
    assert_close(sharp(sharp(x)), sharp(x))
    for component in (sharp, soft):
        assert_close((component(x) * y).sum(), (x * component(y)).sum())
        assert_close(component(x).mean((-2, -1)), x.mean((-2, -1)))  # frequency 0 passes
    assert 0 < sharp(x).norm() < x.norm()


def test_bands_are_scaled():
    x, low = normal(2, 3, 8, 6), LowPass(0.4)
    assert_close(ScaleBands(2.0, 0.5, 0.4)(x), 2 * low(x) + 0.5 * (x - low(x)))
    assert_close(ScaleBands(1.0, 1.0)(x), x)


def test_the_energy_cutoff_is_the_least_radius_with_this_share():
    bands = ScaleBands(1.0, 0.0, energy=0.7)
    x = from_frequencies(normal(4, 1, 8, 8) / (0.1 + frequency_radius((1, 8, 8), (-2, -1))), (-2, -1))
    c, r = to_frequencies(x, bands.axes), frequency_radius((1, 8, 8), (-2, -1))
    cut = bands.energy_radius(c, r)
    for i in range(4):
        kept = c[i].square()[r <= cut[i]].sum() / c[i].square().sum()
        less = c[i].square()[r < cut[i]].sum() / c[i].square().sum()
        assert kept >= 0.7 > less
    assert_close(bands(x)[2:3], bands(x[2:3]))  # a problem does not see its neighbours
    assert_close(
        bands(x).square().sum((1, 2, 3)) / x.square().sum((1, 2, 3)) >= 0.7, torch.ones(4, dtype=torch.bool)
    )


def test_guidance_by_bands_scales_the_difference():
    null, v = normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1)
    plain = Guided(lambda x, t, y: y, {"y": v}, {"y": null}, guidance=3.0)
    even = Guided(
        lambda x, t, y: y, {"y": v}, {"y": null}, guidance=3.0, combine=BandGuidance(ScaleBands(1.0, 1.0))
    )
    assert_close(even(v, time(0.5)), plain(v, time(0.5)))
    low = LowPass(0.3)
    bands = BandGuidance(ScaleBands(0.0, 2.0, 0.3))(null, v, 3.0)
    assert_close(bands, null + 6 * ((v - null) - low(v - null)))


# Density


def test_the_density_of_a_gaussian_rises_by_the_gain():
    law, _, _ = gaussian(4)
    x0, gain = normal(5, 4), torch.tensor([-2.0, -0.5, 0.0, 0.3, 0.6])
    plain = hw.solve(law.flow, x0, method=hw.RK4, steps=60)
    guided = hw.solve(guide_density(law.flow, gain=gain), x0, method=hw.RK4, steps=60)
    room = law.log_density(law.means).item() - law.log_density(plain)  # up to the mode
    assert (room > gain).all()
    assert_close(law.log_density(guided) - law.log_density(plain), gain.double(), atol=1e-2, rtol=0)


def test_the_density_of_a_gaussian_reaches_a_quantile_by_its_gain():
    """What is missing to the quantile of log p1 among draws is the gain."""
    law, _, s = gaussian(6, seed=3)
    x0 = hw.solve(law.flow, law.sample(range(4)), method=hw.RK4, steps=[1.0, 0.8, 0.6, 0.4, 0.2, 0.0])
    top = -0.5 * float(torch.logdet(2 * math.pi * s))
    target = top - 0.5 * stats.chi2.ppf(1 - 0.7, 6)
    now = law.log_density(hw.solve(law.flow, x0, method=hw.RK4, steps=80))
    guided = guide_density(law.flow, gain=target - now)
    reached = law.log_density(hw.solve(guided, x0, method=hw.RK4, steps=80))
    assert_close(reached, torch.full_like(reached, target), atol=2e-2, rtol=0)


@pytest.mark.parametrize("how", [{"gain": 1.5}, {"quantile": 0.8}])
def test_the_rate_of_the_log_density_on_a_mixture_is_the_formula(how):
    """d log p_t / dt along v' is -div v + b, by differences of the exact log-density in time and space."""
    x, t, h = normal(4, 3), 0.4, 1e-5
    guided = guide_density(MIXTURE.flow, **how)
    v = guided(x, time(t))
    ahead, behind = (MIXTURE.log_density(x + s * h * v, t + s * h) for s in (1, -1))
    from headwater.solvers.likelihood import divergence

    _, div = divergence(MIXTURE.flow, x, time(t), None, False)
    # On the straight path alpha'/alpha - sigma'/sigma = 1 / (t (1 - t)).
    b = 1.5 if "gain" in how else math.sqrt(6) * stats.norm.ppf(0.8) / (t * (1 - t))
    assert_close((ahead - behind) / (2 * h), b - div, atol=1e-5, rtol=1e-5)


def test_the_quantile_is_the_papers_scaling_of_the_score():
    x, t, q = normal(3, 3), time(0.7), 0.35
    v = MIXTURE.flow(x, t)
    eps = CondOT().eps_from_v(x, v, t)
    eta = 1 + math.sqrt(2 * 3) * stats.norm.ppf(q) / eps.square().sum(1, keepdim=True)
    assert_close(guide_density(MIXTURE.flow, quantile=q)(x, t), CondOT().v_from_eps(x, eta * eps, t))
    assert_close(guide_density(MIXTURE.flow, quantile=0.5)(x, t), v)
    assert_close(guide_density(MIXTURE.flow, quantile=q)(x, time(0.01)), MIXTURE.flow(x, time(0.01)))


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


def test_nothing_is_pushed_at_a_mode():
    flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    for how in ({"gain": 1.0}, {"quantile": 0.9}):
        assert_close(guide_density(flow, **how)(torch.zeros(1, 2), torch.tensor(0.5)), torch.zeros(1, 2))


def test_chi_square_quantiles_are_scipys():
    q, d = torch.tensor([1e-6, 0.1, 0.5, 0.9, 1 - 1e-9], dtype=F64), torch.tensor([1.0, 2, 30, 768, 12288])
    for degrees in d:
        assert_close(
            chi_square_quantile(q, degrees),
            torch.tensor(stats.chi2.ppf(q, float(degrees))),
            rtol=1e-6,
            atol=0,
        )


def test_quantiles_near_zero_keep_their_digits():
    """1 - 1e-20 is 1, so the upper tail has to be asked for itself."""
    q = torch.tensor([1e-300, 1e-20, 1e-3, 0.5, 1 - 1e-9], dtype=F64)
    square = scale_to_quantile(normal(5, 100), q).square().sum(1)
    assert_close(square, torch.tensor(stats.chi2.isf(q, 100)), rtol=1e-6, atol=0)


def test_prior_guidance_reaches_the_quantile_on_a_gaussian():
    law, _, s = gaussian(5)
    q = torch.tensor([0.1, 0.5, 0.95])
    x1 = law.endpoint(scale_to_quantile(normal(3, 5), q))
    top = -0.5 * float(torch.logdet(2 * math.pi * s))
    expected = top - 0.5 * torch.tensor(stats.chi2.ppf(1 - q.numpy(), 5))
    assert_close(law.log_density(x1), expected, atol=1e-4, rtol=0)


# Scaling


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


# Switching


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


# Annealing


def conditional(x, t, y):
    """The exact velocity for x1 | y ~ N(y, 0.5^2), whatever y is."""
    m = t.reshape(-1, 1) ** 2 * 0.25 + (1 - t.reshape(-1, 1)) ** 2
    z = x - t.reshape(-1, 1) * y
    return y + t.reshape(-1, 1) * 0.25 * z / m - (1 - t.reshape(-1, 1)) * z / m


Y = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=F64)


def test_the_noise_of_a_condition_is_that_of_the_paper():
    velocity = AnnealedCondition(
        Guided(lambda x, t, y: y, {"y": Y}), range(2000), tau1=0.2, tau2=0.8, mixing=0.0
    )
    x, t = torch.zeros(2000, 4, dtype=F64), time(0.5)  # gamma = 1/2
    y = velocity(x, t)
    assert_close(y.mean(0), math.sqrt(0.5) * Y[0], atol=0.03, rtol=0)
    assert_close(y.std(0), torch.full((4,), 0.25 * math.sqrt(0.5), dtype=F64), atol=0, rtol=0.06)
    rescaled = AnnealedCondition(velocity.guided, range(5), tau1=0.2, tau2=0.8)(x[:5], t)
    assert_close(rescaled.mean(1), Y.mean(1).expand(5))
    assert_close(rescaled.std(1), Y.std(1).expand(5))
    half = AnnealedCondition(velocity.guided, range(5), tau1=0.2, tau2=0.8, mixing=0.5)(x[:5], t)
    assert_close(half, 0.5 * (rescaled + y[:5]))


def test_annealing_ends_and_begins_where_the_paper_says():
    velocity = AnnealedCondition(Guided(lambda x, t, y: y, {"y": Y}), [3], tau1=0.2, tau2=0.8, mixing=0.0)
    x = torch.zeros(1, 4, dtype=F64)
    for t in (0.81, 0.9, 1.0):  # T = 1 - t below tau1
        assert_close(velocity(x, time(t)), Y)
    early = velocity(x, time(0.1))
    assert (early.abs() < 0.25 * 5).all()
    other = velocity(x, time(0.15))
    assert (early - other).abs().max() > 1e-3  # a new draw at a new time
    assert_close(velocity(x, time(0.1)), early)  # the same at the same
    held = AnnealedCondition(velocity.guided, [3], tau1=0.2, tau2=0.8, mixing=0.0, fresh=False)
    assert_close(held(x, time(0.1)), held(x, time(0.15)))


def test_annealing_widens_the_samples_of_a_conditional_law_by_the_known_amount():
    """The flow is linear in y: with one draw per path x1 = m(y) + noise, and the gain is an integral of gamma."""
    flow = hw.Flow(
        AnnealedCondition(Guided(conditional, {"y": Y}), range(400), scale=3.0, mixing=0.0, fresh=False), (4,)
    )
    grid = [i / 40 for i in range(41)]
    x0 = torch.zeros(400, 4, dtype=F64)
    x1 = hw.solve(flow, x0, method=hw.RK4, steps=grid)

    def response(weight):
        """x1 of the flow whose condition is weight(t), from x0 = 0."""
        drive = hw.Flow(lambda x, t: conditional(x, t, weight(t)), (1,))
        return hw.solve(drive, torch.zeros(1, 1, dtype=F64), method=hw.RK4, steps=grid).item()

    def gamma(t):
        return ((0.9 - (1 - t)) / 0.3).clamp(0, 1)

    assert_close(x1.mean(0), response(lambda t: gamma(t).sqrt()) * Y[0], atol=0.15, rtol=0)
    spread = 3.0 * response(lambda t: (1 - gamma(t)).sqrt())
    assert spread > 0.1
    assert_close(x1.std(0), torch.full((4,), spread, dtype=F64), atol=0, rtol=0.12)


# Components


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


# All of them


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
        lambda f: AnnealedCondition(Guided(f, {"y": Y}), [0], tau1=0.9, tau2=0.6),
        lambda f: AnnealedCondition(Guided(f, {"y": Y}), [0], mixing=1.5),
        lambda f: AnnealedCondition(Guided(f, {"y": Y}), [0], scale=-1.0),
        lambda f: AnnealedCondition(Guided(f, {"y": Y}), []),
        lambda f: AnnealedCondition(Guided(f, {"y": torch.cat([Y, Y])}), [0, 1, 2]),
        lambda f: AnnealedCondition(Guided(f, {"label": torch.tensor([3])}), [0]),
        lambda f: AnnealedCondition(Guided(f, {"y": Y}), [0], names=("z",)),
        lambda f: AnnealedCondition(Guided(f, {"y": Y}), [0])(torch.zeros(2, 4), time(0.1)),
    ],
)
def test_what_is_refused(make):
    with pytest.raises(Misuse) as error:
        make(MIXTURE.flow)
    assert error.value.cure
