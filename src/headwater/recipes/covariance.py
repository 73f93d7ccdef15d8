"""What the denoiser leaves open: the covariance of x1 given x_t, as the proximal step of an estimate assumes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow


class Root(Protocol):
    """A root R of a covariance C = R R'; a protocol: a linear map with its adjoint."""

    def __call__(self, z: Tensor) -> Tensor:
        """R z `[batch, *event]` of white z `[batch, ...]`."""

    def adjoint(self, x: Tensor) -> Tensor:
        """R' x, in the shape of z, of x `[batch, *event]`."""


class Covariance(Protocol):
    """The covariance of x1 given x_t at every level of noise; a protocol with one method.

    For data with covariance S it is S sigma_t^2 (alpha_t^2 S + sigma_t^2)^-1 if they are Gaussian. So a model of the
    data's second moments is a model of the denoiser's error.
    """

    def root(self, flow: Flow, alpha: float, sigma: float) -> Root:
        """R at the level alpha_t, sigma_t of the path, for events of the flow."""


@dataclass(frozen=True)
class Scale:
    """z -> r z, the root of r^2 I.

    Examples
    --------
    >>> import torch
    >>> Scale(2.0)(torch.ones(1, 2)).tolist()
    [[2.0, 2.0]]
    """

    r: float

    def __call__(self, z: Tensor) -> Tensor:
        return self.r * z

    def adjoint(self, x: Tensor) -> Tensor:
        """R' x = r x."""
        return self.r * x


@dataclass(frozen=True)
class White:
    """The same error everywhere, without correlations: r_t = spread * sigma_t, in data units.

    It knows nothing of the data, so it suits all.

    Attributes
    ----------
    spread
        The error in units of sigma_t.

    Raises
    ------
    Misuse
        The spread is not positive.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> import torch
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> White().root(flow, alpha=0.75, sigma=0.25)
    Scale(r=0.25)
    """

    spread: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.spread < math.inf:
            raise Misuse(f"The spread {self.spread} is not positive.", "Give a number above 0, such as 1.")

    def root(self, flow: Flow, alpha: float, sigma: float) -> Scale:
        """spread * sigma_t times the identity."""
        return Scale(self.spread * sigma)
