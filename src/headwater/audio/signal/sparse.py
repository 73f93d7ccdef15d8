"""Declipping without a network, by sparsity: A-SPADE.

In every windowed block it looks for the signal with the sparsest spectrum that agrees with the samples: equal where
they are not clipped, beyond the level where they are. Source: Kitic, Bertin and Gribonval, Sparsity and cosparsity
for audio declipping (LVA/ICA 2015); the settings are those of Zaviska et al., A survey and an extensive evaluation of
popular audio declipping methods (IEEE JSTSP 2021): Hann windows of 8192 samples at 44.1 kHz, a quarter apart, DFT of
redundancy 2, epsilon 0.1 at full scale. There k, the number of coefficients, grows by 1 in every iteration; here by
1 + k // 64, in single precision, which is as good and many times faster (the benchmark audio_declip).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.audio.io.channels import Signal


@dataclass(frozen=True)
class Spade:
    """Settings of A-SPADE, those of the survey but for `growth`.

    Parameters
    ----------
    seconds
        The length of a block.
    epsilon
        The error at which a block is done, with a peak of 1.
    growth
        The number of coefficients grows by 1 and by this part of it in every iteration (the benchmark audio_declip).
    at_once
        Blocks that are worked on together, for memory.
    """

    seconds: float = 8192 / 44_100
    epsilon: float = 0.1
    growth: int = 64
    at_once: int = 64


SPADE = Spade()


def declip_by_sparsity(
    y: Signal, clipped: NDArray[np.bool_], rate: int, *, settings: Spade = SPADE
) -> Signal:
    """A signal, its clipped samples replaced by the sparsest beyond them that explain the others.

    Parameters
    ----------
    y, clipped
        The signal and which of its samples are clipped, `[samples]`.
    rate
        In Hz.

    Examples
    --------
    >>> x = np.sin(0.05 * np.arange(4000))
    >>> y = declip_by_sparsity(np.clip(x, -0.5, 0.5), np.abs(x) >= 0.5, 16_000)
    >>> bool(np.sum((y - x) ** 2) < 0.01 * np.sum(x**2))
    True
    """
    size = 4 * max(round(settings.seconds * rate / 4), 16)
    hop, scale = size // 4, float(np.abs(y).max()) or 1.0
    window = torch.hann_window(size)
    padded = torch.nn.functional.pad(torch.from_numpy(y / scale).float(), (size, size + hop))
    blocks = padded.unfold(0, size, hop)
    cut = torch.nn.functional.pad(torch.from_numpy(clipped), (size, size + hop)).unfold(0, size, hop)
    total, weight = torch.zeros_like(padded), torch.zeros_like(padded)
    for first in range(0, len(blocks), settings.at_once):
        part = slice(first, first + settings.at_once)
        for i, each in enumerate(find_sparsest(blocks[part] * window, cut[part], settings), first):
            total[i * hop : i * hop + size] += each
            weight[i * hop : i * hop + size] += window
    x = scale * (total / weight.clamp(min=1e-9))[size : size + len(y)].double().numpy()
    return np.where(clipped, x, y)


def find_sparsest(y: Tensor, cut: Tensor, settings: Spade = SPADE) -> Tensor:
    """The blocks `[b, n]` by ADMM; those samples that are `cut` lie at least as far out as in y."""
    n, k, x = y.shape[1], 1, y.clone()
    u = torch.zeros(len(y), n + 1, dtype=torch.complex64)
    active = cut.any(1).nonzero().flatten()
    while len(active):  # with k = n + 1, all of them, the error is 0 in the second iteration
        a, v, known = analyse(x[active]), u[active], y[active]
        z = keep_largest(a + v, k)
        new, sign = synthesise(z - v, n), known.sign()
        new = torch.where(cut[active], sign * torch.maximum(sign * new, known.abs()), known)
        error = analyse(new) - z
        x[active], u[active] = new, v + error
        both = error.abs().square().sum(1) * 2  # a bin and its mirror image
        active = active[both.sqrt() > settings.epsilon]
        k += 1 + k // settings.growth
    return x


def analyse(x: Tensor) -> Tensor:
    """The DFT of redundancy 2, a Parseval frame; one half of it, `[b, n + 1]`."""
    found: Tensor = torch.fft.rfft(x, 2 * x.shape[1], norm="ortho")
    return found


def synthesise(z: Tensor, n: int) -> Tensor:
    """The adjoint of `analyse`, `[b, n]`."""
    found: Tensor = torch.fft.irfft(z, 2 * n, norm="ortho")
    return found[:, :n]


def keep_largest(z: Tensor, k: int) -> Tensor:
    """The k largest coefficients of every row, zero elsewhere."""
    largest = z.abs().topk(min(k, z.shape[1]), dim=1).indices
    return torch.zeros_like(z).scatter(1, largest, z.gather(1, largest))
