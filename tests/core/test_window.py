"""The windowed flow: no seam on a Gaussian field (exact covariance of its samples), gradients, what is solved."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from headwater import Flow, Gaussian, Misuse
from headwater.flows.windowed import WindowedVelocity, bump, extend_to_canvas, place_windows
from headwater.solvers import logit_grid, solve
from headwater.solvers.differentiation import Checkpoint

torch.set_num_threads(1)
F64 = torch.float64
RHO = 0.5


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def time(t):
    return torch.tensor(t, dtype=F64)


def ar1(n, rho=RHO):
    i = torch.arange(n, dtype=F64)
    return rho ** (i[:, None] - i).abs()


def window_flow(h, w, rho=RHO):
    """The exact flow of an h x w window of the stationary field with covariance rho^(|di| + |dj|)."""
    law = Gaussian(torch.zeros(h * w), torch.kron(ar1(h, rho), ar1(w, rho)))
    return Flow(lambda x, t: law.velocity(x.flatten(1), t).reshape_as(x), (1, h, w))


def jacobian(flow, steps):
    """J with x1 = J x0 for a linear flow on one channel, `[d, d]`."""
    rows = solve(flow, torch.eye(flow.event_size, dtype=F64).reshape(-1, *flow.shape), steps=steps)
    return rows.reshape(flow.event_size, flow.event_size).T


def statistics(flow, steps):
    """Exact pixel variances `[h, w]` and correlations with the right neighbour `[h, w - 1]` of the samples.

    x1 = J x0 with x0 ~ N(0, I) has covariance J J': no sampling error.
    """
    _, h, w = flow.shape
    j = jacobian(flow, steps)
    c = (j @ j.T).reshape(h, w, h, w)
    variance = torch.einsum("ijij->ij", c)
    neighbour = torch.einsum("ijij->ij", c[:, :-1, :, 1:])
    return variance, neighbour / (variance[:, :-1] * variance[:, 1:]).sqrt()


@pytest.mark.parametrize("stride", [None, 4])
def test_no_seam_on_a_stationary_gaussian_field(stride):
    """Windows 6 x 12 on 9 x 30, correlation length 1.4: variance 1 to 1.5 %, correlation 0.5 to 0.015,
    at columns where a window begins or ends as everywhere else.
    """
    canvas = extend_to_canvas(window_flow(6, 12), (9, 30), stride=stride)
    variance, correlation = statistics(canvas, logit_grid(12))
    assert (variance - 1).abs().max() < 0.015
    assert (correlation - RHO).abs().max() < 0.015
    edges = sorted({c for _, j in canvas.velocity.corners for c in (j, j + 11)} - {0, 29})
    inside = [c for c in range(30) if c not in edges]
    assert len(edges) >= 4 and len(inside) >= 4
    assert (variance[:, edges].mean() - variance[:, inside].mean()).abs() < 0.004
    crossing = sorted({j - 1 for _, j in canvas.velocity.corners} - {-1})  # from a column into a new window
    assert (correlation[:, crossing].mean() - correlation.mean()).abs() < 0.012


def test_the_statistics_see_a_seam_where_there_is_one():
    """Windows side by side do not know of each other: no correlation across their border."""
    correlation = statistics(extend_to_canvas(window_flow(8, 8), (8, 16), stride=8), logit_grid(12))[1]
    assert correlation[:, 7].abs().max() < 1e-10
    assert (correlation[:, 6] - RHO).abs().max() < 0.01


def test_windows_along_one_axis_of_frames():
    """Frames of 2 independent numbers, correlated in time: windows of 12 frames on 30 have no seam."""
    law = Gaussian(torch.zeros(24), torch.kron(ar1(12), torch.eye(2, dtype=F64)))
    flow = Flow(lambda x, t: law.velocity(x.flatten(1), t).reshape_as(x), (12, 2))
    canvas = extend_to_canvas(flow, (30,), axes=(-2,))
    assert canvas.shape == (30, 2) and canvas.velocity.corners == ((0,), (6,), (12,), (18,))
    j = solve(canvas, torch.eye(60, dtype=F64).reshape(-1, 30, 2), steps=logit_grid(12)).reshape(60, 60)
    c = (j.T @ j).reshape(30, 2, 30, 2)
    assert (torch.einsum("iaia->ia", c) - 1).abs().max() < 0.015
    assert (torch.einsum("iaia->ia", c[:-1, :, 1:]) - RHO).abs().max() < 0.015
    assert c[:, 0, :, 1].abs().max() < 1e-10


def test_samples_have_the_exact_covariance():
    """2000 seeds: the mean of x1^2 at each pixel is 1 within five standard errors, sqrt(2 / 2000) each."""
    canvas = extend_to_canvas(window_flow(6, 6), (6, 15))
    x1 = solve(canvas, canvas.noise(range(2000), dtype=F64), steps=logit_grid(8))
    assert (x1.square().mean(0) - 1).abs().max() < 5 * (2 / 2000) ** 0.5
    product = (x1[..., :-1] * x1[..., 1:]).mean((0, 1, 2))
    assert (product - RHO).abs().max() < 5 * (1.25 / 2000) ** 0.5


def test_independent_pixels_are_reproduced_exactly():
    """The window's law has no correlation: the canvas is the canvas' own law, mean and variance."""
    law = Gaussian(torch.full((64,), 0.3), torch.full((64,), 0.7))
    small = Flow(lambda x, t: law.velocity(x.flatten(1), t).reshape_as(x), (1, 8, 8))
    canvas = extend_to_canvas(small, (11, 21))
    whole = Gaussian(torch.full((231,), 0.3), torch.full((231,), 0.7))
    x = normal(3, 1, 11, 21)
    for t in (0.0, 0.4, 1.0):
        want = whole.velocity(x.flatten(1), time(t)).reshape_as(x)
        assert_close(canvas(x, time(t)), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("height, width", [(8, 9), (20, 8), (13, 31)])
def test_pointwise_velocities_are_reproduced_exactly(height, width):
    canvas = extend_to_canvas(Flow(lambda x, t: 3 * x + t, (2, 8, 8)), (height, width))
    x = normal(2, 2, height, width)
    assert canvas.shape == (2, height, width)
    assert_close(canvas(x, time(0.25)), 3 * x + 0.25, rtol=1e-13, atol=1e-13)


def test_the_velocity_is_the_weighted_mean_of_the_formula():
    """v = sum_k w_k P_k' v_window(P_k x) / sum_k w_k, pixel by pixel in plain Python."""
    weights = normal(36, 36, seed=1)
    window = Flow(lambda x, t: (x.flatten(1) @ weights).reshape_as(x).tanh(), (1, 6, 6))
    canvas, x = extend_to_canvas(window, (8, 13)), normal(1, 1, 8, 13)
    bell = bump(6).double()[:, None] * bump(6).double()
    total, mass = torch.zeros(8, 13, dtype=F64), torch.zeros(8, 13, dtype=F64)
    for i in place_windows(8, 6, 3):
        for j in place_windows(13, 6, 3):
            v = window(x[..., i : i + 6, j : j + 6], time(0.5))[0, 0]
            for a in range(6):
                for b in range(6):
                    total[i + a, j + b] += bell[a, b] * v[a, b]
                    mass[i + a, j + b] += bell[a, b]
    assert_close(canvas(x, time(0.5))[0, 0], total / mass, rtol=0, atol=1e-6)  # float32 weights


def test_gradient_through_the_windowed_solve():
    """The vector-Jacobian product is J' g of the linear flow; with `Checkpoint` too; and gradcheck off it."""
    canvas = extend_to_canvas(window_flow(4, 6), (6, 10))
    j, g = jacobian(canvas, 4), normal(2, 1, 6, 10, seed=1)
    want = (g.flatten(1) @ j).reshape_as(g)
    for strategy in (None, Checkpoint()):
        x0 = normal(2, 1, 6, 10).requires_grad_()
        x1 = solve(canvas, x0, steps=4, gradient=strategy)
        assert_close(torch.autograd.grad(x1, x0, g)[0], want, rtol=1e-10, atol=1e-10)
    curved = extend_to_canvas(Flow(lambda x, t: (x.roll(1, -1) * (1 + t)).sin(), (1, 4, 4)), (4, 7))
    start = normal(1, 1, 4, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: solve(curved, z, steps=2), start)


def test_problems_are_independent_and_have_their_own_time():
    canvas = extend_to_canvas(Flow(lambda x, t: mixing(x, t), (1, 6, 6)), (9, 14))
    x, t = normal(3, 1, 9, 14), torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    batch = canvas(x, t)
    for k in range(3):
        assert_close(batch[k : k + 1], canvas(x[k : k + 1], t[k]), rtol=1e-12, atol=1e-12)
        assert_close(batch[k : k + 1], canvas(x[k : k + 1], t[k : k + 1]), rtol=1e-12, atol=1e-12)


def mixing(x, t):
    """Something that depends on place and on the time of each problem."""
    s = t if t.ndim == 0 else t[:, None, None, None]
    return (x.cumsum(-1) * s).sin() + x.flip(-2)


@pytest.mark.parametrize("chunk", [1, 5, 8])
def test_chunks_change_nothing(chunk):
    sizes = []

    def window(x, t):
        sizes.append(len(x))
        return mixing(x, t)

    corners = extend_to_canvas(Flow(mixing, (1, 6, 6)), (9, 14)).velocity.corners
    x, t = normal(3, 1, 9, 14), torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    for clock in (t, t[0]):
        whole = WindowedVelocity(mixing, (6, 6), corners)(x, clock)
        sizes.clear()
        assert_close(
            WindowedVelocity(window, (6, 6), corners, chunk=chunk)(x, clock), whole, rtol=1e-12, atol=1e-12
        )
        assert max(sizes) == chunk and sum(sizes) == 3 * len(corners)


@pytest.mark.parametrize(
    "length, size, stride", [(64, 64, 32), (65, 64, 32), (100, 64, 32), (31, 8, 3), (9, 2, 2)]
)
def test_positions_cover_the_length(length, size, stride):
    starts = place_windows(length, size, stride)
    assert starts[0] == 0 and starts[-1] == length - size
    assert all(0 < b - a <= stride for a, b in itertools.pairwise(starts))


def test_canvas_of_the_windows_size_is_the_flow_itself():
    flow = Flow(mixing, (1, 8, 8))
    assert extend_to_canvas(flow, (8, 8)) is flow
    wide = extend_to_canvas(Flow(mixing, (1, 8, 8), range=(-1, 1)), (8, 12))
    assert wide.range == (-1, 1)


def test_refusals():
    flow = Flow(mixing, (1, 8, 8))
    with pytest.raises(Misuse, match=r"7 x 20 is smaller than the model's window 8 x 8\. Embed"):
        extend_to_canvas(flow, (7, 20))
    for stride in (0, -1, 9):
        with pytest.raises(Misuse, match="do not cover"):
            extend_to_canvas(flow, (20, 20), stride=stride)


def test_a_flow_in_a_subspace_has_no_windows():
    class Whole:
        dimension = torch.tensor([8])

        def project(self, x):
            return x

        def select(self, index):
            return self

    flow = Flow(lambda x, t: -x, shape=(8,), support=Whole())
    with pytest.raises(Misuse, match="subspace"):
        extend_to_canvas(flow, (12,), axes=(0,))
    assert extend_to_canvas(flow, (8,), axes=(0,)) is flow
