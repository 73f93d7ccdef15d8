"""Restoration without a network: the rivals behind one call, `restore(method, operator, misfit)`.

All know the noise std sigma_y. Some have one weight that was chosen on tuning pictures: `METHODS` has the default
and the values that were tried. BM3D needs `pip install bm3d`, Telea `pip install opencv-python-headless`.
The licence of BM3D is for non-commercial use: it stands in no extra of Headwater.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.restoration import denoise_nl_means, inpaint_biharmonic, richardson_lucy
from torch import Tensor

from headwater import Identity, Misfit, Misuse, Operator
from headwater.image.operators import Blur, Inpaint, LinearOperator, PhaseRetrieval, SuperResolution
from headwater.image.phase_estimate import retrieve_phases, twins
from headwater.problem.least_squares import solve_least_squares

Restorer = Callable[[Operator, Misfit, float], Tensor]
"""From the operator, the measurement and the weight to images `[n, c, h, w]` in [-1, 1]."""


@dataclass(frozen=True)
class Method:
    """A method, its weight for each kind of operator that it takes, and the weights that were tried, if any."""

    restorer: Restorer
    weights: dict[type[Operator], float]
    tried: tuple[float, ...] = ()

    def find_weight(self, operator: Operator) -> float | None:
        """The default weight for an operator; None if the method does not take it."""
        return next((w for kind, w in self.weights.items() if isinstance(operator, kind)), None)


def restore(method: str, operator: Operator, misfit: Misfit, *, weight: float | None = None) -> Tensor:
    """The images `[n, c, h, w]` that a method makes of `misfit.y`; a Misuse if it does not take the operator."""
    if method not in METHODS:
        raise Misuse(
            f"There is no method {method!r} without a network.", f"Take one of {', '.join(METHODS)}."
        )
    found = METHODS[method]
    default = found.find_weight(operator)
    if default is None:
        kinds = ", ".join(kind.__name__ for kind in found.weights)
        raise Misuse(f"{method} does not take {type(operator).__name__}.", f"It takes {kinds}.")
    x = found.restorer(operator, misfit, default if weight is None else weight)
    return x.to(misfit.y).clamp(-1, 1)


def methods_for(operator: Operator) -> list[str]:
    """The names of the methods that take an operator."""
    return [name for name, method in METHODS.items() if method.find_weight(operator) is not None]


def each(change: Callable[..., np.ndarray], y: Tensor, *others: Sequence[object]) -> Tensor:
    """Apply a function of one float64 HWC array in [0, 1], and of one of each of the others, to y `[n, c, h, w]`."""
    arrays = [(a.permute(1, 2, 0).double().numpy() + 1) / 2 for a in y]
    out = [change(a, *rest) for a, *rest in zip(arrays, *others, strict=True)]
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2) * 2 - 1


def levels(misfit: Misfit) -> list[float]:
    """The noise std of each problem, for images in [0, 1]."""
    return (torch.as_tensor(misfit.sigma_y).double().expand(len(misfit.y)) / 2).tolist()


# BM3D -------------------------------------------------------------------------------------------------------------


def match_blocks(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """BM3D by its authors, in the opponent colour space (Dabov et al. 2007, Maekinen et al. 2020)."""
    return each(bm3d, misfit.y, levels(misfit))


def bm3d(a: np.ndarray, sigma: float) -> np.ndarray:
    """Of one picture, HWC."""
    import bm3d as package

    run = package.bm3d_rgb if a.shape[-1] == 3 else package.bm3d
    return np.reshape(run(a, sigma, one_thread(package)), a.shape)


def one_thread(package: Any) -> Any:
    """The authors' normal profile on one thread, as the result depends on their number."""
    profile = package.BM3DProfile()
    profile.num_threads = 1
    return profile


OPPONENT = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, 0, -0.5], [0.25, -0.5, 0.25]])


def deblur_blocks(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """BM3D's two regularised inverses (Dabov et al. 2008), each opponent channel at its own noise level.

    The package blurs in a circle. A picture and its mirror image make a circle that is exact for the border of `Blur`
    if the kernel is symmetric; on 12 pictures a frame of 16 mirrored pixels was 0.7 dB worse.
    """
    kernels = kernels_of(operator, misfit.y)
    return each(deblur_one, misfit.y, levels(misfit), kernels)


def kernels_of(operator: Operator, y: Tensor) -> np.ndarray:
    """The kernel of each problem `[n, kh, kw]`."""
    assert isinstance(operator, Blur)
    if operator.boundary != "reflect":
        raise Misuse(
            f"This method mirrors the border; the blur is {operator.boundary}.", "Take TV or Wiener."
        )
    return operator.kernel.double().expand(len(y), -1, -1).numpy()


def deblur_one(a: np.ndarray, sigma: float, psf: np.ndarray) -> np.ndarray:
    """Of one picture, HWC."""
    import bm3d as package

    if not hasattr(np, "trapz"):  # which bm4d 4.2.5 calls; NumPy 2.4 has it under its new name alone
        np.trapz = np.trapezoid  # noqa: NPY201
    change = OPPONENT if a.shape[-1] == 3 else np.eye(a.shape[-1])
    h, w = a.shape[:2]
    wide = np.pad(a, ((0, h - 2), (0, w - 2), (0, 0)), mode="reflect") @ change.T
    profile = one_thread(package)
    noise = sigma * np.linalg.norm(change, axis=1)
    planes = [
        package.bm3d_deblurring(wide[..., c : c + 1], noise[c], psf, profile).reshape(wide.shape[:2])
        for c in range(len(noise))
    ]
    return (np.stack(planes, -1) @ np.linalg.inv(change).T)[:h, :w]


# Non-local means --------------------------------------------------------------------------------------------------


def average_patches(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """Non-local means (Buades et al. 2005) with h = weight sigma, by scikit-image."""

    def run(a: np.ndarray, sigma: float) -> np.ndarray:
        found = denoise_nl_means(
            a, patch_size=5, patch_distance=6, h=weight * sigma, sigma=sigma, channel_axis=-1
        )
        return found.reshape(a.shape)  # it drops the axis of one channel

    return each(run, misfit.y, levels(misfit))


# Total variation --------------------------------------------------------------------------------------------------


def minimise_variation(
    operator: Operator, misfit: Misfit, weight: float, *, iterations: int = 300, pace: float = 10.0
) -> Tensor:
    """min |A x - y|^2 / 2 + weight sigma TV(x) over x in [-1, 1], by Chambolle & Pock 2011, Algorithm 1.

    TV is isotropic and takes the channels together (Bresson & Chan 2008). Identity makes it the denoising of Rudin,
    Osher & Fatemi 1992.
    """
    assert isinstance(operator, LinearOperator)
    y = misfit.y.double()
    x = operator.adjoint(y)
    bound = weight * torch.as_tensor(misfit.sigma_y).double().reshape(-1, 1, 1, 1, 1)
    # tau s |K|^2 = 1, K the gradient (|.|^2 <= 8) above A. Of the paces 0.1, 0.3, 1, 3 and 10 the last is the fastest
    # in holes.
    norm = (8 + operator.norm(x.shape).double().square().max()).sqrt()
    tau, s = pace / norm, 1 / (pace * norm)
    ahead, slopes, residual = x, x.new_zeros(2, *x.shape), torch.zeros_like(y)
    for _ in range(iterations):
        slopes = slopes + s * gradient(ahead)
        length = slopes.square().sum((0, 2), keepdim=True).sqrt()
        slopes = slopes / (length / bound).clamp(min=1)
        residual = (residual + s * (operator(ahead) - y)) / (1 + s)
        before = x
        x = (x + tau * (divergence(slopes) - operator.adjoint(residual))).clamp(-1, 1)
        ahead = 2 * x - before
    return x


def gradient(x: Tensor) -> Tensor:
    """Forward differences down and to the right, `[2, *x.shape]`, 0 behind the last pixel."""
    g = x.new_zeros(2, *x.shape)
    g[0, ..., :-1, :] = x.diff(dim=-2)
    g[1, ..., :-1] = x.diff(dim=-1)
    return g


def divergence(g: Tensor) -> Tensor:
    """Minus the adjoint of `gradient`."""
    down, right = g[0, ..., :-1, :], g[1, ..., :-1]
    x = torch.zeros_like(g[0])
    x[..., :-1, :] += down
    x[..., 1:, :] -= down
    x[..., :-1] += right
    x[..., 1:] -= right
    return x


# Wiener -----------------------------------------------------------------------------------------------------------

CORRELATION = 0.9  # between the colour channels of a photograph


def filter_linearly(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """The Wiener filter: the best linear estimate if pictures are Gaussian with a power spectrum c / |f|^2.

    x = S A' (A S A' + sigma^2)^-1 y, by conjugate gradients on A S^(1/2). S is diagonal in the cosine transform, with
    the variance `weight`^2 per pixel, and correlates the channels. For blur it is the deconvolution with the exact
    borders, for holes it is kriging.
    """
    assert isinstance(operator, LinearOperator)
    y = misfit.y.double()
    like = operator.adjoint(y)
    root = spectrum_root(like.shape[-2:], weight)
    mix = channel_root(like.shape[1])
    rows, columns = (cosines(size) for size in like.shape[-2:])

    def colour(x: Tensor) -> Tensor:
        filtered = rows.mT @ (root * (rows @ x @ columns.mT)) @ columns
        return torch.einsum("dc,nchw->ndhw", mix, filtered)

    white = solve_least_squares(
        lambda z: operator(colour(z)),
        lambda r: colour(operator.adjoint(r)),
        y,
        ridge=torch.as_tensor(misfit.sigma_y).double() ** 2,
        iterations=300,
    )
    return colour(white)


def spectrum_root(shape: Sequence[int], deviation: float) -> Tensor:
    """The root of the power 1 / |f|^2 at each cosine frequency, scaled to a mean power of deviation^2."""
    down, right = (torch.arange(size, dtype=torch.float64) / size for size in shape)
    power = 1 / (down[:, None] ** 2 + right**2).clamp(min=0.25 / max(shape) ** 2)
    return deviation * (power / power.mean()).sqrt()


def channel_root(channels: int) -> Tensor:
    """The symmetric root of the correlation of the channels."""
    matrix = torch.full((channels, channels), CORRELATION, dtype=torch.float64).fill_diagonal_(1)
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ values.sqrt().diag() @ vectors.mT


def cosines(size: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II), one frequency a row."""
    k = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.pi / size * k[:, None] * (k + 0.5)) * (2 / size) ** 0.5
    matrix[0] /= 2**0.5
    return matrix


def deconvolve_richardson_lucy(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """Richardson 1972, Lucy 1974, stopped after `weight` steps, by scikit-image."""
    kernels = kernels_of(operator, misfit.y)

    def run(a: np.ndarray, psf: np.ndarray) -> np.ndarray:
        return np.stack([richardson_lucy(c.clip(1e-3), psf, int(weight)) for c in a.transpose(2, 0, 1)], -1)

    return each(run, misfit.y, kernels)


# Holes ------------------------------------------------------------------------------------------------------------


def holes(operator: Operator, y: Tensor) -> np.ndarray:
    """Which pixels are missing, bool `[n, h, w]`."""
    assert isinstance(operator, Inpaint)
    return (~operator.mask[:, 0]).expand(len(y), -1, -1).numpy()


def fill_biharmonic(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """Each hole filled by the biharmonic equation, by scikit-image; known pixels stay as they are."""
    missing = holes(operator, misfit.y)
    return each(lambda a, hole: inpaint_biharmonic(a, hole, channel_axis=-1), misfit.y, missing)


def fill_telea(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """Telea 2004 with a radius of `weight` pixels, by OpenCV, each channel in float; known pixels stay."""
    import cv2

    def run(a: np.ndarray, hole: np.ndarray) -> np.ndarray:
        marked = hole.astype(np.uint8)
        planes = [
            cv2.inpaint(
                np.float32(255 * c), marked, weight, cv2.INPAINT_TELEA
            )  # it fails for floats in [0, 1]
            for c in a.transpose(2, 0, 1)
        ]
        return np.stack(planes, -1) / 255.0

    return each(run, misfit.y, holes(operator, misfit.y))


def fill_and_match(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """Biharmonic filling, then BM3D of the whole at the noise level of the known pixels."""
    return each(bm3d, fill_biharmonic(operator, misfit, weight), levels(misfit))


# Super-resolution -------------------------------------------------------------------------------------------------


def enlarge(operator: Operator, misfit: Misfit, weight: float, *, kind: Image.Resampling) -> Tensor:
    """Enlarge with Pillow, channel by channel in float."""
    assert isinstance(operator, SuperResolution)
    factor = operator.factor

    def run(a: np.ndarray) -> np.ndarray:
        size = (factor * a.shape[1], factor * a.shape[0])
        planes = [Image.fromarray(c.astype(np.float32)).resize(size, kind) for c in a.transpose(2, 0, 1)]
        return np.stack([np.asarray(plane) for plane in planes], -1)

    return each(run, misfit.y)


def match_and_enlarge(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """BM3D of the small picture, then bicubic enlargement."""
    clean = Misfit(operator, match_blocks(operator, misfit, weight), misfit.sigma_y)
    return enlarge(operator, clean, weight, kind=Image.Resampling.BICUBIC)


# Phase retrieval --------------------------------------------------------------------------------------------------


def retrieve_phase(operator: Operator, misfit: Misfit, weight: float) -> Tensor:
    """Hybrid input-output (Fienup 1982), the best of eight starts of 1,000 iterations for each channel.

    The picture is real, fills a known quarter of the field and lies in [-1, 1]. Each channel is a problem of its own,
    known up to its sign and a half turn; those of the later channels are chosen to agree with the first.
    """
    assert isinstance(operator, PhaseRetrieval)
    found = retrieve_phases(misfit, range(len(misfit.y)), starts=8, iterations=1000, bounds=(-1.0, 1.0))
    return torch.stack([agree(x) for x in found])


def agree(x: Tensor) -> Tensor:
    """Each channel of x `[c, h, w]` as the twin that correlates best with the first channel."""
    choices = twins(x)
    best = ((choices - choices.mean((-2, -1), keepdim=True)) * x[:1]).sum((-2, -1)).argmax(0)
    return choices[best, torch.arange(len(x))]


# The list ---------------------------------------------------------------------------------------------------------

METHODS: dict[str, Method] = {
    "BM3D": Method(match_blocks, {Identity: 0}),
    "non-local means": Method(average_patches, {Identity: 0.6}, (0.4, 0.5, 0.6, 0.7, 0.8, 1.0)),
    "BM3D deblurring": Method(deblur_blocks, {Blur: 0}),
    "TV": Method(
        minimise_variation,
        {Identity: 1.0, Blur: 0.2, Inpaint: 0.4, SuperResolution: 0.3},
        (0.1, 0.15, 0.2, 0.3, 0.4, 0.7, 1.0, 1.3),
    ),
    "Wiener": Method(
        filter_linearly,
        {Identity: 0.35, Blur: 0.35, Inpaint: 0.35, SuperResolution: 0.35},
        (0.25, 0.35, 0.5, 0.7, 1.0),
    ),
    "Richardson-Lucy": Method(deconvolve_richardson_lucy, {Blur: 2}, (2, 4, 8, 16)),
    "biharmonic": Method(fill_biharmonic, {Inpaint: 0}),
    "biharmonic + BM3D": Method(fill_and_match, {Inpaint: 0}),
    "Telea": Method(fill_telea, {Inpaint: 3}, (2, 3, 5, 8)),
    "bicubic": Method(partial(enlarge, kind=Image.Resampling.BICUBIC), {SuperResolution: 0}),
    "Lanczos": Method(partial(enlarge, kind=Image.Resampling.LANCZOS), {SuperResolution: 0}),
    "BM3D + bicubic": Method(match_and_enlarge, {SuperResolution: 0}),
    "hybrid input-output": Method(retrieve_phase, {PhaseRetrieval: 0}),
}
