"""A prior whose flow is exact, and music of three tones."""

import numpy as np
import torch

from headwater import Flow
from headwater.audio.model.space import Spectral
from headwater.audio.prior import Prior

BINS, FRAMES, RATE = 64, 32, 4000


def prior(scale=0.7):
    """Independent coefficients, of unit variance: the exact flow of white noise, 0.5 s windows at 4 kHz."""

    def velocity(x, t):
        s = t if t.ndim == 0 else t[:, None, None]
        return (2 * s - 1) * x / (s**2 + (1 - s) ** 2)

    return Prior(Flow(velocity, (FRAMES, BINS)), Spectral(torch.full((BINS,), scale)), RATE)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tones(count, rate=8000.0, seed=0, noise=0.0):
    t = np.arange(count) / rate
    r = np.random.default_rng(seed)
    x = sum(a * np.sin(2 * np.pi * f * t + r.uniform(0, 6)) for f, a in ((220, 1), (331, 0.6), (1320, 0.2)))
    return x + noise * r.standard_normal(count)
