"""PSNR, SSIM and the measurement residual: one number per image, with the definition beside it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from headwater.errors import Misuse

WINDOW, WIDTH = 11, 1.5  # of the Gaussian window of SSIM


def psnr(x: Tensor, reference: Tensor, range: float = 2.0) -> Tensor:
    """Peak signal-to-noise ratio in dB, per image.

    PSNR = 10 log10(range^2 / mean((x - reference)^2)), the mean over channels and pixels; infinite for
    equal images.

    Parameters
    ----------
    x, reference : Tensor [batch, ...]
        The images.
    range : float
        White minus black: 2 for images in [-1, 1].

    Returns
    -------
    Tensor [batch]

    Raises
    ------
    Misuse
        The shapes differ, the images are not floating, or the range is not positive.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> hw.image.psnr(torch.full((1, 3, 8, 8), 0.2), torch.zeros(1, 3, 8, 8)).tolist()
    [20.0]
    """
    require_positive(range)
    return 20 * torch.log10(range / rms_residual(x, reference))


def rms_residual(prediction: Tensor, y: Tensor, sigma_y: float | Tensor = 1.0) -> Tensor:
    """Root mean square of prediction - y, per problem; in units of the noise if `sigma_y` is given.

    rms = sqrt(mean(|prediction - y|^2)) / sigma_y. With the truth and Gaussian noise of std `sigma_y`
    it is 1 in the mean, and 1 +- 1 / sqrt(2 n) with n measured values.

    Parameters
    ----------
    prediction, y : Tensor [batch, ...]
        A(x1) and the measurement.
    sigma_y : float or Tensor [batch]
        Noise std in data units.

    Returns
    -------
    Tensor [batch]

    Raises
    ------
    Misuse
        The shapes differ.

    Examples
    --------
    >>> rms_residual(torch.full((2, 5), 0.3), torch.zeros(2, 5), sigma_y=0.1)
    tensor([3., 3.])
    """
    require_same_shape(prediction, y)
    error = (prediction - y).abs().flatten(1)
    return error.square().mean(1).sqrt() / sigma_y


def ssim(x: Tensor, reference: Tensor, range: float = 2.0) -> Tensor:
    """Structural similarity, per image: 1 for equal images.

    With m, s the mean, variance and covariance under a Gaussian window (11 x 11, std 1.5),
    c1 = (0.01 range)^2 and c2 = (0.03 range)^2,

        SSIM = (2 m_x m_r + c1) (2 s_xr + c2) / ((m_x^2 + m_r^2 + c1) (s_xx + s_rr + c2)),

    averaged over all windows inside the image and over the channels. The same number as scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`.

    Parameters
    ----------
    x, reference : Tensor [batch, c, h, w]
        The images, at least 11 pixels high and wide.
    range : float
        White minus black: 2 for images in [-1, 1].

    Returns
    -------
    Tensor [batch]

    Raises
    ------
    Misuse
        The shapes differ, the images are not floating, one is smaller than the window, or the range is not positive.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli (2004), Image quality assessment: from error visibility to
    structural similarity.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.linspace(-1, 1, 768).reshape(1, 3, 16, 16)
    >>> hw.image.ssim(x, x).tolist()
    [1.0]
    """
    require_same_shape(x, reference)
    require_positive(range)
    if x.ndim != 4 or min(x.shape[-2:]) < WINDOW:
        raise Misuse(
            f"SSIM needs images [batch, c, h, w] of 11 x 11 or more, not {list(x.shape)}.", "Pad them."
        )
    a, b = x.double().flatten(0, 1)[:, None], reference.double().flatten(0, 1)[:, None]
    mean_a, mean_b = _blur(a), _blur(b)
    spread = _blur(a * a) - mean_a**2 + _blur(b * b) - mean_b**2
    common = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * range) ** 2, (0.03 * range) ** 2
    local = (2 * mean_a * mean_b + c1) * (2 * common + c2) / ((mean_a**2 + mean_b**2 + c1) * (spread + c2))
    return local.reshape(*x.shape[:2], *local.shape[-2:]).mean((1, 2, 3)).to(x.dtype)


def _blur(images: Tensor) -> Tensor:
    at = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (at / WIDTH) ** 2)
    weights = (weights / weights.sum()).reshape(1, 1, 1, -1)
    return conv2d(conv2d(images, weights), weights.mT)


def require_positive(range: float) -> None:
    """Refuse a range that is no distance from black to white."""
    if not 0 < range < float("inf"):
        raise Misuse(
            f"The range {range} is not positive.", "Give white minus black, 2 for images in [-1, 1]."
        )


def require_same_shape(x: Tensor, reference: Tensor) -> None:
    """Refuse two batches whose shapes differ, which would broadcast into a wrong number, or that are not floating.

    >>> require_same_shape(torch.zeros(1, 3), torch.zeros(1, 3))
    """
    if x.shape != reference.shape:
        what = f"The image is {list(x.shape)} but what it is compared with is {list(reference.shape)}."
        raise Misuse(what, "Give two of one shape.")
    if not x.ndim or not (x.is_floating_point() or x.is_complex()):
        found = f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
        raise Misuse(f"The images are {found}.", "Give floating images [batch, ...] in the data range.")
