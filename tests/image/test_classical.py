"""The rivals without a network against what is known of them: a dense matrix, another package, the picture itself."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from headwater import Identity, Misfit, Misuse
from headwater.image.io import photos
from headwater.image.io.files import read_image
from headwater.image.metrics.fidelity import psnr
from headwater.image.operators import (
    JPEG,
    Blur,
    Clip,
    Inpaint,
    PhaseRetrieval,
    SuperResolution,
    gaussian_kernel,
    random_mask,
)
from headwater.image.phase_estimate import twins

torch.set_num_threads(1)


@pytest.fixture
def classical(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield importlib.import_module("classical")
    sys.modules.pop("classical")


def pictures(side):
    x = read_image(photos.path("cat"))[0]
    return torch.nn.functional.interpolate(x, (side, side), mode="area").repeat(2, 1, 1, 1)


def measure(operator, x, sigma):
    y = operator(x)
    return Misfit(
        operator, y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)), sigma
    )


OPERATORS = {
    "denoise": Identity(),
    "blur": Blur(gaussian_kernel(1.0)),
    "holes": Inpaint(random_mask(20, 20, missing=0.5)),
    "smaller": SuperResolution(2),
}


@pytest.mark.parametrize("task", OPERATORS)
def test_every_method_comes_nearer_to_the_picture_than_its_measurement(classical, task):
    operator, x = OPERATORS[task], pictures(20)
    misfit = measure(operator, x, 0.05 if task != "denoise" else 0.2)
    before = psnr(operator.pinv(misfit.y), x)
    for name in classical.methods_for(operator):
        if not find_spec("cv2" if name == "Telea" else "bm3d" if "BM3D" in name else "skimage"):
            continue  # not among the packages of the tests
        found = classical.restore(name, operator, misfit)
        assert found.shape == x.shape and found.dtype == x.dtype
        assert bool((psnr(found, x) > before).all()), name


@pytest.mark.parametrize("operator", [JPEG(50), Clip()], ids=["JPEG", "Clip"])
def test_some_operators_have_no_rival(classical, operator):
    x = pictures(32)
    assert classical.methods_for(operator) == []
    for name in classical.METHODS:
        with pytest.raises(Misuse, match="does not take"):
            classical.restore(name, operator, Misfit(operator, operator(x), 0.1))
    with pytest.raises(Misuse, match="no method"):
        classical.restore("Wienr", operator, Misfit(operator, operator(x), 0.1))


def test_divergence_is_minus_the_adjoint_of_the_gradient(classical):
    x, g = torch.randn(1, 2, 5, 7), torch.randn(2, 1, 2, 5, 7)
    left, right = (classical.gradient(x) * g).sum(), (x * classical.divergence(g)).sum()
    assert float(left) == pytest.approx(-float(right), abs=1e-4)


def test_total_variation_of_a_grey_picture_is_that_of_scikit_image(classical):
    y = measure(Identity(), pictures(32)[:1, :1], 0.1).y.clamp(-1, 1)
    found = classical.restore("TV", Identity(), Misfit(Identity(), y, 0.1), weight=1.0)
    theirs = denoise_tv_chambolle(y[0, 0].double().numpy(), weight=0.1, eps=1e-9, max_num_iter=5000)
    assert float((found[0, 0] - torch.from_numpy(theirs)).abs().max()) < 0.01


@pytest.mark.parametrize("task", OPERATORS)
def test_the_wiener_filter_is_that_of_dense_matrices(classical, task):
    operator = Inpaint(random_mask(8, 8, missing=0.5)) if task == "holes" else OPERATORS[task]
    x = pictures(8)[:1].double()
    misfit, size = measure(operator, x, 0.2), x.numel()
    rows = classical.cosines(8)
    transform = torch.kron(torch.eye(3, dtype=torch.float64), torch.kron(rows, rows))
    power = classical.spectrum_root((8, 8), 0.5).square().flatten().diag()
    channels = classical.channel_root(3)
    prior = transform.mT @ torch.kron(channels @ channels, power) @ transform
    a = operator(torch.eye(size, dtype=torch.float64).reshape(size, 3, 8, 8)).reshape(size, -1).mT
    gain = prior @ a.mT @ torch.linalg.inv(a @ prior @ a.mT + 0.04 * torch.eye(len(a), dtype=torch.float64))
    found = classical.restore("Wiener", operator, misfit, weight=0.5)
    expected = (gain @ misfit.y.flatten()).reshape(x.shape).clamp(-1, 1)
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_phase_is_retrieved_up_to_its_twins(classical):
    x = pictures(16)[:1]
    misfit = measure(PhaseRetrieval(), x, 1e-3)
    found = classical.restore("hybrid input-output", PhaseRetrieval(), misfit)
    assert max(float(psnr(twin, x)) for twin in twins(found)) > 30
    for twin in twins(x):
        assert torch.allclose(PhaseRetrieval()(twin), PhaseRetrieval()(x), atol=1e-4)
