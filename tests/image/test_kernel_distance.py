"""The kernel distance against loops, against the closed form of its mean, and its error against the spread."""

import pytest
import torch

import headwater as hw
from headwater.errors import Misuse
from headwater.image.metrics.kernel import _resample, image_kernel_distance, kernel_distance
from headwater.image.metrics.perceptual import pooled_features

torch.set_num_threads(1)


def draw(n, d=4, shift=0.0, seed=0):
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z + shift


def k(u, v):
    return float((u @ v / len(u) + 1) ** 3)


def loop(a, b, paired):
    """The definition, pair by pair."""
    mean = lambda pairs: sum(pairs) / len(pairs)  # noqa: E731
    own = [mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (a, b)]
    cross = mean([k(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if not paired or i != j])
    return sum(own) - 2 * cross


@pytest.mark.parametrize(("n", "m", "paired"), [(5, 7, False), (6, 6, False), (6, 6, True)])
def test_it_equals_the_loop(n, m, paired):
    a, b = draw(n), draw(m, shift=0.5, seed=1)
    assert float(kernel_distance(a, b, paired=paired).value) == pytest.approx(loop(a, b, paired), rel=1e-12)


@pytest.mark.parametrize("paired", [False, True])
def test_a_bootstrap_value_is_that_of_its_sample_without_pairs_of_copies(paired):
    a, b = draw(4), draw(4, shift=0.5, seed=1)
    generator = torch.Generator().manual_seed(3)
    copies_a = _resample(4, 5, generator)
    copies_b = copies_a if paired else _resample(4, 5, generator)
    found = kernel_distance(a, b, paired=paired, draws=5, seed=3).resampled
    for drawn_a, drawn_b, value in zip(copies_a.int(), copies_b.int(), found, strict=True):
        i, j = (torch.arange(4).repeat_interleave(drawn) for drawn in (drawn_a, drawn_b))
        kernels = [(x @ y.mT / 4 + 1) ** 3 for x, y in ((a[i], a[i]), (b[j], b[j]), (a[i], b[j]))]
        apart = [u[:, None] != v for u, v in ((i, i), (j, j), (i, j))]
        apart[2] = apart[2] if paired else torch.ones_like(apart[2])
        means = [kernel[mask].mean() for kernel, mask in zip(kernels, apart, strict=True)]
        assert float(value) == pytest.approx(float(means[0] + means[1] - 2 * means[2]), rel=1e-10)


def replicates(n, shift, paired, count=400):
    """Values and errors of `count` pairs of sets; paired sets share most of what they show."""
    found = []
    for seed in range(count):
        a, b = draw(n, seed=2 * seed), draw(n, seed=2 * seed + 1)
        b = 0.8 * a + 0.6 * b if paired else b  # of the same law as a
        found.append(kernel_distance(a, b + shift, paired=paired, draws=200, seed=seed))
    return torch.stack([f.value for f in found]), torch.stack([f.error for f in found])


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("n", [8, 40])
def test_the_mean_over_draws_of_one_law_is_zero_at_any_number(n, paired):
    values, _ = replicates(n, 0.0, paired)
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5
    assert (values < 0).any()


@pytest.mark.parametrize("paired", [False, True])
def test_the_mean_is_the_closed_form_of_shifted_gaussians(paired):
    """For N(0, I) and N(s, I), w = u . v / d has E w, E w^2 and E w^3 in closed form."""
    d, s = 4, 0.5
    q = d * s * s  # |shift|^2
    # of <u, v>, u ~ N(p, I), v ~ N(r, I): E = p.r; E^2 = d + |p|^2 + |r|^2 + (p.r)^2; ...
    second = lambda p, r, pr: d + p + r + pr**2  # noqa: E731
    third = lambda p, r, pr: pr**3 + 3 * pr * (d + p + r) + 6 * pr  # noqa: E731
    mean = lambda p, r, pr: 1 + 3 * pr / d + 3 * second(p, r, pr) / d**2 + third(p, r, pr) / d**3  # noqa: E731
    exact = mean(0, 0, 0) + mean(q, q, q) - 2 * mean(0, q, 0)
    values, _ = replicates(40, s, paired)
    assert float(values.mean()) == pytest.approx(exact, abs=3 * float(values.std()) / len(values) ** 0.5)


@pytest.mark.parametrize("paired", [False, True])
def test_the_error_is_the_spread_over_replicates(paired):
    values, errors = replicates(60, 0.7, paired)
    assert float(errors.square().mean().sqrt() / values.std()) == pytest.approx(1, abs=0.15)


def test_the_error_is_on_the_safe_side_for_two_sets_of_one_law():
    values, errors = replicates(60, 0.0, False)
    assert 1 < float(errors.square().mean().sqrt() / values.std()) < 2


def test_sets_of_two_have_an_error():
    assert torch.isfinite(kernel_distance(draw(2), draw(2, seed=1)).error)


def test_pairs_that_share_what_they_show_have_a_smaller_error():
    a, noise = draw(100), 0.3 * draw(100, seed=1)
    alone = kernel_distance(a[:50], (a + noise + 0.5)[50:])
    together = kernel_distance(a, a + noise + 0.5, paired=True)
    assert together.error < 0.7 * alone.error


def test_the_order_of_the_images_and_the_seed():
    a, b = draw(9).float(), draw(9, seed=1).float()
    found = kernel_distance(a, b, seed=1)
    assert found.value.dtype == torch.float64 and found.resampled.shape == (1000,)
    assert torch.equal(found.resampled, kernel_distance(a, b, seed=1).resampled)
    assert not torch.equal(found.resampled, kernel_distance(a, b, seed=2).resampled)
    assert torch.allclose(found.value, kernel_distance(a.flip(0), b, seed=2).value)


def test_it_is_differentiable():
    a, b = draw(5).requires_grad_(), draw(4, seed=1)
    assert torch.autograd.gradcheck(lambda a: kernel_distance(a, b, draws=2).value, (a,))


def test_images_go_through_the_network():
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = hw.image.image_kernel_distance(x, x[:3] / 2)
    by_hand = kernel_distance(*(pooled_features(v) for v in (x, x[:3] / 2)))
    assert torch.equal(features.value, by_hand.value)
    pixels = image_kernel_distance(x[:, :1], x[:, :1] / 2, lambda v: v.flatten(1), paired=True)
    assert torch.isfinite(pixels.error)


@pytest.mark.parametrize(
    "call",
    [
        lambda: kernel_distance(draw(5), draw(5, d=3)),
        lambda: kernel_distance(draw(5)[0], draw(5)[0]),
        lambda: kernel_distance(draw(1), draw(5)),
        lambda: kernel_distance(draw(5), draw(4), paired=True),
        lambda: kernel_distance(draw(5), draw(5), draws=1),
    ],
    ids=["dimensions", "axes", "one image", "unpaired", "one draw"],
)
def test_misuse(call):
    with pytest.raises(Misuse):
        call()
