"""PSNR and SSIM against scikit-image; the feature distances against what a distance has to do."""

import numpy as np
import pytest
import skimage.metrics
import torch
from torch.nn.functional import avg_pool2d, interpolate

from headwater.errors import Misuse
from headwater.image.io import photos
from headwater.image.io.files import read_image
from headwater.image.metrics import perceptual
from headwater.image.metrics.efficientnet import class_logits, load_network
from headwater.image.metrics.fidelity import psnr, rms_residual, ssim
from headwater.image.metrics.perceptual import lpips_distance, perceptual_distance, pooled_features
from headwater.metrics.frechet import frechet_distance

torch.set_num_threads(1)


def photo(name="cat"):
    return read_image(photos.path(name))[0]


def noise_like(x, seed=0):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["cat", "rocket"])
@pytest.mark.parametrize("sigma", [0.01, 0.2, 1.0])
def test_psnr_and_ssim_equal_scikit_image(name, sigma):
    x = photo(name)
    y = x + sigma * noise_like(x)
    a, b = (v[0].permute(1, 2, 0).double().numpy() for v in (x, y))
    theirs = skimage.metrics.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2.0, channel_axis=2
    )
    assert float(ssim(x, y)) == pytest.approx(theirs, abs=1e-5)
    assert float(psnr(x, y)) == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(a, b, data_range=2.0), abs=1e-4
    )


def test_metrics_are_per_image():
    x = torch.cat([photo(), -photo(), photo().flip(3)])
    y = x + torch.tensor([0.1, 0.2, 0.3]).reshape(-1, 1, 1, 1) * noise_like(x)
    for metric in (psnr, ssim, rms_residual, perceptual_distance):
        alone = torch.cat([metric(x[k : k + 1], y[k : k + 1]) for k in range(3)])
        assert metric(x, y).shape == (3,)
        assert torch.allclose(metric(x, y), alone, atol=1e-5)


def test_equal_images():
    x = photo()
    assert psnr(x, x).item() == float("inf") and ssim(x, x).item() == pytest.approx(1)
    assert perceptual_distance(x, x).item() == 0


def test_residual_in_units_of_the_noise():
    noise = 0.05 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rms_residual(noise, 0 * noise, 0.05), torch.ones(2), atol=0.02)
    assert torch.allclose(
        rms_residual(noise, 0 * noise, torch.tensor([0.05, 0.5])), torch.tensor([1, 0.1]), atol=0.02
    )


def test_perceptual_distance_grows_with_noise_and_blur():
    x = photo("astronaut")
    noisy = [perceptual_distance(x + s * noise_like(x), x).item() for s in (0.02, 0.05, 0.1, 0.2, 0.4)]
    blurred = [interpolate(avg_pool2d(x, k), x.shape[2:], mode="bilinear") for k in (2, 3, 4, 6, 8)]
    blurs = [perceptual_distance(b, x).item() for b in blurred]
    assert noisy == sorted(noisy) and blurs == sorted(blurs) and blurs[0] > 0
    assert torch.allclose(perceptual_distance(x, blurred[0]), perceptual_distance(blurred[0], x))


def test_perceptual_distance_is_differentiable_and_says_so_along_a_line():
    x, reference = photo().requires_grad_(), photo() + 0.1 * noise_like(photo())
    (gradient,) = torch.autograd.grad(perceptual_distance(x, reference).sum(), x)
    assert gradient.abs().max() > 0 and torch.isfinite(gradient).all()
    step = 2e-3 * gradient / gradient.norm()
    with torch.no_grad():
        rise = perceptual_distance(x + step, reference) - perceptual_distance(x - step, reference)
    assert float(rise) == pytest.approx(float(2 * (step * gradient).sum()), rel=0.05)
    (gradient,) = torch.autograd.grad(perceptual_distance(x, x.detach()).sum(), x)
    assert torch.isfinite(gradient).all()  # also where both are equal


def test_the_network_is_frozen_silent_and_shared(capsys):
    load_network.cache_clear()
    net = load_network("lite0", torch.device("cpu"))
    pooled = pooled_features(photo().repeat(3, 1, 1, 1), chunk=2)
    assert pooled.shape == (3, 1280) and torch.allclose(pooled[0], pooled[2], atol=1e-5)
    assert net is load_network("lite0", torch.device("cpu")) and not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert capsys.readouterr() == ("", "")


def test_the_network_recognises_a_cat():  # so the weights, the range and the channel order are right
    with torch.no_grad():
        scores = class_logits(photo())
    assert scores.argmax().item() in range(281, 286)  # ImageNet's domestic cats


def gaussian(n, mean, std, seed):
    """Samples whose sample mean and covariance are exactly those asked for."""
    z = np.random.default_rng(seed).standard_normal((n, len(mean)))
    z -= z.mean(0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T).reshape(len(mean), -1))).T
    return torch.tensor(z * std + mean)


@pytest.mark.parametrize("d", [1, 5])
def test_frechet_closed_form(d):
    rng = np.random.default_rng(d)
    m_a, m_b, s_a, s_b = rng.normal(size=d), rng.normal(size=d), rng.uniform(1, 2, d), rng.uniform(1, 2, d)
    a, b = gaussian(40, m_a, s_a, 1), gaussian(60, m_b, s_b, 2)
    expected = ((m_a - m_b) ** 2).sum() + ((s_a - s_b) ** 2).sum()
    assert float(frechet_distance(a, b)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("n", [6, 200])  # below and above the dimension
def test_frechet_against_the_eigenvalue_form(n):
    generator = torch.Generator().manual_seed(n)
    a, b = (torch.randn(n + k, 12, generator=generator, dtype=torch.float64) + k for k in range(2))
    values, vectors = torch.linalg.eigh(a.T.cov())
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b.T.cov() @ root).clamp(min=0).sqrt().sum()
    expected = (a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * cross
    assert float(frechet_distance(a, b)) == pytest.approx(float(expected), abs=1e-6)
    assert float(frechet_distance(a, b)) == pytest.approx(float(frechet_distance(b, a)), abs=1e-10)
    assert float(frechet_distance(a, a.flip(0))) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("d", [4, 12])
def test_frechet_is_differentiable(d):
    a = torch.randn(9, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    b = torch.randn(8, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(frechet_distance, (a, b))


def test_misuse():
    x = torch.zeros(1, 3, 8, 8)
    for call in (
        lambda: psnr(x, x[..., :4]),
        lambda: ssim(x, x),
        lambda: perceptual_distance(x[:, :1], x[:, :1]),
        lambda: frechet_distance(torch.zeros(5, 2), torch.zeros(5, 3)),
        lambda: frechet_distance(torch.zeros(1, 2), torch.zeros(5, 2)),
    ):
        with pytest.raises(Misuse):
            call()


def test_fid_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity", None)
    with pytest.raises(Misuse, match=r"pip install headwater\[fid\]"):
        perceptual.fid(photo(), photo())


def test_lpips_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    perceptual._lpips.cache_clear()
    with pytest.raises(Misuse, match=r"pip install headwater\[lpips\]"):
        lpips_distance(photo(), photo())
