"""Second moments of photographs: power falls as 1 / f^2, and the channels of colour go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.flows.cover import Cover
from headwater.flows.flow import Flow
from headwater.image.canvas import cover_of

WINDOW = 64
"""Pixels along the window that `deviation` is measured in, and the longest half wave that the law holds for."""


@dataclass(frozen=True)
class PowerLaw:
    """The covariance of x1 given x_t for pictures with the power spectrum c / f^2, if they were Gaussian.

    S is diagonal in the cosine transform of the picture, which mirrors its borders, and in the axes of a correlation
    matrix of the channels. So are C = S sigma_t^2 / (alpha_t^2 S + sigma_t^2) and its root. Against white errors
    a measured pixel then says something about its neighbours, in a hole or between coarse pixels, before the network
    does; while the network, which is given xhat, still decides the detail.

    Attributes
    ----------
    deviation
        The standard deviation of the pixels of a window of 64 x 64, in units of the range [-1, 1].
    correlation
        Between the channels.
    spread
        The root is multiplied by it: above 1 the measurement counts more.

    References
    ----------
    Field, "Relations between the statistics of natural images and the response properties of cortical cells", J. Opt.
    Soc. Am. A 4 (1987), for the power law.

    Examples
    --------
    What one pixel is off by, its neighbour is too:

    >>> import headwater as hw
    >>> import torch
    >>> flow = hw.Flow(lambda x, t: -x, (1, 8, 8))
    >>> root = hw.image.PowerLaw().root(flow, alpha=0.5, sigma=0.5)
    >>> pixel = torch.zeros(1, 1, 8, 8)
    >>> pixel[..., 4, 4] = 1
    >>> covariance = root(root.adjoint(pixel))[0, 0, 4, 4:]
    >>> bool((covariance.diff() < 0).all() and covariance[1] > 0.3 * covariance[0])
    True
    """

    deviation: float = 0.35
    correlation: float = 0.9
    spread: float = 1.0

    def root(self, flow: Flow, alpha: float, sigma: float) -> SpectralRoot:
        """The root on pictures `[batch, c, h, w]` of the flow, or on the pixels that its windows cover."""
        cover = cover_of(flow)
        box = None if cover is None else cover.cut_out()
        size = tuple(flow.shape[1:]) if box is None else box.canvas
        colours, axes = self._colours(flow.shape[0])
        power = colours[:, None, None] * self._power(size)
        gain = self.spread * sigma * (power / (alpha**2 * power + sigma**2)).sqrt()
        return SpectralRoot(gain.float(), axes.float(), box)

    def _power(self, size: Sequence[int]) -> Tensor:
        """c / f^2 at the frequencies of the real Fourier transform of the mirrored picture, `[2 h, w + 1]`."""

        def law(down: Tensor, right: Tensor) -> Tensor:
            return 1 / (down[:, None].square() + right.square()).clamp(min=0.25 / WINDOW**2)

        k = torch.arange(WINDOW, dtype=torch.float64) / WINDOW
        h, w = size
        found = law(2 * torch.fft.fftfreq(2 * h).double(), 2 * torch.fft.rfftfreq(2 * w).double())
        return self.deviation**2 / law(k, k).mean() * found

    def _colours(self, channels: int) -> tuple[Tensor, Tensor]:
        """Variances and axes of the channels' correlation, `[c]` and `[c, c]`."""
        matrix = torch.full((channels, channels), self.correlation, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(matrix.fill_diagonal_(1))
        return values.clamp(min=1e-3), vectors


@dataclass(frozen=True, eq=False)
class SpectralRoot:
    """A symmetric root that is diagonal in the cosine transform and in some axes of the channels.

    Attributes
    ----------
    gain
        Its diagonal, `[c, 2 h, w + 1]`, at the frequencies of the mirrored picture.
    axes
        Columns are axes of the channels, `[c, c]`.
    box
        If the event has the pixels of a cover alone, that cover on its own box: then R z is what the cover shows of
        a picture, and z the white picture.
    """

    gain: Tensor
    axes: Tensor
    box: Cover | None = None

    def __call__(self, z: Tensor) -> Tensor:
        x = self.filter(z)
        return x if self.box is None else self.box.pack(x)

    def adjoint(self, x: Tensor) -> Tensor:
        """R' x, on the whole picture `[batch, c, h, w]`."""
        if self.box is not None:
            x = self.box.unpack(x, x.new_zeros(1, x.shape[1], *self.box.canvas))
        return self.filter(x)

    def filter(self, x: Tensor) -> Tensor:
        """The symmetric root of pictures `[batch, c, h, w]`."""
        (h, w), axes, gain = x.shape[-2:], self.axes.to(x), self.gain.to(x)
        turned = torch.einsum("cd,nchw->ndhw", axes, x)
        wide = torch.cat([turned, turned.flip(-1)], -1)
        mirrored = torch.cat([wide, wide.flip(-2)], -2)
        filtered = torch.fft.irfft2(gain * torch.fft.rfft2(mirrored), s=mirrored.shape[-2:])
        return torch.einsum("cd,ndhw->nchw", axes, filtered[..., :h, :w])
