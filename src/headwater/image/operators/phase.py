"""Phase retrieval: a detector that sees only the amplitude of the diffracted light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.base import require_images
from headwater.problem.operator import Operator


@dataclass(frozen=True, eq=False)
class PhaseRetrieval(Operator):
    """The amplitude of the oversampled Fourier transform, y = sqrt(|F P x|^2 + eps).

    P pads each channel with zeros to twice its height and width, F is the orthonormal 2-D FFT:
    [batch, c, h, w] -> [batch, c, 2 h, 2 w].

    Parameters
    ----------
    eps
        Positive; makes the amplitude smooth at zero. The value is off by at most sqrt(eps).

    Raises
    ------
    Misuse
        On an eps that is not positive and finite.

    Notes
    -----
    x, -x, x turned by 180 degrees and x moved inside a zero margin have the same y: the solution is unique
    at best up to these.

    References
    ----------
    Fienup 1982, Phase retrieval algorithms: a comparison.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.randn(1, 1, 4, 4)
    >>> A = hw.image.PhaseRetrieval()
    >>> A(x).shape, bool((A(x) - A(-x)).abs().max() < 1e-6)
    (torch.Size([1, 1, 8, 8]), True)
    """

    eps: float = 1e-8
    kind: ClassVar[str] = "phase"

    def __post_init__(self) -> None:
        if not 0 < self.eps < float("inf"):
            raise Misuse(f"The smoothing eps is {self.eps}.", "Give a small positive number, such as 1e-8.")

    def __call__(self, x: Tensor) -> Tensor:
        """The amplitude sqrt(|F P x|^2 + eps), `[batch, c, 2 h, 2 w]` of x `[batch, c, h, w]`."""
        require_images(x, self)
        h, w = x.shape[-2:]
        spectrum = torch.fft.fft2(x, s=(2 * h, 2 * w), norm="ortho")
        power: Tensor = spectrum.real.square() + spectrum.imag.square()
        return (power + self.eps).sqrt()
