"""Declipping without a network: a cubic spline through the samples that are left, and A-SPADE.

A-SPADE looks, in every windowed segment, for the signal with the sparsest spectrum that agrees with the samples:
equal where they are not clipped, beyond the level where they are. Source: Kitic, Bertin and Gribonval, Sparsity and
cosparsity for audio declipping (LVA/ICA 2015); the settings are those of Zaviska et al., A survey and an extensive
evaluation of popular audio declipping methods (IEEE JSTSP 2021): Hann windows of 8192 samples at 44.1 kHz, a quarter
apart, DFT of redundancy 2, k grown by 1 in every iteration, epsilon 0.1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

SEGMENT, EPSILON, ITERATIONS = 3072, 0.1, 1500
"""Samples of a segment (as long as the survey's, at 16 kHz), the error at which it ends, and the most iterations."""


def cubic(y: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Cubic spline at the clipped samples, never below the level."""
    cut = np.abs(y) >= level * (1 - 1e-6)
    places = np.arange(len(y))
    found = CubicSpline(places[~cut], y[~cut])(places[cut])
    x = y.copy()
    x[cut] = np.sign(y[cut]) * np.clip(np.sign(y[cut]) * found, level, 4 * level)
    return x


def spade(y: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """A-SPADE on overlapping segments, added up."""
    hop = SEGMENT // 4
    window = torch.hann_window(SEGMENT, dtype=torch.float64)
    padded = torch.nn.functional.pad(torch.from_numpy(y), (SEGMENT, SEGMENT + hop))
    segments = padded.unfold(0, SEGMENT, hop)
    cut = (segments.abs() >= level * (1 - 1e-6)) * segments.sign()
    found = sparsest(segments * window, cut, level * window)
    total, weight = torch.zeros_like(padded), torch.zeros_like(padded)
    for i, segment in enumerate(found):
        total[i * hop : i * hop + SEGMENT] += segment
        weight[i * hop : i * hop + SEGMENT] += window
    x = (total / weight.clamp(min=1e-9))[SEGMENT : SEGMENT + len(y)].numpy()
    clipped = np.abs(y) >= level * (1 - 1e-6)
    return np.where(clipped, x, y)


def sparsest(y: Tensor, cut: Tensor, level: Tensor) -> Tensor:
    """The segments `[b, n]` by ADMM; `cut` is the sign of clipped samples, else 0; `level` what they are beyond."""
    n, x = y.shape[1], y.clone()
    u = torch.zeros(len(y), n + 1, dtype=torch.complex128)
    active = cut.any(1).nonzero().flatten()
    for k in range(1, ITERATIONS):
        if not len(active):
            break
        a, v = analysis(x[active]), u[active]
        z = largest(a + v, k)
        new = synthesis(z - v, n)
        sign = cut[active]
        beyond = sign * torch.maximum(sign * new, level)
        new = torch.where(sign != 0, beyond, y[active])
        error = analysis(new) - z
        x[active], u[active] = new, v + error
        both = error.abs().square().sum(1) * 2  # a bin and its mirror image
        active = active[both.sqrt() > EPSILON]
    return x


def analysis(x: Tensor) -> Tensor:
    """The DFT of redundancy 2, a Parseval frame; one half of it."""
    return torch.fft.rfft(x, 2 * x.shape[1], norm="ortho")


def synthesis(z: Tensor, n: int) -> Tensor:
    """Its adjoint."""
    return torch.fft.irfft(z, 2 * n, norm="ortho")[:, :n]


def largest(z: Tensor, k: int) -> Tensor:
    """The k largest coefficients of every row, zero elsewhere."""
    kept = z.abs().topk(min(k, z.shape[1]), dim=1).indices
    return torch.zeros_like(z).scatter(1, kept, z.gather(1, kept))
