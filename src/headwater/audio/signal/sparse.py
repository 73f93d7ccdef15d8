"""Declipping without a network, by sparsity: A-SPADE.

In every windowed segment it looks for the signal with the sparsest spectrum that agrees with the samples: equal where
they are not clipped, beyond the level where they are. Source: Kitic, Bertin and Gribonval, Sparsity and cosparsity
for audio declipping (LVA/ICA 2015); the settings are those of Zaviska et al., A survey and an extensive evaluation of
popular audio declipping methods (IEEE JSTSP 2021): Hann windows of 8192 samples at 44.1 kHz, a quarter apart, DFT of
redundancy 2, epsilon 0.1 at full scale. There k, the number of coefficients, grows by 1 in every iteration; here by
1 + k // 64, in single precision, which is as good and many times faster (`benchmarks/decisions/audio_declip.py`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.audio.io.tracks import Track

SECONDS = 8192 / 44_100
"""The length of a segment."""
EPSILON = 0.1
"""The error at which a segment is done, with a peak of 1."""
GROWTH = 64
"""The number of coefficients grows by 1 and by this part of it in every iteration."""
AT_ONCE = 64
"""Segments that are worked on together."""


def declipped(y: Track, clipped: NDArray[np.bool_], rate: int) -> Track:
    """The track, its `clipped` samples replaced by the sparsest beyond them that explain the others.

    >>> x = np.sin(0.05 * np.arange(4000))
    >>> y = declipped(np.clip(x, -0.5, 0.5), np.abs(x) >= 0.5, 16_000)
    >>> bool(np.sum((y - x) ** 2) < 0.01 * np.sum(x**2))
    True
    """
    segment = 4 * max(round(SECONDS * rate / 4), 16)
    hop, scale = segment // 4, float(np.abs(y).max()) or 1.0
    window = torch.hann_window(segment)
    padded = torch.nn.functional.pad(torch.from_numpy(y / scale).float(), (segment, segment + hop))
    segments = padded.unfold(0, segment, hop)
    cut = torch.nn.functional.pad(torch.from_numpy(clipped), (segment, segment + hop)).unfold(0, segment, hop)
    total, weight = torch.zeros_like(padded), torch.zeros_like(padded)
    for first in range(0, len(segments), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        for i, each in enumerate(sparsest(segments[part] * window, cut[part]), first):
            total[i * hop : i * hop + segment] += each
            weight[i * hop : i * hop + segment] += window
    x = scale * (total / weight.clamp(min=1e-9))[segment : segment + len(y)].double().numpy()
    return np.where(clipped, x, y)


def sparsest(y: Tensor, cut: Tensor) -> Tensor:
    """The segments `[b, n]` by ADMM; those samples that are `cut` lie at least as far out as in y."""
    n, k, x = y.shape[1], 1, y.clone()
    u = torch.zeros(len(y), n + 1, dtype=torch.complex64)
    active = cut.any(1).nonzero().flatten()
    while len(active):  # with k = n + 1, all of them, the error is 0 in the second iteration
        a, v, known = analysis(x[active]), u[active], y[active]
        z = largest(a + v, k)
        new, sign = synthesis(z - v, n), known.sign()
        new = torch.where(cut[active], sign * torch.maximum(sign * new, known.abs()), known)
        error = analysis(new) - z
        x[active], u[active] = new, v + error
        both = error.abs().square().sum(1) * 2  # a bin and its mirror image
        active = active[both.sqrt() > EPSILON]
        k += 1 + k // GROWTH
    return x


def analysis(x: Tensor) -> Tensor:
    """The DFT of redundancy 2, a Parseval frame; one half of it."""
    found: Tensor = torch.fft.rfft(x, 2 * x.shape[1], norm="ortho")
    return found


def synthesis(z: Tensor, n: int) -> Tensor:
    """Its adjoint."""
    found: Tensor = torch.fft.irfft(z, 2 * n, norm="ortho")
    return found[:, :n]


def largest(z: Tensor, k: int) -> Tensor:
    """The k largest coefficients of every row, zero elsewhere."""
    kept = z.abs().topk(min(k, z.shape[1]), dim=1).indices
    return torch.zeros_like(z).scatter(1, kept, z.gather(1, kept))
