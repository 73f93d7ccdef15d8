"""Superposition: tracked log densities against closed forms, the law of OR, the equal densities of AND."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.recipes.composition import Superposition
from headwater.recipes.composition.density import even_grid, share_step

F64 = torch.float64
PATHS = (hw.CondOT(), hw.Cosine(), hw.VP())
EACH_PATH = pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)


def two(path=None, stds=((1.0, 0.5), (0.7, 1.0))):
    """Two Gaussians of the plane."""
    means = (torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.5]))
    return [hw.Gaussian(m, torch.tensor(s), path) for m, s in zip(means, stds, strict=True)]


def run(laws, seeds=range(200), **settings):
    found = Superposition(**settings)([law.flow for law in laws], seeds, dtype=F64)
    exact = torch.stack([law.log_density(found.state, found.time) for law in laws], 1)
    return found, exact


def rms(x):
    return float(x.square().mean().sqrt())


@pytest.mark.parametrize("kind", ["or", "and"])
@EACH_PATH
def test_the_densities_of_isotropic_gaussians_are_exact_in_few_steps(kind, path):
    """Bayes' rule of a step holds for any x and x', so that nine steps are as good as many."""
    if isinstance(path, hw.VP):
        path = hw.CondOT()  # VP keeps 0.7 % of the data at t = 0; see the next test
    found, exact = run(two(path, ((0.8, 0.8),) * 2), range(20), kind=kind, spread=0.8, steps=9)
    assert_close(found.log_densities, exact, atol=1e-6, rtol=0)


def test_a_path_that_keeps_some_of_the_data_at_its_source_is_tracked_up_to_that():
    laws = two(hw.VP(), ((0.8, 0.8),) * 2)
    found, exact = run(laws, range(20), kind="or", spread=0.8, steps=[0.0, 0.3, 0.6, 0.8, 0.9, 0.97])
    assert rms(found.log_densities - exact) < 0.05


def test_the_densities_of_points_are_exact_without_a_spread():
    """Data of one point: the ancestral step is the law of x' given x."""
    laws = [hw.Gaussian(torch.tensor([m, 0.0]), torch.full((2,), 1e-6)) for m in (-1.0, 2.0)]
    found, exact = run(laws, range(20), kind="or", steps=7)
    assert_close(found.log_densities, exact, atol=1e-4, rtol=1e-6)


def test_the_error_of_the_estimator_falls_with_the_root_of_the_steps():
    errors = []
    for steps in (16, 64, 256):
        found, exact = run(two(), range(40), kind="or", steps=steps)
        errors.append(rms(found.log_densities - exact))
    slopes = [math.log2(a / b) / 2 for a, b in itertools.pairwise(errors)]
    assert all(abs(slope - 0.5) < 0.2 for slope in slopes), (errors, slopes)


def test_or_samples_the_mixture():
    """Two modes that no path leaves: their weights, and the moments of each."""
    laws = [hw.Gaussian(torch.tensor([m]), torch.tensor([s])) for m, s in ((-2.0, 0.3), (2.0, 0.6))]
    seeds = range(500)
    found = Superposition("or", weights=(1.0, 3.0), steps=50)([law.flow for law in laws], seeds)
    x = found.x1[:, 0]
    left, right = x[x < 0], x[x > 0]
    assert abs(len(left) / len(x) - 0.25) < 4 * math.sqrt(0.1875 / len(x))
    assert abs(left.mean() + 2) < 0.1 and abs(right.mean() - 2) < 0.1
    assert abs(left.std() - 0.3) < 0.06 and abs(right.std() - 0.6) < 0.08


def test_or_has_the_velocity_of_the_mixture():
    """The shares are the posterior weights of the components."""
    found, exact = run(
        two(stds=((0.8, 0.8),) * 2), range(30), kind="or", weights=(0.3, 0.7), spread=0.8, steps=8
    )
    expected = torch.softmax(exact + torch.tensor([0.3, 0.7], dtype=F64).log(), 1)
    assert_close(found.shares[-1], expected, atol=1e-6, rtol=0)


def test_and_meets_equal_densities_of_laws_that_differ_by_a_shift():
    laws = two(stds=((1.0, 0.5),) * 2)
    found, exact = run(laws, kind="and", steps=50)
    assert rms(found.log_densities[:, 0] - found.log_densities[:, 1]) < 0.02
    assert rms(exact[:, 0] - exact[:, 1]) < 0.1
    _, free = run(laws, kind="or", steps=50)
    assert rms(free[:, 0] - free[:, 1]) > 1  # what AND has to mend


def test_weights_of_and_shift_the_densities():
    laws = two(stds=((0.8, 0.8),) * 2)
    _, exact = run(laws, range(40), kind="and", weights=(4.0, 1.0), spread=0.8, steps=30)
    assert_close(exact[:, 1] - exact[:, 0], torch.full((40,), math.log(4.0), dtype=F64), atol=0.05, rtol=0)


def test_the_papers_system_has_a_bias_that_steps_do_not_mend_and_a_gain_has_none():
    gaps = {}
    for gain in (None, 0.3):
        for steps in (40, 160):
            _, exact = run(two(), range(30), kind="and", gain=gain, steps=steps)
            gaps[gain, steps] = rms(exact[:, 0] - exact[:, 1])
    assert gaps[None, 160] > 0.8 * gaps[None, 40] > 0.1
    assert gaps[0.3, 160] < 0.7 * gaps[0.3, 40] and gaps[0.3, 160] < 0.9 * gaps[None, 160]


def test_three_flows_are_equal_on_a_line():
    laws = [hw.Gaussian(m, torch.ones(3)) for m in torch.eye(3)]
    found, exact = run(laws, range(40), kind="and", steps=60)
    assert float((exact - exact.mean(1, keepdim=True)).abs().max()) < 0.2
    assert float(found.x1.mean(1).std()) > 0.3  # along (1, 1, 1) nothing is constrained
    assert_close(found.shares.sum(2), torch.ones_like(found.shares[..., 0]))


def test_flows_that_agree_share_equally_and_change_nothing():
    law = two()[0]
    found = Superposition("and", steps=12)([law.flow, law.flow], range(4), dtype=F64)
    assert_close(found.shares, torch.full_like(found.shares, 0.5))
    expected = hw.solve_stochastic(law.flow, law.flow.noise(range(4), F64), range(4), steps=even_grid(12))
    assert_close(found.x1, expected)


def test_guidance_leads_away_from_the_base():
    """Where both flows agree: m_0 + g (m - m_0), that of one flow with classifier-free guidance."""
    law, null = two()
    found = Superposition("or", guidance=2.0, steps=12)([law.flow] * 2, [5], base=null.flow, dtype=F64)
    velocity = lambda x, t: 2 * law.velocity(x, t) - null.velocity(x, t)  # noqa: E731
    guided = hw.Flow(velocity, (2,))
    assert_close(found.x1, hw.solve_stochastic(guided, guided.noise([5], F64), [5], steps=even_grid(12)))
    assert found.evaluations == 36


def test_guided_and_keeps_the_densities_equal():
    laws, base = two(stds=((0.8, 0.8),) * 2), hw.Gaussian(torch.zeros(2), torch.ones(2))
    found = Superposition("and", guidance=3.0, steps=40)(
        [law.flow for law in laws], range(20), base=base.flow, dtype=F64
    )
    assert rms(found.log_densities[:, 0] - found.log_densities[:, 1]) < 0.02


@pytest.mark.parametrize("kind", ["or", "and"])
def test_a_batch_is_its_problems(kind):
    flows, method = [law.flow for law in two()], Superposition(kind, steps=8)
    together = method(flows, [4, 7, 9])
    alone = method(flows, [7])
    assert_close(alone.x1, together.x1[1:2])
    assert_close(alone.log_densities, together.log_densities[1:2])
    assert together.x1.dtype == torch.float32 and together.shares.shape == (8, 3, 2)


def test_a_problem_that_diverges_leaves_its_neighbours_alone():
    law = two()[1]
    broken = hw.Each(lambda x, t, k: law.velocity(x, t) * k[:, None], k=torch.tensor([1.0, math.nan, 1.0]))
    flows = [two()[0].flow, hw.Flow(broken, (2,))]
    together = Superposition("and", steps=8)(flows, [4, 7, 9])
    alone = Superposition("and", steps=8)([flows[0], law.flow], [4, 9])
    assert_close(together.x1[[0, 2]], alone.x1)
    assert bool(together.x1[1].isnan().all())
    assert [status.name for status in together.status] == ["COMPUTED", "DIVERGED", "COMPUTED"]


def test_a_support_counts_its_own_dimension():
    class First:
        dimension = torch.tensor([1, 2])

        def project(self, x):
            return x * (torch.arange(x.shape[1]) < self.dimension[:, None])

        def select(self, index):
            part = First()
            part.dimension = self.dimension[index]
            return part

    law = hw.Gaussian(torch.zeros(2), torch.ones(2))
    flow = hw.Flow(law.velocity, (2,), support=First())
    found = Superposition("or", spread=1.0, steps=6)([flow, flow], [0, 1], dtype=F64)
    one = hw.Gaussian(torch.zeros(1), torch.ones(1)).log_density(found.state[:1, :1], found.time)
    both = law.log_density(found.state[1:], found.time)
    assert_close(found.log_densities[:, 0], torch.cat([one, both]), atol=1e-6, rtol=0)


def test_the_kernels_of_a_step_are_those_of_the_path():
    """q(x | x') of noise, from the joint law of x and x' for data of one point."""
    flow = hw.Gaussian(torch.tensor([3.0]), torch.tensor([1e-9])).flow
    step = share_step((flow,), torch.zeros(1, 1, dtype=F64), 0.4, 0.7)
    assert_close(
        torch.tensor([step.keep, step.back]), torch.tensor([4 / 7, math.sqrt(0.36 - (4 / 7 * 0.3) ** 2)])
    )
    assert step.wide == step.std


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "xor"},
        {"weights": (1.0, -1.0)},
        {"weights": (1.0, math.inf)},
        {"guidance": 0.0},
        {"guidance": math.nan},
        {"reach": 0.0},
        {"spread": -1.0},
        {"gain": 0.0},
        {"gain": 1.5},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(hw.Misuse):
        Superposition(**settings)


def test_wrong_calls_are_refused():
    a, b = (law.flow for law in two())
    for flows, settings, words in (
        ([a], {}, "1 flows"),
        ([a, b], {"weights": (1.0,)}, "weights"),
        ([a, b], {"guidance": 2.0}, "leads away"),
        ([a, b], {"steps": [0.5, 0.8, 1.0]}, "begin at 0.5"),
        ([a, b], {"steps": [0.0, 1.0]}, "no density"),
        ([a, b], {"steps": 2}, "2 steps"),
        ([a, two(hw.Cosine())[0].flow], {}, "paths"),
        ([a, hw.Gaussian(torch.zeros(3), torch.ones(3)).flow], {}, "shape"),
        ([], {}, "No flow"),
    ):
        with pytest.raises(hw.Misuse, match=words):
            Superposition(**settings)(flows, [0])
