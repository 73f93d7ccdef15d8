"""The path on which DDIM's step is Euler's step: alpha and sigma are linear in t."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.flows.path import Path


@dataclass(frozen=True)
class Line(Path):
    """The path with alpha and sigma linear in t, from `start` at t = 0 to `end` at t = 1.

    alpha = a0 + (a1 - a0) t and sigma = b0 + (b1 - b0) t. Between two times x = alpha xhat + sigma eps is linear in t
    as long as xhat and eps do not change, so that Euler's step is that of DDIM, and any sampler of diffusion with its
    own scale of the state becomes a flow of the same state. With the default ends it is `CondOT`. t and the
    coefficients are `[]` or `[batch]`; the conversions are those of `Path`.

    Parameters
    ----------
    start
        alpha and sigma at the noise.
    end
        alpha and sigma at the data; sigma is 0 unless the sampler stops earlier.

    References
    ----------
    Song et al., "Denoising diffusion implicit models", ICLR 2021, eq. 14, for DDIM as Euler's method.

    Examples
    --------
    >>> path = Line((0.1, 0.9), (1.0, 0.0))
    >>> t = torch.tensor(0.5, dtype=torch.float64)
    >>> round(path.alpha(t).item(), 3), round(path.sigma(t).item(), 3)
    (0.55, 0.45)
    >>> path.time_of(torch.tensor([0.1, 0.55]).double(), torch.tensor([0.9, 0.45]).double()).tolist()
    [0.0, 0.5]
    """

    start: tuple[float, float] = (0.0, 1.0)
    end: tuple[float, float] = (1.0, 0.0)

    def alpha(self, t: Tensor) -> Tensor:
        return self.start[0] + (self.end[0] - self.start[0]) * t

    def sigma(self, t: Tensor) -> Tensor:
        return self.start[1] + (self.end[1] - self.start[1]) * t

    def dalpha(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.end[0] - self.start[0])

    def dsigma(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.end[1] - self.start[1])

    def time_of(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The time at which the path has the same ratio of noise and data as `alpha` and `sigma`, all `[...]`."""
        (a0, b0), (a1, b1) = self.start, self.end
        return (b0 * alpha - a0 * sigma) / ((a1 - a0) * sigma - (b1 - b0) * alpha)
