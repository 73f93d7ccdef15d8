"""Affine Gaussian paths: the four predictions say the same with the coefficients of the papers."""

import itertools
import math

import pytest
import torch
from core_laws import F64, normal, time
from torch.testing import assert_close

from headwater import DDIM, VP, BetaTable, CondOT, Cosine, Flow, Misuse, Path

PATHS: list[Path] = [CondOT(), VP(), Cosine(), BetaTable.linear(1000), BetaTable.scaled_linear(50)]
IDS = ["condot", "vp", "cosine", "linear-table", "scaled-table"]
every_path = pytest.mark.parametrize("path", PATHS, ids=IDS)
# Away from the nodes of the tables, where log alpha has a kink.
SCALARS = [0.0371, 0.2503, 0.5017, 0.7779, 0.9633]
TIMES = [*[time(t) for t in SCALARS], torch.tensor(SCALARS, dtype=F64)]
close = {"rtol": 1e-10, "atol": 1e-10}


def point(path: Path, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """x1, x0 and x_t, whose predictions are known: xhat = x1, eps = x0."""
    x1, x0 = normal(5, 2, 3, seed=1), normal(5, 2, 3, seed=2)
    return x1, x0, path.interpolate(x0, x1, t)


@every_path
@pytest.mark.parametrize("t", TIMES, ids=[*map(str, SCALARS), "one per problem"])
def test_every_prediction_gives_every_other(path, t):
    x1, x0, x = point(path, t)
    v, score = path.velocity(x0, x1, t), -x0 / path.coefficients(x0, t)[1]
    for predicted, expected in [
        (path.xhat_from_v(x, v, t), x1),
        (path.eps_from_v(x, v, t), x0),
        (path.score_from_v(x, v, t), score),
        (path.v_from_xhat(x, x1, t), v),
        (path.v_from_eps(x, x0, t), v),
        (path.v_from_score(x, score, t), v),
        (path.eps_from_xhat(x, x1, t), x0),
        (path.xhat_from_eps(x, x0, t), x1),
        (path.score_from_eps(x, x0, t), score),
        (path.eps_from_score(x, score, t), x0),
    ]:
        assert_close(predicted, expected, **close)


@every_path
def test_time_per_problem_is_the_scalar_time_of_each(path):
    t = torch.tensor(SCALARS, dtype=F64)
    _, x0, x = point(path, t)
    together = path.v_from_eps(x, x0, t)
    alone = torch.cat([path.v_from_eps(x[i : i + 1], x0[i : i + 1], t[i]) for i in range(len(t))])
    assert_close(together, alone, rtol=0, atol=0)


@every_path
def test_v_prediction_is_alpha_eps_minus_sigma_x1(path):
    t = torch.tensor(SCALARS, dtype=F64)
    x1, x0, x = point(path, t)
    a, b, _, _ = path.coefficients(x, t)
    assert_close(path.v_from_vprediction(x, a * x0 - b * x1, t), path.velocity(x0, x1, t), **close)


@every_path
def test_alpha_and_sigma_primes_are_derivatives(path):
    t = torch.tensor(SCALARS, dtype=F64)
    h = 1e-6
    alpha = (path.alpha(t + h) - path.alpha(t - h)) / (2 * h)
    sigma = (path.sigma(t + h) - path.sigma(t - h)) / (2 * h)
    assert_close(path.dalpha(t), alpha, rtol=1e-6, atol=1e-8)
    assert_close(path.dsigma(t), sigma, rtol=1e-6, atol=1e-8)
    s = t.clone().requires_grad_()
    assert_close(path.dalpha(t), torch.autograd.grad(path.alpha(s).sum(), s)[0], **close)
    assert_close(path.dsigma(t), torch.autograd.grad(path.sigma(s).sum(), s)[0], **close)


@every_path
def test_path_goes_from_noise_to_data(path):
    grid = torch.linspace(0, 1, 97, dtype=F64)
    snr = path.alpha(grid) / path.sigma(grid)
    assert bool((snr[1:] > snr[:-1]).all())
    assert_close(
        torch.stack([path.alpha(time(1.0)), path.sigma(time(1.0))]), torch.tensor([1.0, 0.0], dtype=F64)
    )


def test_vp_values():
    """alpha_0 = exp(-(B - b)/4 - b/2) = exp(-5.025); alpha_.5 = exp(-19.9/16 - .025); a^2 + s^2 = 1."""
    path, t = VP(), torch.linspace(0, 1, 11, dtype=F64)
    assert path.alpha(time(0.0)).item() == pytest.approx(math.exp(-5.025), rel=1e-14)
    assert path.alpha(time(0.5)).item() == pytest.approx(math.exp(-19.9 / 16 - 0.025), rel=1e-14)
    assert_close(path.alpha(t) ** 2 + path.sigma(t) ** 2, torch.ones_like(t), **close)


def test_vp_solves_its_sde_coefficients():
    """d log alpha / dT = -beta(T) / 2 with beta(T) = b + T (B - b) (Song et al. 2021, eq. 29)."""
    path, t = VP(b=0.3, B=12.0), torch.tensor(SCALARS, dtype=F64)
    beta = 0.3 + (1 - t) * (12.0 - 0.3)
    assert_close(path.dalpha(t) / path.alpha(t), beta / 2, **close)


def test_cosine_values():
    assert Cosine().alpha(time(1 / 3)).item() == pytest.approx(0.5)
    assert Cosine().sigma(time(2 / 3)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_table_holds_the_cumulative_product(count):
    """alpha_k^2 = prod_{j <= k} (1 - beta_j) at the time of index k, and index and time are inverse."""
    betas = torch.linspace(1e-4, 0.02, count, dtype=F64)
    path, k = BetaTable(betas), torch.arange(count, dtype=F64)
    assert_close(path.alpha(path.time(k)) ** 2, torch.cumprod(1 - betas, 0), **close)
    assert_close(path.index(path.time(k)), k, rtol=0, atol=1e-9)
    t = torch.linspace(0, 1 - 1 / count, 31, dtype=F64)
    assert_close(path.time(path.index(t)), t, rtol=0, atol=1e-12)
    assert path.index(time(1.0)).item() == 0.0


def test_table_is_log_linear_between_levels():
    path = BetaTable.linear(10)
    levels = path.time(torch.arange(10, dtype=F64))
    middle = (levels[1:] + levels[:-1]) / 2
    expected = (path.alpha(levels[1:]) * path.alpha(levels[:-1])).sqrt()
    assert_close(path.alpha(middle), expected, **close)


@pytest.mark.parametrize("betas", [[], [0.1, 0.0], [1.0], [float("nan")], [[0.1]]])
def test_bad_table_is_refused(betas):
    with pytest.raises(Misuse, match=r"\. Pass"):
        BetaTable(betas)


def eps_network(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Some eps(x, k) that depends on the table's index."""
    return torch.tanh(x) * (1 + index.to(x).reshape(-1, 1) / 100 if index.ndim else 1 + index.to(x) / 100)


def ddim(x: torch.Tensor, betas: torch.Tensor, levels: list[int]) -> torch.Tensor:
    """Song et al. 2021, "DDIM", eq. 12 with sigma = 0, written with abar as in the paper; abar_-1 = 1."""
    abar = torch.cat([torch.ones(1, dtype=F64), torch.cumprod(1 - betas, 0)])
    for k, k_next in zip(levels, [*levels[1:], -1], strict=True):
        now, then = abar[k + 1], abar[k_next + 1]
        eps = eps_network(x, torch.tensor(float(k)))
        predicted = (x - (1 - now).sqrt() * eps) / now.sqrt()
        x = then.sqrt() * predicted + (1 - then).sqrt() * eps
    return x


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("levels", [[99, 80, 60, 40, 20, 0], list(reversed(range(100)))], ids=["6", "all"])
def test_ddim_step_is_ddim(dtype, tolerance, levels):
    """The exponential step on the levels of a table is DDIM, in float32 too (levels are kinks of alpha)."""
    path = BetaTable.linear(100, last=0.2)
    betas = torch.linspace(1e-4, 0.2, 100, dtype=F64)
    x = normal(4, 3)
    flow = Flow.from_noise_prediction(eps_network, (3,), path)
    times = [*(path.time(time(float(k))) for k in levels), time(1.0)]
    y = x.to(dtype)
    for t, t_next in itertools.pairwise(times):
        y = DDIM.step(flow, path, y, t, t_next)
    assert_close(y.to(F64), ddim(x, betas, levels), rtol=tolerance, atol=tolerance)
