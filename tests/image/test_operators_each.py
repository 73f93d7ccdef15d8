"""What is particular to single operators: agreement with Pillow, scipy and theory."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from headwater.image.operators import (
    JPEG,
    Blur,
    Clip,
    Colorize,
    Inpaint,
    PhaseRetrieval,
    SuperResolution,
    UserOperator,
    from_physics,
    gaussian_kernel,
    motion_kernel,
    random_mask,
)
from headwater.image.operators.resize import shrinking_matrix

torch.set_num_threads(1)


def photo(h, w, channels=3, seed=0):
    """A smooth colourful picture with edges and some grain, float64 [1, c, h, w] in [-1, 1]."""
    rng = np.random.default_rng(seed)
    i, j = np.mgrid[:h, :w]
    planes = [
        np.sin(i / (5 + 2 * c) + c) * np.cos(j / (7 + c)) + 0.6 * ((i + c * j) % 23 > 11)
        for c in range(channels)
    ]
    x = np.stack(planes) * 0.45 - 0.1 + 0.03 * rng.standard_normal((channels, h, w))
    return torch.from_numpy(np.round((x.clip(-1, 1) + 1) * 127.5) / 127.5 - 1)[None]


def to_bytes(x):
    return ((x[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).squeeze(-1).numpy()


def psnr(a, b):
    return 10 * math.log10(4 / (a - b).square().mean().item())


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("quality", [30, 50, 75, 90])
@pytest.mark.parametrize(("h", "w", "channels"), [(64, 96, 3), (37, 51, 3), (40, 33, 1)])
def test_jpeg_agrees_with_pillow(quality, subsampling, h, w, channels):
    x = photo(h, w, channels)
    file = io.BytesIO()
    Image.fromarray(to_bytes(x)).save(file, "JPEG", quality=quality, subsampling=subsampling)
    decoded = torch.from_numpy(np.array(Image.open(file))).double().reshape(h, w, channels) / 127.5 - 1
    ours = JPEG(quality, subsampling)(x)
    assert psnr(ours, decoded.permute(2, 0, 1)[None]) > 42
    assert psnr(ours, x) < psnr(ours, decoded.permute(2, 0, 1)[None])  # the loss itself is far larger


def test_jpeg_straight_through_gradient_is_that_without_rounding():
    x = photo(16, 24).requires_grad_()
    u = torch.randn(1, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (coarse,) = torch.autograd.grad((JPEG(20, "4:4:4")(x) * u).sum(), x)
    inside = JPEG(20, "4:4:4")(x).abs().lt(1).all()
    assert inside  # else the limiter would cut the gradient
    torch.testing.assert_close(coarse, u, rtol=0, atol=1e-10)  # orthonormal there and back


def test_jpeg_rounding_modes_agree_where_the_quality_is_high():
    x = photo(32, 32)
    assert psnr(JPEG(95, rounding="smooth")(x), JPEG(95)(x)) > 40


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_agrees_with_pillow(factor):
    h, w = 24, 36
    x = photo(h, w, 1).float()
    picture = Image.fromarray(x[0, 0].numpy(), mode="F").resize(
        (w // factor, h // factor), Image.Resampling.BICUBIC
    )
    ours = SuperResolution(factor, "bicubic")(x)[0, 0]
    torch.testing.assert_close(ours, torch.from_numpy(np.array(picture)), rtol=0, atol=1e-5)


def test_a_first_call_in_inference_mode_leaves_gradients_possible():
    x = photo(20, 28)
    with torch.inference_mode():
        SuperResolution(4, "bicubic").pinv(SuperResolution(4, "bicubic")(x))
    x = x.clone().requires_grad_()
    SuperResolution(4, "bicubic").pinv(SuperResolution(4, "bicubic")(x)).sum().backward()
    assert x.grad is not None


def test_area_and_decimate():
    x = photo(12, 18)
    torch.testing.assert_close(SuperResolution(3)(x), torch.nn.functional.avg_pool2d(x, 3))
    assert torch.equal(SuperResolution(3, "decimate")(x), x[..., ::3, ::3])
    y = SuperResolution(3)(x)
    replicated = y.repeat_interleave(3, -1).repeat_interleave(3, -2)
    torch.testing.assert_close(SuperResolution(3).pinv(y), replicated)
    scattered = torch.zeros_like(x)
    scattered[..., ::3, ::3] = x[..., ::3, ::3]
    decimate = SuperResolution(3, "decimate")
    torch.testing.assert_close(decimate.pinv(decimate(x)), scattered)


@pytest.mark.parametrize("method", ["area", "decimate", "bicubic"])
def test_shrinking_keeps_constants_and_factor_one_keeps_everything(method):
    torch.testing.assert_close(shrinking_matrix(method, 24, 4).sum(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(shrinking_matrix(method, 7, 1), torch.eye(7, dtype=torch.float64))


@pytest.mark.parametrize(("boundary", "mode"), [("reflect", "mirror"), ("circular", "wrap")])
@pytest.mark.parametrize("kernel", [gaussian_kernel(1.3), motion_kernel(7, 25), torch.rand(3, 5).double()])
def test_blur_agrees_with_scipy(boundary, mode, kernel):
    x = photo(20, 31, 1)
    wanted = ndimage.convolve(x[0, 0].numpy(), (kernel / kernel.sum()).numpy(), mode=mode)
    ours = Blur(kernel, boundary)(x)[0, 0]
    torch.testing.assert_close(ours, torch.from_numpy(wanted), rtol=0, atol=1e-13)
    if boundary == "reflect":
        i, j = kernel.shape[0] // 2, kernel.shape[1] // 2
        valid = Blur(kernel, "valid")(x)[0, 0]
        torch.testing.assert_close(valid, ours[i : 20 - i, j : 31 - j], rtol=0, atol=1e-13)


def test_a_kernel_of_the_image_s_size_is_the_largest():
    x = photo(7, 9, 1)
    for boundary in ("reflect", "circular", "valid"):
        operator = Blur(torch.ones(7, 9), boundary)
        y = operator(x)
        torch.testing.assert_close(y[..., y.shape[-2] // 2, y.shape[-1] // 2].flatten(), x.mean()[None])


def test_deblurring_by_pinv_is_better_than_the_blurred_image():
    x = photo(48, 48)
    for boundary in ("reflect", "circular"):
        operator = Blur(gaussian_kernel(1.0), boundary)
        y = operator(x)
        assert psnr(operator.pinv(y), x) > psnr(y, x) + 3


def test_circular_pinv_without_ridge_stays_finite_where_the_blur_wipes_out():
    operator = Blur(gaussian_kernel(4.0), "circular")
    y = operator(photo(32, 32))
    assert operator.pinv(y, ridge=0.0).isfinite().all()


def test_kernels_add_up_and_point_where_they_should():
    for kernel in (gaussian_kernel(2.0), gaussian_kernel(2.0, 5), motion_kernel(9, 45)):
        assert abs(kernel.sum().item() - 1) < 1e-12
        torch.testing.assert_close(kernel, kernel.flip(0, 1))
    assert motion_kernel(5, 0)[2].tolist() == pytest.approx([0.2] * 5)
    assert motion_kernel(5, 90)[:, 2].tolist() == pytest.approx([0.2] * 5)
    rising = motion_kernel(9, 45)
    assert rising[2, 6] > 0 and rising[2, 2] == 0  # up and to the right
    assert torch.equal(motion_kernel(1), torch.ones(1, 1, dtype=torch.float64))
    i = torch.arange(-6, 7).double()
    spread = (gaussian_kernel(1.5, 13).sum(0) * i.square()).sum().sqrt()
    assert abs(spread.item() - 1.5) < 0.01


def test_inpaint_ignores_what_stands_at_missing_pixels():
    mask = random_mask(8, 8)
    operator = Inpaint(mask)
    x = photo(8, 8)
    y = torch.where(mask, operator(x), torch.nan)
    assert operator.residual(x, y).abs().max() == 0
    assert operator.pinv(y).isfinite().all()
    z = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(operator.project(z, y), torch.where(mask, x, z), rtol=0, atol=1e-12)
    assert operator.damaged(x.shape).equal(~mask)
    assert operator.count(y).tolist() == [3 * int(mask.sum())]


def test_colorize_is_pillow_s_grey():
    x = photo(16, 16)
    grey = torch.from_numpy(np.array(Image.fromarray(to_bytes(x)).convert("L"))).double() / 127.5 - 1
    assert (Colorize()(x)[0, 0] - grey).abs().max() <= 1.01 / 127.5
    torch.testing.assert_close(Colorize("mean")(x)[:, 0], x.mean(1))


def test_clip_value_and_exact_subgradient():
    operator = Clip(low=-0.5, high=0.5, gain=2.0, pivot=-1.0)
    x = torch.tensor([-0.9, -0.4, 0.9], dtype=torch.float64).reshape(1, 1, 1, 3).requires_grad_()
    y = operator(x)
    assert y.flatten().tolist() == pytest.approx([-0.5, 0.2, 0.5])
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.flatten().tolist() == [0, 2, 0]


def test_clip_residual_is_an_inequality_at_the_limits():
    operator = Clip(gain=2.0)
    y = torch.tensor([1.0, 1.0, -1.0, -1.0, 0.4, 0.4], dtype=torch.float64).reshape(1, 1, 1, 6)
    x = torch.tensor([0.9, 0.3, -0.9, -0.3, 0.3, 0.9], dtype=torch.float64).reshape(y.shape).requires_grad_()
    residual = operator.residual(x, y)
    assert residual.flatten().tolist() == pytest.approx([0, -0.4, 0, 0.4, 0.2, 1.4])
    (gradient,) = torch.autograd.grad(residual.square().sum() / 2, x)
    # an overexposed estimate of a well exposed pixel still gets a gradient (the last entry)
    assert gradient.flatten().tolist() == pytest.approx([0, -0.8, 0, 0.8, 0.4, 2.8])


def test_clip_slack_tolerates_noise_near_the_limit():
    x = torch.full((1, 1, 1, 1), 0.8, dtype=torch.float64)
    y = torch.full((1, 1, 1, 1), 0.97, dtype=torch.float64)
    assert Clip(gain=2.0).residual(x, y).item() == pytest.approx(0.63)
    assert Clip(gain=2.0, slack=0.1).residual(x, y).item() == 0


def test_phase_is_blind_to_sign_rotation_and_shift_only():
    x = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    x[..., 2:9, 3:8] = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    operator = PhaseRetrieval()
    y = operator(x)
    assert y.shape == (1, 1, 32, 32)
    for twin in (-x, x.flip(-2, -1), x.roll((5, -3), (-2, -1))):
        torch.testing.assert_close(operator(twin), y, rtol=0, atol=1e-10)
    assert (operator(x.flip(-1)) - y).abs().max() > 0.1
    # Parseval: the energy of an orthonormal transform, but for eps
    assert y.square().sum().item() == pytest.approx(x.square().sum().item(), rel=1e-4)


def test_phase_has_a_finite_gradient_at_zero():
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    PhaseRetrieval()(x).sum().backward()
    assert x.grad.isfinite().all()


class Camera:
    """A deepinv-style physics: calling it adds noise, `A` does not."""

    def __call__(self, x):
        return self.A(x) + torch.randn_like(x)

    def A(self, x):
        return 3 * x.flip(-1)

    def A_adjoint(self, y):
        return 3 * y.flip(-1)


def test_physics_objects_are_taken_unchanged():
    x = photo(8, 8)
    operator = from_physics(Camera())
    assert operator.linear and torch.equal(operator(x), 3 * x.flip(-1))
    torch.testing.assert_close(operator.project(torch.zeros_like(x), operator(x)), x)
    assert operator.norm(x.shape).item() == pytest.approx(3)

    module = torch.nn.Tanh()
    assert not from_physics(module).linear and torch.equal(from_physics(module)(x), x.tanh())


def test_user_operator_may_change_the_shape():
    operator = UserOperator(lambda x: x.flatten(1).cumsum(1), "sums")
    y = operator(photo(4, 4))
    assert y.shape == (1, 48) and operator.count(y).tolist() == [48]
