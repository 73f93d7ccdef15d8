"""Stochastic sampling along the path, against the marginals of closed-form flows."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.solvers.stochastic import Ancestral, EulerMaruyama, path_generators

F64 = torch.float64
MANY, COPIES = range(30), 100


def mixture(path):
    means = torch.tensor([[-2.0], [1.0]])
    return hw.GaussianMixture([0.3, 0.7], means, torch.tensor([0.5, 0.3]), path)


def copies(law):
    """The flow of many independent numbers of one law: as many samples from few generators."""
    return hw.Flow(lambda x, t: law.velocity(x.reshape(-1, 1), t).reshape(x.shape), (COPIES,), law.path)


def moments(law, t):
    """Mean and second moment of p_t of the mixture: alpha m and alpha^2 (m^2 + s^2) + sigma^2."""
    a, b = (float(f(torch.tensor(t, dtype=F64))) for f in (law.path.alpha, law.path.sigma))
    w, m = law.log_weights.exp(), law.means[:, 0]
    square = (w * (m * m + law.eigenvalues[:, 0])).sum()
    return a * float((w * m).sum()), a * a * float(square) + b * b


@pytest.mark.parametrize("path", [hw.CondOT(), hw.Cosine(), hw.VP()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("method", [Ancestral(), EulerMaruyama()], ids=lambda m: type(m).__name__)
def test_the_marginals_are_those_of_the_flow_at_several_times(path, method):
    """The law at t is p_t for any g, so that its moments are known; 3000 samples, 96 steps of order one."""
    law, seen = mixture(path), {}
    flow = copies(law)

    def watch(t, x):
        seen[round(t, 6)] = (float(x.mean()), float(x.square().mean()))

    hw.solve_stochastic(flow, flow.noise(MANY), MANY, method=method, steps=96, watch=watch)
    for t in (0.25, 0.5, 0.75, 1.0):
        mean, square = moments(law, t)
        assert abs(seen[t][0] - mean) < 0.08, (t, seen[t], mean)
        assert abs(seen[t][1] - square) < 0.12, (t, seen[t], square)


def test_the_error_of_the_steps_is_of_order_one():
    """The variance of a Gaussian flow, propagated exactly: x is linear in x, so that Var' = f^2 Var + s^2."""
    path, errors = hw.CondOT(), []
    law = hw.Gaussian(torch.zeros(1), torch.tensor([2.0]), path)
    for steps in (16, 32, 64, 128):
        variance = 1.0
        for i in range(steps):
            t, t_next = (torch.tensor(j / steps, dtype=F64) for j in (i, i + 1))
            x = torch.ones(1, 1, dtype=F64)
            law_next = Ancestral().transition(path, x, law.flow(x, t), t, t_next)
            variance = float(law_next.mean) ** 2 * variance + float(law_next.std) ** 2
        errors.append(abs(variance - 4.0))
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(abs(slope - 1) < 0.2 for slope in slopes), slopes


def test_without_noise_it_is_the_solve():
    flow = mixture(hw.CondOT()).flow
    x0 = flow.noise(range(4), dtype=F64)
    for path_method, ode in ((EulerMaruyama(0.0), hw.EULER), (Ancestral(0.0), hw.DDIM)):
        expected = hw.solve(flow, x0, method=ode, steps=10)
        assert_close(hw.solve_stochastic(flow, x0, range(4), method=path_method, steps=10), expected)


def test_ancestral_steps_are_exact_where_the_data_are_one_point():
    """x_t has the law N(alpha 3, sigma^2) whatever the steps: the mean and std of one long step say so."""
    path = hw.Cosine()
    flow = hw.Flow.from_denoiser(lambda x, t: 3 * torch.ones_like(x), (1,), path)
    t, t_next = torch.tensor(0.2, dtype=F64), torch.tensor(0.7, dtype=F64)
    a, b = path.alpha(t), path.sigma(t)
    for z in (-1.0, 2.0):
        x = (a * 3 + b * z).reshape(1, 1)
        step = Ancestral().transition(path, x, flow(x, t), t, t_next)
        shift = (step.mean - 3 * path.alpha(t_next)).item()
        # Var[x'] = (shift / z)^2 + s^2, with z of unit variance
        assert_close(torch.tensor((shift / z) ** 2) + step.std**2, path.sigma(t_next) ** 2, check_dtype=False)


def test_a_batch_is_its_problems_and_depends_on_seeds_alone():
    flow = mixture(hw.CondOT()).flow
    x0 = flow.noise([4, 7, 9])
    together = hw.solve_stochastic(flow, x0, [4, 7, 9], steps=8)
    assert_close(hw.solve_stochastic(flow, x0[1:2], [7], steps=8), together[1:2])
    assert (hw.solve_stochastic(flow, x0[1:2], [8], steps=8) - together[1:2]).abs() > 1e-3


def test_the_draws_along_the_path_are_not_those_of_the_source():
    """With the same numbers the first step would repeat x0."""
    (g,) = path_generators([3])
    assert not torch.equal(
        torch.randn(1, generator=g), torch.randn(1, generator=torch.Generator().manual_seed(3))
    )


def test_a_support_holds_the_noise():
    class First:
        dimension = torch.tensor([1, 2])

        def project(self, x):
            return x * (torch.arange(x.shape[1]) < self.dimension[:, None])

        def select(self, index):
            part = First()
            part.dimension = self.dimension[index]
            return part

    flow = hw.Flow(lambda x, t: -x, (2,), support=First())
    x1 = hw.solve_stochastic(flow, flow.noise([0, 1]), [0, 1], steps=4, method=EulerMaruyama())
    assert (x1 != 0).tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize(
    "make", [lambda: Ancestral(1.5), lambda: Ancestral(-0.1), lambda: EulerMaruyama(-1.0)]
)
def test_noise_that_is_none_is_refused(make):
    with pytest.raises(hw.Misuse):
        make()


def test_seeds_and_states_have_to_fit():
    flow = mixture(hw.CondOT()).flow
    with pytest.raises(hw.Misuse, match="for 3 seeds"):
        hw.solve_stochastic(flow, flow.noise([0]), [0, 1, 2])
    with pytest.raises(hw.Misuse, match="times fall"):
        hw.solve_stochastic(flow, flow.noise([0]), [0], steps=[1.0, 0.5])
